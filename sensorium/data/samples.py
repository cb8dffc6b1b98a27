"""A table made ready: kinds measured, cells decoded, targets numbered, presence known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.cells import Cells, Progress, UnreadableCell, column_of, decode_cells, measured_kind
from sensorium.data.infer import target_is_missing
from sensorium.data.kinds import TIMED, AudioKind
from sensorium.data.kinds.table import TableColumn
from sensorium.data.notation import category_key, category_text, is_missing
from sensorium.data.schema import Schema, Target
from sensorium.data.table import SPLIT_WORDS, Table
from sensorium.errors import DataError

UNSEEN = -1


@dataclass(frozen=True)
class Labels:
    """One target of every row.

    Args:
        values: (row,) class numbers (−1: a class unseen in training) as int64, or numbers as float64.
        mask: (row,) True where the row has a label.
        unseen: class → rows, for labels that training never had.
        unreadable: labels that are no number.
    """

    values: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    mask: npt.NDArray[np.bool_]
    unseen: Mapping[str, int]
    unreadable: tuple[UnreadableCell, ...]


@dataclass(frozen=True)
class Samples:
    """A decoded table.

    Args:
        schema: with measured kinds.
        cells: by modality.
        labels: by target; only those the table has.
        groups: (row,) group numbers, or None.
        presence: (row, modality) in the schema's order.
        notes: what was absent or fell back, a line each.
    """

    schema: Schema
    cells: Mapping[str, Cells]
    labels: Mapping[str, Labels]
    groups: npt.NDArray[np.int64] | None
    presence: npt.NDArray[np.bool_]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.presence.shape[0])

    @property
    def unreadable(self) -> list[UnreadableCell]:
        """Every cell that could not be read."""
        found = [cell for name in self.schema.names for cell in self.cells[name].unreadable]
        return found + [cell for labels in self.labels.values() for cell in labels.unreadable]

    def identities(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(row, modality) the identity of each row's first cell; equal ones are the same text or file, −1: no cell."""
        found = np.full((len(rows), len(self.schema.names)), -1, dtype=np.int64)
        for place, name in enumerate(self.schema.names):
            first = self.cells[name].cells_of_row[rows, 0]
            found[first >= 0, place] = self.cells[name].identities[first[first >= 0]]
        return found

    def refuse_unreadable(self) -> None:
        """Raise for the first unreadable cell (`--strict`)."""
        found = self.unreadable
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise DataError(f"unreadable cell: {found[0]}{more}")


def measured(table: Table, schema: Schema, rows: npt.NDArray[np.int64]) -> Schema:
    """The schema with kinds and target scales measured on these (training) rows."""
    modalities = []
    shared_clock = sum(modality.kind.name in TIMED for modality in schema.modalities) > 1
    for modality in schema.modalities:
        kind = measured_kind(table, modality, rows)
        if isinstance(kind, AudioKind) and kind.keep_time is None:
            kind = kind.model_copy(update={"keep_time": shared_clock})
        modalities.append(modality.model_copy(update={"kind": kind}))
    targets = []
    for target in schema.targets:
        labels = read_labels(table, target)
        kept = labels.mask.copy()
        kept[np.setdiff1d(np.arange(len(table)), rows)] = False
        values = labels.values[kept]
        update: dict[str, Any] = {}
        if target.task == "regress":
            if len(values):
                update = {"mean": float(values.mean()), "std": float(values.std()) or 1.0}
        else:
            counts = np.bincount(values.astype(np.int64), minlength=len(target.classes)) + 1.0
            update = {"prior": tuple((counts / counts.sum()).tolist())}
        targets.append(target.model_copy(update=update))
    return schema.model_copy(update={"modalities": tuple(modalities), "targets": tuple(targets)})


