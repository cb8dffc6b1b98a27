"""Trained with noise and missing sounds in mind: is a noisy or an absent sound ever worse than none?

    python benchmarks/damaged.py [--seeds 0 1 2 3 4] [--data ../shared/data/avdigits] [--out FOLDER]

For every seed two models of avdigits: one of image and audio, trained with `noise: {audio: 0.5}` (sounds down to 0 dB)
and `expect: {audio: 0.3}`, and one of the image alone, trained alike. Test rows (two unseen speakers): image and clean
sound, image and sound at 0 dB, image with the sound absent, and what the default training without any of it has there
(--plain). Each minus the image-only model, paired over rows, whose hits are averaged over the seeds; the interval
resamples rows. With --out the models are kept, and read again by a second call.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sensorium.data.batch import make_batch
from sensorium.data.read import as_samples, read
from sensorium.data.samples import Samples
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import estimate, mean_value, replicate_weights
from sensorium.model import INFERENCE_BATCH, Model
from sensorium.recipe import Recipe
from sensorium.training.fit import fit

ZERO_DECIBEL = 0.5
WAYS = {
    "in mind": {"noise": {"audio": ZERO_DECIBEL}, "expect": {"audio": 0.3}},
    "plain": {},
    "image alone": {},
}


def main() -> None:
    """Train, score, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--data", default="../shared/data/avdigits", type=Path)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in given.seeds:
            for way in [way for way in WAYS if way != "plain" or given.plain]:
                started = time.monotonic()
                model = trained(way, seed, given, (given.out or Path(temporary)) / f"{way.replace(' ', '_')}_{seed}")
                for name, hits in scored(model, given.data / "test.csv").items():
                    found.setdefault(f"{way}: {name}", []).append(hits)
                print(f"seed {seed}, {way}: {time.monotonic() - started:.0f} s; "
                      f"{', '.join(f'{name} {hits[-1].mean():.3f}' for name, hits in found.items())}", flush=True)
            told(found)


def trained(way: str, seed: int, given: argparse.Namespace, folder: Path) -> Model:
    """A model, or the one that is kept."""
    if folder.exists():
        return Model.load(folder)
    recipe = Recipe().changed("training", seed=seed, epochs=given.epochs, **WAYS[way])
    data = read(given.data / "train.csv", targets="digit", group="speaker",
                **({"inputs": ["image"]} if way == "image alone" else {}))
    model = fit(data, recipe, progress=False)
    model.save(folder)
    return model


def scored(model: Model, table: Path) -> dict[str, np.ndarray]:
    """What is shown → (row,) whether the model is right."""
    samples = as_samples(table, model.schema)
    truth = samples.labels["digit"].values
    rows = np.arange(len(samples))
    image, names = frozenset({"image"}), frozenset(model.schema.names)
    if len(names) == 1:
        return {"image": (model.outputs(samples, rows, [image])["digit"][image].argmax(axis=1) == truth).astype(float)}
    raw = model.outputs(samples, rows, [names, image])["digit"]
    shown = {"clean": raw[names], "0 dB": noisy(model, samples), "absent": raw[image]}
    return {name: (values.argmax(axis=1) == truth).astype(float) for name, values in shown.items()}


def noisy(model: Model, samples: Samples) -> np.ndarray:
    """(row, class_) outputs with every sound at 0 dB."""
    kind = samples.schema.modality("audio").kind
    parts = []
    model.eval()
    for start in range(0, len(samples), INFERENCE_BATCH):
        rows = np.arange(start, min(len(samples), start + INFERENCE_BATCH))
        batch = make_batch(samples, rows)
        packed = batch.inputs["audio"]
        cells = np.unique(samples.cells["audio"].cells_of_row[rows])
        identities = samples.cells["audio"].identities[cells[cells >= 0]]
        hurt = kind.corrupt(packed.inputs, ZERO_DECIBEL, Draws(0, 0, identities))
        with torch.inference_mode():
            encoded = model.encode(replace(batch, inputs={**batch.inputs, "audio": replace(packed, inputs=hurt)}))
            fused, _ = model.fuse(encoded)
            assert fused is not None
            parts.append(model.objectives()[0].outputs(fused).numpy())
    return np.concatenate(parts)


def told(found: dict[str, list[np.ndarray]]) -> None:
    """Means over the seeds, and each line minus the image-only model."""
    alone = np.mean(found["image alone: image"], axis=0)
    weights = replicate_weights(len(alone), seed=0)
    print(f"\n| {len(found['image alone: image'])} seeds | accuracy | minus image alone, paired |\n|---|---|---|")
    for name, hits in found.items():
        gain = np.mean(hits, axis=0) - alone
        gap = estimate(mean_value, gain, gain, weights)
        spread = np.std([one.mean() for one in hits], ddof=1) if len(hits) > 1 else float("nan")
        print(f"| {name} | {np.mean(hits):.3f} ± {spread:.3f} | {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}) |",
              flush=True)


if __name__ == "__main__":
    main()
