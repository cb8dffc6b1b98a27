"""CCA beside scikit-learn, cca-zoo and mvlearn: seconds, correlations, memory.

Every fit runs in a process of its own, all with the same number of BLAS threads and at most 20 GB of address space. The
seconds are the median of some fits after one that is not counted; of fits under a second, the least median of three
such processes, taken in turns. Correlations are those of the variates on the same rows. Peers other than scikit-learn
are looked for in environments of their own, given by --peers. The last part fits a million rows of 512 + 512 float32
columns from a memory map (4 GB, in a temporary folder) beside the float64 matrix products that any one-pass solution
needs; its memory is RssAnon (pages of no file), which leaves out the page cache.

    python benchmarks/cca.py [--peers PYTHON …] [--mfeat FOLDER] [--threads 1] [--rows 1000000] [--skip-large]

PYTHON has cca-zoo or mvlearn installed; FOLDER has mfeat-fou.csv and others, as in mvlearn/datasets/UCImultifeature.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

COMPONENTS = 10
MEMORY = 20 * 2**30
PATIENCE = 900
ROUNDS, QUICK = 3, 1.0
SIZES = {"2,000 × (100 + 100)": (2_000, 100, 100), "10,000 × (100 + 100)": (10_000, 100, 100),
         "500 × (1,000 + 1,000)": (500, 1_000, 1_000), "20,000 × (512 + 512)": (20_000, 512, 512),
         "100,000 × (256 + 256)": (100_000, 256, 256)}
MODULES = {"sensorium": "sensorium", "scikit-learn": "sklearn", "cca-zoo": "cca_zoo", "mvlearn": "mvlearn"}


def planted(rows: int, x_width: int, y_width: int, *, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Columns of standard normal noise; the first 20 of both views share latents, correlating from .9 down to .1."""
    draws = np.random.default_rng([start, 1])
    x, y = (draws.standard_normal((rows, width), dtype=np.float32) for width in (x_width, y_width))
    rho = np.linspace(0.9, 0.1, 20, dtype=np.float32)
    shared = draws.standard_normal((rows, 20), dtype=np.float32) * np.sqrt(rho)
    x[:, :20] = x[:, :20] * np.sqrt(1 - rho) + shared
    y[:, :20] = y[:, :20] * np.sqrt(1 - rho) + shared
    return x, y


def estimator(name: str) -> Any:
    """An unfitted CCA of COMPONENTS pairs."""
    if name == "sensorium":
        from sensorium.alignment import CCA

        return CCA(n_components=COMPONENTS)
    if name == "scikit-learn":
        from sklearn.cross_decomposition import CCA

        return CCA(n_components=COMPONENTS)
    if name == "cca-zoo":
        from cca_zoo.linear import CCA

        return CCA(n_components=COMPONENTS)
    from mvlearn.embed import CCA

    return CCA(n_components=COMPONENTS)


