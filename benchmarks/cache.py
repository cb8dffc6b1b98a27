"""How quickly stored tokens are written and read: 5,984 cells of 16 tokens of width 2048, 392 MB as float16.

An epoch gathers them in random order, in batches of 64, and converts each batch to float32. Beside it the same from
one big array: loaded whole with np.load, and mapped with np.load(mmap_mode="r"). Writing (checksums and flushing to the
disk included) is compared with what the tokens cost: the forward time of a ResNet-50 at 112 px, extrapolated from some
batches.

    python benchmarks/cache.py [FOLDER]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sensorium.data.cache.digest import content_digest
from sensorium.data.cache.token_cache import CacheKey, TokenCache

CELLS, TOKENS, WIDTH, BATCH = 5984, 16, 2048, 64
KEY = CacheKey("resnet50", "benchmark", {}, TOKENS)


def epoch(read: Callable[[np.ndarray], np.ndarray], seed: int) -> float:
    """Seconds of one pass in random order."""
    order = np.random.default_rng(seed).permutation(CELLS)
    started, total = time.perf_counter(), 0.0
    for start in range(0, CELLS, BATCH):
        total += float(torch.from_numpy(read(order[start : start + BATCH])).float()[0, 0, 0])
    assert np.isfinite(total)
    return time.perf_counter() - started


def forward_seconds() -> float:
    """Seconds of a ResNet-50's forward passes over all cells, from three batches after a warm-up."""
    from transformers import ResNetConfig, ResNetModel

    model, pictures, times = ResNetModel(ResNetConfig()).eval(), torch.rand(BATCH, 3, 112, 112), []
    with torch.inference_mode():
        for _ in range(4):
            started = time.perf_counter()
            model(pictures)
            times.append(time.perf_counter() - started)
    return float(np.median(times[1:])) * CELLS / BATCH


def write(cache: TokenCache, digests: list[str], values: np.ndarray) -> float:
    """Seconds that asking, adding and flushing take, batch by batch, as a first pass does it."""
    mask, span = np.ones((BATCH, TOKENS), dtype=bool), np.zeros((BATCH, TOKENS, 4), dtype=np.float32)
    started = time.perf_counter()
    with cache.open(KEY) as store:
        for start in range(0, CELLS, BATCH):
            cells = slice(start, min(CELLS, start + BATCH))
            count = len(store.missing(digests[cells]))
            store.add(digests[cells], values[cells].astype(np.float32), mask[:count], span[:count])
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", help="where to write (it is left empty)")
    folder = parser.parse_args().folder
    values = np.random.default_rng(0).normal(size=(CELLS, TOKENS, WIDTH)).astype(np.float16)
    digests = [content_digest(f"cell {number}") for number in range(CELLS)]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        cache = TokenCache(Path(place), limit_bytes=1e9)
        forward, written = forward_seconds(), write(cache, digests, values)
        print(f"writing {cache.num_bytes / 1e6:.0f} MB: {written:.2f} s, {100 * written / forward:.1f} % of the "
              f"forward passes ({forward:.0f} s, {torch.get_num_threads()} threads)")
        started = time.perf_counter()
        store = cache.open(KEY)
        positions = store.find(digests)
        print(f"opening and checking every byte: {time.perf_counter() - started:.2f} s")
        np.save(Path(place) / "all.npy", values)
        started = time.perf_counter()
        whole = np.load(Path(place) / "all.npy")
        print(f"np.load of one array: {time.perf_counter() - started:.2f} s")
        mapped = np.load(Path(place) / "all.npy", mmap_mode="r")
        readers: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "the cache": lambda cells: store.gather(positions[cells]).values,
            "one array in memory": lambda cells: whole[cells],
            "one array mapped": lambda cells: mapped[cells]}
        seconds = {name: min(epoch(read, seed) for seed in range(4)) for name, read in readers.items()}
        for name, best in seconds.items():
            print(f"an epoch from {name}: {best:.3f} s; the cache's is {seconds['the cache'] / best:.2f} times that")
        if sys.platform == "linux":
            del store
            for path in Path(place).rglob("*.tokens"):
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            started = time.perf_counter()
            store = cache.open(KEY)
            positions = store.find(digests)
            print(f"opening and checking when nothing is in the page cache: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
