"""What storing a frozen encoder's features costs the first time, and what an epoch over them takes.

    python benchmarks/frozen.py TABLE --target diagnosis --encoder image=FOLDER [--set image.height=112 …] [--rows 1000]

The first pass (digests, batches, the encoder, writing) is measured against the bare transformers model on the same
decoded pictures in equal batches, interleaved in three parts. The epoch is of all rows, with augmentation of the other
modalities, subset sampling and optimiser, over the stored features.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from sensorium.cli.options import listed, pairs, settings_of
from sensorium.data.cache.token_cache import TokenCache
from sensorium.data.cells import Arrays
from sensorium.data.read import Data, read
from sensorium.data.samples import Samples
from sensorium.encoders.pretrained import PretrainedEncoder
from sensorium.features import with_stored_features
from sensorium.keyed import Draws
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.console import Quiet
from sensorium.training.distributed import Device
from sensorium.training.loop import make_optimizer, train_step
from sensorium.training.prepare import prepare

PARTS = 3
BATCH = 16


def part_of(samples: Samples, name: str, cells: range) -> Samples:
    """The samples with only some cells of a modality."""
    whole = samples.cells[name]
    arrays = Arrays(whole.arrays.get(cells), whole.kind, [whole.arrays.sources[c] for c in cells])
    part = dataclasses.replace(whole, arrays=arrays, lengths=whole.lengths[cells.start : cells.stop],
                               identities=whole.identities[cells.start : cells.stop])
    return dataclasses.replace(samples, cells={**samples.cells, name: part})


def bare(encoder: PretrainedEncoder, samples: Samples, name: str) -> float:
    """Seconds of the bare model's forward passes over the same cells."""
    cells = samples.cells[name]
    spent = 0.0
    with torch.inference_mode():
        for start in range(0, len(cells.arrays), BATCH):
            arrays = cells.arrays.get(range(start, min(start + BATCH, len(cells.arrays))))
            pixels = encoder.backbone.pixels(cells.kind.collate(arrays).values)
            begun = time.perf_counter()
            encoder.backbone.model(pixel_values=pixels)
            spent += time.perf_counter() - begun
    return spent


def main() -> None:
    """Print the ratio, the epoch and the difference of predictions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--target", required=True)
    parser.add_argument("--ignore", action="append")
    parser.add_argument("--encoder", action="append", required=True)
    parser.add_argument("--set", action="append")
    parser.add_argument("--rows", type=int, default=960)
    given = parser.parse_args()
    [(name, folder)] = pairs(given.encoder, "--encoder", "photo=FOLDER").items()
    data = read(given.table, targets=listed([given.target]), ignore=listed(given.ignore),
                settings=settings_of(given.set))
    recipe = Recipe().changed("model", encoders={name: {"name": folder}}).model_copy(update={"data": data.options})
    prepared = prepare(Data(data.table, data.options), recipe, console=Quiet(), allow_leak=True, strict=False)
    model = Model(prepared.samples.schema, recipe).eval()
    encoder = model.encoders[model.schema.names.index(name)]
    assert isinstance(encoder, PretrainedEncoder)
    with tempfile.TemporaryDirectory() as root:
        times: list[tuple[float, float]] = []
        for cells in np.array_split(np.arange(given.rows), PARTS):
            part = part_of(prepared.samples, name, range(int(cells[0]), int(cells[-1]) + 1))
            plain = bare(encoder, part, name)
            begun = time.perf_counter()
            with_stored_features(model, part, cache=TokenCache(Path(root)))
            times.append((plain, time.perf_counter() - begun))
        first, second = (sum(column) for column in zip(*times, strict=True))
        print(f"first pass over {given.rows} cells: bare model {first:.1f} s, stored {second:.1f} s, ratio "
              f"{second / first:.2f} (parts {', '.join(f'{b / a:.2f}' for a, b in times)})", flush=True)
    stored = with_stored_features(model, prepared.samples)
    rows = np.arange(len(stored))
    options, device, optimizer = recipe.training, Device(), make_optimizer(model, recipe.training)
    begun = time.perf_counter()
    for batch in np.array_split(rows[Draws(0, 0, rows).order("order")], len(rows) // options.batch_size):
        train_step(model, model, optimizer, stored, batch, epoch=0, lr=1e-3, device=device)
    print(f"an epoch over the stored features of {len(rows)} rows: {time.perf_counter() - begun:.1f} s", flush=True)
    everything = frozenset(model.schema.names)
    some = rows[:256]
    target = model.schema.targets[0].name
    both = [torch.from_numpy(model.outputs(one, some, [everything], complete=False)[target][everything]).softmax(dim=1)
            for one in (prepared.samples, stored)]
    print(f"largest difference of a probability with and without: {float((both[0] - both[1]).abs().max()):.1e}")


if __name__ == "__main__":
    main()
