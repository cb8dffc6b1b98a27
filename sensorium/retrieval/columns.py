"""What the columns of an index hold: cells of a table as typed columns, so that `year > 2020` compares numbers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import polars as pl

from sensorium.data.notation import MISSING_WORDS

if TYPE_CHECKING:
    import pyarrow as pa

PATTERNS = {
    "whole": r"^[+-]?(0|[1-9]\d{0,17})$",
    "number": r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$",
    "flag": r"^(?i:true|false)$",
    "date": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$",
    "time": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,6})?)?$",
}
"""How a cell of a CSV is written, for every type that is not text; 007 is no number."""


def arrow_types() -> dict[str, Any]:
    """The Arrow type of each word that says what a column holds."""
    import pyarrow as pa

    return {"whole": pa.int64(), "number": pa.float64(), "flag": pa.bool_(), "date": pa.date32(),
            "time": pa.timestamp("us"), "text": pa.string(), "blank": pa.string(), "texts": pa.list_(pa.string())}


def storable(frame: pl.DataFrame, as_text: Collection[str]) -> tuple[pl.DataFrame, dict[str, str], list[str]]:
    """The columns that an index keeps, as types that it knows.

    Args:
        frame: a part of a table.
        as_text: columns whose strings are never read as numbers: media, texts, ids.

    Returns:
        the frame; column → what it holds, "words" for strings that may yet turn out to be numbers; columns left out.
    """
    kept: list[pl.Series] = []
    words: dict[str, str] = {}
    left_out: list[str] = []
    for column in frame.get_columns():
        dtype = column.dtype
        if dtype == pl.Object:
            named = [_named(one) for one in column.to_list()]
            several = any(one is not None and len(one) > 1 for one in named)
            if any(named):
                kept.append(pl.Series(column.name, named, dtype=pl.List(pl.String)) if several else pl.Series(
                    column.name, [one[0] if one else None for one in named], dtype=pl.String))
                words[column.name] = "texts" if several else "text"
            else:
                left_out.append(column.name)
        elif dtype in (pl.String, pl.Null):
            kept.append(column.cast(pl.String))
            words[column.name] = "text" if column.name in as_text else "words"
        elif (plain := _plain(column)) is not None:
            kept.append(plain[0])
            words[column.name] = plain[1]
        else:
            left_out.append(column.name)
    return pl.DataFrame(kept), words, left_out


def _named(cell: Any) -> list[str] | None:
    """The texts or paths of a cell that holds one or several; None where it holds none, or something else."""
    cells = cell if isinstance(cell, list | tuple) else [cell]
    if not cells or not all(isinstance(one, str) or hasattr(one, "__fspath__") for one in cells):
        return None
    return [str(one) for one in cells]


def _plain(column: pl.Series) -> tuple[pl.Series, str] | None:
    """A typed column as one of the types that are kept; None for bytes, structures and lists of numbers."""
    dtype = column.dtype
    if dtype.is_integer() and dtype not in (pl.UInt64, pl.Int128):
        return column.cast(pl.Int64), "whole"
    if dtype.is_numeric():
        return column.cast(pl.Float64), "number"
    if dtype == pl.Boolean:
        return column, "flag"
    if dtype == pl.Date:
        return column, "date"
    if dtype == pl.Datetime:
        return column.dt.replace_time_zone(None).cast(pl.Datetime("us")), "time"
    if dtype in (pl.Time, pl.Duration):
        return column.cast(pl.String, strict=False), "text"
    if dtype == pl.List(pl.String):
        return column, "texts"
    return None


class Narrowing:
    """Finds out, part by part, what columns of words hold: the first of `PATTERNS` that all of a column's cells fit."""

    def __init__(self) -> None:
        self._fitting: dict[str, list[str]] = {}
        self._seen: set[str] = set()

    def look(self, frame: pl.DataFrame, words: dict[str, str]) -> None:
        """Look at a part."""
        for name, word in words.items():
            if word != "words":
                continue
            cells = frame[name].drop_nulls().str.strip_chars()
            cells = cells.filter(~cells.str.to_lowercase().is_in(list(MISSING_WORDS)))
            fitting = self._fitting.setdefault(name, list(PATTERNS))
            if len(cells):
                self._seen.add(name)
                self._fitting[name] = [one for one in fitting if cells.str.contains(PATTERNS[one]).all()]

    def found(self) -> dict[str, str]:
        """Column → what it holds; text where nothing else fits, blank where there was no cell."""
        return {name: "blank" if name not in self._seen else fitting[0] if fitting else "text"
                for name, fitting in self._fitting.items()}


def joined_type(a: str, b: str) -> str:
    """What holds both: whole numbers and numbers are numbers; blank is anything; else equal or text.

    Example:
        >>> joined_type("whole", "number"), joined_type("date", "blank"), joined_type("whole", "text")
        ('number', 'date', 'text')
    """
    if a == b or b == "blank":
        return a
    if a == "blank":
        return b
    return "number" if {a, b} == {"whole", "number"} else "text"


def cast(column: pa.Array | pa.ChunkedArray, word: str) -> Any:
    """A stored column as another type. Words that mean nothing there (blank, NA) become null where it is not text.

    Raises:
        pyarrow.ArrowInvalid: a cell is none of that type: a 30th of February.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = arrow_types()[word]
    if column.type == wanted:
        return column
    if pa.types.is_large_string(column.type) or str(column.type) == "string_view":
        column = column.cast(pa.string())
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return column.cast(wanted) if word == "texts" else pa.array(
            [None if one is None else "; ".join(map(str, one)) for one in column.to_pylist()], wanted)
    if pa.types.is_string(column.type) and word not in ("text", "blank"):
        stripped = pc.utf8_trim_whitespace(column)
        lowered = pc.utf8_lower(stripped)
        blank = pc.is_in(lowered, value_set=pa.array(sorted(MISSING_WORDS), pa.string()))
        column = pc.if_else(blank, pa.scalar(None, pa.string()), lowered if word == "flag" else stripped)
        if word in ("whole", "number"):
            column = pc.replace_substring_regex(column, r"^\+", "")
        if word == "texts":
            return pa.array([None if one is None else [one] for one in column.to_pylist()], wanted)
    return column.cast(wanted, safe=False)
