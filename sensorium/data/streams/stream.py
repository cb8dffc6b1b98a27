"""Recordings with clocks of their own: readings with time stamps, cleaned once, ready to be aligned."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.data.streams.readings import DUPLICATES, Cleaning, Duplicates, as_array, cleaned
from sensorium.data.streams.stamps import Seconds, Unit, find_time_column, to_seconds
from sensorium.data.table import MEDIA_SUFFIXES, NUMBER_SUFFIXES, UNREAD_SUFFIXES, read_table
from sensorium.errors import DataError, unknown_name

FILE_SUFFIXES = frozenset().union(NUMBER_SUFFIXES, *MEDIA_SUFFIXES.values(), *UNREAD_SUFFIXES.values())
TYPICAL_INTERVALS = 1.5


class Stream:
    """One recording: readings with the time stamps of its own clock.

    Readings are sorted by stamp, those without a finite stamp or any value are dropped, those of one stamp are merged;
    `cleaning` counts all of it.

    Args:
        name: what the table's column, or columns, will be called.
        times: (reading,) seconds or other numbers (see `unit`), datetimes, or strings of either.
        values: (reading,) or (reading, channel) numbers, NaN = missing; or columns by name; or (reading,) strings or
            paths: files, such as a camera's pictures, or texts.
        channels: names of the channels; left out: the columns' names, or numbers from 0.
        unit: of numeric stamps: s, ms, us or ns.
        offset: seconds that are added to every stamp, to bring a clock that is known to be wrong onto the common one.
        duplicates: which of several readings of the very same stamp counts: the last or first to arrive, or their mean.
        files: whether strings name files; left out: paths do, and strings where most end like files.

    Raises:
        DataError: unequal lengths, an unreadable stamp or value, nothing left.

    Example:
        >>> gps = Stream("gps", [0.0, 2.0, 1.0, 1.0], [5.0, 7.0, 6.0, 6.5])
        >>> gps.times.tolist(), gps.values[:, 0].tolist()
        ([0.0, 1.0, 2.0], [5.0, 6.5, 7.0])
        >>> print(gps)
        gps: 3 readings of 1 channel in 2 s, typically every 1 s
        gps: 2 of 4 readings came out of order and were sorted in
        gps: 1 of 4 readings have the same stamp as another: the last to arrive is kept
    """

    def __init__(
        self, name: str, times: Any, values: Any, *, channels: Sequence[str] | None = None, unit: Unit = "s",
        offset: float = 0.0, duplicates: Duplicates = "last", files: bool | None = None,
    ) -> None:
        _check_name(name)
        if duplicates not in DUPLICATES:
            raise DataError(f"stream {name!r}: {unknown_name('rule for duplicates', duplicates, list(DUPLICATES))}")
        if not np.isfinite(offset):
            raise DataError(f"stream {name!r}: expected an offset in seconds, found {offset!r}")
        stamps = to_seconds(times, unit, what=f"stream {name!r}")
        array, names, is_path = as_array(name, values, channels)
        if len(stamps) != len(array):
            raise DataError(f"stream {name!r}: {len(stamps)} stamps but {len(array)} values: each reading needs one of "
                            f"both")
        if array.dtype == object and duplicates == "mean":
            raise DataError(f"stream {name!r}: files and texts have no mean: choose duplicates='last' or 'first'")
        self.name = name
        self.channels = names
        self.times, self.values, self.cleaning = cleaned(stamps, array, Cleaning(len(array), duplicates=duplicates))
        if len(self.times) == 0:
            raise DataError("; ".join([f"stream {name!r} has no readings that can be used", *self.cleaning.lines()]))
        self.times = self.times + offset if offset else self.times
        self.files = not self.is_numeric and (_name_files(self.values) if files is None and not is_path
                                              else files is not False)

    @classmethod
    def read(
        cls, source: str | Path, name: str | None = None, *, time: str | None = None,
        columns: Sequence[str] | None = None, unit: Unit = "s", offset: float = 0.0, duplicates: Duplicates = "last",
    ) -> Stream:
        """A recording kept as a table with a column of stamps.

        Args:
            source: a CSV, TSV, Parquet or JSONL file; files that it names lie relative to its folder.
            name: the stream's name; left out: the file's.
            time: the column of stamps; left out: the one called time, timestamp, stamp …
            columns: the columns that are its channels, or the one that names files or holds texts; left out: all
                others.
            unit, offset, duplicates: as for `Stream`.

        Raises:
            DataError: an unreadable file, a column that is not there, columns that do not go together.
        """
        table = read_table(source)
        names = table.frame.columns
        stamps = find_time_column(names, str(source)) if time is None else time
        chosen = [column for column in names if column != stamps] if columns is None else list(columns)
        for column in (stamps, *chosen):
            if column not in names:
                raise DataError(f"{str(source)!r} has no such column: {unknown_name('column', column, names)}")
        if not chosen:
            raise DataError(f"{str(source)!r} has no column besides the stamps {stamps!r}")
        title = Path(source).stem if name is None else name
        stream = cls(title, table.frame[stamps], table.frame.select(chosen), unit=unit, offset=offset,
                     duplicates=duplicates)
        if stream.files:
            stream.values = np.array([str(table.root / value) for value in stream.values], dtype=object)
        return stream

    def shifted(self, seconds: float) -> Stream:
        """The same readings with so many seconds added to every stamp: a clock put right."""
        if not np.isfinite(seconds):
            raise DataError(f"stream {self.name!r}: expected an offset in seconds, found {seconds!r}")
        other = copy.copy(self)
        other.times = self.times + seconds
        return other

    @cached_property
    def interval(self) -> float:
        """The typical seconds from one reading to the next: the median; NaN for a single reading."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else float("nan")

    @property
    def is_numeric(self) -> bool:
        """Whether its readings are numbers; else they are files or texts."""
        return bool(self.values.dtype != object)

    def usual_tolerance(self) -> float:
        """How far a reading may be away where nothing else was said: 1.5 typical intervals."""
        if len(self.times) < 2:
            raise DataError(f"stream {self.name!r} has a single reading, so there is no typical interval: say how near "
                            f"a reading must be: tolerance=seconds")
        return TYPICAL_INTERVALS * self.interval

    def __len__(self) -> int:
        return len(self.times)

    def __str__(self) -> str:
        what = f"{len(self.channels)} channel{'s' if len(self.channels) > 1 else ''}" if self.is_numeric else \
            "files" if self.files else "text"
        head = f"{self.name}: {len(self):,} readings of {what} in {self.times[-1] - self.times[0]:.6g} s"
        head += f", typically every {self.interval:.4g} s" if len(self) > 1 else ""
        return "\n".join([head, *(f"{self.name}: {line}" for line in self.cleaning.lines())])


