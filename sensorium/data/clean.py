"""A cleaned copy of a table: what can be mended without a guess is mended, and every change is written down."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sensorium.data.checks.findings import counted
from sensorium.data.checks.joined import Joined
from sensorium.data.checks.overlap import shared_rows, tells_rows_apart, whole_rows
from sensorium.data.checks.repeats import repeated_rows
from sensorium.data.inspect import Inspection
from sensorium.data.new_place import Change, moved_paths
from sensorium.data.schema import Modality
from sensorium.data.sources import row_cells


@dataclass(frozen=True)
class Cleaning:
    """A cleaned table and how it came about.

    Args:
        frame: the cells.
        changes: every one, in the order in which they were made.
        rows_before: how many rows the original has.
    """

    frame: pl.DataFrame
    changes: list[Change]
    rows_before: int

    def lines(self) -> list[str]:
        """What was changed, with counts."""
        lines = [f"{change.change} in {change.column}: {change.why}" for change in self.changes if change.row is None]
        counts = Counter((change.change, change.column, _kind_of_reason(change.why))
                         for change in self.changes if change.row is not None)
        lines += [f"{what}{f' in {column}' if column else ''}: {count:,} ({why})"
                  for (what, column, why), count in counts.items()]
        return [f"{counted(self.rows_before, 'row')} before, {counted(self.frame.height, 'row')} after",
                *(lines or ["nothing had to be changed"])]


def cleaned(found: Inspection, out: Path, *, near: bool = False) -> Cleaning:
    """The inspected table without what no one can want; the original is not touched.

    White space around names and cells goes; cells that cannot be read become blank; of rows that repeat one another the
    first stays; rows of a later split that occur in an earlier one go, and so do rows that occur in the table it was
    held against; relative paths lead to the same files from the folder of `out`.

    Args:
        found: from `inspect_table`.
        out: where the copy will be.
        near: whether pictures, sounds and texts that are only nearly the same count as occurring in both.
    """
    table = found.data.table
    changes = _trimmed_header(found)
    columns = [_trimmed(column, changes) for column in table.frame.get_columns()]
    columns = _blanked(columns, found, changes)
    columns = moved_paths(columns, found, out.parent, changes)
    dropped = _dropped(found.joined, found, near=near)
    changes += [Change(row + 1, "", "row dropped", "", "", why) for row, why in sorted(dropped.items())]
    kept = np.array([row not in dropped for row in range(len(table))], dtype=bool)
    return Cleaning(pl.DataFrame(columns).filter(pl.Series(kept)), changes, len(table))


def _kind_of_reason(why: str) -> str:
    """A reason without the row or the details behind the colon, for counting."""
    return why.partition(": ")[0]


def _trimmed_header(found: Inspection) -> list[Change]:
    """Names of a CSV file with white space around them, which reading takes away."""
    source = Path(found.data.table.source)
    if source.suffix.lower() not in (".csv", ".tsv") or not source.is_file():
        return []
    with source.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline()
    names = found.data.table.frame.columns
    for separator in (",", ";", "\t", "|"):
        written = next(csv.reader([first], delimiter=separator), [])
        if [name.strip() for name in written] == names:
            written = [name.strip("\r\n") for name in written]
            return [Change(None, name.strip(), "name trimmed", name, name.strip(), f"it was {name!r}")
                    for name in written if name != name.strip()]
    return []


def _trimmed(column: pl.Series, changes: list[Change]) -> pl.Series:
    """Strings without white space around them."""
    if column.dtype != pl.String:
        return column
    trimmed = column.str.strip_chars()
    for row in np.flatnonzero((trimmed != column).fill_null(False).to_numpy()).tolist():
        changes.append(Change(row + 1, column.name, "cell trimmed", column[row], trimmed[row], "white space around it"))
    return trimmed


def _blanked(columns: list[pl.Series], found: Inspection, changes: list[Change]) -> list[pl.Series]:
    """Cells that cannot be read become blank; a list of cells only where none of them can be."""
    samples = found.samples
    for place, column in enumerate(columns):
        reasons = {cell.row - 1: cell.reason for cell in samples.unreadable if cell.column == column.name}
        lists = [m for m in samples.schema.modalities if column.name in m.columns and m.kind.name != "table"]
        rows = [row for row in reasons if not any((samples.cells[m.name].cells_of_row[row] >= 0).any() for m in lists)]
        if not rows:
            continue
        values = column.to_list()
        for row in rows:
            changes.append(Change(row + 1, column.name, "cell blanked", str(values[row])[:200], "",
                                  f"cannot be read: {reasons[row]}"))
            values[row] = None
        columns[place] = pl.Series(column.name, values, dtype=column.dtype)
    return columns


def _dropped(joined: Joined, found: Inspection, *, near: bool) -> dict[int, str]:
    """row of the inspected table → why it goes."""
    dropped = {row: f"repeats an earlier row: row {first + 1}" for row, first in repeated_rows(joined).items()
               if _same_sources(found, row, first)}
    for later in range(len(joined.part_names)):
        for earlier in range(len(joined.part_names)):
            tables = len(joined.sides) > 1
            if earlier == later or (not tables and earlier > later):
                continue
            for name, twins in joined.twins.items():
                if tells_rows_apart(joined, twins):
                    exact, alike = shared_rows(joined, name, earlier, later)
                    for row, other in {**exact, **(alike if near else {})}.items():
                        _drop(joined, dropped, row, other, f"its {name} {'is' if row in exact else 'is nearly'} in "
                                                           f"{joined.part_names[earlier]} too")
            shared, natural = whole_rows(joined, earlier, later, near=near)
            for row, other in () if natural else shared.items():
                _drop(joined, dropped, row, other, f"the same inputs are in {joined.part_names[earlier]}")
    return dropped


def _drop(joined: Joined, dropped: dict[int, str], row: int, other: int, why: str) -> None:
    """Mark a row of the inspected table; of two tables, only for what it shares with the other one."""
    if row < joined.num_rows and (len(joined.sides) == 1 or other >= joined.num_rows):
        place = joined.places([other])[0]
        dropped.setdefault(row, f"{why}: row {place.row + 1}")


def _same_sources(found: Inspection, row: int, other: int) -> bool:
    """Whether the media of two rows are the same byte for byte: decoding may have cut what differs."""
    for modality in found.samples.schema.modalities:
        if modality.kind.name not in ("table", "text"):
            one, two = (_digests(found, modality, place) for place in (row, other))
            if one != two:
                return False
    return True


def _digests(found: Inspection, modality: Modality, row: int) -> list[Any]:
    """The contents of a row's files; what is no file stands for itself."""
    single = replace(found.data.table, frame=found.data.table.frame[row : row + 1])
    digests: list[Any] = []
    for cell in row_cells(single, modality)[0]:
        path = Path(cell) if isinstance(cell, str | Path) else None
        if path is not None and path.is_file():
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        else:
            digests.append(cell if isinstance(cell, str | bytes) else repr(cell))
    return digests
