"""How long a training step takes under different OpenMP settings: alone, and beside a process that uses a core.

Each setting runs in a fresh process (the settings must be there before torch is imported). avdigits, batch 64.

    python benchmarks/threads.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SETTINGS = {
    "two threads, as torch is": {"OMP_NUM_THREADS": "2"},
    "two threads, spin 20,000 (the commands' setting)": {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "20000"},
    "two threads, passive": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
STEPS = 25


def child() -> None:
    """Print the median seconds of a step."""
    import sensorium as sm
    from sensorium.model import Model
    from sensorium.recipe import Recipe
    from sensorium.training.console import Quiet
    from sensorium.training.distributed import Device
    from sensorium.training.loop import make_optimizer, train_step
    from sensorium.training.prepare import prepare

    table = Path(os.environ.get("SENSORIUM_DATA", "../shared/data")) / "avdigits" / "train.csv"
    data = sm.read(table, targets="digit", group="speaker")
    recipe = Recipe().changed("training", workers=0)
    prepared = prepare(data, recipe, console=Quiet(), allow_leak=False, strict=False)
    model, device = Model(prepared.samples.schema, recipe), Device()
    optimizer = make_optimizer(model, recipe.training)
    times = []
    for step in range(STEPS):
        rows = prepared.splits.train[64 * step : 64 * (step + 1)]
        started = time.perf_counter()
        train_step(model, model, optimizer, prepared.samples, rows, epoch=0, lr=1e-3, device=device)
        times.append(time.perf_counter() - started)
    print(statistics.median(times[3:]))


def main() -> None:
    """Measure every setting, alone and beside a busy process."""
    for beside in (False, True):
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside else None
        for name, setting in SETTINGS.items():
            done = subprocess.run([sys.executable, __file__, "child"], env={**os.environ, **setting}, check=True,
                                  capture_output=True, text=True)
            where = "beside a busy process" if beside else "alone"
            print(f"{where}: {name}: {1000 * float(done.stdout):.0f} ms a step",
                  flush=True)
        if busy is not None:
            busy.kill()


if __name__ == "__main__":
    child() if sys.argv[1:] == ["child"] else main()
