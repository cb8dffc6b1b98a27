"""The rows of a segment: their cells in a Parquet file, written part by part, read by column or by row."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sensorium.errors import DataError
from sensorium.retrieval.columns import Narrowing, arrow_types, cast
from sensorium.retrieval.durable import remove

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, RAW = "rows.parquet", "raw.parquet"
ID = "__id__"
GROUP_ROWS = 4096
GROUPS_KEPT = 48


class RowsWriter:
    """Writes `rows.parquet`. Strings of a CSV are typed when all of them have been seen.

    Args:
        folder: of the segment.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._narrowing = Narrowing()
        self._words: dict[str, str] = {}
        self._writer: Any = None
        self._waiting: list[Any] = []
        self.num_rows = 0

    def write(self, ids: Sequence[str], frame: pl.DataFrame, words: Mapping[str, str]) -> None:
        """Append rows.

        Args:
            ids: (row,) their ids.
            frame: of `storable`.
            words: column → what it holds, of `storable`.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._narrowing.look(frame, dict(words))
        self._words = self._words or dict(words)
        types = arrow_types()
        arrays = [pa.array(list(ids), pa.string())]
        for name, word in self._words.items():
            column = frame[name].to_arrow() if name in frame.columns else pa.nulls(len(ids))
            arrays.append(cast(column, "text" if word == "words" else word) if len(column) else column)
        schema = pa.schema([(ID, pa.string())] + [(name, types["text" if word == "words" else word])
                                                  for name, word in self._words.items()])
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._folder / RAW, schema)
        self._waiting.append(pa.Table.from_arrays([_whole(one, kind.type) for one, kind in zip(
            arrays, schema, strict=True)], schema=schema))
        self.num_rows += len(ids)
        if sum(map(len, self._waiting)) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=GROUP_ROWS)
        self._waiting = []

    def close(self) -> dict[str, str]:
        """Write what is waiting and the types; column → what it holds."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._flush()
        if self._writer is not None:
            self._writer.close()
        found = self._narrowing.found()
        words = {name: self._possible(name, found.get(name, "text")) if word == "words" else word
                 for name, word in self._words.items()}
        types = arrow_types()
        schema = pa.schema([(ID, pa.string())] + [(name, types[word]) for name, word in words.items()])
        if all(words[name] in ("text", "blank") for name in found):
            (self._folder / RAW).rename(self._folder / ROWS)
            return words
        with pq.ParquetFile(self._folder / RAW) as raw, pq.ParquetWriter(self._folder / ROWS, schema) as writer:
            for batch in raw.iter_batches(batch_size=GROUP_ROWS):
                arrays = [batch.column(0), *(cast(batch.column(name), word) for name, word in words.items())]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=GROUP_ROWS)
        remove(self._folder / RAW)
        return words


    def _possible(self, name: str, word: str) -> str:
        """The type, or text where a cell looks like it and is not: a 30th of February."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if word not in ("date", "time"):
            return word
        with pq.ParquetFile(self._folder / RAW) as raw:
            try:
                for batch in raw.iter_batches(batch_size=GROUP_ROWS, columns=[name]):
                    cast(batch.column(0), word)
            except pa.ArrowInvalid:
                return "text"
        return word


def _whole(column: Any, wanted: Any) -> Any:
    """An array of this type in one piece."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column if column.type == wanted else column.cast(wanted)


class Rows:
    """Reads `rows.parquet`; a few groups of rows stay in memory.

    Args:
        folder: of a segment.
        num_rows: that it must have.
        columns: column → what it holds in the index, which may be wider than what it holds here.
    """

    def __init__(self, folder: Path, num_rows: int, columns: Mapping[str, str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(folder / ROWS, memory_map=True)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{str(folder / ROWS)!r} is broken: {str(error).splitlines()[0]}") from error
        if self._file.metadata.num_rows != num_rows:
            raise DataError(f"{str(folder / ROWS)!r} is broken: {self._file.metadata.num_rows} rows, expected "
                            f"{num_rows}")
        self._columns = dict(columns)
        self._here = set(self._file.schema_arrow.names)
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.metadata.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        self._kept: OrderedDict[int, pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def column(self, name: str) -> Any:
        """A whole column as an Arrow array of the index's type; nulls where this segment lacks it."""
        import pyarrow as pa

        if name not in self._here:
            return pa.chunked_array([pa.nulls(int(self._starts[-1]), arrow_types()[self._columns[name]])])
        with self._lock:
            column = self._file.read(columns=[name]).column(0)
        found = column if name == ID else cast(column, self._columns[name])
        return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])

    def at(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The cells of some rows: column → plain value, with the id under `ID`; dates as text."""
        wanted = np.asarray(rows, dtype=np.int64)
        found: list[dict[str, Any]] = [{}] * len(wanted)
        groups = np.searchsorted(self._starts, wanted, side="right") - 1
        for group in np.unique(groups).tolist():
            own = np.flatnonzero(groups == group)
            some = self._group(group).take(wanted[own] - self._starts[group]).combine_chunks()
            columns = {ID: some.column(ID).to_pylist()}
            for name, word in self._columns.items():
                columns[name] = [None] * len(own) if name not in self._here else [
                    _shown(cell) for cell in cast(some.column(name), word).to_pylist()]
            for place, cells in zip(own.tolist(), zip(*columns.values(), strict=True), strict=True):
                found[place] = dict(zip(columns, cells, strict=True))
        return found

    def _group(self, group: int) -> Any:
        with self._lock:
            table = self._kept.pop(group, None)
            if table is None:
                table = self._file.read_row_group(group)
            self._kept[group] = table
            while len(self._kept) > GROUPS_KEPT:
                self._kept.popitem(last=False)
            return table

    def parts(self) -> Any:
        """The rows as Arrow tables of the index's types, a group at a time."""
        import pyarrow as pa

        types = arrow_types()
        for group in range(len(self._starts) - 1):
            with self._lock:
                table = self._file.read_row_group(group)
            arrays = [table.column(ID)]
            for name, word in self._columns.items():
                arrays.append(cast(table.column(name), word) if name in self._here
                              else pa.nulls(len(table), types[word]))
            yield pa.Table.from_arrays(arrays, names=[ID, *self._columns])


def _shown(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
