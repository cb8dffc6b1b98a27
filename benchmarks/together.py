"""What it saves to put questions about one picture into the same batch: steps a second, interleaved, in one process.

    python benchmarks/together.py [--data ../shared/data/easy_vqa] [--steps 40] [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from sensorium.data.read import Data
from sensorium.data.table import read_table
from sensorium.keyed import Draws
from sensorium.model import Model
from sensorium.recipe import DataOptions, Recipe
from sensorium.training.console import Quiet
from sensorium.training.distributed import Device
from sensorium.training.loop import make_optimizer, train_step
from sensorium.training.prepare import prepare
from sensorium.training.together import put_together, shared_cells


def main() -> None:
    """Time both orders, round by round."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data/easy_vqa"))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe.read(Path(__file__).parents[1] / "recipes" / "qa.yaml")
    data = Data(read_table(given.data / "train.csv"), DataOptions(targets=("answer",)))
    prepared = prepare(data, recipe, console=Quiet(), allow_leak=False, strict=False)
    rows, size = prepared.splits.train, recipe.training.batch_size
    shared = shared_cells(prepared.samples, rows)
    assert shared is not None
    order = rows[Draws(0, 0, rows).order("order")]
    orders = {"as drawn": order, "together": put_together(order, shared)}
    model = Model(prepared.samples.schema, recipe)
    optimizer, device = make_optimizer(model, recipe.training), Device()
    seconds: dict[str, list[float]] = {name: [] for name in orders}
    for _ in range(given.rounds):
        for name, own in orders.items():
            begun = time.process_time()
            for step in range(given.steps):
                train_step(model, model, optimizer, prepared.samples, own[step * size : (step + 1) * size], epoch=0,
                           lr=1e-4, device=device)
            seconds[name].append((time.process_time() - begun) / given.steps)
    for name, own in orders.items():
        distinct = np.mean([len(np.unique(shared[own[step * size : (step + 1) * size]])) for step in range(100)])
        print(f"{name}: {1000 * np.median(seconds[name]):.0f} ms a step of {size} questions about {distinct:.0f} "
              f"pictures")
    ratios = np.array(seconds["together"]) / np.array(seconds["as drawn"])
    print(f"together over as drawn: {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


if __name__ == "__main__":
    main()
