"""Small measured kinds and ragged inputs, one of each kind, for the tests of encoders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.data.kinds.audio import AudioKind
from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.image import ImageKind
from sensorium.data.kinds.points import PointsKind
from sensorium.data.kinds.series import SeriesKind
from sensorium.data.kinds.table import TableColumn, TableKind
from sensorium.data.kinds.text import TextKind
from sensorium.data.kinds.video import VideoKind

EDGES = (-2.0, -0.5, 0.3, 2.0)
KINDS: dict[str, Any] = {
    "image": ImageKind(height=26, width=20, channels=3),
    "audio": AudioKind(rate=4000, max_seconds=0.5),
    "text": TextKind(vocabulary=300).measure(["seven green cats", "a red dog sleeps", "cats and dogs"]),
    "table": TableKind(columns=(
        TableColumn(name="age", type="number", edges=EDGES), TableColumn(name="day", type="date", mean=2e4, std=99.0,
                                                                        edges=EDGES),
        TableColumn(name="sex", type="category", categories=("f", "m")))),
    "video": VideoKind(height=20, width=26, channels=3, rate=10.0, max_seconds=1.0),
    "series": SeriesKind(channels=("a", "b"), rate=50.0, max_steps=70, mean=(0.0, 0.0), std=(1.0, 1.0)),
    "points": PointsKind(dimensions=3, features=("speed",), centre=(0.0, 0.0, 0.0), scale=1.0, mean=(0.0,), std=(1.0,),
                         max_points=40),
}
CLOCKED = ("audio", "video", "series")
LENGTHS = {"audio": (2000, 700, 1), "text": (4, 2, 1), "video": (9, 4, 1), "series": (70, 33, 1),
           "points": (40, 7, 1, 0)}


def example(kind: str, dtype: torch.dtype = torch.float32) -> Inputs:
    """Three or four rows of different lengths, what lies behind their ends being 0; floats of this type."""
    generator = torch.Generator().manual_seed(0)
    if kind == "image":
        return Inputs(torch.randint(0, 256, (3, 3, 26, 20), dtype=torch.uint8, generator=generator))
    if kind == "table":
        values = torch.stack([torch.randn(3, generator=generator), torch.randn(3, generator=generator),
                              torch.tensor([0.0, 1.0, 1.0])], dim=1)
        return Inputs(values.to(dtype), torch.tensor([[True, True, True], [False, True, False], [True, False, True]]))
    lengths = LENGTHS[kind]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    values = _values(kind, mask, generator)
    span = None
    if kind in ("video", "series", "text"):
        step = {"video": 0.1, "series": 0.02, "text": 1.0}[kind]
        start = torch.arange(max(lengths), dtype=torch.float64)[:, None] * step
        span = torch.where(mask[:, :, None], torch.cat([start, start + step], dim=1), 0.0).to(dtype)
    return Inputs(values.to(dtype) if values.is_floating_point() else values, mask, span)


def _values(kind: str, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Random values under the mask."""
    if kind == "video":
        shape = (*mask.shape, 3, 20, 26)
        return torch.randint(0, 256, shape, generator=generator).to(torch.uint8) * mask[..., None, None, None]
    if kind == "text":
        return torch.randint(4, KINDS["text"].num_tokens(), mask.shape, generator=generator) * mask
    if kind == "audio":
        return 0.1 * torch.randn(mask.shape, generator=generator) * mask
    if kind == "points":
        return torch.randn(*mask.shape, 4, generator=generator) * mask[..., None]
    there = (torch.rand(*mask.shape, 2, generator=generator) < 0.8) & mask[..., None]
    there[:, 0] = True
    return torch.cat([torch.randn(there.shape, generator=generator) * there, there.float()], dim=-1)


def longer(inputs: Inputs, by: int) -> Inputs:
    """The same rows with more padding behind them."""
    assert inputs.mask is not None
    blank = (0, 0) * (inputs.values.ndim - 2) + (0, by)
    span = None if inputs.span is None else F.pad(inputs.span, (0, 0, 0, by))
    return Inputs(F.pad(inputs.values, blank), F.pad(inputs.mask, (0, by)), span)


def poisoned(inputs: Inputs) -> Inputs:
    """The same rows with NaN (255 or the largest token where there is no NaN) and NaN seconds where nothing is real."""
    assert inputs.mask is not None
    mask = inputs.mask[(..., *[None] * (inputs.values.ndim - inputs.mask.ndim))]
    poison = torch.nan if inputs.values.is_floating_point() else 255
    span = None if inputs.span is None else torch.where(inputs.mask[:, :, None], inputs.span, torch.nan)
    return Inputs(torch.where(mask, inputs.values, torch.tensor(poison, dtype=inputs.values.dtype)), inputs.mask, span)


def row(inputs: Inputs, number: int) -> Inputs:
    """One row alone, without its padding where it has something."""
    values, mask, span = inputs.values[number:number + 1], inputs.mask, inputs.span
    if mask is None:
        return Inputs(values)
    mask = mask[number:number + 1]
    if values.ndim == mask.ndim and values.is_floating_point() and values.shape[1] == 3:  # a table
        return Inputs(values, mask)
    end = max(1, int(mask.sum()))
    return Inputs(values[:, :end], mask[:, :end], None if span is None else span[number:number + 1, :end])
