"""What stands in a table for each row of a modality: one cell, a list of cells, or nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.data.decoding.paths import TableFolder
from sensorium.data.decoding.workers import Refused
from sensorium.data.kinds import TableKind, TextKind
from sensorium.data.kinds.base import Cell
from sensorium.data.schema import Modality
from sensorium.errors import BadCell

if TYPE_CHECKING:
    import polars as pl

    from sensorium.data.table import Table

MOST_LISTED = 16
SUBTITLES = (".srt", ".vtt")
RowCells = tuple[Cell, ...]


def row_cells(table: Table, modality: Modality) -> list[RowCells]:
    """`listed_cells` of a table."""
    return listed_cells([column.to_list() for column in table_columns(table, modality)], modality, table.folder)


def listed_cells(columns: Sequence[Sequence[Any]], modality: Modality, folder: TableFolder) -> list[RowCells]:
    """Each row's cells of a modality, none where blank: paths from the table's folder for media named in it.

    A list in a cell (of Parquet, JSONL or Python, a string with the modality's separator) gives several, at most 16;
    the subtitles of a video are the `Path` of the file beside it.

    Args:
        columns: the modality's, as values of Python.
        modality: with its kind and separator.
        folder: where its files may lie.
    """
    if isinstance(modality.kind, TableKind):
        return [(cell,) for cell in zip(*columns, strict=True)]
    rows = [_split(value, modality.separator)[:MOST_LISTED] for value in columns[0]]
    if isinstance(modality.kind, TextKind) and not modality.part:
        return rows
    found = [tuple(_located(cell, folder) for cell in cells) for cells in rows]
    if modality.part == "text":
        return [tuple(file for cell in cells if isinstance(cell, str) for file in _subtitles(Path(cell), folder))
                for cells in found]
    return found


def subtitle_files(video: Path) -> list[Path]:
    """The subtitles beside a video: the first of its name ending in .srt or .vtt."""
    return [file for ending in SUBTITLES if (file := video.with_suffix(ending)).is_file()][:1]


def _subtitles(video: Path, folder: TableFolder) -> list[Path | Refused]:
    """The same as cells: refused where they are a link that leads out of the folder."""
    located = [_located(file, folder) for file in subtitle_files(video)]
    return [file if isinstance(file, Refused) else Path(file) for file in located]


def num_cut_lists(values: Sequence[Any], modality: Modality) -> int:
    """Rows of a column that list more cells than are read."""
    listed = values if modality.separator else [value for value in values if isinstance(value, list)]
    return sum(len(_split(value, modality.separator)) > MOST_LISTED for value in listed)


def table_columns(table: Table, modality: Modality) -> list[pl.Series]:
    """The modality's columns; empty ones where the table lacks them."""
    import polars as pl

    return [table.frame[name] if name in table.frame.columns else pl.Series(name, [None] * len(table), dtype=pl.String)
            for name in modality.columns]


def _split(value: Any, separator: str) -> RowCells:
    """The cells that a value holds."""
    if isinstance(value, str) and separator:
        parts: Sequence[Any] = json_items(value) if separator == "json" else value.split(separator)
    elif isinstance(value, list):
        parts = [_as_array(value)] if value and isinstance(value[0], int | float | list) else value
    else:
        parts = [value]
    return tuple(part for part in parts if not is_blank(part))


def _as_array(numbers: list[Any]) -> Any:
    """A list of numbers (or of lists of them) as one array; as it is where it is none."""
    try:
        return np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError):
        return numbers


def json_items(value: str) -> list[Any]:
    """The items of a list in brackets; a string that is none is one item."""
    try:
        items = json.loads(value)
    except ValueError:
        return [value]
    return items if isinstance(items, list) else [value]


def is_blank(value: Any) -> bool:
    """Whether a media or text cell is missing: None, NaN or blank; the word NA is a text."""
    return value is None or (isinstance(value, str) and not value.strip()) or (
        isinstance(value, float) and math.isnan(value))


def _located(value: Any, folder: TableFolder) -> Any:
    """The absolute path that a media cell names, or why it may not be read; what is no path as it is."""
    if not isinstance(value, str | Path):
        return value
    try:
        return folder.located(value)
    except BadCell as error:
        return Refused(str(error))