def work_small(name: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Fit a pair of views several times."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    x, y = (np.load(folder / f"{view}.npy") for view in "xy")
    views = (x, y) if name in {"sensorium", "scikit-learn"} else ([x, y],)
    seconds = []
    while len(seconds) <= repeats or sum(seconds) < 1:
        started = time.perf_counter()
        fitted = estimator(name).fit(*views)
        seconds.append(time.perf_counter() - started)
        if seconds[0] > 20:
            break
    a, b = fitted.transform(*views)
    found = [float(np.corrcoef(a[:, i], b[:, i])[0, 1]) for i in range(COMPONENTS)]
    return {"seconds": statistics.median(seconds[1:] or seconds), "correlations": found}


def work_large(folder: Path, rows: int) -> dict[str, Any]:
    """Fit the memory map, and do its float64 products alone, block by block."""
    from sensorium.alignment import CCA
    from sensorium.alignment.blocks import BLOCK_VALUES

    x, y = (np.memmap(folder / view, dtype=np.float32, mode="r", shape=(rows, 512)) for view in "xy")
    CCA(n_components=1).fit(x[:50, :4], y[:50, :4])
    for view in (x, y):
        for start in range(0, rows, 10_000):
            view[start : start + 10_000].sum()
    with AnonymousMemory() as memory:
        started = time.perf_counter()
        fitted = CCA(n_components=COMPONENTS).fit(x, y)
        seconds = time.perf_counter() - started
    products, reading = 0.0, time.perf_counter()
    total = [np.zeros((512, 512)) for _ in range(3)]
    step = BLOCK_VALUES // 1024
    for start in range(0, rows, step):
        a, b = (np.array(view[start : start + step], dtype=np.float64) for view in (x, y))
        begun = time.perf_counter()
        for sum_, left, right in zip(total, (a, a, b), (a, b, b)):
            sum_ += left.T @ right
        products += time.perf_counter() - begun
    reading = time.perf_counter() - reading
    return {"seconds": seconds, "products": products, "with reading": reading, "memory": memory.most - memory.before,
            "before": memory.before, "correlations": fitted.correlations_.tolist()}


class AnonymousMemory:
    """The largest RssAnon of this process, every 10 ms: pages of no file (those of a memory map count as RssFile)."""

    def __enter__(self) -> AnonymousMemory:
        self.before = self.most = self._now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.most = max(self.most, self._now())

    @staticmethod
    def _now() -> int:
        [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssAnon")]
        return int(line.split()[1]) * 1024


def child(python: str, words: list[str], threads: int) -> dict[str, Any] | str:
    """What a worker answers, or why there is no answer."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    try:
        done = subprocess.run([python, "-W", "ignore", __file__, "--worker", *words], capture_output=True, text=True,
                              env={**os.environ, **dict.fromkeys(names, str(threads))}, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"not in {PATIENCE} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["killed"])[-1][:60]
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def pythons(peers: list[str]) -> dict[str, str]:
    """Which interpreter has which peer."""
    found = {"sensorium": sys.executable, "scikit-learn": sys.executable}
    for python in peers:
        for name in ("cca-zoo", "mvlearn"):
            code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{MODULES[name]}') is None)"
            if subprocess.run([python, "-c", code], check=False).returncode == 0:
                found[name] = python
    return found


def compare(what: str, x: np.ndarray, y: np.ndarray, found: dict[str, str], threads: int) -> None:
    """Print a line for one pair of views."""
    with tempfile.TemporaryDirectory() as folder:
        for view, values in zip("xy", (x, y)):
            np.save(Path(folder) / f"{view}.npy", np.asarray(values, dtype=np.float64))
        answers = {name: child(python, [name, folder, "9"], threads) for name, python in found.items()}
        for _ in range(ROUNDS - 1):
            for name, before in answers.items():
                if not isinstance(before, str) and before["seconds"] < QUICK:
                    again = child(found[name], [name, folder, "9"], threads)
                    assert not isinstance(again, str), again
                    before["seconds"] = min(before["seconds"], again["seconds"])
    ours = answers["sensorium"]
    assert isinstance(ours, dict), ours
    cells = []
    for answer in answers.values():
        if isinstance(answer, str):
            cells.append(answer)
            continue
        apart = np.abs(np.subtract(answer["correlations"], ours["correlations"])).max()
        ratio = answer["seconds"] / ours["seconds"]
        same = "" if answer is ours else f" ({ratio:.1f} times ours; correlations within {apart:.0e})"
        cells.append(f"{answer['seconds'] * 1e3:.1f} ms{same}")
    print(f"| {what} | " + " | ".join(cells) + f" | {sum(ours['correlations']):.6f} |", flush=True)


def large(rows: int, threads: int) -> None:
    """Write the memory map, fit it, print what it took, delete it."""
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "x").open("wb") as x_file, (Path(folder) / "y").open("wb") as y_file:
            for start in range(0, rows, 50_000):
                for file, part in zip((x_file, y_file), planted(min(50_000, rows - start), 512, 512, start=start)):
                    part.tofile(file)
        answer = child(sys.executable, ["large", folder, str(rows)], threads)
    assert isinstance(answer, dict), answer
    apart = np.abs(np.subtract(answer["correlations"], np.linspace(0.9, 0.1, 20)[:COMPONENTS])).max()
    print(f"\n{rows:,} × (512 + 512) float32 from a memory map: fit {answer['seconds']:.1f} s; float64 products alone "
          f"{answer['products']:.1f} s (ratio {answer['seconds'] / answer['products']:.2f}), with reading and "
          f"converting {answer['with reading']:.1f} s; RssAnon at most {answer['memory'] / 2**20:.0f} MB above the "
          f"loaded interpreter's {answer['before'] / 2**20:.0f} MB; correlations within {apart:.4f} of the planted")


def main() -> None:
    """Run all, or one worker."""
    if sys.argv[1:2] == ["--worker"]:
        name, folder, number = sys.argv[2:]
        size = int(number)
        print(json.dumps(work_large(Path(folder), size) if name == "large" else work_small(name, Path(folder), size)))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", nargs="*", default=[])
    parser.add_argument("--mfeat", type=Path, default=Path(os.environ.get("SENSORIUM_DATA", ".")) / "mfeat")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--skip-large", action="store_true")
    given = parser.parse_args()
    found = pythons(given.peers)
    print(f"{COMPONENTS} components, {given.threads} BLAS thread(s)\n\n| views | " + " | ".join(found) + " | total |")
    print("|---" * (len(found) + 2) + "|", flush=True)
    if given.mfeat.is_dir():
        views = {name: np.loadtxt(given.mfeat / f"mfeat-{name}.csv", delimiter=",", skiprows=1)[:, :-1]
                 for name in ("fou", "fac", "kar")}
        for first, second in (("fou", "fac"), ("fac", "kar")):
            compare(f"mfeat {first}–{second}", views[first], views[second], found, given.threads)
    else:
        print(f"mfeat is not at {given.mfeat}: give --mfeat")
    for what, (rows, x_width, y_width) in SIZES.items():
        compare(what, *planted(rows, x_width, y_width), found, given.threads)
    if not given.skip_large:
        large(given.rows, given.threads)


if __name__ == "__main__":
    main()
