"""A table a few thousand rows at a time, with the same types in every part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from sensorium.data.delimited import refuse_repeated
from sensorium.data.table import Table, read_table, unwrapped
from sensorium.errors import DataError

PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Chunks:
    """A table in parts, to be gone through once.

    Args:
        num_rows: of the whole table.
        source: what is read, for messages.
        parts: tables of at most `size` rows each, in order; their columns are typed as those of the whole table.
    """

    num_rows: int
    source: str
    parts: Iterator[Table]


def read_chunks(source: str | Path, size: int, *, allow_outside: bool = False) -> Chunks:
    """A table in parts.

    Parquet is read a part at a time. Of the other formats the cells are read at once, as one type has to hold for a
    whole column, and given out in slices; media cells are names of files until they are decoded.

    Args:
        source: what `read_table` takes.
        size: rows of a part, at least 1.
        allow_outside: whether its cells may name media files outside its folder.

    Raises:
        DataError: as of `read_table`; of a broken part of a Parquet file when it is reached.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "t.csv"
        >>> _ = file.write_text("a\\n1\\n2\\n3\\n")
        >>> [len(part) for part in read_chunks(file, 2).parts]
        [2, 1]
    """
    path = Path(source)
    if path.is_file() and path.suffix.lower() in PARQUET and path.stat().st_size:
        return _parquet_chunks(path, size, allow_outside)
    table = read_table(source, allow_outside=allow_outside)
    return Chunks(len(table), table.source, _slices(table, size))


def _slices(table: Table, size: int) -> Iterator[Table]:
    for start in range(0, len(table), size):
        yield replace(table, frame=table.frame.slice(start, size))


def _parquet_chunks(path: Path, size: int, allow_outside: bool) -> Chunks:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _broken(path, error) from error
    refuse_repeated(list(file.schema_arrow.names), path)
    num_rows = int(file.metadata.num_rows)
    if not num_rows or not file.schema_arrow.names:
        raise DataError(f"{str(path)!r} has no rows: {len(file.schema_arrow.names)} columns, {num_rows} rows")

    def parts() -> Iterator[Table]:
        with file:
            try:
                for batch in file.iter_batches(batch_size=size):
                    frame = pl.from_arrow(pyarrow.Table.from_batches([batch]))
                    assert isinstance(frame, pl.DataFrame)
                    yield Table(unwrapped(frame), path.parent, str(path), (), allow_outside)
            except (pyarrow.ArrowException, pl.exceptions.PolarsError, OSError) as error:
                raise _broken(path, error) from error

    return Chunks(num_rows, str(path), parts())


def _broken(path: Path, error: Exception) -> DataError:
    return DataError(f"cannot read {str(path)!r} as Parquet: {str(error).splitlines()[0]}")
