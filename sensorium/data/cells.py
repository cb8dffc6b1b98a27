"""Decoding: every distinct cell once, in worker processes, kept in memory while it fits."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.data.kinds import AnyKind, TableKind, TextKind
from sensorium.data.kinds.base import Array, Cell, Kind
from sensorium.data.kinds.table import Parsed
from sensorium.data.schema import Modality
from sensorium.data.table import Table
from sensorium.errors import BadCell

INLINE_CELLS = 400
CHUNK = 64
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class UnreadableCell:
    """A cell that could not be read.

    Args:
        row: its row's number, from 1.
        column: its column.
        value: what stood there, shortened.
        reason: why it cannot be read.
    """

    row: int
    column: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}, column {self.column!r}, {self.value}: {self.reason}"


@dataclass(frozen=True)
class Cells:
    """One modality of a table, decoded.

    Args:
        kind: the measured kind.
        cell_of_row: (row,) number of the row's cell, −1 = absent.
        first_row: (cell,) the first row that has the cell: its identity for keyed draws.
        arrays: the decoded cells.
        num_blank: rows whose cell is blank.
        unreadable: rows whose cell cannot be read, and why.
        notes: what fell back, a line each: categories that training did not have.
    """

    kind: Kind
    cell_of_row: npt.NDArray[np.int64]
    first_row: npt.NDArray[np.int64]
    arrays: Arrays
    num_blank: int
    unreadable: tuple[UnreadableCell, ...]
    notes: tuple[str, ...] = ()


class Arrays:
    """Decoded cells by number: kept in memory, or decoded again by threads ahead of need where they did not fit."""

    def __init__(self, kept: list[Array | None], kind: Kind, sources: Sequence[Cell]) -> None:
        self._kept = kept
        self._kind = kind
        self._sources = sources
        self._pending: dict[int, Future[Array]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def fits(self) -> bool:
        """Whether every cell is in memory."""
        return all(array is not None for array in self._kept)

    @property
    def num_bytes(self) -> float:
        """About how much memory the kept cells take."""
        return sum(_size(array) for array in self._kept if array is not None)

    def prefetch(self, cells: Sequence[int]) -> None:
        """Start decoding the cells that are not in memory."""
        for cell in cells:
            if self._kept[cell] is None and cell not in self._pending:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="decode")
                self._pending[cell] = self._pool.submit(self._kind.decode, self._sources[cell])

    def get(self, cells: Sequence[int]) -> list[Array]:
        """The arrays of these cells."""
        self.prefetch(cells)
        pending = {cell: self._pending.pop(cell).result() for cell in set(cells) if self._kept[cell] is None}
        return [pending[cell] if cell in pending else self._kept[cell] for cell in cells]


def media_cells(table: Table, modality: Modality) -> list[Cell]:
    """The modality's cells, row by row: absolute paths for media named in a table, None where blank."""
    if isinstance(modality.kind, TableKind):
        return list(zip(*(column.to_list() for column in table_columns(table, modality)), strict=True))
    values = [None if _is_blank(value) else value for value in table.frame[modality.columns[0]].to_list()]
    return values if isinstance(modality.kind, TextKind) else [_located(value, table.root) for value in values]


def table_columns(table: Table, modality: Modality) -> list[pl.Series]:
    """The modality's columns; empty ones where the table lacks them."""
    return [table.frame[name] if name in table.frame.columns else pl.Series(name, [None] * len(table), dtype=pl.String)
            for name in modality.columns]


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or (
        isinstance(value, float) and math.isnan(value))


def _located(value: Any, root: Path) -> Any:
    """A path from the table's folder; one written on Windows is read too where there is no file of that very name."""
    if not isinstance(value, str | Path):
        return value
    text = str(value).strip().removeprefix("file://")
    path = str(root / text)
    if "\\" in text and not os.path.lexists(path):
        return str(root / text.replace("\\", "/"))
    return path


def decode_cells(
    table: Table, modality: Modality, *, workers: int, memory_bytes: float, progress: Progress | None = None,
) -> Cells:
    """Decode every distinct cell of a modality once.

    Args:
        table: the table.
        modality: with its measured kind.
        workers: processes; 0 decodes in this one. The result does not depend on it.
        memory_bytes: decoded media beyond this are decoded again when needed.
        progress: called with (cells done, cells in all).
    """
    if isinstance(modality.kind, TableKind):
        return _decoded_table(table, modality, modality.kind, progress)
    cells = media_cells(table, modality)
    kind: Kind = modality.kind
    cell_of_row, first_row = _distinct(cells)
    sources = [cells[row] for row in first_row]
    kept: list[Array | None] = []
    reasons: dict[int, str] = {}
    used = 0.0
    for number, result in enumerate(_decoded(kind, sources, workers)):
        if isinstance(result, _Refused):
            reasons[number] = result.reason
            kept.append(None)
        else:
            used += _size(result)
            kept.append(result if used <= memory_bytes else None)
        if progress is not None and (number % CHUNK == 0 or number + 1 == len(sources)):
            progress(number + 1, len(sources))
    return _packed(table, modality, cells, cell_of_row, first_row, kept, reasons)


