"""Aligned samples as a table in a folder, which `sensorium.read` and `sensorium train` read like any other."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from numpy.lib.recfunctions import unstructured_to_structured

from sensorium.data.streams.align import Aligned
from sensorium.data.streams.sampling import Sampled, Windows
from sensorium.errors import DataError, unknown_name

Format = Literal["parquet", "csv"]
FORMATS: tuple[str, ...] = ("parquet", "csv")
RECORDING = "recording"
CLOCK_FILE = "clock.csv"
STAMP_NAMES = ("time", "time_s", "seconds")


def write_table(folder: str | Path, recordings: Mapping[str, Aligned], *, format: Format = "parquet") -> Path:
    """Write aligned samples as a table; what is absent is a blank cell.

    ============================ =====================================================================================
    a stream of                  its column, or columns
    ============================ =====================================================================================
    numbers                      a number each channel: the stream's name, or `stream.channel` where there are several
    numbers, as windows          a file `windows/stream/000012.npy` of the columns `time`, seconds from the sample's
                                 moment, and the channels (NaN = missing): a structured array
    files                        the file, linked (else copied) into `files/stream`; of windows a list, as JSON
    texts                        the text; of windows the texts, a line each
    ============================ =====================================================================================

    The events' columns stand before them. `clock.csv`, beside the table, says for every row which moment it is and how
    many seconds before (−) or after it each stream was read: the moments are no input, lest a model learns them.

    Args:
        folder: a new or empty one; the table is written last, so it is there only when it is whole.
        recordings: name → its samples. Where there are several, or a name is given, a column `recording` tells them
            apart: pass it as `group`, so that a recording's samples stay together when rows are split.
        format: parquet or csv.

    Returns:
        The table's file.

    Raises:
        DataError: a folder that is not empty, columns of one name, recordings that do not have the same columns.

    Example:
        >>> import tempfile
        >>> from sensorium.data.streams.align import align
        >>> from sensorium.data.streams.stream import Stream
        >>> gps = Stream("gps", [0.0, 1.0, 2.0], {"x": [5.0, 6.0, 7.0], "y": [1.0, 1.0, 2.0]})
        >>> pulse = Stream("pulse", np.arange(20) / 10, np.sin(np.arange(20.0)))
        >>> samples = align([gps, pulse], at=[1.0, 9.0], window={"pulse": (0.5, 0.0)})
        >>> file = samples.to_table(tempfile.mkdtemp())
        >>> pl.read_parquet(file).rows()
        [(6.0, 1.0, 'windows/pulse/000000.npy'), (None, None, None)]
        >>> np.load(file.parent / "windows/pulse/000000.npy")["time"].round(3).tolist()
        [-0.4, -0.3, -0.2, -0.1, 0.0]
    """
    if format not in FORMATS:
        raise DataError(f"to_table: {unknown_name('format', format, list(FORMATS))}")
    if not recordings:
        raise DataError("to_table: no recordings given")
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(f"to_table: {str(folder)!r} is not an empty folder: choose a new one")
    named = len(recordings) > 1 or "" not in recordings
    _check_columns(recordings, named)
    root.mkdir(parents=True, exist_ok=True)
    tables: list[pl.DataFrame] = []
    clocks: list[pl.DataFrame] = []
    first = 0
    for name, aligned in recordings.items():
        lead = [pl.Series(RECORDING, [name] * len(aligned))] if named else []
        tables.append(pl.DataFrame([*lead, *aligned.columns.get_columns(), *_columns(aligned, root, first)]))
        clocks.append(pl.DataFrame([*lead, *_clock(aligned)]))
        first += len(aligned)
    pl.concat(clocks).write_csv(root / CLOCK_FILE)
    table, path = pl.concat(tables, how="vertical_relaxed"), root / f"table.{format}"
    beside = path.with_suffix(".partial")
    if format == "parquet":
        table.write_parquet(beside)
    else:
        table.write_csv(beside)
    os.replace(beside, path)
    return path


def _check_columns(recordings: Mapping[str, Aligned], named: bool) -> None:
    """Raise where the table would have two columns of one name, or the recordings do not go together."""
    expected: list[str] | None = None
    for name, aligned in recordings.items():
        columns = [*([RECORDING] if named else []), *aligned.columns.columns,
                   *(column for part in aligned.parts.values() for column in _column_names(part))]
        if len(set(columns)) < len(columns):
            twice = next(column for column in columns if columns.count(column) > 1)
            raise DataError(f"to_table: two columns would be called {twice!r}: rename a stream, or a column of the "
                            f"events")
        if expected is not None and columns != expected:
            raise DataError(f"to_table: recording {name!r} has the columns {', '.join(columns)}, the first one has "
                            f"{', '.join(expected)}: align them in the same way")
        expected = columns


def _column_names(part: Sampled | Windows) -> list[str]:
    stream = part.stream
    if isinstance(part, Windows) or len(stream.channels) == 1:
        return [stream.name]
    return [f"{stream.name}.{channel}" for channel in stream.channels]


def _columns(aligned: Aligned, root: Path, first: int) -> list[pl.Series]:
    """The table's columns of one recording, whose first row is this one; files are written on the way."""
    columns: list[pl.Series] = []
    for part in aligned.parts.values():
        stream, names = part.stream, _column_names(part)
        if isinstance(part, Sampled) and stream.is_numeric:
            columns += [pl.Series(name, part.values[:, number]).fill_nan(None) for number, name in enumerate(names)]
            continue
        cells: list[str | None]
        if isinstance(part, Windows) and stream.is_numeric:
            cells = _window_files(part, root, first)
        elif stream.files:
            linked = _Links(root, stream.name)
            cells = [None if value is None else linked.add(value) for value in part.values] \
                if isinstance(part, Sampled) else \
                [json.dumps([linked.add(value) for value in values], ensure_ascii=False) if len(values) else None
                 for _, values in part]
        else:
            cells = list(part.values) if isinstance(part, Sampled) else \
                ["\n".join(values) if len(values) else None for _, values in part]
        columns.append(pl.Series(names[0], cells, dtype=pl.String))
    return columns


