"""Absent modalities, imputed or not, of models trained with and without sampling of subsets.

Three sets: tables a and b of two numbers each, b being a with a little noise, whose label is whether both have the same
sign (one label in twenty is wrong); a scene world in which every modality shows the same two bits with noise of its
own; and pictures with sounds of digits (avdigits), half of whose training rows have no sound. A row's subset is imputed
only where validation kept that pattern; elsewhere both columns are the same model's same answers. The last column is
the paired difference in accuracy on the test rows with its 95 % interval.

    python benchmarks/imputation.py [--avdigits ../shared/data/avdigits] [--seeds 1] [--only tables|scene|avdigits]
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np

from sensorium.answers import predictions
from sensorium.data.read import Data, as_samples, read
from sensorium.data.samples import Samples
from sensorium.demo import write_world
from sensorium.demo.scene import Bit, Channel, Plan
from sensorium.keyed import Draws
from sensorium.metrics.classification import log_losses
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.console import Quiet
from sensorium.training.fit import fit

SHOWN = (("image", "colour", "size"), ("caption", "colour", "time"), ("table", "temperature", "hour"))
WORLD = Plan(
    name="repeated", bits=(Bit("east"), Bit("south")),
    channels=tuple(Channel(modality, slot, (bit,), wrong=0.03, hidden=0.05)
                   for modality, *slots in SHOWN for slot, bit in zip(slots, ("east", "south"), strict=True)),
    target=(("east",), ("south",)), labels=("harbour", "meadow", "quarry", "village"),
    modalities=("image", "caption", "table"))
SAMPLING = {"on": {}, "off": {"p_full": 1.0, "singles": False}}


def two_tables(target: Path, *, rows: int, seed: int) -> Path:
    """Two modalities that say the same."""
    random = np.random.default_rng(seed)
    first = random.normal(size=(rows, 2))
    second = first + 0.1 * random.normal(size=(rows, 2))
    same = (first.prod(axis=1) > 0) != (random.random(rows) < 0.05)
    lines = [",".join([*(f"{x:.3f}" for x in (*a, *b)), "yes" if y else "no"])
             for a, b, y in zip(first, second, same, strict=True)]
    target.write_text("\n".join(["a1,a2,b1,b2,label", *lines]) + "\n", encoding="utf-8")
    return target


def half_silent(table: Path, target: Path) -> Path:
    """The training table with the sound of half of its rows left out, keyed by the row, and whole paths."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    silent = Draws(0, 0, np.arange(len(rows))).uniform("silent") < 0.5
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        for row, without in zip(rows, silent, strict=True):
            row["image"] = str((table.parent / row["image"]).resolve())
            row["audio"] = "" if without else str((table.parent / row["audio"]).resolve())
            writer.writerow(row)
    return target


def measured(model: Model, samples: Samples, truth: np.ndarray) -> dict[frozenset[str], tuple[np.ndarray, np.ndarray]]:
    """Subset → whether each row is right, and its log-loss."""
    names, (target,) = model.schema.names, model.schema.targets
    subsets = [frozenset(some) for size in range(1, len(names) + 1) for some in combinations(names, size)]
    outputs = model.outputs(samples, np.arange(len(samples)), subsets)[target.name]
    found = {}
    for subset in subsets:
        probabilities = predictions(target, outputs[subset], temperature=model.temperatures[target.name], balance=False)
        found[subset] = probabilities.argmax(axis=1) == truth, log_losses(truth, probabilities)
    return found


def compare(name: str, data: Data, test: Path, *, epochs: int, seed: int, width: int = 96) -> None:
    """Two models on one set: with and without sampling of subsets."""
    for sampling, options in SAMPLING.items():
        started, cpu = time.monotonic(), time.process_time()
        recipe = Recipe().changed("model", impute=True, width=width).changed(
            "training", epochs=epochs, seed=seed, refit="never", **options)
        model = fit(data, recipe, console=Quiet())
        samples = as_samples(test, model.schema)
        truth = samples.labels[model.schema.targets[0].name].values
        with_it, imputer = measured(model, samples, truth), model.imputer
        model.imputer = None
        without = measured(model, samples, truth)
        for subset, (right, losses) in without.items():
            imputed = frozenset() if imputer is None else imputer.accepted.get(subset, frozenset())
            better = with_it[subset][0].astype(float) - right
            error = 1.96 * better.std(ddof=1) / len(better) ** 0.5
            words = " + ".join(n for n in model.schema.names if n in subset)
            print(f"| {name} | {sampling} | {words} | {' + '.join(sorted(imputed)) or '–'} | {right.mean():.3f} | "
                  f"{with_it[subset][0].mean():.3f} | {losses.mean():.3f} | {with_it[subset][1].mean():.3f} | "
                  f"{better.mean():+.3f} ± {error:.3f} |", flush=True)
        facts = model.facts["imputation"]
        told = "; ".join(f"{key} → {' + '.join(one['imputed'])} {one['gain']:+.3f} ({one['low']:+.3f} to "
                         f"{one['high']:+.3f})" for key, one in facts["patterns"].items()) or "none worth confirming"
        print(f"  {name}, sampling {sampling}, seed {seed}: validation gains: {told}; imputer of "
              f"{facts['parameters']:,} parameters, best at step {facts['step']}; {time.monotonic() - started:.0f} s, "
              f"{time.process_time() - cpu:.0f} s of CPU", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--avdigits", type=Path, default=Path("../shared/data/avdigits"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--only", choices=["tables", "scene", "avdigits"])
    given = parser.parse_args()
    print("| set | subsets sampled | present | imputed | accuracy without | with | log-loss without | with | gain in "
          "accuracy |\n" + 9 * "|---" + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(given.seeds):
            if given.only in (None, "tables"):
                table = two_tables(Path(folder) / "tables.csv", rows=2000, seed=2 * seed)
                data = read(table, targets="label", modalities={"a": ["a1", "a2"], "b": ["b1", "b2"]})
                test = two_tables(Path(folder) / "tables_test.csv", rows=2000, seed=2 * seed + 1)
                compare("tables", data, test, epochs=given.epochs + 2, seed=seed, width=32)
            if given.only in (None, "scene"):
                world = write_world(Path(folder) / "scene", plan=WORLD, rows=1500, test_rows=2000)
                data = read(world.train, targets=world.target)
                compare("scene", data, world.test, epochs=2 * given.epochs, seed=seed)
                print(f"  scene: Bayes accuracy {world.ceilings}", flush=True)
            if given.only in (None, "avdigits"):
                table = half_silent(given.avdigits / "train.csv", Path(folder) / "train.csv")
                data = read(table, targets="digit", tasks={"digit": "classify"}, group="speaker", allow_outside=True)
                compare("avdigits", data, given.avdigits / "test.csv", epochs=given.epochs, seed=seed)


if __name__ == "__main__":
    main()