def _packed(
    table: Table, modality: Modality, cells: list[Cell], cell_of_row: npt.NDArray[np.int64],
    first_row: npt.NDArray[np.int64], kept: list[Array | None], reasons: dict[int, str],
) -> Cells:
    """Number the readable cells anew and list the others."""
    readable = np.array([number not in reasons for number in range(len(first_row))], dtype=bool)
    renumbered = np.where(readable, np.cumsum(readable) - 1, -1).astype(np.int64)
    blank = cell_of_row < 0
    final = np.where(blank, -1, renumbered[np.maximum(cell_of_row, 0)] if len(renumbered) else -1)
    unreadable = tuple(UnreadableCell(row + 1, modality.columns[0], _shown(table, modality, row), reasons[number])
                       for row, number in enumerate(cell_of_row.tolist()) if number in reasons)
    sources = [cells[row] for row, good in zip(first_row.tolist(), readable.tolist(), strict=True) if good]
    arrays = Arrays([a for a, good in zip(kept, readable.tolist(), strict=True) if good], modality.kind, sources)
    return Cells(modality.kind, final.astype(np.int64), first_row[readable], arrays, int(blank.sum()), unreadable)


def _decoded_table(table: Table, modality: Modality, kind: TableKind, progress: Progress | None) -> Cells:
    """The rows of a table modality, column by column; the same as `kind.decode` of every row."""
    columns = table_columns(table, modality)
    rows, found = kind.decode_columns(columns)
    there = ~np.isnan(rows).all(axis=1)
    cell_of_row = np.where(there, np.cumsum(there) - 1, -1).astype(np.int64)
    unreadable = sorted(
        (UnreadableCell(row + 1, column.name, repr(column[row])[:80], reason)
         for column in columns for row, reason in found[column.name].refused.items()), key=lambda cell: cell.row)
    notes = tuple(_unseen_note(name, parsed) for name, parsed in found.items() if parsed.unseen)
    if progress is not None:
        progress(len(rows), len(rows))
    arrays = Arrays(list(rows[there]), kind, ())
    return Cells(kind, cell_of_row, np.flatnonzero(there), arrays, int((~there).sum()), tuple(unreadable), notes)


def _unseen_note(column: str, parsed: Parsed) -> str:
    """How many cells of a column hold a category that the training rows did not have."""
    shown = ", ".join(f"{category!r} {count}" for category, count in parsed.unseen.most_common(5))
    more = f" and {len(parsed.unseen) - 5} more" if len(parsed.unseen) > 5 else ""
    return (f"column {column!r}: {parsed.unseen.total()} cells hold categories unseen in training or too rare there "
            f"({shown}{more}) and count as missing")


def _shown(table: Table, modality: Modality, row: int) -> str:
    value = table.frame[modality.columns[0]].slice(row, 1).to_list()[0]
    return repr(value)[:80] if isinstance(value, str) else type(value).__name__


def _distinct(cells: list[Cell]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(row,) cell numbers, −1 for blank, and (cell,) first rows."""
    numbers: dict[Any, int] = {}
    first: list[int] = []
    cell_of_row = np.full(len(cells), -1, dtype=np.int64)
    for row, cell in enumerate(cells):
        if cell is None:
            continue
        key = cell if isinstance(cell, str | bytes) else ("object", id(cell))
        if key not in numbers:
            numbers[key] = len(first)
            first.append(row)
        cell_of_row[row] = numbers[key]
    return cell_of_row, np.array(first, dtype=np.int64)


def cell_numbers(table: Table, modality: Modality) -> npt.NDArray[np.int64]:
    """(row,) numbers of the modality's distinct cells, −1 where blank: rows of equal numbers share a cell."""
    return _distinct(media_cells(table, modality))[0]


@dataclass(frozen=True)
class _Refused:
    reason: str


def _decode_chunk(kind: Kind, sources: Sequence[Cell]) -> list[Array | _Refused]:
    results: list[Array | _Refused] = []
    for source in sources:
        try:
            results.append(kind.decode(source))
        except BadCell as error:
            results.append(_Refused(str(error)))
    return results


def _decoded(kind: Kind, sources: Sequence[Cell], workers: int) -> Iterator[Array | _Refused]:
    light = isinstance(kind, TextKind) or len(sources) <= INLINE_CELLS or workers == 0
    if light or not all(isinstance(s, str | bytes) for s in sources):
        yield from _decode_chunk(kind, sources)
        return
    from loky import get_reusable_executor  # unlike multiprocessing, never runs the caller's script again

    executor = get_reusable_executor(max_workers=workers, timeout=30)
    chunks = [sources[start : start + CHUNK] for start in range(0, len(sources), CHUNK)]
    for results in executor.map(_decode_chunk, [kind] * len(chunks), chunks):
        yield from results


def _size(array: Array) -> float:
    return float(array.nbytes) if isinstance(array, np.ndarray) else float(len(array))


def measured_kind(table: Table, modality: Modality, rows: npt.NDArray[np.int64]) -> AnyKind:
    """The kind measured on these rows: on all their cells for text and tables, on 256 for media."""
    kind = modality.kind
    step = 1 if isinstance(kind, TextKind | TableKind) else max(1, len(rows) // 256)
    some = Table(table.frame[rows[::step].astype(np.uint32)] if len(rows) else table.frame.head(0), table.root,
                 table.source)
    if isinstance(kind, TableKind):
        return kind.measure_columns(table_columns(some, modality))
    return kind.measure([cell for cell in media_cells(some, modality) if cell is not None])


def column_of(table: Table, name: str) -> pl.Series | None:
    """A column, or None where the table lacks it."""
    return table.frame[name] if name in table.frame.columns else None
