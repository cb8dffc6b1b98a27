"""Decoding: every distinct cell once, in worker processes, kept in memory while it fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sensorium.data.cache.store import StoredTokens
from sensorium.data.decoding.paths import TableFolder
from sensorium.data.decoding.workers import Refused, decode_guarded, decode_one
from sensorium.data.kinds import AnyKind, TableKind, TextKind
from sensorium.data.kinds.base import Array, Cell, Kind
from sensorium.data.kinds.table import Parsed
from sensorium.data.schema import Modality
from sensorium.data.sources import MOST_LISTED, RowCells, listed_cells, num_cut_lists, row_cells, table_columns

if TYPE_CHECKING:
    import polars as pl

    from sensorium.data.table import Table

INLINE_CELLS = 32
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
        cells_of_row: (row, slot) numbers of the row's cells, −1 = nothing; several slots where cells are lists.
        identities: (cell,) the first row that has the cell (plus its slot · 2³²): its identity for keyed draws.
        arrays: the decoded cells.
        lengths: (cell,) positions that a batch gives each cell: tokens, samples, frames, steps, points; else 1.
        num_blank: rows whose cell is blank.
        unreadable: rows whose cell cannot be read, and why.
        notes: what fell back, a line each: categories that training did not have.
        stored: the features of a frozen encoder, which batches hold instead of the cells themselves; None: none.
    """

    kind: Kind
    cells_of_row: npt.NDArray[np.int64]
    identities: npt.NDArray[np.int64]
    arrays: Arrays
    lengths: npt.NDArray[np.int64]
    num_blank: int
    unreadable: tuple[UnreadableCell, ...]
    notes: tuple[str, ...] = ()
    stored: StoredTokens | None = None


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
    def sources(self) -> Sequence[Cell]:
        """What each cell was decoded from: an absolute path, bytes, a text …"""
        return self._sources

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
    columns = table_columns(table, modality)
    listed = columns if isinstance(modality.kind, TableKind) else [column.to_list() for column in columns]
    return decode_columns(listed, modality, table.folder, inline=INLINE_CELLS if table.allow_outside else 0,
                          workers=workers, memory_bytes=memory_bytes, progress=progress)


def decode_columns(
    columns: Sequence[Sequence[Any] | pl.Series], modality: Modality, folder: TableFolder, *,
    inline: int = INLINE_CELLS, workers: int = 0, memory_bytes: float = math.inf, progress: Progress | None = None,
) -> Cells:
    """The same from the modality's columns, of any number of rows.

    Args:
        columns: values of Python; a table's also as series.
        modality: with its measured kind.
        folder: where its files may lie.
        inline: so many media cells are decoded in this process; where there are more, all are decoded in guarded ones.
        workers, memory_bytes, progress: as of `decode_cells`.
    """
    if isinstance(modality.kind, TableKind):
        return _decoded_table(columns, modality, modality.kind, progress)
    kind: Kind = modality.kind
    values: list[Any] = list(columns[0])
    distinct = _distinct(listed_cells([values], modality, folder))
    kept: list[Array | None] = []
    lengths: list[int] = []
    reasons: dict[int, str] = {}
    used = 0.0
    for number, result in enumerate(_decoded(kind, distinct.sources, workers, inline)):
        if isinstance(result, Refused):
            reasons[number] = result.reason
            kept.append(None)
            lengths.append(0)
        else:
            used += _size(result)
            kept.append(result if used <= memory_bytes else None)
            lengths.append(kind.length(result))
        if progress is not None and (number % CHUNK == 0 or number + 1 == len(distinct.sources)):
            progress(number + 1, len(distinct.sources))
    return _packed(values, modality, distinct, kept, lengths, reasons)


def _packed(
    values: Sequence[Any], modality: Modality, distinct: _Distinct, kept: list[Array | None], lengths: list[int],
    reasons: dict[int, str],
) -> Cells:
    """Number the readable cells anew and list the others."""
    readable = np.array([number not in reasons for number in range(len(distinct.sources))], dtype=bool)
    renumbered = np.where(readable, np.cumsum(readable) - 1, -1).astype(np.int64)
    blank = distinct.of_row < 0
    final = np.where(blank, -1, renumbered[np.maximum(distinct.of_row, 0)] if len(renumbered) else -1)
    unreadable = tuple(UnreadableCell(row + 1, modality.columns[0], _shown(values[row]), reasons[number])
                       for row, numbers in enumerate(distinct.of_row.tolist()) for number in numbers
                       if number in reasons)
    good = np.flatnonzero(readable).tolist()
    arrays = Arrays([kept[number] for number in good], modality.kind, [distinct.sources[number] for number in good])
    cut = num_cut_lists(values, modality)
    notes = (f"modality {modality.name!r}: {cut} rows list more than {MOST_LISTED} cells; the first {MOST_LISTED} are "
             f"read",) if cut else ()
    return Cells(modality.kind, final.astype(np.int64), distinct.identities[readable], arrays,
                 np.array(lengths, dtype=np.int64)[readable], int(blank.all(axis=1).sum()), unreadable, notes)


