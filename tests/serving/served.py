"""Small models to serve, untrained but for what their answers need, and rows to ask them about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from worlds import QUICK, write_small_world

from sensorium.data.read import read
from sensorium.data.samples import measured
from sensorium.model import Model
from sensorium.serving.engine import Identity, ModelEngine

IDENTITY = Identity("small", "0123456789ab")


def small_model(folder: Path) -> Model:
    """A model of pictures, sounds, notes and a table that predicts `kind` and `size`."""
    data = read(write_small_world(folder), targets=("kind", "size"))
    return Model(measured(data.table, data.schema, np.arange(len(data))), QUICK)


def small_engine(folder: Path) -> ModelEngine:
    """The same as an engine."""
    return ModelEngine(small_model(folder), IDENTITY)


def row_of(folder: Path, number: int = 0) -> dict[str, Any]:
    """A row with all modalities, as bytes and values."""
    return {"image": (folder / f"{number}.png").read_bytes(), "audio": (folder / f"{number}.wav").read_bytes(),
            "note": "this one looks red to me", "hr": 70.5, "bp": "0.1", "ward": "east"}
