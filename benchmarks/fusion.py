"""When does fusing help, and which fusion? All of them on planted and real data, beside what they have to beat.

    python benchmarks/fusion.py --out fusion.json [--sets synergy,redundancy,ham10000,easy_vqa,grid] [--fusions all]
        [--seeds 5] [--epochs N] [--data ../shared/data] [--work FOLDER]

Every fit is written to the results as it ends; the same command goes on where it was cut off, and prints the tables.
Beside the fusions stand `plain concat` (concat fusion of all modalities in every step, nothing hidden, no single
modality scored: what one writes first), logistic regression on the same vectors (pictures: on their mean token), and
the best modality alone (of the transformer). The late-fusion transformer of the literature, one transformer over the
tokens of separately encoded modalities, is `transformer`: the differences are to it.

An interval covers the test rows and the seeds: both are resampled, the seeds as a whole with all their rows, and the
same rows and seeds for both sides of a difference (in folds, where each row has one model, rows only). It does not
cover other draws of the training table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from folds import logistic
from fusion_sets import SETS, Array, Task, tasks_of

from sensorium.data.batch import make_batch
from sensorium.fusion import FUSIONS
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import Estimate, interval, replicate_weights
from sensorium.metrics.classification import CLASSIFICATION
from sensorium.training.distributed import Device
from sensorium.training.loop import train
from sensorium.training.plan import make_plan
from sensorium.training.volume import turn_down

PLAIN, LOGISTIC = "plain concat", "logistic regression"
BASELINE = "transformer"


def fit(task: Task, method: str, seed: int) -> dict[str, Any]:
    """Train once; the classes predicted for the test rows from everything and from each modality."""
    plain = {"p_full": 1.0, "singles": False} if method == PLAIN else {}
    model = task.model("concat" if method == PLAIN else method, seed, **plain)
    samples, splits = task.prepared.samples, task.prepared.splits
    begun = time.process_time()
    plan = make_plan(len(splits.train), model.recipe.training)
    progress = train(model, samples, splits.train, splits.validation, plan, device=Device(), report=lambda *_: None)
    turned = turn_down(model, samples, splits.validation)
    seconds = time.process_time() - begun
    names = model.schema.names
    [target] = model.schema.targets
    subsets = {"+".join(names): frozenset(names), **{name: frozenset({name}) for name in names}}
    found = model.outputs(samples, splits.test, list(subsets.values()), complete=False)[target.name]
    predicted = {label: np.nan_to_num(found[subset], nan=-np.inf).argmax(axis=1) for label, subset in subsets.items()}
    return {"predicted": {label: classes.tolist() for label, classes in predicted.items()},
            "parameters": model.num_parameters(),
            "fusion_parameters": sum(one.numel() for one in model.fusion.parameters()), "seconds": round(seconds, 1),
            "best_step": progress.best_step, "steps": progress.step, "volumes": turned,
            "validation": [round(one["scores"][target.name]["all"], 3) for one in progress.history]}


def shallow(task: Task) -> dict[str, Any]:
    """Logistic regression on what every modality says, side by side."""
    samples, splits = task.prepared.samples, task.prepared.splits
    [target] = samples.schema.targets
    rows = np.concatenate([splits.train, splits.validation])
    begun = time.process_time()
    features, balance = features_of(task), task.recipe.training.balance
    truth = samples.labels[target.name].values
    predicted = logistic(features[rows], truth[rows], features[splits.test], len(target.classes), balance=balance)
    label = "+".join(samples.schema.names)
    return {"predicted": {label: predicted.argmax(axis=1).tolist()}, "parameters": 0, "fusion_parameters": 0,
            "seconds": round(time.process_time() - begun, 1)}


def features_of(task: Task) -> Array:
    """(row, feature): all that is told of a cell, the mean of stored tokens, a table's numbers (0 where missing)."""
    samples = task.prepared.samples
    blocks = []
    for start in range(0, len(samples), 256):
        batch = make_batch(samples, np.arange(start, min(start + 256, len(samples))))
        parts = []
        for packed in batch.inputs.values():
            values = packed.inputs.values.double()
            if values.ndim == 3:
                mask = packed.inputs.mask
                values = values.flatten(1) if mask is None else (
                    values * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            elif packed.inputs.mask is not None:
                values = values.where(packed.inputs.mask, 0.0)
            whole = np.zeros((len(batch), values.shape[1]))
            whole[packed.rows.numpy()] = values[packed.cells[:, 0]].numpy()
            parts.append(whole)
        blocks.append(np.concatenate(parts, axis=1))
    return np.concatenate(blocks)


# --- tables -----------------------------------------------------------------------------------------------------------


def table(name: str, kept: dict[str, Any], methods: list[str]) -> str:
    """A Markdown table of one set."""
    facts = kept["sets"][name]
    truth, everything = np.array(facts["truth"]), facts["everything"]
    metric = CLASSIFICATION[facts["metric"]]
    resampling = replicate_weights(len(truth), seed=0)
    weights = np.concatenate([np.ones((1, len(truth))), resampling.weights])

    def scores(method: str, label: str) -> Array:
        """(seed, replicate), the first replicate the data as found; folds pooled into one seed."""
        fits = [one for one in kept["fits"] if one["set"] == name and one["method"] == method]
        by_seed: dict[int, Array] = {}
        for one in fits:
            if label in one["predicted"]:
                whole = by_seed.setdefault(one["seed"], np.full(len(truth), -1))
                whole[np.array(facts["folds"][str(one["fold"])])] = one["predicted"][label]
        done = {seed: classes for seed, classes in by_seed.items() if (classes >= 0).all()}
        sure = [np.eye(facts["classes"])[classes] for _, classes in sorted(done.items())]
        return np.array([metric(truth, classes, weights) for classes in sure])

    def told(values: Array) -> Estimate:
        """The mean over seeds; rows and seeds resampled together."""
        count = len(values)
        draws = Draws(0, 0, np.arange(values.shape[1])).integers("seeds", count, high=count)
        picked = np.take_along_axis(values.T, draws, axis=1).mean(axis=1) if count > 1 else values[0]
        return Estimate(float(values[:, 0].mean()), *interval(picked[1:]))

    lines = [f"**{name}**: {facts['metric'].replace('_', ' ')}, {len(truth):,} test rows. {facts['said']}.", "",
             f"| | score | minus `{BASELINE}`, paired | seeds | parameters (of the fusion) | CPU s a fit |",
             "|---|---|---|---|---|---|"]
    reference = scores(BASELINE, everything)
    rows = {f"`{method}`" if method in FUSIONS else method: (method, everything) for method in methods}
    singles = {single: scores(BASELINE, single) for single in everything.split("+")}
    if all(len(values) for values in singles.values()):
        best = max(singles, key=lambda single: float(singles[single][:, 0].mean()))
        rows[f"best single modality: {best}"] = (BASELINE, best)
    for words, (method, label) in rows.items():
        values = scores(method, label)
        fits = [one for one in kept["fits"] if one["set"] == name and one["method"] == method]
        if not len(values):
            continue
        value, seconds = told(values), np.median([one["seconds"] for one in fits])
        gap = ""
        if len(reference) and (method, label) != (BASELINE, everything):
            common = None if len(values) == 1 else min(len(values), len(reference))  # one: the same for every seed
            apart = told(values[:common] - reference[:common])
            gap = f"{apart.value:+.3f} ({apart.low:+.3f} to {apart.high:+.3f})"
        size = f"{fits[0]['parameters']:,} ({fits[0]['fusion_parameters']:,})" if fits[0]["parameters"] else "–"
        lines.append(f"| {words} | {value.value:.3f} ({value.low:.3f} to {value.high:.3f}) | {gap} | {len(values)} | "
                     f"{size} | {seconds:.0f} |")
    for label, most in facts["bayes"].items():
        lines.append(f"| *highest possible: {label or 'a constant answer'}* | *{most:.3f}* | | | | |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--fusions", default="all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SENSORIUM_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, default=None, help="keep the planted worlds and their encoders here")
    given = parser.parse_args()
    kept: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {"sets": {}, "fits": []}
    fusions = list(FUSIONS) if given.fusions == "all" else given.fusions.split(",")
    methods = [*fusions, PLAIN, LOGISTIC]
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.sets.split(","):
            run(name, methods, kept, given, given.work or Path(scratch))
            print(f"\n{table(name, kept, methods)}\n", flush=True)


def run(name: str, methods: list[str], kept: dict[str, Any], given: argparse.Namespace, work: Path) -> None:
    """Every fit of a set that the results do not have yet."""
    done = {(one["set"], one["method"], one["seed"], one["fold"]) for one in kept["fits"]}
    folds = 5 if name == "grid" else 1
    wanted = [(method, seed, fold) for seed in range(1 if name == "grid" else given.seeds) for method in methods
              for fold in range(folds) if seed == 0 or method != LOGISTIC]
    missing = [one for one in wanted if (name, *one) not in done]
    if not missing:
        return
    tasks = tasks_of(name, data=given.data, work=work, epochs=given.epochs)
    kept["sets"][name] = facts_of(tasks)
    for method, seed, fold in missing:
        found = shallow(tasks[fold]) if method == LOGISTIC else fit(tasks[fold], method, seed)
        kept["fits"].append({"set": name, "method": method, "seed": seed, "fold": fold, **found})
        partial = given.out.with_suffix(".partial")
        partial.write_text(json.dumps(kept))
        partial.replace(given.out)
        right = np.array(found["predicted"][kept["sets"][name]["everything"]]) == truth_of(tasks[fold])
        print(f"{name} {method} seed {seed} fold {fold}: accuracy {right.mean():.3f}, {found['seconds']} s, validation "
              f"{found.get('validation', '')}", file=sys.stderr, flush=True)


def truth_of(task: Task) -> Array:
    """(test row,) classes."""
    [target] = task.prepared.samples.schema.targets
    return np.asarray(task.prepared.samples.labels[target.name].values[task.prepared.splits.test])


def facts_of(tasks: list[Task]) -> dict[str, Any]:
    """What a table needs to know of a set: the truth of all folds' test rows, one fold after the other."""
    first = tasks[0]
    sizes = np.cumsum([0, *(len(task.prepared.splits.test) for task in tasks)])
    return {"truth": np.concatenate([truth_of(task) for task in tasks]).tolist(),
            "folds": {str(task.fold): list(range(sizes[task.fold], sizes[task.fold + 1])) for task in tasks},
            "classes": len(first.prepared.samples.schema.targets[0].classes), "said": first.said, "bayes": first.bayes,
            "everything": "+".join(first.prepared.samples.schema.names),
            "metric": "balanced_accuracy" if first.recipe.training.balance else "accuracy"}


if __name__ == "__main__":
    main()
