"""Small models to serve, untrained but for what their answers need, and rows to ask them about."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from worlds import QUICK, write_small_world

from sensorium.data.read import read
from sensorium.data.samples import measured
from sensorium.model import Model
from sensorium.retrieval.index import Index
from sensorium.serving.app import make_app
from sensorium.serving.engine import Engine, Identity, ModelEngine
from sensorium.serving.limits import Limits
from sensorium.serving.service import Service

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
    return {"image": (folder / f"{number}.png").read_bytes(), "sound": (folder / f"{number}.wav").read_bytes(),
            "note": "this one looks red to me", "hr": 70.5, "bp": "0.1", "ward": "east"}


@contextmanager
def running(
    engine: Engine, *, index: Index | None = None, limits: Limits | None = None, api_key: str | None = None,
) -> Iterator[str]:
    """The address of a real server in a thread of this process, without the page."""
    service = Service(engine, index, limits)
    app = make_app(service, page=False, api_key=api_key)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def coded(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON: bytes as base64."""
    return {name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in row.items()}
