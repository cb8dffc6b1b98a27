"""Made-up cells of every kind, as they are after decoding: to trace encoders with, and to compare graphs on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.cells import Arrays, Cells
from sensorium.data.kinds import (
    AnyKind,
    AudioKind,
    Clip,
    ImageKind,
    PointsKind,
    Recording,
    SeriesKind,
    TableKind,
    TextKind,
    VideoKind,
)
from sensorium.data.kinds.text import load_tokenizer
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema

SHARES = (1.0, 0.35, 0.7, 0.1, 0.55)
MOST_WORDS = 24


def made_up_samples(schema: Schema, num_rows: int, *, seed: int = 0) -> Samples:
    """Rows that have every modality, no two alike, of lengths from a tenth of the longest to the longest.

    Args:
        schema: measured.
        num_rows: at least 1.
        seed: other cells for another one.
    """
    cells: dict[str, Cells] = {}
    for place, modality in enumerate(schema.modalities):
        random = np.random.default_rng([seed, place])
        made = [made_up_cell(modality.kind, SHARES[row % len(SHARES)], random) for row in range(num_rows)]
        lengths = np.array([modality.kind.length(array) for array in made], dtype=np.int64)
        cells[modality.name] = Cells(modality.kind, np.arange(num_rows)[:, None], np.arange(num_rows),
                                     Arrays(made, modality.kind, ()), lengths, 0, ())
    presence = np.ones((num_rows, len(schema.names)), dtype=np.bool_)
    return Samples(schema, cells, {}, None, presence, ())


def made_up_cell(kind: AnyKind, share: float, random: np.random.Generator) -> Any:
    """A decoded cell of about this share of the longest that the kind reads."""
    if isinstance(kind, ImageKind):
        return _picture(kind, random)
    if isinstance(kind, AudioKind):
        assert kind.rate is not None and kind.max_seconds is not None
        seconds = np.arange(max(1, int(share * kind.rate * kind.max_seconds))) / kind.rate
        tone = np.sin(2 * np.pi * random.uniform(100, 0.3 * kind.rate) * seconds)
        return (0.3 * tone + 0.03 * random.standard_normal(len(seconds))).astype(np.float32)
    if isinstance(kind, TextKind):
        return _text(kind, share, random)
    if isinstance(kind, TableKind):
        row = np.array([random.integers(max(1, len(column.categories))) if column.type == "category"
                        else random.standard_normal() for column in kind.columns], dtype=np.float32)
        return np.where(random.random(len(row)) < np.where(np.arange(len(row)) == 0, 0.0, 0.2), np.nan, row).astype(
            np.float32)
    if isinstance(kind, VideoKind):
        assert kind.rate is not None and kind.max_seconds is not None
        frames = np.stack([_picture(kind, random) for _ in range(max(1, int(share * kind.rate * kind.max_seconds)))])
        edges = np.arange(len(frames) + 1) / kind.rate
        return Clip(frames, np.stack([edges[:-1], edges[1:]], axis=1).astype(np.float32))
    if isinstance(kind, SeriesKind):
        assert kind.max_steps is not None
        values = random.standard_normal((max(1, int(share * kind.max_steps)), len(kind.channels))).astype(np.float32)
        values[1:][random.random(values[1:].shape) < 0.1] = np.nan
        return Recording(values, 0.0)
    assert isinstance(kind, PointsKind) and kind.max_points is not None and kind.features is not None
    points = random.standard_normal((int(share * kind.max_points), 3 + len(kind.features))).astype(np.float32)
    points[:, 2] *= kind.dimensions == 3
    return points


def _picture(kind: ImageKind | VideoKind, random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A gradient with noise."""
    assert kind.height is not None and kind.width is not None and kind.channels is not None
    down, across = np.linspace(0, 1, kind.height)[:, None, None], np.linspace(0, 1, kind.width)[None, :, None]
    levels = 255 * (random.random(kind.channels) * down + random.random(kind.channels) * across) / 2
    return np.clip(levels + random.normal(0, 20, (kind.height, kind.width, kind.channels)), 0, 255).astype(np.uint8)


def _text(kind: TextKind, share: float, random: np.random.Generator) -> str:
    """Words of the tokenizer's own vocabulary."""
    assert kind.tokenizer is not None and kind.max_tokens is not None
    tokenizer = load_tokenizer(kind.tokenizer)
    count = max(1, int(share * min(kind.max_tokens, MOST_WORDS)))
    return str(tokenizer.decode(random.integers(tokenizer.get_vocab_size(), size=count).tolist())).strip() or "a"