def _decoded_table(
    columns: Sequence[Sequence[Any] | pl.Series], modality: Modality, kind: TableKind, progress: Progress | None,
) -> Cells:
    """The rows of a table modality, column by column; the same as `kind.decode` of every row."""
    rows, found = kind.decode_columns(columns)
    there = ~np.isnan(rows).all(axis=1)
    cell_of_row = np.where(there, np.cumsum(there) - 1, -1).astype(np.int64)
    unreadable = sorted(
        (UnreadableCell(row + 1, name, repr(column[row])[:80], reason)
         for name, column in zip(modality.columns, columns, strict=True)
         for row, reason in found[name].refused.items()), key=lambda cell: cell.row)
    notes = tuple(_unseen_note(name, parsed) for name, parsed in found.items() if parsed.unseen)
    if progress is not None:
        progress(len(rows), len(rows))
    arrays = Arrays(list(rows[there]), kind, ())
    return Cells(kind, cell_of_row[:, None], np.flatnonzero(there), arrays, np.ones(int(there.sum()), dtype=np.int64),
                 int((~there).sum()), tuple(unreadable), notes)


def _unseen_note(column: str, parsed: Parsed) -> str:
    """How many cells of a column hold a category that the training rows did not have."""
    shown = ", ".join(f"{category!r} {count}" for category, count in parsed.unseen.most_common(5))
    more = f" and {len(parsed.unseen) - 5} more" if len(parsed.unseen) > 5 else ""
    return (f"column {column!r}: {parsed.unseen.total()} cells hold categories unseen in training or too rare there "
            f"({shown}{more}) and count as missing")


def _shown(value: Any) -> str:
    return repr(value)[:80] if isinstance(value, str) else type(value).__name__


@dataclass(frozen=True)
class _Distinct:
    """A modality's different cells: (row, slot) their numbers, −1 = nothing; each one's source and identity."""

    of_row: npt.NDArray[np.int64]
    sources: list[Cell]
    identities: npt.NDArray[np.int64]


def _distinct(rows: list[RowCells]) -> _Distinct:
    numbers: dict[Any, int] = {}
    sources: list[Cell] = []
    identities: list[int] = []
    of_row = np.full((len(rows), max([1, *map(len, rows)])), -1, dtype=np.int64)
    for row, cells in enumerate(rows):
        for slot, cell in enumerate(cells):
            key = cell if isinstance(cell, str | bytes | Path | Refused) else ("object", id(cell))
            if key not in numbers:
                numbers[key] = len(sources)
                sources.append(cell)
                identities.append(row + (slot << 32))
            of_row[row, slot] = numbers[key]
    return _Distinct(of_row, sources, np.array(identities, dtype=np.int64))


def cell_numbers(table: Table, modality: Modality) -> npt.NDArray[np.int64]:
    """(row, slot) numbers of the modality's distinct cells, −1 = nothing: rows with a number in common share a cell."""
    return _distinct(row_cells(table, modality)).of_row


def numbered(cells: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The distinct cells of some rows (row, slot), and for each place its number among them; −1 = nothing."""
    used = int(np.flatnonzero((cells >= 0).any(axis=0)).max()) + 1
    cells = cells[:, :used]
    there = cells >= 0
    distinct, number = np.unique(cells[there], return_inverse=True)
    which = np.full(cells.shape, -1, dtype=np.int64)
    which[there] = number
    return distinct, which


def _decoded(kind: Kind, sources: Sequence[Cell], workers: int, inline: int) -> Iterator[Array | Refused]:
    """Every cell's array or why there is none, in order; media cells in guarded processes where there are more than
    `inline` (a few rows that the user wrote are not worth starting them)."""
    named = [source for source in sources if not isinstance(source, Refused)]
    light = isinstance(kind, TextKind) or len(named) <= inline or workers == 0
    if light or not all(isinstance(source, str | bytes) for source in named):
        results: Iterator[Array | Refused] = (decode_one(kind, source) for source in named)
    else:
        results = decode_guarded(kind, named, workers)
    for source in sources:
        yield source if isinstance(source, Refused) else next(results)


def _size(array: Array) -> float:
    """Bytes of a decoded cell: an array, a dataclass of arrays, or a string."""
    if isinstance(array, np.ndarray):
        return float(array.nbytes)
    if is_dataclass(array):
        return sum(_size(getattr(array, field.name)) for field in fields(array))
    return float(len(array)) if isinstance(array, str) else 8.0


def measured_kind(table: Table, modality: Modality, rows: npt.NDArray[np.int64]) -> AnyKind:
    """The kind measured on these rows: on all their cells for text and tables, on 256 for media."""
    kind = modality.kind
    step = 1 if isinstance(kind, TextKind | TableKind) else max(1, len(rows) // 256)
    some = replace(table, frame=table.frame[rows[::step].astype(np.uint32)] if len(rows) else table.frame.head(0))
    if isinstance(kind, TableKind):
        return kind.measure_columns(table_columns(some, modality))
    cells = [cell for cells in row_cells(some, modality) for cell in cells]
    return kind.measure([cell for cell in cells if not isinstance(cell, Refused)])


def column_of(table: Table, name: str) -> pl.Series | None:
    """A column, or None where the table lacks it."""
    return table.frame[name] if name in table.frame.columns else None
