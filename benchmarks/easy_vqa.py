"""easy-VQA, its official split: a fixed number of epochs, the test questions read once.

    sensorium train ../shared/data/easy_vqa/train.csv --target answer --recipe recipes/qa.yaml --epochs 40 \
        --refit never --out runs/easy_vqa
    python benchmarks/easy_vqa.py runs/easy_vqa [--data ../shared/data/easy_vqa]

Accuracy of the model, of the model reading the question alone, and of the most frequent training answer to each
question (what the words give away), by type of question: what colour, what shape, and yes or no.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.data.read import Data, as_samples
from sensorium.data.table import read_table
from sensorium.metrics.bootstrap import estimate, mean_value, replicate_weights
from sensorium.model import Model

SHAPES = {"rectangle", "circle", "triangle"}
Hits = npt.NDArray[Any]


def main() -> None:
    """Score the test questions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/easy_vqa"))
    given = parser.parse_args()
    model = Model.load(given.run)
    tables = {name: pl.read_csv(given.data / f"{name}.csv") for name in ("train", "test")}
    truth = tables["test"]["answer"].to_list()
    types = np.array(["yes or no" if answer in {"yes", "no"} else "shape" if answer in SHAPES else "colour"
                      for answer in truth])
    _, groups = np.unique(tables["test"]["image"].to_numpy(), return_inverse=True)
    begun = time.monotonic()
    samples = as_samples(Data(read_table(given.data / "test.csv"), model.recipe.data), model.schema)
    rows = np.arange(len(samples))
    subsets = {"image and question": frozenset(model.schema.names), "question": model.asking}
    outputs = model.outputs(samples, rows, list(subsets.values()), complete=False)["answer"]
    classes = np.array(model.schema.targets[0].classes)
    answers = {name: classes[outputs[subset].argmax(axis=1)] for name, subset in subsets.items()}
    answers["most frequent answer to the question"] = _most_frequent(tables["train"], tables["test"])
    print(f"{len(rows):,} questions about {groups.max() + 1:,} pictures, {time.monotonic() - begun:.0f} s; trained on "
          f"{model.facts['rows']['training']:,} for {model.history[-1]['epoch']} epochs, "
          f"{model.facts['seconds'] / 60:.1f} minutes in all")
    kinds = ["all", *sorted(set(types.tolist()))]
    print(f"| read | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
    for name, said in answers.items():
        hits = (said == np.array(truth)).astype(np.float64)
        cells = [_said(hits[kept], groups[kept]) for kept in (types == kind if kind != "all" else types != ""
                                                              for kind in kinds)]
        print(f"| {name} | {' | '.join(cells)} |")


def _said(hits: Hits, groups: Hits) -> str:
    """The mean with its interval over whole pictures."""
    found = estimate(mean_value, hits, hits, replicate_weights(len(hits), np.unique(groups, return_inverse=True)[1]))
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _most_frequent(train: pl.DataFrame, test: pl.DataFrame) -> Hits:
    counts: dict[str, Counter[str]] = {}
    for question, answer in zip(train["question"], train["answer"], strict=True):
        counts.setdefault(question, Counter())[answer] += 1
    every = Counter(train["answer"].to_list())
    return np.array([counts.get(question, every).most_common(1)[0][0] for question in test["question"]])


if __name__ == "__main__":
    main()