def decoded(
    table: Table, schema: Schema, *, workers: int, memory_bytes: float,
    progress: Callable[[str], Progress] | None = None, before: Samples | None = None,
) -> Samples:
    """Decode a table by a measured schema. A modality or target whose column is lacking is absent, and noted.

    Args:
        table: the table.
        schema: with measured kinds.
        workers: processes that decode media.
        memory_bytes: decoded media beyond this are decoded again when needed.
        progress: called with a modality's name for a function of (cells done, cells in all).
        before: the same table decoded before; a modality with the same settings is taken from there.
    """
    cells: dict[str, Cells] = {}
    notes: list[str] = list(table.notes)
    left = memory_bytes
    known = {c for m in schema.modalities for c in m.columns} | {t.name for t in schema.targets}
    known |= set(schema.ignored) | {name for name in (schema.group, schema.split) if name}
    for modality in schema.modalities:
        lacking = [name for name in modality.columns if name not in table.frame.columns]
        if lacking:
            notes.append(f"column {', '.join(map(repr, lacking))} is not in the table: modality {modality.name!r} is "
                         f"{'absent in every row' if len(lacking) == len(modality.columns) else 'read without it'}")
        whole = table if not lacking else _with_empty(table, lacking)
        if before is not None and modality in before.schema.modalities:
            cells[modality.name] = before.cells[modality.name]
        else:
            cells[modality.name] = decode_cells(whole, modality, workers=workers, memory_bytes=left,
                                                progress=progress(modality.name) if progress else None)
        notes += cells[modality.name].notes
        if len(lacking) < len(modality.columns) and not (cells[modality.name].cells_of_row >= 0).any():
            notes.append(f"modality {modality.name!r} is absent in every row: no cell of it is readable")
        left -= min(left, cells[modality.name].arrays.num_bytes)
    extra = [name for name in table.frame.columns if name not in known]
    if extra:
        notes.append(f"unknown columns are ignored: {', '.join(map(repr, extra[:10]))}")
    labels = {target.name: read_labels(table, target) for target in schema.targets
              if target.name in table.frame.columns}
    presence = np.stack([(cells[name].cells_of_row >= 0).any(axis=1) for name in schema.names], axis=1)
    return Samples(schema, cells, labels, group_numbers(table, schema), presence, tuple(notes))


def _with_empty(table: Table, names: list[str]) -> Table:
    import polars as pl

    empty = [pl.lit(None, dtype=pl.String).alias(name) for name in names]
    return replace(table, frame=table.frame.with_columns(empty))


def read_labels(table: Table, target: Target) -> Labels:
    """A target's column as numbers, with a mask of the rows that have a label."""
    column = table.frame[target.name]
    if target.task == "regress":
        parsed = TableColumn(name=target.name, type="number", notation=target.notation).parse_all(column)
        broken = tuple(UnreadableCell(row + 1, target.name, repr(column[row])[:80], reason)
                       for row, reason in sorted(parsed.refused.items()))
        known = np.isfinite(parsed.numbers)
        return Labels(np.where(known, parsed.numbers, 0.0), known, {}, broken)
    codes = {category_key(label): number for number, label in enumerate(target.classes)}
    found: dict[Any, int | None] = {}
    values = np.full(len(column), UNSEEN, dtype=np.int64)
    mask = np.ones(len(column), dtype=bool)
    unseen: Counter[str] = Counter()
    for row, value in enumerate(column.to_list()):
        key = (type(value), value) if isinstance(value, str | int | float) else str(value)
        if key not in found:
            found[key] = _class_of(value, codes)
        code = found[key]
        if code is None:
            mask[row] = False
        elif code == UNSEEN:
            unseen[category_text(value)] += 1
        else:
            values[row] = code
    return Labels(values, mask, unseen, ())


def _class_of(value: Any, codes: Mapping[str, int]) -> int | None:
    """The class's number, UNSEEN, or None for no label: blank, or a word such as NA that is not one of the classes."""
    if target_is_missing(value):
        return None
    code = codes.get(category_key(value), UNSEEN)
    return None if code == UNSEEN and is_missing(value) else code


def group_numbers(table: Table, schema: Schema) -> npt.NDArray[np.int64] | None:
    """(row,) numbers of the group column's values; rows without a group are groups of their own."""
    column = column_of(table, schema.group) if schema.group else None
    if column is None:
        return None
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(f"row {row}" if target_is_missing(value) else f"group {value}", len(numbers))
             for row, value in enumerate(column.to_list())]
    return np.array(found, dtype=np.int64)


def split_words(table: Table, schema: Schema) -> npt.NDArray[np.str_] | None:
    """(row,) train, validation, calibration, test, or "" from the split column."""
    column = column_of(table, schema.split) if schema.split else None
    if column is None:
        return None
    return np.array([SPLIT_WORDS.get(str(value).strip().lower(), "") for value in column.to_list()])
