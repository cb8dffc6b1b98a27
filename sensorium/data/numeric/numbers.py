"""What a file of numbers holds: readings over time (a series), or points with coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from sensorium.data.kinds.points import axis_of
from sensorium.data.numeric.columns import read_columns
from sensorium.data.numeric.time_column import time_column
from sensorium.errors import BadCell

FEWEST_ROWS = 8
MOST_UNNAMED = 8
ROUGH = 0.5


def numbers_kind(file: Path) -> Literal["series", "points"] | None:
    """Points where columns are called x and y (and no other says the time), a series where a column is a clock.

    Without names: an array of 2 to 8 columns is points where consecutive rows have nothing to do with each other (the
    mean squared step is more than half of what it is in random order; von Neumann 1941), else a series. None: it
    cannot be read.
    """
    try:
        columns = read_columns(file)
    except BadCell:
        return None
    axes = {axis_of(name) for name in columns.names} if columns.named else set()
    if time_column(columns):
        return "series"
    if {"x", "y"} <= axes:
        return "points"
    if columns.named or not 2 <= columns.values.shape[1] <= MOST_UNNAMED or len(columns) < FEWEST_ROWS:
        return "series"
    return "points" if _roughness(columns.values) > ROUGH else "series"


def _roughness(values: npt.NDArray[np.float64]) -> float:
    """The median over columns of (mean squared step) / (2 · variance): about 1 in random order, near 0 for a path."""
    known = values[np.isfinite(values).all(axis=1)]
    variance = known.var(axis=0) if len(known) > 1 else np.zeros(values.shape[1])
    if not (variance > 0).any():
        return 0.0
    steps = np.square(np.diff(known, axis=0)).mean(axis=0)
    return float(np.median(steps[variance > 0] / (2.0 * variance[variance > 0])))
