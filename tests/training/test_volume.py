"""Volumes: a modality that memorised noise is turned down, a useful one is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import QUICK

from sensorium.data.read import read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.fusion import FUSIONS
from sensorium.model import Model
from sensorium.training.volume import turn_down

VOICED = tuple(name for name in FUSIONS if name not in {"cross_attention", "transformer", "tensor", "low_rank"})


def _samples(folder: Path) -> Samples:
    """Two tables: the number in `g` says the class, the six numbers in `n` say nothing."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 600)
    noise = [f"n{k}" for k in range(6)]
    lines = [",".join([f"{c + 0.3 * random.normal():.4f}", *(f"{x:.4f}" for x in random.normal(size=6)), "ab"[c]])
             for c in truth]
    table = folder / "t.csv"
    table.write_text("\n".join([",".join(["good", *noise, "label"]), *lines]))
    data = read(table, targets="label", modalities={"g": ["good"], "n": noise})
    schema = measured(data.table, data.schema, np.arange(600))
    return decoded(data.table, schema, workers=0, memory_bytes=1e9)


def _overfit(samples: Samples, fusion: str, steps: int = 120) -> Model:
    """A model that has learnt 24 rows by heart."""
    model = Model(samples.schema, QUICK.changed("model", fusion=fusion))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    from sensorium.data.batch import make_batch

    batch = make_batch(samples, np.arange(24))
    singles = [torch.eye(2, dtype=torch.bool)[[k] * 24] for k in (0, 1)]
    for _ in range(steps):
        optimizer.zero_grad()
        model(batch, batch.presence, *singles).total.backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("fusion", VOICED)
def test_noise_is_turned_down_and_evidence_is_not(tmp_path: Path, fusion: str) -> None:
    samples = _samples(tmp_path)
    model = _overfit(samples, fusion)
    names = samples.schema.names
    rows = np.arange(300, 600)
    both = frozenset(names)
    before = model.outputs(samples, rows, [both])["label"][both]
    turned = turn_down(model, samples, np.arange(24, 300))
    after = model.outputs(samples, rows, [both])["label"][both]
    assert turned["n"] < turned.get("g", 1.0)
    assert names == ("g", "n")
    truth = samples.labels["label"].values[rows]
    losses = [-torch.from_numpy(o).log_softmax(dim=1)[np.arange(300), truth].mean() for o in (before, after)]
    assert losses[1] < losses[0]


def test_the_linear_account_equals_the_model(tmp_path: Path) -> None:
    """What the search believes a volume does is what the model then does."""
    from sensorium.training.volume import _heard, _row_losses

    samples = _samples(tmp_path)
    for fusion in VOICED:
        model = _overfit(samples, fusion, steps=10)
        rows = np.arange(24, 60)
        volume = torch.tensor([0.5, 0.1])
        heard = _heard(model, samples, rows)
        assert heard is not None
        believed = _row_losses(model, heard, volume)
        model.fusion.volume.copy_(volume)
        both = frozenset(samples.schema.names)
        outputs = torch.from_numpy(model.outputs(samples, rows, [both])["label"][both]).float()
        truth = torch.from_numpy(samples.labels["label"].values[rows])
        torch.testing.assert_close(believed, model.objectives()[0].losses(outputs, truth), atol=1e-4, rtol=1e-4)
