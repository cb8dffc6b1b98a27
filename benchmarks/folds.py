"""Cross-validation of one recipe (`sensorium train --folds`) with logistic regression beside, on the same folds.

Comparisons are paired: on the same rows, under the same bootstrap weights. Logistic regression reads the plain
descriptions of the cells (`Kind.describe`), or the mean of the stored features where an encoder is frozen.

    python benchmarks/folds.py TABLE [TABLE …] --target a,b [--balance] [--encoder image=FOLDER] [--out x.json]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sensorium.cli.options import listed, merged, pairs, settings_of
from sensorium.data.read import Data
from sensorium.data.samples import Samples
from sensorium.data.table import Table, read_table
from sensorium.evaluation.repeats import CrossValidated, cross_validate
from sensorium.evaluation.scores import metrics_of
from sensorium.evaluation.shallow import plain_features
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import estimate, paired_difference, replicate_weights
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.console import Terminal

Floats = np.ndarray[Any, np.dtype[np.float64]]
PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0)


def joined_tables(paths: list[str], *, allow_outside: bool) -> Table:
    """Tables of one folder, one below the other."""
    tables = [read_table(path, allow_outside=allow_outside) for path in paths]
    return dataclasses.replace(tables[0], frame=pl.concat([table.frame for table in tables]))


def logistic(train: Floats, truth: Floats, test: Floats, num_classes: int, *, balance: bool) -> Floats:
    """(row, class_) probabilities; the penalty with the best log-loss on a held-out fifth."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = np.nan_to_num(train), np.nan_to_num(test)
    weight = "balanced" if balance else None
    held = np.arange(len(train)) % 5 == 0
    best, chosen = np.inf, PENALTIES[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        width = min(512, train.shape[1], int((~held).sum()))
        reduce = make_pipeline(StandardScaler(), PCA(width, svd_solver="randomized", random_state=0)).fit(train)
        train, test = reduce.transform(train), reduce.transform(test)
        train, test = train / train[:, 0].std(), test / train[:, 0].std()
        for penalty in PENALTIES:
            model = LogisticRegression(C=penalty, max_iter=300, class_weight=weight).fit(train[~held], truth[~held])
            loss = log_loss(truth[held], model.predict_proba(train[held]), labels=model.classes_)
            if loss < best:
                best, chosen = loss, penalty
        model = LogisticRegression(C=chosen, max_iter=300, class_weight=weight).fit(train, truth)
    probabilities = np.zeros((len(test), num_classes))
    probabilities[:, model.classes_.astype(int)] = model.predict_proba(test)
    return probabilities


def shallow_blocks(samples: Samples, rows: Floats) -> dict[str, Floats]:
    """modality → (row, feature): means of stored features, else plain descriptions."""
    blocks: dict[str, Floats] = dict(plain_features(samples, rows))
    for name, cells in samples.cells.items():
        if cells.stored is not None:
            wanted = cells.cells_of_row[rows, 0]
            block = np.full((len(rows), cells.stored.get([0]).values.shape[2]), np.nan)
            for start in range(0, len(rows), 256):
                part = wanted[start : start + 256]
                found = cells.stored.get(part[part >= 0])
                means = (found.values.astype(np.float64) * found.mask[..., None]).sum(axis=1)
                block[start : start + 256][part >= 0] = means / found.mask.sum(axis=1, keepdims=True)
            blocks[name] = block
    return blocks


def main() -> None:
    """Run the folds and print a Markdown table a target."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--target", required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, default=None, help="run the first so many folds only")
    for option in ("--inputs", "--ignore", "--recipe", "--out", "--kind", "--encoder", "--tune", "--set"):
        parser.add_argument(option, action="append")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--balance", action="store_true")
    parser.add_argument("--no-logistic", action="store_true")
    given = parser.parse_args()
    recipe = Recipe.read(given.recipe[0]) if given.recipe else Recipe()
    tunes = pairs(given.tune, "--tune", "photo=finetune")
    encoders = {name: {"name": one, "tune": tunes.get(name, "frozen")}
                for name, one in pairs(given.encoder, "--encoder", "photo=FOLDER").items()}
    recipe = recipe.changed("data", targets=listed([given.target]), inputs=listed(given.inputs) or None,
                            ignore=listed(given.ignore) or None, kinds=pairs(given.kind, "--kind", "a=b") or None,
                            settings=merged(recipe.data.settings, settings_of(given.set)) or None)
    recipe = recipe.changed("model", encoders=encoders or None)
    recipe = recipe.changed("training", epochs=given.epochs, seed=given.seed, balance=given.balance or None)
    table = joined_tables(given.tables, allow_outside=recipe.data.allow_outside)
    beside: dict[tuple[str, str], Floats] = {}

    def on_fold(model: Model, samples: Samples, test: Floats, train: Floats) -> None:
        if not given.no_logistic:
            _add_logistic(beside, model, samples, test, train, balance=given.balance)

    found = cross_validate(Data(table, recipe.data), recipe, given.folds, console=Terminal(), only=given.only,
                           fold_of=Draws(0, 0, np.arange(len(table))).order("folds") % given.folds, on_fold=on_fold)
    _report(found, beside, given.out[0] if given.out else None)


def _add_logistic(
    beside: dict[tuple[str, str], Floats], model: Model, whole: Samples, test: Floats, train: Floats, *, balance: bool,
) -> None:
    """Logistic regression on each modality and on all, for one fold."""
    names = model.schema.names
    blocks = shallow_blocks(whole, np.arange(len(whole)))
    for target in model.schema.targets:
        labels = whole.labels[target.name]
        known = train[labels.mask[train] & (labels.values[train] >= 0)]
        for subset in dict.fromkeys([*((name,) for name in names), names]):
            columns = np.concatenate([blocks[name] for name in subset], axis=1)
            predicted = logistic(columns[known], labels.values[known], columns[test], len(target.classes),
                                 balance=balance)
            key = target.name, f"logistic regression: {' + '.join(subset)}"
            beside.setdefault(key, np.full((len(whole), len(target.classes)), np.nan))[test] = predicted


def _report(found: CrossValidated, beside: dict[tuple[str, str], Floats], out: str | None) -> None:
    """Every score with its interval, and all modalities minus each other line, paired."""
    said = f"fits took {np.round(found.repeated.seconds)} s"
    print(f"\n{said}", flush=True)
    results: dict[str, Any] = {}
    for target in found.targets:
        name = found.repeated.primary[target.name]
        metric = metrics_of(target)[name]
        rows = np.flatnonzero(found.labelled[target.name] & (found.fold_of >= 0))
        truth, whole = found.truths[target.name][rows], found.answered.found[target.name, ()]
        resampling = replicate_weights(len(rows), seed=0)
        print(f"\n| {target.name}: {name}, {len(rows)} rows | | all modalities minus this, paired |\n|---|---|---|")
        lines = {" + ".join(key[1]) or "as found": predicted for key, predicted in found.answered.found.items()
                 if key[0] == target.name}
        lines |= {label: predicted for (of, label), predicted in beside.items() if of == target.name}
        for label, predicted in lines.items():
            here = np.isfinite(predicted[rows]).all(axis=1)
            drawn = resampling if here.all() else replicate_weights(int(here.sum()), seed=0)
            shaped = [values[rows][here] if target.task == "classify" else values[rows][here, 0]
                      for values in (predicted, whole)]
            value = estimate(metric, truth[here], shaped[0], drawn)
            gap = paired_difference(metric, truth[here], shaped[1], shaped[0], drawn)
            results[f"{target.name}: {label}"] = [value.value, value.low, value.high, gap.value, gap.low, gap.high]
            print(f"| {label} | {value.value:.3f} ({value.low:.3f} to {value.high:.3f}) | {gap.value:+.3f} "
                  f"({gap.low:+.3f} to {gap.high:+.3f}) |", flush=True)
    if out is not None:
        Path(out).write_text(json.dumps({"said": said, "scores": results}, indent=1))


if __name__ == "__main__":
    main()
