"""The time column of a recording: which one it is, its unit, and its seconds."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from sensorium.data.numeric.columns import Columns
from sensorium.errors import BadCell, DataError

Numbers = npt.NDArray[np.float64]
ONE_WAY = 0.9
BY_SIZE = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""Above so many a number that names no unit counts ns, us or ms since 1970."""
NEAR_ZERO = 10.0
LATEST = 1e11
_UNITS = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e3, "msec": 1e3, "millis": 1e3,
          "millisecond": 1e3, "milliseconds": 1e3, "us": 1e6, "usec": 1e6, "micros": 1e6, "microsecond": 1e6,
          "microseconds": 1e6, "ns": 1e9, "nsec": 1e9, "nanos": 1e9, "nanosecond": 1e9, "nanoseconds": 1e9}
_UNIT = rf"(?:{'|'.join(sorted(_UNITS, key=len, reverse=True))})"
_WORD = "t|ts|time|times|time[_ ]?stamp|stamp|date|date[_ ]?time|elapsed|epoch|clock"
_TIME = re.compile(rf"^(?:[a-z0-9]+[_ .])*(?:{_WORD})(?:[_ .]?(?:utc|gps|unix))?(?:[_ .\[(]+{_UNIT}[\])]?)?$|^{_UNIT}$")
_NAMED_UNIT = re.compile(rf"(?:^|[_ .\[(])({_UNIT})[\])]?$")


def time_column(columns: Columns) -> str:
    """The column that holds the readings' times: named as one, and rising (or falling); "" where there is none.

    Example:
        >>> from sensorium.data.numeric.columns import read_columns
        >>> time_column(read_columns(b"speed,time_ms\\n3,0\\n4,20\\n4,40\\n"))
        'time_ms'
    """
    if not columns.named:
        return ""
    for name in (*columns.names, *columns.others):
        if not _TIME.match(_plain(name)):
            continue
        try:
            times = seconds(columns, name)
        except BadCell:
            continue
        steps = np.diff(times[np.isfinite(times)])
        one_way = max((steps >= 0).mean(), (steps <= 0).mean()) if len(steps) else 1.0
        if one_way >= ONE_WAY and (len(steps) == 0 or bool((steps != 0).any())):
            return name
    return ""


def seconds(columns: Columns, name: str) -> Numbers:
    """(row,) the times of a column in seconds, NaN where there is none; dates count from 1970.

    The unit is the one that the column's name ends in (ms, us, ns …); else stamps too large to be seconds count
    milliseconds, microseconds or nanoseconds since 1970, and all others are seconds. What then lies over three thousand
    years away is no time.

    Raises: BadCell: no such column, or neither numbers nor dates.
    """
    if name in columns.names:
        numbers = columns.values[:, columns.names.index(name)]
        unit = _NAMED_UNIT.search(_plain(name))
        if unit is not None:
            return _sensible(numbers / _UNITS[unit[1]])
        finite = np.abs(numbers[np.isfinite(numbers)])
        with np.errstate(over="ignore"):
            size = float(np.median(finite)) if len(finite) else 0.0
        return _sensible(numbers / next((per_second for least, per_second in BY_SIZE if size > least), 1.0))
    if name not in columns.others:
        raise BadCell(f"no time column {name!r}: the columns are {', '.join(map(repr, columns.names[:10]))}")
    from sensorium.data.streams.stamps import to_seconds

    try:
        return to_seconds(columns.others[name], what=f"column {name!r}")
    except DataError as error:
        raise BadCell(str(error)) from error


def beginning(times: Numbers) -> float:
    """When the first reading counts as taken: as written where that is near 0 (ten seconds, or the recording's length).

    Else it is 0: stamps since 1970 or since a machine was switched on say nothing about the sample's clock.

    Args:
        times: (reading,) increasing seconds, at least one.
    """
    near = max(NEAR_ZERO, float(times[-1] - times[0]))
    return float(times[0]) if abs(float(times[0])) <= near else 0.0


def _sensible(times: Numbers) -> Numbers:
    return np.where(np.abs(times) <= LATEST, times, np.nan)


def _plain(name: str) -> str:
    return name.strip().lower().replace("µ", "u").replace("μ", "u")
