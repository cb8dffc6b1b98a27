"""Reading data: a table with its schema, and tables read by the schema of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sensorium.data.decoding.workers import default_workers
from sensorium.data.hub import is_dataset, table_of_dataset
from sensorium.data.infer import check_names, infer_schema
from sensorium.data.samples import Samples, decoded
from sensorium.data.schema import Schema, Target
from sensorium.data.table import Table, read_table, table_of_rows
from sensorium.recipe import DataOptions


@dataclass
class Data:
    """A table and what its columns mean. Media are not decoded yet.

    Args:
        table: the cells.
        options: what the user decided; the rest of the schema is inferred when first asked for.
        taught: targets that the table has no labels of, and a teacher answers.
    """

    table: Table
    options: DataOptions
    taught: tuple[Target, ...] = ()

    @cached_property
    def schema(self) -> Schema:
        """The inferred schema. Raises DataError where the table cannot be used."""
        return infer_schema(self.table, self.options, self.taught)

    def __len__(self) -> int:
        return len(self.table)

    def __str__(self) -> str:
        head = f"{self.table.source}: {len(self)} rows, {self.table.frame.width} columns"
        return "\n".join([head, *self.table.notes, *self.schema.lines()])


def read(
    source: Any, *, targets: str | Sequence[str] = (),
    inputs: Sequence[str] | None = None, ignore: Sequence[str] = (), group: str | None = None,
    only: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None, modalities: Mapping[str, Sequence[str]] | None = None,
    tasks: Mapping[str, str] | None = None, weights: Mapping[str, float] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None, allow_outside: bool = False,
) -> Data:
    """Read a table and infer what its columns mean.

    Args:
        source: the path of a CSV, TSV, Parquet or JSONL file or of a folder of class folders; rows as dictionaries;
            or a Dataset or DatasetDict of the package `datasets`.
        targets: the columns to predict.
        inputs: the only columns that may be inputs; None for all.
        ignore: columns to leave out.
        group: the column whose equal values stay together when rows are split.
        only: the only modalities that are inputs, by name; None for all.
        kinds: column → text, image, audio, number, category or date.
        modalities: new modality → the table columns it groups.
        tasks: target → classify or regress.
        weights: target → weight in the joint loss.
        settings: modality → settings of its kind.
        allow_outside: read also media files that lie outside the table's folder.

    Raises:
        DataError: the table cannot be read or used as asked.

    Example: sensorium.read("train.csv", targets="label")
    """
    options = DataOptions(
        targets=(targets,) if isinstance(targets, str) else tuple(targets),
        inputs=None if inputs is None else tuple(inputs), ignore=tuple(ignore), group=group, kinds=dict(kinds or {}),
        modalities={name: tuple(members) for name, members in (modalities or {}).items()},
        tasks=dict(tasks or {}), weights=dict(weights or {}), allow_outside=allow_outside,
        only=None if only is None else tuple(only),
        settings={name: dict(own) for name, own in (settings or {}).items()})
    table = _table(source, allow_outside=allow_outside)
    check_names(table, options)
    return Data(table, options)


def _table(source: Any, root: str | Path = ".", *, allow_outside: bool = False) -> Table:
    """The table that a user means."""
    if isinstance(source, str | Path):
        return read_table(source, allow_outside=allow_outside)
    if is_dataset(source):
        return table_of_dataset(source)
    return table_of_rows([source] if isinstance(source, Mapping) else source, root)


def as_samples(
    rows: Any, schema: Schema, *, root: str | Path = ".", allow_outside: bool = False,
) -> Samples:
    """Whatever a user hands in, decoded by a measured schema; samples that are decoded already as they are."""
    if isinstance(rows, Samples):
        return rows
    table = rows.table if isinstance(rows, Data) else _table(rows, root, allow_outside=allow_outside)
    return decoded(table, schema, workers=default_workers(), memory_bytes=default_memory())


def default_memory() -> float:
    """Bytes of decoded media to keep: a quarter of what is free."""
    import psutil

    return float(psutil.virtual_memory().available) / 4
