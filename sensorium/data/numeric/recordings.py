"""What a recording's file holds: its columns and rate, which columns are channels, and their scales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sensorium.data.numeric.columns import Columns, read_columns
from sensorium.errors import BadCell

if TYPE_CHECKING:
    from sensorium.data.kinds.base import Cell

Numbers = npt.NDArray[np.float64]
MOST_TRANSPOSED = 16
MEASURED_READINGS = 10_000
MEASURED_VALUES = 1 << 24


def read_recording(cell: Cell) -> tuple[Columns, float | None]:
    """The columns, and readings per second where the cell says so."""
    if not isinstance(cell, tuple):
        return read_columns(cell), None
    if len(cell) != 2 or not isinstance(cell[1], int | float | np.number) or not 0 < float(cell[1]) <= 1e6:
        raise BadCell("expected a file, an array, columns, or a pair of an array and its readings per second")
    return read_columns(cell[0]), float(cell[1])


def read_sample(cells: Iterable[Cell]) -> list[tuple[Columns, float | None]]:
    """Those of the cells that can be read, until they hold 16 million values: what `measure` looks at."""
    read: list[tuple[Columns, float | None]] = []
    left = MEASURED_VALUES
    for cell in cells:
        try:
            columns, rate = read_recording(cell)
        except BadCell:
            continue
        left -= columns.values.size
        if left < 0 and read:
            break
        read.append((columns, rate))
    return read


def usual_channels(found: Sequence[Columns], time: str) -> tuple[str, ...]:
    """The columns of numbers that at least half of the recordings have; by number where most have no names."""
    named = [columns for columns in found if columns.named]
    if 2 * len(named) < len(found):
        counts = Counter(_lying(columns).shape[1] for columns in found if not columns.named)
        return tuple(name for name in map(str, range(counts.most_common(1)[0][0])) if name != time)
    has = Counter(name for columns in named for name in columns.names if name != time)
    return tuple(name for name, count in has.items() if 2 * count >= len(named))


def _lying(columns: Columns) -> Numbers:
    """(step, channel); few rows of many values are channels that stand first."""
    values = columns.values
    stands = not columns.named and values.shape[0] <= MOST_TRANSPOSED and values.shape[1] > 4 * MOST_TRANSPOSED
    return values.T if stands else values


def chosen_channels(columns: Columns, channels: tuple[str, ...], time: str) -> Numbers:
    """(reading, channel) by name, NaN for a channel that is not there; by place where the file has no names.

    Raises: BadCell: none of the names is there, or another number of columns.
    """
    place = {name: number for number, name in enumerate(columns.names)}
    counted = columns.names[: len(channels)] == channels and len(place) > len(channels)
    if columns.named or (all(name in place for name in channels) and (not counted or time in place)):
        if not set(channels) & set(place):
            raise BadCell(f"none of the channels {', '.join(map(repr, channels[:8]))} is among the columns "
                          f"{', '.join(map(repr, columns.names[:8]))}")
        absent = np.full(len(columns), np.nan)
        return np.stack([columns.values[:, place[name]] if name in place else absent for name in channels], axis=1)
    values = columns.values
    if values.shape[1] != len(channels) and values.shape[0] == len(channels):
        values = values.T
    if values.shape[1] != len(channels):
        raise BadCell(f"{values.shape[1]} columns without names, expected {len(channels)} channels")
    return values


def channel_scales(values: Sequence[Numbers], num_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, standard deviation) of each channel; 0 and 1 where there is no reading, 1 where all are equal."""
    some = [one[:: max(1, len(one) // MEASURED_READINGS)] for one in values]
    together = np.concatenate(some) if some else np.zeros((0, num_channels))
    mean, std = np.zeros(num_channels), np.ones(num_channels)
    for channel in range(num_channels):
        known = together[:, channel][np.isfinite(together[:, channel])]
        if len(known) == 0:
            continue
        size = float(np.abs(known).max()) or 1.0
        mean[channel], spread = size * float((known / size).mean()), size * float((known / size).std())
        std[channel] = spread if spread > 1e-12 * size else 1.0
    return tuple(mean.tolist()), tuple(std.tolist())
