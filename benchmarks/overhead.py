"""What sensorium's training loop costs over a bare PyTorch loop: the same model, batch 64, on avdigits.

The bare loop has every batch ready in memory as tensors, subsets included, and does forward, backward, clipping and the
optimiser step, nothing else. sensorium's loop packs its batches from decoded cells, draws subsets, sets the learning
rate, and (in the second line) augments. Five interleaved runs of each; the median of the ratios is printed.

    python benchmarks/overhead.py [TABLE]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import sensorium as sm
from sensorium.data.batch import make_batch
from sensorium.keyed import Draws
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.console import Quiet
from sensorium.training.distributed import Device
from sensorium.training.loop import make_optimizer, train_step
from sensorium.training.prepare import Prepared, prepare
from sensorium.training.subsets import sample_subsets

STEPS, RUNS = 25, 5


def bare_loop(model: Model, prepared: Prepared, batches: list[np.ndarray]) -> float:
    """Seconds a step of a plain loop over ready tensors."""
    options = model.recipe.training
    optimizer = make_optimizer(model, options)
    ready = []
    for rows in batches:
        drawn = sample_subsets(prepared.samples.presence[rows], Draws(0, 0, rows), options, model.schema.names)
        ready.append((make_batch(prepared.samples, rows), [torch.from_numpy(presence) for presence in drawn]))
    model.train()
    started = time.perf_counter()
    for batch, drawn in ready:
        loss = model(batch, *drawn).total
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip, foreach=True)
        optimizer.step()
    return (time.perf_counter() - started) / len(batches)


def our_loop(model: Model, prepared: Prepared, batches: list[np.ndarray], device: Device) -> float:
    """Seconds a step of sensorium's training step."""
    optimizer = make_optimizer(model, model.recipe.training)
    started = time.perf_counter()
    for rows in batches:
        train_step(model, model, optimizer, prepared.samples, rows, epoch=0, lr=1e-3, device=device)
    return (time.perf_counter() - started) / len(batches)


def measure(table: Path, augmentation: float) -> None:
    """Print the median step times and their ratio."""
    recipe = Recipe().changed("data", targets=("digit",), group="speaker",
                              settings={n: {"augmentation": augmentation} for n in ("image", "audio")})
    data = sm.Data(sm.read(table).table, recipe.data)
    prepared = prepare(data, recipe, console=Quiet(), allow_leak=False, strict=False)
    model, device = Model(prepared.samples.schema, recipe), Device()
    rows = prepared.splits.train[Draws(0, 0, prepared.splits.train).order("order")]
    batches = [rows[64 * step : 64 * (step + 1)] for step in range(STEPS)]
    bare, ours = [], []
    for run in range(RUNS + 1):  # the first is a warm-up
        pair = (bare_loop(copy.deepcopy(model), prepared, batches), our_loop(copy.deepcopy(model), prepared, batches,
                                                                             device))
        if run:
            bare.append(pair[0])
            ours.append(pair[1])
    ratios = [b / a for a, b in zip(bare, ours, strict=True)]
    print(f"augmentation {augmentation:g}: bare {1000 * statistics.median(bare):.1f} ms, sensorium "
          f"{1000 * statistics.median(ours):.1f} ms a step, ratio {statistics.median(ratios):.3f} "
          f"({min(ratios):.3f} to {max(ratios):.3f}), {torch.get_num_threads()} threads")


def main() -> None:
    """Measure without and with augmentation."""
    default = Path(os.environ.get("SENSORIUM_DATA", "../shared/data")) / "avdigits" / "train.csv"
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path, nargs="?", default=default)
    table = parser.parse_args().table
    if not table.exists():
        print(f"skipped: {table} is not here (set SENSORIUM_DATA)")
        return
    for augmentation in (0.0, 1.0):
        measure(table, augmentation)


if __name__ == "__main__":
    main()
