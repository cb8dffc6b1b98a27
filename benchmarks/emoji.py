"""Emoji: how well names find pictures after each way of aligning a frozen BERT with a frozen ResNet-50.

    python benchmarks/emoji.py [--data FOLDER] [--inner 2]

Five folds of base names. Each fold's names look for their pictures among Twitter's drawings of the fold, after learning
from Google's drawings of the other four; every name is asked once. Each way chooses its numbers anew in every fold: by
the mean reciprocal rank that it reaches on Google's drawings of `--inner` of the four, learning from the other three.
What is encoded, and the readings of names that may be learned from, are the same for all ways. Flags of countries are
never learned from, and are asked for apart, among flags. Encoders and ways are those of examples/align_text_image.py.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional as F

from sensorium.alignment import AlignmentPlan
from sensorium.metrics.bootstrap import estimate, mean_value, replicate_weights
from sensorium.metrics.relevance import Relevance
from sensorium.metrics.retrieval import Ranking, rank

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from align_text_image import FOLDS, Embedder, Views, codes, fold_of, mean_variance, read_views
from align_text_image import cca as cca_way
from align_text_image import contrast as contrast_way
from align_text_image import deep_cca as deep_way
from align_text_image import ridge_map as ridge_way

Array = npt.NDArray[Any]
Choice = dict[str, Any]
CUTS = (1, 5, 10)
STEADY = AlignmentPlan(epochs=15)
HIDDEN = ({"name": 0.3, "picture": 0.7}, {"name": 0.3, "picture": 0.8}, {"name": 0.5, "picture": 0.5})


def ridge_both(train: Views, *, penalty: float, readings: int, to: str) -> Embedder:
    """A ridge map from pictures to names (the example's) or from names to pictures."""
    if to == "name":
        return ridge_way(train, penalty=penalty, readings=readings)
    name = np.concatenate([train["name"][:, reading] for reading in range(readings)])
    picture = np.concatenate([train["picture"]] * readings)
    model = Ridge(alpha=penalty * len(name) * mean_variance(name)).fit(name, picture)

    def embed(views: Views) -> dict[str, Array]:
        told = {key: model.predict(values) if key == "name" else values for key, values in views.items()}
        return {key: F.normalize(torch.as_tensor(values - picture.mean(axis=0)), dim=1).numpy()
                for key, values in told.items()}

    return embed


def contrasted(train: Views, *, hide: Mapping[str, float], rate: float) -> Embedder:
    """The example's contrast, under another plan."""
    return contrast_way(train, plan=AlignmentPlan(epochs=STEADY.epochs, learning_rate=rate, hide=hide))


WAYS: dict[str, tuple[Callable[..., Embedder], list[Choice]]] = {
    "ridge map": (ridge_both, [{"penalty": penalty, "readings": readings, "to": to} for penalty in (0.3, 1.0, 3.0)
                               for readings in (1, 2, 3) for to in ("name", "picture")]),
    "CCA": (cca_way, [{"penalty": penalty, "power": power}
                  for penalty, power in ((0.3, 1.0), (1.0, 0.5), (1.0, 1.0), (1.0, 2.0), (3.0, 1.0))]),
    "deep CCA": (deep_way, [{"epochs": 60, "width": 128}, {"epochs": 120, "width": 128}, {"epochs": 60, "width": 256}]),
    "contrast": (contrasted, [{"hide": hide, "rate": rate} for hide in HIDDEN for rate in (3e-4,)]),
}


def asked(views: Views, rows: Array, style: str) -> Views:
    """What is embedded at test: names alone, and one style's pictures."""
    return {"name": views["name"][rows, 0], "picture": views[style][rows]}


def learned(views: Views, rows: Array) -> Views:
    """What is learned from: all readings of names, Google's pictures."""
    return {"name": views["name"][rows], "picture": views["google"][rows]}


def ranked(embed: Embedder, views: Views, same: Array) -> dict[str, Ranking]:
    """Both directions; pictures that are the same file are equally right."""
    found, right = embed(views), Relevance.by_code(same, same)
    return {"name → picture": rank(found["name"], found["picture"], right),
            "picture → name": rank(found["picture"], found["name"], right)}


def chosen(way: str, views: Views, training: Array, fold: Array, same: Array, inner: int) -> Choice:
    """The choice with the highest mean reciprocal rank on Google's drawings of held-out training names."""
    fit, choices = WAYS[way]
    held = np.unique(fold[training])[:inner]
    scores = []
    for choice in choices:
        reciprocal = []
        for one in held:
            rows = training[fold[training] == one]
            embed = fit(learned(views, training[fold[training] != one]), **choice)
            reciprocal.append(1 / ranked(embed, asked(views, rows, "google"), same[rows])["name → picture"].first)
        scores.append(float(np.concatenate(reciprocal).mean()))
    return choices[int(np.argmax(scores))]


def table_of(hits: Mapping[str, Array], groups: Array) -> list[str]:
    """Lines of a Markdown table: R@k of every way with intervals, and of contrast minus every other way, paired."""
    resampling = replicate_weights(len(groups), groups)

    def said(values: Array, sign: str = "") -> str:
        found = estimate(mean_value, values, values, resampling)
        return f"{found.value:{sign}.3f} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"

    lines = [f"| | {' | '.join(f'R@{cut}' for cut in CUTS)} |", "|---|---|---|---|"]
    lines += [f"| {way} | {' | '.join(said(values[:, place]) for place in range(3))} |" for way, values in hits.items()]
    for way, values in hits.items():
        if way != "contrast":
            gaps = hits["contrast"] - values
            lines.append(f"| contrast minus {way} | {' | '.join(said(gaps[:, place], '+') for place in range(3))} |")
    return lines


def main() -> None:
    """Five folds of every way, then the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SENSORIUM_DATA", "../shared/data")))
    parser.add_argument("--inner", type=int, default=2)
    given = parser.parse_args()
    folder = given.data / "emoji"
    if not (folder / "emoji.csv").is_file():
        print(f"skipped: {folder / 'emoji.csv'} is not here (set SENSORIUM_DATA)")
        return
    table, views = read_views(folder, given.data / "weights_minilm_l6", given.data / "weights_resnet50")
    fold, bases = fold_of(table), table["base"].to_numpy()
    same = {style: codes([folder / file for file in table[style]]) for style in ("google", "twitter")}
    flags = np.flatnonzero(fold < 0)
    hits: dict[str, dict[str, list[Array]]] = {}
    for number in range(FOLDS):
        training, test = np.flatnonzero((fold >= 0) & (fold != number)), np.flatnonzero(fold == number)
        for way, (fit, _) in WAYS.items():
            begun = time.perf_counter()
            choice = chosen(way, views, training, fold, same["google"], given.inner)
            embed = fit(learned(views, training), **choice)
            for rows, what in ((test, ""), (flags, "flags: ")):
                for direction, ranking in ranked(embed, asked(views, rows, "twitter"), same["twitter"][rows]).items():
                    found = np.stack([ranking.hits(cut) for cut in CUTS], axis=1)
                    hits.setdefault(what + direction, {}).setdefault(way, []).append(found)
            own = hits["name → picture"][way][-1].mean(axis=0).round(3).tolist()
            print(f"fold {number}, {len(test)} of {len(test) + len(training)} names: {way} {own}, {choice}, "
                  f"{time.perf_counter() - begun:.0f} s", flush=True)
    order = np.concatenate([np.flatnonzero(fold == number) for number in range(FOLDS)])
    for what, ways in hits.items():
        rows = np.tile(flags, FOLDS) if what.startswith("flags") else order
        groups = rows if what.startswith("flags") else np.unique(bases, return_inverse=True)[1][rows]
        if not what.startswith("flags"):
            first = {way: values[0] for way, values in ways.items()}
            lines = table_of(first, groups[: int((fold == 0).sum())])
            print(f"\n{what}, fold 0 alone, {int((fold == 0).sum())} queries\n", *lines, sep="\n")
        print(f"\n{what}, {len(rows)} queries\n", *table_of({w: np.concatenate(v) for w, v in ways.items()}, groups),
              sep="\n", flush=True)


if __name__ == "__main__":
    main()
