"""The table modality: numbers, categories and dates of a row, one value a column, missing cells masked."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sensorium.data.kinds.base import Cell, Html, Inputs
from sensorium.errors import BadCell

if TYPE_CHECKING:
    from sensorium.keyed import Draws

Row = npt.NDArray[np.float32]
ColumnKind = Literal["number", "category", "date"]
MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "nil", "?", "-", "--", "missing", "#n/a", "<na>"})
ALL_MISSING = "every column is missing"
MAX_CATEGORIES = 1000
NUM_BINS = 16
COLUMN_DROPOUT = 0.1
DESCRIBED_CATEGORIES = 50


class TableColumn(BaseModel):
    """One column of the table modality.

    Args:
        name: the column's name.
        type: number, category or date (a date counts days since 1970).
        categories: the training rows' categories, most frequent first; empty for numbers and dates.
        mean, std: of the training rows' numbers (of days for dates).
        edges: quantiles of the training rows' standardised numbers, increasing: the bins of the piecewise-linear
            encoding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    type: ColumnKind
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    edges: tuple[float, ...] = ()

    def parse(self, value: Any) -> float:
        """The number, the category's code, or the date's days; NaN where missing. Raises BadCell."""
        if is_missing(value):
            return math.nan
        if self.type == "category":
            return float(_codes(self.categories).get(category_text(value), math.nan))
        return parse_date(value) if self.type == "date" else parse_number(value)

    def measure(self, values: Sequence[Any]) -> TableColumn:
        """Categories, or mean, deviation and quantiles, of the training rows' values."""
        if self.type == "category":
            counts = Counter(category_text(v) for v in values if not is_missing(v))
            ranked = sorted(counts, key=lambda c: (-counts[c], c))[:MAX_CATEGORIES]
            return self.model_copy(update={"categories": tuple(ranked)})
        parsed = np.array([_or_nan(self, v) for v in values], dtype=np.float64)
        known = parsed[np.isfinite(parsed)]
        if len(known) == 0:
            return self
        mean, std = float(known.mean()), float(known.std()) or 1.0
        edges = np.unique(np.quantile((known - mean) / std, np.linspace(0, 1, NUM_BINS + 1)))
        return self.model_copy(update={"mean": mean, "std": std, "edges": tuple(float(edge) for edge in edges)})

    def standardise(self, number: float) -> float:
        """(number − mean) / std for numbers and dates, computed in double precision; a category's code unchanged."""
        return number if self.type == "category" else (number - self.mean) / self.std

    def readable(self, value: float) -> str:
        """A decoded value as a person would write it."""
        if math.isnan(value):
            return "missing"
        if self.type == "category":
            return self.categories[int(value)]
        number = self.mean + self.std * value
        return str(np.datetime64(round(number), "D")) if self.type == "date" else f"{number:.6g}"


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
        by_column = list(zip(*cells, strict=True)) if cells else [()] * len(self.columns)
        measured = tuple(c.measure(values) for c, values in zip(self.columns, by_column, strict=True))
        return self.model_copy(update={"columns": measured})

    def decode(self, cell: Cell) -> Row:
        """(column,) float32: standardised numbers and dates, category codes; NaN = missing.

        Raises:
            BadCell: where every column is missing.
        """
        values = []
        for column, value in zip(self.columns, cell, strict=True):
            try:
                values.append(column.standardise(column.parse(value)))
            except BadCell:
                values.append(math.nan)
        row = np.array(values, dtype=np.float32)
        if np.isnan(row).all():
            raise BadCell(ALL_MISSING)
        return row

    def problems(self, cell: Cell) -> list[tuple[str, Any, str]]:
        """(column, value, reason) of the values that are there but cannot be used: no number, an unseen category."""
        found = []
        for column, value in zip(self.columns, cell, strict=True):
            try:
                if math.isnan(column.parse(value)) and not is_missing(value):
                    found.append((column.name, value, "a category that was not seen in training"))
            except BadCell as error:
                found.append((column.name, value, str(error)))
        return found

    def collate(self, arrays: Sequence[Row]) -> Inputs:
        """(row, column) float32 standardised values and category codes; mask False where a cell is missing."""
        import torch

        values = torch.from_numpy(np.stack(arrays))
        mask = ~torch.isnan(values)
        return Inputs(torch.where(mask, values, 0.0), mask)

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


def is_missing(value: Any) -> bool:
    """Whether a table cell counts as missing: None, NaN, blank, or a word such as NA."""
    if value is None:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, str) and value.strip().lower() in MISSING_WORDS


def parse_number(value: Any) -> float:
    """A finite number. Raises BadCell."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise BadCell(f"not a number: {str(value)[:40]!r}") from error
    if not math.isfinite(number):
        raise BadCell(f"not a finite number: {str(value)[:40]!r}")
    return number


def parse_date(value: Any) -> float:
    """Days since 1970-01-01. Raises BadCell."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise BadCell(f"not an ISO date: {value[:40]!r}") from error
    if isinstance(value, datetime):
        return (value.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds() / 86400.0
    if isinstance(value, date):
        return float((value - date(1970, 1, 1)).days)
    raise BadCell(f"not a date: {str(value)[:40]!r}")


def category_text(value: Any) -> str:
    """A category's name: integral numbers without a fraction, booleans in lower case."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


@lru_cache(maxsize=512)
def _codes(categories: tuple[str, ...]) -> dict[str, int]:
    return {category: code for code, category in enumerate(categories)}


def _or_nan(column: TableColumn, value: Any) -> float:
    try:
        return column.parse(value)
    except BadCell:
        return math.nan