@dataclass(frozen=True)
class Events:
    """Moments to sample at, with what is known about each: labels, subjects, anything a table may hold.

    Args:
        times: (sample,) seconds on the common clock, in the order in which they were given.
        columns: what is known about each event: columns of the table to be written.
        notes: what was left out, a line each.

    Example:
        >>> Events.of({"time": [3.0, 1.0], "label": ["stop", "go"]}).times.tolist()
        [3.0, 1.0]
    """

    times: Seconds
    columns: pl.DataFrame
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, source: str | Path | pl.DataFrame | Mapping[str, Any], *, time: str | None = None, unit: Unit = "s",
    ) -> Events:
        """Events from a table or its file; those without a readable time are left out and counted.

        Raises:
            DataError: an unreadable file, no such column, no event with a time.
        """
        if isinstance(source, str | Path):
            frame, what = read_table(source).frame, str(source)
        else:
            frame, what = (source if isinstance(source, pl.DataFrame) else pl.DataFrame(dict(source))), "events"
        stamps = find_time_column(frame.columns, what) if time is None else time
        if stamps not in frame.columns:
            raise DataError(f"{what}: {unknown_name('column', stamps, frame.columns)}")
        times = to_seconds(frame[stamps], unit, what=f"{what}, column {stamps!r}")
        good = np.isfinite(times)
        if not good.any():
            raise DataError(f"{what}: no event has a readable time in column {stamps!r}")
        num_bad = int((~good).sum())
        notes = (f"{num_bad:,} of {len(times):,} events left out: their time is missing or unreadable",) * bool(num_bad)
        return cls(times[good], frame.drop(stamps).filter(pl.Series(good)), notes)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"a stream's name: expected a word, found {name!r}")
    if any(sign in name for sign in '/\\:\0') or name.startswith("."):
        raise DataError(f"stream {name!r}: its name also names a folder, so it has no '/', '\\' or ':' and no dot at "
                        f"the start")


def _name_files(values: npt.NDArray[Any]) -> bool:
    some = values[:: max(1, len(values) // 200)]
    return float(np.mean([Path(value).suffix.lower() in FILE_SUFFIXES for value in some])) >= 0.5
