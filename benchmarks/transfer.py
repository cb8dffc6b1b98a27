"""Transfer on spoken and written digits: what a teacher, or another run's weights, add where labels are few.

Every model is scored on the test table, read from audio alone; differences are paired on its rows, of the mean over
seeds. The rows that are labelled are drawn by the seed.

    python benchmarks/transfer.py ../shared/data/avdigits [--seeds 5] [--part distil cross init] [--out x.json]

With --out the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sensorium.data.read import Data, default_memory, default_workers
from sensorium.data.samples import decoded
from sensorium.data.table import Table, read_table
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import Estimate, estimate, mean_value, replicate_weights
from sensorium.model import Model
from sensorium.recipe import DataOptions, Recipe
from sensorium.training.console import Terminal
from sensorium.training.fit import fit

Floats = np.ndarray[Any, np.dtype[np.float64]]
TARGET, CHANCE = "digit", 0.1
BOTH, IMAGE, AUDIO = ("image", "audio"), ("image",), ("audio",)


class Bench:
    """The tables of one run, and every model's hits on the test rows."""

    def __init__(self, folder: Path, work: Path, out: Path | None) -> None:
        self.train, self.test = (read_table(folder / f"{name}.csv") for name in ("train", "test"))
        self.work, self.out = work, out
        self.hits: dict[str, dict[int, Floats]] = {}
        self.seconds: dict[str, float] = {}
        self.done: list[list[Any]] = []
        if out is not None and out.exists():
            kept = json.loads(out.read_text())
            self.done, self.seconds = kept["done"], kept["seconds"]
            self.hits = {one: {int(seed): np.array([float(bit) for bit in hit]) for seed, hit in own.items()}
                         for one, own in kept["hits"].items()}

    def rows(self, seed: int) -> Any:
        """All training rows in an order drawn by the seed."""
        return Draws(seed, 0, np.arange(len(self.train))).order("benchmark")

    def fitted(
        self, name: str, table: Table, modalities: tuple[str, ...], seed: int, *, labels: bool = True,
        objectives: dict[str, Any] | None = None, transfer: dict[str, Any] | None = None,
    ) -> str:
        """Train a model as long as is the default, score it from audio and from pictures alone, and keep its folder."""
        begun = time.monotonic()
        options = DataOptions(targets=(TARGET,) if labels else (), ignore=("speaker",), only=modalities)
        recipe = Recipe().changed("training", seed=seed, refit="never")
        recipe = recipe.changed("objectives", **(objectives or {})).changed("transfer", **(transfer or {}))
        model = fit(Data(table, options), recipe, console=Terminal())
        path = str(model.save(self.work / f"{name}_{seed}".replace(" ", "_"), overwrite=True))
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - begun
        for alone in (AUDIO, IMAGE):
            if alone[0] in modalities:
                self.hits.setdefault(f"{name}, read from {alone[0]}", {})[seed] = self._hits(model, alone)
        return path

    def run(self, part: str, seed: int) -> None:
        """One part for one seed, unless the file of results has it; then keep what was found."""
        if [part, seed] in self.done:
            return
        PARTS[part](self, seed)
        self.done.append([part, seed])
        if self.out is not None:
            hits = {one: {seed: "".join(str(int(bit)) for bit in hit) for seed, hit in own.items()}
                    for one, own in self.hits.items()}
            self.out.write_text(json.dumps({"done": self.done, "seconds": self.seconds, "hits": hits}))

    def _hits(self, model: Model, modalities: tuple[str, ...]) -> Floats:
        samples = decoded(self.test, model.schema, workers=default_workers(), memory_bytes=default_memory())
        raw = model.outputs(samples, np.arange(len(samples)), [frozenset(modalities)])[TARGET][frozenset(modalities)]
        return (raw.argmax(axis=1) == samples.labels[TARGET].values).astype(np.float64)


def part_of(table: Table, rows: Any) -> Table:
    """Some rows of a table."""
    return dataclasses.replace(table, frame=table.frame[np.sort(rows).astype(np.uint32)])


def blanked(table: Table, rows: Any, columns: tuple[str, ...]) -> Table:
    """The table with these cells of these rows gone."""
    gone = pl.Series(np.isin(np.arange(len(table)), rows))
    return dataclasses.replace(table, frame=table.frame.with_columns(
        [pl.when(gone).then(None).otherwise(pl.col(name)).alias(name) for name in columns]))


