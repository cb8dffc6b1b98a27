"""The readings of a recording: from what a user hands in to arrays in order of time, everything dropped counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.data.notation import MISSING_WORDS
from sensorium.data.streams.stamps import MEANT, Seconds, seem_numbers, written_numbers
from sensorium.errors import DataError

Duplicates = Literal["last", "first", "mean"]
DUPLICATES: tuple[str, ...] = ("last", "first", "mean")


@dataclass(frozen=True)
class Cleaning:
    """What was done to a recording's readings before they could be used; nothing is dropped without being counted.

    Args:
        num_given: readings that were given.
        num_bad_stamps: readings dropped because their stamp is missing, not finite or not a time.
        num_valueless: readings dropped because none of their values is there.
        num_out_of_order: readings whose stamp lies before one that came earlier; they were sorted in.
        num_duplicates: readings merged into another one of the very same stamp.
        num_infinite: infinite values, which count as missing.
        duplicates: which of several readings of one stamp is kept: the last or first to arrive, or their mean.
    """

    num_given: int
    num_bad_stamps: int = 0
    num_valueless: int = 0
    num_out_of_order: int = 0
    num_duplicates: int = 0
    num_infinite: int = 0
    duplicates: Duplicates = "last"

    def lines(self) -> list[str]:
        """What a person should know, a line each; empty where there was nothing to do."""
        kept = {"last": "the last to arrive is kept", "first": "the first to arrive is kept",
                "mean": "their mean is kept"}[self.duplicates]
        counted = [
            (self.num_bad_stamps, "readings dropped: their stamp is missing, not finite or not a time"),
            (self.num_valueless, "readings dropped: none of their values is there"),
            (self.num_out_of_order, "readings came out of order and were sorted in"),
            (self.num_duplicates, f"readings have the same stamp as another: {kept}"),
            (self.num_infinite, "values are infinite and count as missing"),
        ]
        return [f"{count:,} of {self.num_given:,} {text}" if "readings" in text else f"{count:,} {text}"
                for count, text in counted if count]


def as_array(name: str, values: Any, channels: Sequence[str] | None) -> tuple[npt.NDArray[Any], tuple[str, ...], bool]:
    """(reading, channel) floats or (reading,) strings, the channels' names, and whether they were given as paths."""
    if isinstance(values, Mapping):
        values = pl.DataFrame({str(key): pl.Series(column) for key, column in values.items()})
    if isinstance(values, pl.Series):
        values = values.to_frame()
    if isinstance(values, pl.DataFrame):
        channels = values.columns if channels is None else channels
        array = _column_array(name, values)
        is_path = False
    else:
        plain = isinstance(values, np.ndarray) and values.dtype != object
        given = values if plain else list(values)
        is_path = not plain and any(isinstance(value, Path) for value in given)
        array = _plain_array(name, given)
    width = 1 if array.ndim == 1 else array.shape[1]
    if channels is not None and (len(channels) != width or len(set(channels)) != width):
        raise DataError(f"stream {name!r}: expected {width} different channel names, found {list(channels)!r}")
    names = tuple(channels) if channels is not None else (name,) if width == 1 else tuple(map(str, range(width)))
    return array, names, is_path


def _plain_array(name: str, values: Any) -> npt.NDArray[Any]:
    if isinstance(values, list) and any(isinstance(value, str | Path) for value in values):
        wrong = next((v for v in values if not (v is None or isinstance(v, str | Path) or v != v)), None)
        if wrong is not None:
            raise DataError(f"stream {name!r}: expected numbers, or strings and paths, found both: {wrong!r}")
        return np.array([str(v) if isinstance(v, str | Path) else None for v in values], dtype=object)
    try:
        array = np.asarray(values, dtype=None if isinstance(values, np.ndarray) else np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"stream {name!r}: expected one number, or as many numbers, a reading ({error})") from error
    if array.dtype.kind in "US":
        return _plain_array(name, array.astype(str).tolist())
    if array.dtype.kind not in "fiub":
        raise DataError(f"stream {name!r}: expected numbers, found an array of {array.dtype}")
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] == 0):
        raise DataError(f"stream {name!r}: expected shape (reading,) or (reading, channel), found {array.shape}; write "
                        f"pictures or point clouds to files and give their paths")
    array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    return array[:, None] if array.ndim == 1 else array