def _window_files(part: Windows, root: Path, first: int) -> list[str | None]:
    """One array a window: seconds from the sample's moment and the readings, by name."""
    folder = Path("windows") / part.stream.name
    stamp = next(name for name in STAMP_NAMES if name not in part.stream.channels)
    columns = np.dtype([(name, np.float64) for name in (stamp, *part.stream.channels)])
    (root / folder).mkdir(parents=True, exist_ok=True)
    cells: list[str | None] = []
    for row, (seconds, values) in enumerate(part, start=first):
        if len(seconds) == 0:
            cells.append(None)
            continue
        file = folder / f"{row:06d}.npy"
        steps = np.column_stack([seconds, values.astype(np.float64)])
        np.save(root / file, unstructured_to_structured(steps, columns))
        cells.append(file.as_posix())
    return cells


class _Links:
    """Files brought into the table's folder, each once: models read nothing from outside it."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._folder = Path("files") / name
        self._known: dict[str, str] = {}
        self._taken: set[str] = {path.name for path in (root / self._folder).glob("*")}

    def add(self, source: str) -> str:
        """The file's path from the table's folder."""
        if source not in self._known:
            self._known[source] = self._link(Path(source))
        return self._known[source]

    def _link(self, source: Path) -> str:
        name = source.name
        number = 1
        while name in self._taken:
            number += 1
            name = f"{source.stem}-{number}{source.suffix}"
        self._taken.add(name)
        target = self._root / self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            try:
                os.link(source.resolve(), target)
            except OSError:
                shutil.copy2(source, target)
        return (self._folder / name).as_posix()


def _clock(aligned: Aligned) -> list[pl.Series]:
    """The samples' moments, and for every stream when it was read relative to them, or how many readings it gave."""
    columns = [pl.Series("time", aligned.times)]
    for name, part in aligned.parts.items():
        if isinstance(part, Windows):
            columns.append(pl.Series(f"{name}.readings", part.stops - part.starts))
        else:
            columns.append(pl.Series(f"{name}.seconds", _lateness(part, aligned.times)).fill_nan(None))
    return columns


def _lateness(part: Sampled, times: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """(sample,) stamp − moment of the reading taken; 0 where it was interpolated to the moment, NaN where absent."""
    if part.method == "interpolate":
        return np.where(part.presence, 0.0, np.nan)
    return np.where(part.presence, part.stream.times[np.maximum(part.index, 0)] - times, np.nan)