def distil(bench: Bench, seed: int) -> None:
    """A tenth of the rows is labelled, the rest are unlabelled pairs."""
    rows = bench.rows(seed)
    few = part_of(bench.train, rows[: len(rows) // 10])
    bench.fitted("labelled tenth", few, AUDIO, seed)
    teacher = bench.fitted("teacher, labelled tenth", few, BOTH, seed)
    everything = blanked(bench.train, rows[len(rows) // 10 :], (TARGET,))
    bench.fitted("student, all rows", everything, AUDIO, seed,
                 transfer={"teacher": teacher})


def begun(bench: Bench, seed: int) -> None:
    """The same student, begun with the audio encoder that its teacher has learned."""
    rows = bench.rows(seed)
    few = part_of(bench.train, rows[: len(rows) // 10])
    bench.fitted("labelled tenth", few, AUDIO, seed)
    teacher = bench.fitted("teacher, labelled tenth", few, BOTH, seed)
    everything = blanked(bench.train, rows[len(rows) // 10 :], (TARGET,))
    bench.fitted("student, begun with its teacher", everything, AUDIO, seed,
                 transfer={"teacher": teacher, "init": teacher})


def cross(bench: Bench, seed: int) -> None:
    """Half of the rows have a picture and a label, the other half are pairs without one."""
    rows = bench.rows(seed)
    half = len(rows) // 2
    teacher = bench.fitted("image, labelled half", part_of(bench.train, rows[:half]), IMAGE, seed)
    pairs = part_of(bench.train, rows[half:])
    bench.fitted("taught by pictures", dataclasses.replace(pairs, frame=pairs.frame.drop(TARGET)), AUDIO, seed,
                 labels=False, transfer={"teacher": teacher})
    bench.fitted("all labels", bench.train, AUDIO, seed)


def one_run(bench: Bench, seed: int) -> None:
    """The same in one run: labels on pictures, pairs only contrasted."""
    rows = bench.rows(seed)
    half = len(rows) // 2
    table = blanked(blanked(bench.train, rows[:half], ("audio",)), rows[half:], (TARGET,))
    bench.fitted("one run, contrasted", table, BOTH, seed, objectives={"contrast": {"same_label": True}})


def init(bench: Bench, seed: int) -> None:
    """200 labelled sounds, begun with a run that learned both modalities on other rows."""
    rows = bench.rows(seed)
    half = len(rows) // 2
    origin = bench.fitted("origin, labelled half", part_of(bench.train, rows[:half]), BOTH, seed)
    few = part_of(bench.train, rows[half : half + 200])
    bench.fitted("200 rows", few, AUDIO, seed)
    bench.fitted("200 rows, fine-tuned", few, AUDIO, seed, transfer={"init": origin})
    bench.fitted("200 rows, linear probe", few, AUDIO, seed, transfer={"init": origin, "freeze": {"all": None}})


PARTS = {"distil": distil, "begun": begun, "cross": cross, "one_run": one_run, "init": init}
COMPARED = {
    "distil": (("student, all rows", "labelled tenth"), ("teacher, labelled tenth", "labelled tenth")),
    "begun": (("student, begun with its teacher", "labelled tenth"),),
    "cross": (("taught by pictures", "all labels"),),
    "one_run": (),
    "init": (("200 rows, fine-tuned", "200 rows"), ("200 rows, linear probe", "200 rows")),
}


def over_seeds(hits: dict[int, Floats]) -> tuple[Estimate, float]:
    """The mean accuracy of the seeds with its interval over rows, and the seeds' deviation."""
    each = np.stack(list(hits.values()))
    values = each.mean(axis=0)
    deviation = float(each.mean(axis=1).std(ddof=1)) if len(each) > 1 else 0.0
    return estimate(mean_value, values, values, replicate_weights(len(values), seed=0)), deviation


def show(bench: Bench, parts: list[str]) -> None:
    """Markdown tables."""
    print("\n| model | accuracy, mean of seeds (95 % over rows) | sd of seeds | seconds a seed |\n|---|---|---|---|")
    for name, hits in bench.hits.items():
        value, deviation = over_seeds(hits)
        seconds = bench.seconds[name.rpartition(", read from")[0]] / len(hits)
        print(f"| {name} | {value.value:.3f} ({value.low:.3f} to {value.high:.3f}) | {deviation:.3f} | {seconds:.0f} |")
    print("\n| read from audio, paired | difference (95 % over rows) |\n|---|---|")
    for part in parts:
        for one, other in COMPARED[part]:
            a, b = (bench.hits.get(f"{name}, read from audio", {}) for name in (one, other))
            both = sorted(set(a) & set(b))
            if both:
                gap, _ = over_seeds({seed: a[seed] - b[seed] for seed in both})
                print(f"| {one} − {other} | {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}) |")
    if {"taught by pictures, read from audio", "all labels, read from audio"} <= set(bench.hits):
        reached, whole = (over_seeds(bench.hits[f"{name}, read from audio"])[0].value
                          for name in ("taught by pictures", "all labels"))
        print(f"\nof the distance between chance and full labels: {(reached - CHANCE) / (whole - CHANCE):.0%}")


def main() -> None:
    """Run the parts for every seed; tables after each seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", nargs="+", default=["distil", "cross"], choices=list(PARTS))
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(given.folder, Path(work), given.out)
        for seed in range(given.seeds):
            for part in given.part:
                bench.run(part, seed)
            print(f"\nafter seed {seed}", flush=True)
            show(bench, given.part)


if __name__ == "__main__":
    main()
