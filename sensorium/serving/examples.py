"""An example of every column, made from the model's own schema: files that can be read, numbers of its range."""

from __future__ import annotations

import base64
import io
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from sensorium.data.kinds import PointsKind, SeriesKind, TableKind
from sensorium.data.kinds.table import TableColumn
from sensorium.data.schema import Modality, Schema

TEXT = "a short text"
QUESTION = "what is it?"


def example_row(schema: Schema) -> dict[str, Any]:
    """Column → a value as JSON."""
    row: dict[str, Any] = {}
    for modality in schema.modalities:
        kind = modality.kind
        if isinstance(kind, TableKind):
            row |= {column.name: _value(column) for column in kind.columns}
            continue
        for name in modality.columns:
            if name not in row or kind.name == "video":
                row[name] = TEXT if kind.name == "text" and not modality.part else base64.b64encode(
                    file_of(modality)).decode()
    return row


def file_of(modality: Modality) -> bytes:
    """A small file that a modality can read."""
    kind = modality.kind
    if modality.part or kind.name == "video":
        return _video()
    if kind.name == "image":
        return _picture()
    if kind.name == "audio":
        return _sound()
    if isinstance(kind, SeriesKind):
        steps = np.arange(32)
        columns = {**({kind.time: steps / (kind.rate or 1.0)} if kind.time else {}),
                   **{name: np.sin(steps / 4) for name in kind.channels or ()}}
    else:
        assert isinstance(kind, PointsKind)
        steps = np.arange(16)
        columns = {name: np.cos(steps + place) for place, name in enumerate(
            (*("x", "y", "z")[: kind.dimensions or 3], *(kind.features or ())))}
    lines = [",".join(columns), *(",".join(f"{value:.4f}" for value in row)
                                  for row in zip(*columns.values(), strict=True))]
    return ("\n".join(lines) + "\n").encode()


def _value(column: TableColumn) -> Any:
    if column.type == "category":
        return column.categories[0] if column.categories else "a"
    if column.type == "date":
        return (date(1970, 1, 1) + timedelta(days=round(column.mean))).isoformat()
    return float(f"{column.mean:.4g}")


@lru_cache(maxsize=1)
def _picture() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    ramp = np.linspace(0, 255, 16, dtype=np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (16, 1))] * 3, axis=2)).save(buffer, format="PNG")
    return buffer.getvalue()


@lru_cache(maxsize=1)
def _sound() -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(2 * np.pi * 440 * np.arange(1600) / 8000), 8000, format="WAV")
    return buffer.getvalue()


@lru_cache(maxsize=1)
def _video() -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        pictures = container.add_stream("mpeg4", rate=8)
        pictures.width = pictures.height = 32
        pictures.pix_fmt = "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 30 * number, dtype=np.uint8), format="rgb24")
            container.mux(pictures.encode(frame))
        wave = (0.3 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)).astype(np.float32)
        for start in range(0, 16000, 1000):
            piece = av.AudioFrame.from_ndarray(wave[None, start : start + 1000], format="fltp", layout="mono")
            piece.sample_rate, piece.pts = 16000, start
            container.mux(sound.encode(piece))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    return buffer.getvalue()
