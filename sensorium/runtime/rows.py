"""Rows as people write them, dictionaries or small tables, decoded without a data frame."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data.cells import INLINE_CELLS, decode_columns
from sensorium.data.decoding.paths import TableFolder
from sensorium.data.decoding.workers import default_workers
from sensorium.data.delimited import read_lines, refuse_repeated
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import DataError

Row = Mapping[str, Any]
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class Rows:
    """Rows that are not decoded yet.

    Args:
        rows: column → cell.
        root: the folder that paths start from.
        allow_outside: whether cells may name files outside it.
        notes: what was done to read them, a line each.
    """

    rows: tuple[Row, ...]
    root: Path
    allow_outside: bool
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self) -> tuple[str, ...]:
        """The names of all columns, in the order in which they first occur."""
        return tuple(dict.fromkeys(str(name) for row in self.rows for name in row))

    def part(self, start: int, stop: int) -> Rows:
        """Some of the rows; the notes go with the first."""
        return Rows(self.rows[start:stop], self.root, self.allow_outside, self.notes if start == 0 else ())


def given_rows(rows: Any, root: str | Path = ".") -> Rows:
    """One dictionary, several of them, or the path of a CSV, TSV or JSONL file. Raises DataError."""
    if isinstance(rows, str | Path):
        return read_rows(rows)
    listed = [rows] if isinstance(rows, Mapping) else rows
    if not isinstance(listed, Sequence) or isinstance(listed, bytes):
        raise DataError(f"rows: expected dictionaries or the path of a table, found {type(rows).__name__}")
    if not listed:
        raise DataError("no rows given")
    for number, row in enumerate(listed, start=1):
        if not isinstance(row, Mapping):
            raise DataError(f"row {number}: expected a dictionary of column and cell, found {type(row).__name__}")
    found = Rows(tuple(listed), Path(root), allow_outside=True)
    if not found.columns():
        raise DataError("the given rows have no columns")
    return found


def read_rows(source: str | Path, *, allow_outside: bool = False) -> Rows:
    """A CSV, TSV or JSONL file; its cells name files in its own folder. Raises DataError."""
    path = Path(source)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"cannot read {str(source)!r}: no such file")
    if suffix not in ENDINGS:
        raise DataError(f"cannot read {str(source)!r}: an exported model reads .csv, .tsv and .jsonl, found "
                        f"{suffix or 'no file ending'}")
    if path.stat().st_size == 0:
        raise DataError(f"cannot read {str(source)!r}: the file is empty (0 bytes)")
    notes: tuple[str, ...] = ()
    if suffix in (".csv", ".tsv"):
        header, lines, notes = read_lines(path)
        rows = [{name: cell or None for name, cell in zip(header, line, strict=True)} for line in lines]
    else:
        rows = list(_json_lines(path))
    if not rows:
        raise DataError(f"{str(source)!r} has no rows")
    return Rows(tuple(rows), path.parent, allow_outside, notes)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        refuse_repeated([name for name, _ in pairs], path)
        return dict(pairs)

    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line, object_pairs_hook=unique)
                except (json.JSONDecodeError, RecursionError) as error:
                    raise DataError(f"{str(path)!r} line {number} is not JSON: {error}") from error
                if not isinstance(row, dict):
                    raise DataError(f"{str(path)!r} line {number}: expected an object, found {line.strip()[:40]!r}")
                yield row
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {str(path)!r}: not UTF-8 text") from error


def decoded_rows(rows: Rows, schema: Schema) -> Samples:
    """Rows decoded by a measured schema, as `sensorium.data.samples.decoded` does it with a table.

    Media cells in tables, and more than 32 of them in given rows, are decoded in guarded processes.
    """
    columns, notes, cells = rows.columns(), list(rows.notes), {}
    folder = TableFolder(rows.root, allow_outside=rows.allow_outside)
    for modality in schema.modalities:
        lacking = [name for name in modality.columns if name not in columns]
        if lacking:
            notes.append(f"column {', '.join(map(repr, lacking))} is not in the table: modality {modality.name!r} is "
                         f"{'absent in every row' if len(lacking) == len(modality.columns) else 'read without it'}")
        found = [plain_values([row.get(name) for row in rows.rows]) for name in modality.columns]
        cells[modality.name] = decode_columns(found, modality, folder, inline=INLINE_CELLS if rows.allow_outside else 0,
                                              workers=default_workers())
        notes += cells[modality.name].notes
        if len(lacking) < len(modality.columns) and not (cells[modality.name].cells_of_row >= 0).any():
            notes.append(f"modality {modality.name!r} is absent in every row: no cell of it is readable")
    known = {name for modality in schema.modalities for name in modality.columns}
    known |= {target.name for target in schema.targets} | set(schema.ignored)
    known |= {name for name in (schema.group, schema.split) if name}
    extra = [name for name in columns if name not in known]
    if extra:
        notes.append(f"unknown columns are ignored: {', '.join(map(repr, extra[:10]))}")
    presence = np.stack([(cells[name].cells_of_row >= 0).any(axis=1) for name in schema.names], axis=1)
    return Samples(schema, cells, {}, None, presence, tuple(notes))


def plain_values(values: Sequence[Any]) -> list[Any]:
    """A column as a data frame would hold it: numpy's numbers as Python's, beside words NaN as nothing."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    if any(isinstance(value, str) for value in plain):
        plain = [None if isinstance(value, float) and math.isnan(value) else value for value in plain]
    return [value.encode("utf-8", "replace").decode() if isinstance(value, str) else value for value in plain]
