"""Time stamps as people and machines write them → seconds."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.data.kinds.table import TableColumn
from sensorium.data.notation import MISSING_WORDS, date_notation, number_notation
from sensorium.errors import DataError, unknown_name

Seconds = npt.NDArray[np.float64]
Unit = Literal["s", "ms", "us", "ns"]
UNITS: dict[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
MEANT = 0.95
LOOKED_AT = 1000
LATEST_SECONDS = 1e11
TIME_NAMES = ("time", "timestamp", "time_stamp", "stamp", "datetime", "date_time", "date", "t", "ts", "seconds")
_ISO = re.compile(r"^\s*\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


def to_seconds(times: Any, unit: Unit = "s", *, what: str = "times") -> Seconds:
    """Stamps as seconds; where they are dates, since 1970-01-01 (UTC where a zone is given).

    Args:
        times: (reading,) numbers, datetimes, durations, or strings of either; an array, a list or a polars column.
        unit: of numbers: s, ms, us or ns.
        what: whose stamps they are, for messages.

    Returns:
        (reading,) float64, NaN where there is no stamp. At today's dates float64 resolves .24 microseconds.

    Raises:
        DataError: stamps that are neither numbers nor times, or numbers that cannot be of this unit.

    Example:
        >>> to_seconds(["1970-01-01 00:01:00.5", "1970-01-01T01:00:00+01:00", "?"]).tolist()
        [60.5, 0.0, nan]
        >>> to_seconds([1500, 2500], "ms").tolist()
        [1.5, 2.5]
    """
    if unit not in UNITS:
        raise DataError(f"{what}: {unknown_name('unit', unit, list(UNITS))}")
    column = _column(times, what)
    if column.dtype in (pl.Datetime, pl.Date):
        return _numbers(column.cast(pl.Datetime("ns")).to_physical()) / 1e9
    if column.dtype == pl.Duration:
        return _numbers(column.cast(pl.Duration("ns")).to_physical()) / 1e9
    if column.dtype == pl.Time:
        return _numbers(column.to_physical()) / 1e9
    if column.dtype == pl.String:
        return _written_seconds(column, unit, what)
    if column.dtype == pl.Null:
        return np.full(len(column), np.nan)
    if not column.dtype.is_numeric():
        raise DataError(f"{what}: expected numbers or dates, found {column.dtype}")
    return _scaled(_numbers(column), unit, what)


def _column(times: Any, what: str) -> pl.Series:
    """The stamps as a typed column."""
    if isinstance(times, pl.Series):
        return times
    array = np.asarray(times)
    if array.ndim != 1:
        raise DataError(f"{what}: expected one stamp a reading, shape (reading,), found shape {array.shape}")
    if array.dtype.kind in "mM":
        missing = np.isnat(array)
        kind = pl.Datetime("ns") if array.dtype.kind == "M" else pl.Duration("ns")
        whole = array.astype(f"{array.dtype.kind}8[ns]").astype(np.int64)
        return pl.Series(np.where(missing, 0, whole)).cast(kind).set(pl.Series(missing), None)
    if array.dtype.kind in "fiu":
        return pl.Series(array)
    values = list(times)
    if not all(v is None or isinstance(v, str | int | float | date | datetime | timedelta | np.number) for v in values):
        wrong = next(v for v in values if not (v is None or isinstance(v, str | int | float | date | timedelta)))
        raise DataError(f"{what}: expected numbers or dates, found {wrong!r}")
    try:
        return pl.Series(values)
    except (pl.exceptions.PolarsError, TypeError, OverflowError):
        return pl.Series([None if v is None else str(v) for v in values], dtype=pl.String)


def _numbers(column: pl.Series) -> Seconds:
    """(reading,) float64, NaN for missing."""
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()


def _scaled(numbers: Seconds, unit: Unit, what: str) -> Seconds:
    """Numbers of this unit as seconds; refuses stamps that would lie thousands of years away."""
    seconds = numbers / UNITS[unit]
    finite = np.abs(seconds[np.isfinite(seconds)])
    middle = float(np.median(finite)) if len(finite) else 0.0
    if middle > LATEST_SECONDS:
        likely = next((u for u, per_second in UNITS.items() if middle * UNITS[unit] / per_second < 1e10), None)
        hint = f"; they look like unit={likely!r}" if likely else ""
        raise DataError(f"{what}: stamps around {middle * UNITS[unit]:.4g} cannot be read as {unit} (that is beyond "
                        f"the year 5000){hint}")
    return seconds


def _written_seconds(column: pl.Series, unit: Unit, what: str) -> Seconds:
    """Strings: numbers where nearly all are numbers, else dates, else a refusal."""
    text = column.str.strip_chars()
    known = text.filter(~text.is_null() & ~text.str.to_lowercase().is_in(list(MISSING_WORDS)))
    if len(known) == 0:
        return np.full(len(column), np.nan)
    if seem_numbers(known):
        numbers = written_numbers(text)
        if np.isfinite(numbers).sum() >= MEANT * len(known):
            return _scaled(numbers, unit, what)
    if _ISO.match(known[0]):
        dates = _iso_seconds(text)
    else:
        dates = np.full(len(text), np.nan)
    left = np.flatnonzero(np.isnan(dates))
    notation, _ = date_notation(known.head(10_000).to_list())
    parsed = TableColumn(name=what, type="date", notation=notation).parse_all(text.gather(left))
    dates[left] = np.round(parsed.numbers * 86400.0, 6)
    if np.isfinite(dates).sum() < MEANT * len(known):
        row, reason = next(iter(parsed.refused.items()), (0, ""))
        raise DataError(f"{what}: expected numbers or dates, found {str(text[int(left[row])])[:40]!r} in row "
                        f"{int(left[row]) + 1}{f' ({reason})' if reason else ''}")
    return dates


def _iso_seconds(text: pl.Series) -> Seconds:
    """2024-05-01 10:00:00.25, with or without a zone → seconds; NaN for what is written otherwise."""
    plain = text.str.replace(" ", "T", literal=True)
    local = plain.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ns", strict=False)
    zoned = plain.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="ns", strict=False)
    without_zone, with_zone = (_numbers(moments.to_physical()) / 1e9 for moments in (local, zoned))
    return np.where(np.isnan(without_zone), with_zone, without_zone)


def seem_numbers(known: pl.Series) -> bool:
    """Whether most of a thousand of these strings are numbers: a quick look before all are read."""
    some = known.gather_every(max(1, len(known) // LOOKED_AT))
    return bool(len(some)) and float(np.isfinite(written_numbers(some)).mean()) >= 0.5


def written_numbers(text: pl.Series) -> Seconds:
    """(reading,) a column of strings as numbers, NaN where there is none: decimal commas and units are read too."""
    notation = number_notation(text.drop_nulls().head(4000).to_list())
    return TableColumn(name=text.name, type="number", notation=notation).parse_all(text).numbers


def find_time_column(names: list[str], source: str) -> str:
    """The column of stamps, by its name. Raises DataError where there is none."""
    by_name = {name.strip().lower().replace(" ", "_"): name for name in reversed(names)}
    for usual in TIME_NAMES:
        if usual in by_name:
            return by_name[usual]
    raise DataError(f"{source}: no column is called {', '.join(TIME_NAMES[:4])} …; say which one holds the stamps: "
                    f"time=… (columns: {', '.join(map(repr, names))})")
