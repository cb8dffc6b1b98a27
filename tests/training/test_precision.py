"""Mixed precision, as on a GPU with bf16, emulated on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import QUICK, write_small_world

from sensorium.data.batch import make_batch
from sensorium.data.read import read
from sensorium.data.samples import decoded, measured
from sensorium.fusion import FUSIONS
from sensorium.model import Model


@pytest.mark.parametrize("fusion", FUSIONS)
def test_bf16_gives_about_the_same_loss_and_finite_gradients(tmp_path: Path, fusion: str) -> None:
    data = read(write_small_world(tmp_path, rows=24), targets=("kind", "size"))
    schema = measured(data.table, data.schema, np.arange(24))
    model = Model(schema, QUICK.changed("model", fusion=fusion))
    batch = make_batch(decoded(data.table, schema, workers=0, memory_bytes=1e9), np.arange(24))
    exact = model(batch).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(batch).total
    rough.backward()
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