def _column_array(name: str, frame: pl.DataFrame) -> npt.NDArray[Any]:
    """A table's columns as channels: all of numbers, or a single one of files or texts."""
    numbers: list[npt.NDArray[np.float64]] = []
    words: list[str] = []
    for column in frame.get_columns():
        if column.dtype == pl.String:
            text = column.str.strip_chars()
            known = text.filter(~text.str.to_lowercase().is_in(list(MISSING_WORDS)))
            parsed = written_numbers(text) if not len(known) or seem_numbers(known) else None
            if parsed is None or np.isfinite(parsed).sum() < MEANT * len(known):
                words.append(column.name)
            else:
                numbers.append(parsed)
        elif column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
            numbers.append(column.cast(pl.Float64).fill_null(np.nan).to_numpy())
        else:
            raise DataError(f"stream {name!r}, column {column.name!r}: expected numbers, files or texts, found "
                            f"{column.dtype}; choose others with columns=…")
    if not words:
        return np.column_stack(numbers)
    if frame.width > 1:
        raise DataError(f"stream {name!r}: column {words[0]!r} holds words and there are {frame.width - 1} columns "
                        f"beside it; a stream has numbers only, or one column of files or texts: choose with columns=…")
    stripped = frame.to_series().str.strip_chars()
    return np.array([value or None for value in stripped.to_list()], dtype=object)


def cleaned(
    times: Seconds, values: npt.NDArray[Any], cleaning: Cleaning,
) -> tuple[Seconds, npt.NDArray[Any], Cleaning]:
    """Sorted readings with finite stamps, different from each other, that have a value."""
    stamped = np.isfinite(times)
    if values.dtype == object:
        valued = np.array([value is not None and bool(value.strip()) for value in values], dtype=bool)
        num_infinite = 0
    else:
        infinite = np.isinf(values)
        num_infinite = int(infinite.sum())
        values = np.where(infinite, np.nan, values).astype(values.dtype) if num_infinite else values
        valued = ~np.isnan(values).all(axis=1)
    good = stamped & valued
    if not good.all():
        times, values = times[good], values[good]
    order, num_out_of_order = _in_order(times)
    if order is not None:
        times, values = times[order], values[order]
    cleaning = replace(cleaning, num_bad_stamps=int((~stamped).sum()), num_valueless=int((stamped & ~valued).sum()),
                       num_out_of_order=num_out_of_order, num_infinite=num_infinite)
    return _without_duplicates(times, values, cleaning)


def _in_order(times: Seconds) -> tuple[npt.NDArray[np.int64] | None, int]:
    """The stable order of the stamps, None where they are in order; and how many lie before an earlier one."""
    if len(times) < 2 or bool(np.all(times[1:] >= times[:-1])):
        return None, 0
    return np.argsort(times, kind="stable"), int((times < np.maximum.accumulate(times)).sum())


def _without_duplicates(
    times: Seconds, values: npt.NDArray[Any], cleaning: Cleaning,
) -> tuple[Seconds, npt.NDArray[Any], Cleaning]:
    """One reading a stamp, by the rule that `cleaning` names; `times` must be in order."""
    new = np.concatenate([[True], times[1:] != times[:-1]])
    num_duplicates = int((~new).sum())
    if num_duplicates == 0:
        return times, values, cleaning
    cleaning = replace(cleaning, num_duplicates=num_duplicates)
    first = np.flatnonzero(new)
    last = np.concatenate([first[1:], [len(times)]]) - 1
    if cleaning.duplicates == "mean":
        there = ~np.isnan(values)
        count = np.add.reduceat(there, first, axis=0, dtype=np.int64)
        total = np.add.reduceat(np.where(there, values, 0), first, axis=0)
        merged = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(values.dtype)
        return times[first], merged, cleaning
    return times[first], values[last if cleaning.duplicates == "last" else first], cleaning
