"""The table modality: numbers, categories and dates of a row, one value a column, missing cells masked."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sensorium.data.kinds.base import Cell, Html, Inputs, Padded
from sensorium.data.notation import Notation, category_key, is_missing, parse_date, parse_number, spellings
from sensorium.errors import BadCell

if TYPE_CHECKING:
    import polars as pl

    from sensorium.keyed import Draws

Row = npt.NDArray[np.float32]
ColumnKind = Literal["number", "category", "date"]
ALL_MISSING = "every column is missing"
MAX_CATEGORIES = 1000
NUM_BINS = 16
COLUMN_DROPOUT = 0.1
DESCRIBED_CATEGORIES = 50
MOST_DEVIATIONS = 1e6


class TableColumn(BaseModel):
    """One column of the table modality.

    Args:
        name: the column's name.
        type: number, category or date (a date counts days since 1970).
        categories: the training rows' categories, most frequent first; empty for numbers and dates.
        mean, std: of the training rows' numbers (of days for dates).
        edges: quantiles of the training rows' standardised numbers, increasing: the bins of the piecewise-linear
            encoding.
        notation: how numbers and dates are written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    type: ColumnKind
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    edges: tuple[float, ...] = ()
    notation: Notation = Notation()

    def parse(self, value: Any) -> float:
        """The number, the category's code, or the date's days; NaN where missing. Raises BadCell."""
        if is_missing(value):
            return math.nan
        if self.type == "category":
            return float(_codes(self.categories).get(category_key(value), math.nan))
        return parse_date(value, self.notation) if self.type == "date" else parse_number(value, self.notation)

    def parse_all(self, values: Sequence[Any] | pl.Series) -> Parsed:
        """`parse` of a whole column, many times faster."""
        if isinstance(values, list | tuple):
            return self._parse_each(list(values), np.arange(len(values)), np.full(len(values), math.nan))
        import polars as pl

        if not isinstance(values, pl.Series) or values.dtype == pl.Object:
            return self._parse_each(list(values), np.arange(len(values)), np.full(len(values), math.nan))
        numbers = np.full(len(values), math.nan)
        left = ~values.is_null().to_numpy()
        if self.type == "number" and (values.dtype.is_numeric() or values.dtype == pl.Boolean):
            numbers = _floats(values)
            left = np.isinf(numbers)
        elif self.type == "number" and values.dtype == pl.String and self.notation.decimal == ".":
            numbers = _floats(values.str.strip_chars())
            left &= ~np.isfinite(numbers)
        rows = np.flatnonzero(left)
        return self._parse_each(values.gather(rows).to_list() if len(rows) < len(values) else values.to_list(), rows,
                                np.where(left, math.nan, numbers))

    def _parse_each(
        self, values: list[Any], rows: npt.NDArray[np.int64], numbers: npt.NDArray[np.float64],
    ) -> Parsed:
        """Parse these values one by one (equal ones once) and put them into their rows."""
        known: dict[tuple[type, Any], float | str] = {}
        refused: dict[int, str] = {}
        unseen: Counter[str] = Counter()
        for row, value in zip(rows.tolist(), values, strict=True):
            key = (type(value), value) if isinstance(value, str | int | float) else None
            found = known.get(key) if key is not None else None
            if found is None:
                try:
                    found = self.parse(value)
                except BadCell as error:
                    found = str(error)
                if key is not None:
                    known[key] = found
            if isinstance(found, str):
                refused[row] = found
                continue
            numbers[row] = found
            if self.type == "category" and math.isnan(found) and not is_missing(value):
                unseen[str(value)[:40]] += 1
        return Parsed(numbers, refused, unseen)

    def measure(self, values: Sequence[Any] | pl.Series) -> TableColumn:
        """Categories, or mean, deviation and quantiles, of the training rows' values."""
        if self.type == "category":
            counts = spellings([value for value in values if not is_missing(value)])
            ranked = sorted(counts, key=lambda c: (-counts[c], c))[:MAX_CATEGORIES]
            return self.model_copy(update={"categories": tuple(ranked)})
        parsed = self.parse_all(values).numbers
        known = parsed[np.isfinite(parsed)]
        if len(known) == 0:
            return self
        scale = float(np.abs(known).max()) or 1.0
        mean, std = scale * float((known / scale).mean()), scale * float((known / scale).std())
        if std <= 1e-12 * scale:  # equal numbers but for rounding
            std = 1.0
        with np.errstate(over="ignore"):
            standard = np.clip((known - mean) / std, -MOST_DEVIATIONS, MOST_DEVIATIONS)
        edges = np.unique(np.quantile(standard, np.linspace(0, 1, NUM_BINS + 1)))
        return self.model_copy(update={"mean": mean, "std": std, "edges": tuple(float(edge) for edge in edges)})

    def standardise(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(number − mean) / std for numbers and dates, within ±1e6, in double precision; codes unchanged."""
        if self.type == "category":
            return numbers
        with np.errstate(over="ignore"):
            return np.clip((numbers - self.mean) / self.std, -MOST_DEVIATIONS, MOST_DEVIATIONS)

    def readable(self, value: float) -> str:
        """A decoded value as a person would write it."""
        if math.isnan(value):
            return "missing"
        if self.type == "category":
            return self.categories[int(value)]
        number = self.mean + self.std * value
        return str(np.datetime64(round(number), "D")) if self.type == "date" else f"{number:.6g}"


@dataclass(frozen=True)
class Parsed:
    """A column's values.

    Args:
        numbers: (row,) numbers, codes or days; NaN where missing, refused or unseen.
        refused: row → why its value cannot be read.
        unseen: categories that the training rows did not have (or had too rarely) → how many cells.
    """

    numbers: npt.NDArray[np.float64]
    refused: Mapping[int, str]
    unseen: Counter[str]


class TableKind(BaseModel):
    """Some number, category and date columns as one modality.

    Args:
        columns: in the table's order.
        augmentation: how far training rows are varied: a tenth of the cells, times this, are hidden.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "table"
    kind: Literal["table"] = "table"
    columns: tuple[TableColumn, ...] = ()
    augmentation: float = Field(default=1.0, ge=0.0)

    def measure(self, cells: Sequence[Cell]) -> TableKind:
        """Categories and scales from the training rows' cells, each a tuple of raw values in column order."""
        return self.measure_columns(list(zip(*cells, strict=True)) if cells else [()] * len(self.columns))

    def measure_columns(self, columns: Sequence[Sequence[Any] | pl.Series]) -> TableKind:
        """The same from whole columns."""
        measured = tuple(c.measure(values) for c, values in zip(self.columns, columns, strict=True))
        return self.model_copy(update={"columns": measured})

    def decode(self, cell: Cell) -> Row:
        """(column,) float32: standardised numbers and dates, category codes; NaN = missing.

        Raises:
            BadCell: where every column is missing.
        """
        if not isinstance(cell, tuple | list) or len(cell) != len(self.columns):
            raise BadCell(f"expected {len(self.columns)} values, found {type(cell).__name__}")
        values = np.array([_or_nan(column, value) for column, value in zip(self.columns, cell, strict=True)])
        row = np.array([column.standardise(values[place : place + 1])[0] for place, column in enumerate(self.columns)],
                       dtype=np.float32)
        if np.isnan(row).all():
            raise BadCell(ALL_MISSING)
        return row

    def decode_columns(
        self, columns: Sequence[Sequence[Any] | pl.Series],
    ) -> tuple[npt.NDArray[np.float32], dict[str, Parsed]]:
        """(row, column) float32 as `decode` of every row, all NaN where it would raise; and what each column held."""
        found = {c.name: c.parse_all(values) for c, values in zip(self.columns, columns, strict=True)}
        rows = np.stack([c.standardise(found[c.name].numbers) for c in self.columns], axis=1)
        return rows.astype(np.float32), found

    def length(self, array: Row) -> int:
        """1: rows are not padded."""
        return 1

    def pad(self, arrays: Sequence[Row]) -> Padded:
        """(row, column) float32 standardised values and category codes; mask False where a cell is missing."""
        values = np.stack(arrays)
        mask = ~np.isnan(values)
        return Padded(np.where(mask, values, np.float32(0.0)), mask)

    def collate(self, arrays: Sequence[Row]) -> Inputs:
        """The same as tensors."""
        return self.pad(arrays).inputs()

    def augment(self, inputs: Inputs, draws: Draws) -> Inputs:
        """Hide some cells of each row, never its last one."""
        import torch

        share = COLUMN_DROPOUT * self.augmentation
        assert inputs.mask is not None
        if share == 0.0:
            return inputs
        kept = inputs.mask & torch.from_numpy(draws.uniform("hide", len(self.columns)) >= share)
        kept = torch.where(kept.any(dim=1, keepdim=True), kept, inputs.mask)
        return Inputs(inputs.values, kept, inputs.span)

    def corrupt(self, inputs: Inputs, severity: float, draws: Draws) -> Inputs:
        """Replace this share of the cells by values drawn from the column's normal law or its categories."""
        import torch

        if severity == 0.0:
            return inputs
        hit = torch.from_numpy(draws.uniform("corrupt", len(self.columns)) < severity)
        normal = draws.normal("value", len(self.columns))
        unit = draws.uniform("category", len(self.columns))
        foreign = np.empty_like(normal)
        for index, column in enumerate(self.columns):
            codes = np.floor(unit[:, index] * max(1, len(column.categories)))
            foreign[:, index] = codes if column.type == "category" else normal[:, index]
        drawn = torch.from_numpy(foreign.astype(np.float32)).to(inputs.values.device)
        return Inputs(torch.where(hit.to(drawn.device), drawn, inputs.values), inputs.mask, inputs.span)

    def show(self, array: Row) -> Html:
        """A small table of names and values."""
        lines = "".join(f"<tr><th>{html.escape(c.name)}</th><td>{html.escape(c.readable(float(v)))}</td></tr>"
                        for c, v in zip(self.columns, array, strict=True))
        return f'<table class="values">{lines}</table>'

    def describe(self, array: Row) -> npt.NDArray[np.float32]:
        """Standardised numbers and one-hot categories (the 50 most frequent); NaN = missing."""
        parts = []
        for column, value in zip(self.columns, array, strict=True):
            if column.type == "category":
                hot = np.zeros(min(DESCRIBED_CATEGORIES, len(column.categories)), dtype=np.float32)
                if np.isnan(value):
                    hot[:] = np.nan
                elif int(value) < len(hot):
                    hot[int(value)] = 1.0
                parts.append(hot)
            else:
                parts.append(np.array([value], dtype=np.float32))
        return np.concatenate(parts)


@lru_cache(maxsize=512)
def _codes(categories: tuple[str, ...]) -> dict[str, int]:
    return {category_key(category): code for code, category in enumerate(categories)}


def _or_nan(column: TableColumn, value: Any) -> float:
    try:
        return column.parse(value)
    except BadCell:
        return math.nan


def _floats(values: pl.Series) -> npt.NDArray[np.float64]:
    """As double precision; NaN where there is none."""
    import polars as pl

    return np.array(values.cast(pl.Float64, strict=False).to_numpy(), dtype=np.float64)
