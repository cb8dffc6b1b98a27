"""What imports and --help cost: medians of interleaved runs, each a fresh process.

    python benchmarks/imports.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 7
SCRIPTS = {
    "import torch": "import torch",
    "import sensorium": "import sensorium",
    "sensorium.read, fit, Model": "import sensorium; sensorium.read, sensorium.fit, sensorium.Model",
    "sensorium --help": "import sys; sys.argv = ['sensorium', '--help']; from sensorium.cli.main import main; main()",
    "sensorium inspect --help":
        "import sys; sys.argv = ['sensorium', 'inspect', '--help']; from sensorium.cli.main import main; main()",
}


def main() -> None:
    """Time every script, interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in SCRIPTS}
    for run in range(RUNS + 1):
        for name, script in SCRIPTS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", script], check=False, stdout=subprocess.DEVNULL)
            if run:
                seconds[name].append(time.perf_counter() - started)
    torch = seconds["import torch"]
    for name, values in seconds.items():
        ratios = [value / base for value, base in zip(values, torch, strict=True)]
        print(f"{name}: {statistics.median(values):.2f} s, {statistics.median(ratios):.2f} × import torch")


if __name__ == "__main__":
    main()
