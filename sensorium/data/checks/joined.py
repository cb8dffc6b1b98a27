"""One table, or two side by side, with rows and cells numbered through: what the checks of `inspect` read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.cells import column_of
from sensorium.data.checks.findings import Place
from sensorium.data.checks.twins import Twins, find_twins
from sensorium.data.samples import Samples, split_words
from sensorium.data.schema import Schema
from sensorium.data.table import Table

Numbers = npt.NDArray[np.int64]
PARTS = ("train", "validation", "calibration", "test")


@dataclass(frozen=True)
class Side:
    """A table and what it became.

    Args:
        name: for messages.
        table: the cells.
        samples: decoded by the first table's schema.
    """

    name: str
    table: Table
    samples: Samples


@dataclass(frozen=True)
class Joined:
    """The sides with their rows numbered through: the second's follow the first's.

    Args:
        sides: the table that is inspected, and the one that it is held against, if any.
        twins: modality → which of its cells are the same or nearly so; tables have none.
        part_names: the splits, or the tables, in the order train, validation, calibration, test.
        parts: (row,) which of them each row belongs to.
    """

    sides: tuple[Side, ...]
    twins: Mapping[str, Twins]
    part_names: tuple[str, ...]
    parts: Numbers

    @property
    def schema(self) -> Schema:
        """The first side's schema, by which both are decoded."""
        return self.sides[0].samples.schema

    @property
    def num_rows(self) -> int:
        """Rows of the table that is inspected; those of the other follow."""
        return len(self.sides[0].samples)

    def places(self, rows: Iterable[int]) -> tuple[Place, ...]:
        """Where the rows stand."""
        return tuple(Place(int(row >= self.num_rows), int(row) - (self.num_rows if row >= self.num_rows else 0))
                     for row in rows)

    @cached_property
    def row_keys(self) -> dict[str, list[tuple[int, ...]]]:
        """modality → what each row has of it, as numbers: equal where it is the same or nearly so, () where absent."""
        return {name: _keys(self.twins[name].likes) if name in self.twins else self._table_keys(name)
                for name in self.schema.names}

    @cached_property
    def content_keys(self) -> dict[str, list[tuple[int, ...]]]:
        """modality → the same, equal only where the contents are."""
        return {name: _keys(self.twins[name].contents) if name in self.twins else self.row_keys[name]
                for name in self.schema.names}

    def _table_keys(self, name: str) -> list[tuple[int, ...]]:
        numbers: dict[bytes, int] = {}
        keys: list[tuple[int, ...]] = []
        for side in self.sides:
            cells = side.samples.cells[name]
            arrays = [numbers.setdefault(row.tobytes(), len(numbers)) for row in cells.arrays.get(
                range(len(cells.arrays)))]
            keys += [(arrays[cell],) if cell >= 0 else () for cell in cells.cells_of_row[:, 0].tolist()]
        return keys

    def column(self, name: str) -> list[Any]:
        """A column of both sides; None where a side lacks it."""
        values: list[Any] = []
        for side in self.sides:
            column = column_of(side.table, name)
            values += [None] * len(side.table) if column is None else column.to_list()
        return values


def _keys(cells_of_row: Numbers) -> list[tuple[int, ...]]:
    """(row,) the row's cells, without empty slots."""
    return [tuple(cell for cell in cells if cell >= 0) for cells in cells_of_row.tolist()]


def join(sides: Sequence[Side]) -> Joined:
    """Compare all cells of the sides with one another and name the parts of the rows."""
    schema = sides[0].samples.schema
    twins = {name: find_twins([side.samples.cells[name] for side in sides]) for name in schema.names
             if schema.modality(name).kind.name != "table"}
    words: list[str] = []
    for side in sides:
        splits = split_words(side.table, schema)
        named = [str(word) or "train" for word in splits] if splits is not None else [""] * len(side.samples)
        words += named if len(sides) == 1 else [f"{side.name} ({word})" if word else side.name for word in named]
    order = {word: (place, PARTS.index(known) if (known := word.rpartition("(")[2].rstrip(")")) in PARTS else 0)
             for place, word in enumerate(dict.fromkeys(words))}
    first = {side.name: place for place, side in enumerate(sides)}
    names = sorted(order, key=lambda word: (first.get(word.partition(" (")[0], 0), order[word][1]))
    number = {name: place for place, name in enumerate(names)}
    return Joined(tuple(sides), twins, tuple(names), np.array([number[word] for word in words], dtype=np.int64))
