"""An exported model beside the same in torch: how far its answers are off on every subset, and how quick it is.

    sensorium demo --rows 1500 --epochs 4 --folder runs/demo        (or any run)
    sensorium export runs/demo --onnx out
    python benchmarks/exported.py runs/demo out runs/demo/world/test.csv

One thread each, cells decoded before, the two interleaved in one process; medians.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sensorium.data.read import as_samples
from sensorium.data.samples import Samples
from sensorium.exporting.parity import Compared, compare
from sensorium.model import Model
from sensorium.runtime import Runtime
from sensorium.runtime.rows import decoded_rows, given_rows, read_rows

TRIES = 15


def main(run: str, exported: str, table: str) -> None:
    """Print both."""
    torch.set_num_threads(1)
    model, runtime = Model.load(run), Runtime.load(exported, threads=1)
    samples = as_samples(table, model.schema)
    own = decoded_rows(read_rows(table), model.schema)
    parity = compare(model, runtime, [Compared(Path(table).name, samples, own)])
    print(f"parity: {len(samples)} rows, {parity.subsets} subsets of {', '.join(model.schema.names)}: at most "
          f"{parity.largest:.1e} off in {parity.numbers:,} numbers")
    for count in (1, 16, 64):
        some = _rows(table, count, model)
        ours, theirs = _both(lambda some=some: runtime.answers(some), lambda some=some: model.answers(some))
        print(f"{count} rows: torch {1e3 * theirs:.1f} ms, runtime {1e3 * ours:.1f} ms, {theirs / ours:.2f} times as "
              f"quick")


def _rows(table: str, count: int, model: Model) -> Samples:
    """The first rows of a table, again from the start where there are not enough."""
    rows = read_rows(table)
    given = [dict(rows.rows[number % len(rows)]) for number in range(count)]
    return decoded_rows(given_rows(given, rows.root), model.schema)


def _both(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of each, one after the other."""
    seconds: list[list[float]] = [[], []]
    for _ in range(TRIES):
        for place, call in enumerate((first, second)):
            start = time.perf_counter()
            call()
            seconds[place].append(time.perf_counter() - start)
    return float(np.median(seconds[0])), float(np.median(seconds[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
