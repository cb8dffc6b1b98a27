"""cca-zoo's deep CCA on the halves of MNIST, for mnist_halves.py, in an interpreter that has cca-zoo[deep] and torch.

    python mnist_halves_peer.py FOLDER SEED SECONDS

FOLDER holds {train,dev,test}_{x,y}.npy. Networks and batches are those of sensorium's run,
everything else cca-zoo's defaults. After each epoch linear CCA of 10,000 training rows' outputs scores the dev rows,
and the best epoch is kept. Training stops after SECONDS. Writes {dev,test}_{x,y}_variates.npy.
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from cca_zoo.deep import DCCA, MultiviewDataset
from cca_zoo.linear import CCA
from torch import nn
from torch.utils.data import DataLoader

COMPONENTS, HIDDEN, BATCH = 50, 1024, 3000


def encoder() -> nn.Module:
    """The perceptron of sensorium's DeepCCA."""
    return nn.Sequential(nn.Linear(392, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
                         nn.Linear(HIDDEN, COMPONENTS))


@torch.inference_mode()
def outputs(model: DCCA, views: list[np.ndarray]) -> list[np.ndarray]:
    """Encodings of many rows."""
    parts = [model([torch.from_numpy(view[start : start + BATCH]) for view in views])
             for start in range(0, len(views[0]), BATCH)]
    return [torch.cat(column).numpy().astype(np.float64) for column in zip(*parts)]


def total_correlation(variates: list[np.ndarray]) -> float:
    """Σ over components of Pearson's correlation."""
    a, b = ((view - view.mean(axis=0)) / view.std(axis=0) for view in variates)
    return float((a * b).mean(axis=0).sum())


class KeepBest(pl.Callback):
    """Scores dev rows after each epoch, keeps the best weights, and ends training when the time is over."""

    def __init__(self, train: list[np.ndarray], dev: list[np.ndarray], seconds: float) -> None:
        some = np.random.default_rng(0).permutation(len(train[0]))[:10_000]
        self.train, self.dev = [view[some] for view in train], dev
        self.deadline = time.monotonic() + seconds
        self.best, self.epoch, self.score, self.weights = 0, 0, -np.inf, None

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Stop where the time is over."""
        trainer.should_stop = time.monotonic() > self.deadline

    def on_train_epoch_end(self, trainer: pl.Trainer, model: DCCA) -> None:  # type: ignore[override]
        """Score and keep."""
        self.epoch += 1
        model.eval()
        score = total_correlation(CCA(COMPONENTS).fit(outputs(model, self.train)).transform(outputs(model, self.dev)))
        model.train()
        if score > self.score:
            self.best, self.score, self.weights = self.epoch, score, copy.deepcopy(model.state_dict())


def main() -> None:
    """Train, keep the best epoch, write the variates, say which epoch it was and how many CPU seconds training took."""
    folder, seed, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    warnings.filterwarnings("ignore")
    views = {name: [np.load(folder / f"{name}_{side}.npy") for side in "xy"] for name in ("train", "dev", "test")}
    pl.seed_everything(seed, verbose=False)
    places = [view.mean(axis=0) for view in views["train"]]
    scales = [np.sqrt(view.var(axis=0).mean()) for view in views["train"]]
    views = {name: [(view - mean) / scale for view, mean, scale in zip(pair, places, scales)]
             for name, pair in views.items()}
    model = DCCA(COMPONENTS, [encoder(), encoder()])
    keep = KeepBest(views["train"], views["dev"], seconds)
    loader = DataLoader(MultiviewDataset(views["train"]), batch_size=BATCH, shuffle=True, drop_last=True)
    trainer = pl.Trainer(max_epochs=-1, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[keep],
                         enable_checkpointing=False, enable_model_summary=False)
    started = time.process_time()
    trainer.fit(model, loader)
    cpu = time.process_time() - started
    model.load_state_dict(keep.weights)
    model.eval()
    closed = CCA(COMPONENTS).fit(outputs(model, views["train"]))
    for name in ("dev", "test"):
        for side, variates in zip("xy", closed.transform(outputs(model, views[name]))):
            np.save(folder / f"{name}_{side}_variates.npy", variates)
    print(f"epoch {keep.best} of {keep.epoch}, {cpu:.1f}")


if __name__ == "__main__":
    main()
