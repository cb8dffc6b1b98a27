"""Answers written as they come: CSV, Parquet or JSONL; a file appears under its own name when it is whole."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sensorium.cli.answer_columns import AnswerRow, Column
from sensorium.errors import RecipeError

ENDINGS = (".csv", ".tsv", ".txt", "", ".parquet", ".pq", ".jsonl", ".ndjson")
ROWS_OF_A_GROUP = 65_536


class Writer(ABC):
    """Takes rows, some at a time."""

    num_rows = 0

    @abstractmethod
    def write(self, rows: Sequence[AnswerRow]) -> None:
        """Append rows."""

    @abstractmethod
    def close(self) -> None:
        """Everything that was appended is in the file, which can be read."""


class CsvWriter(Writer):
    """Comma-separated lines (tabs for .tsv) with a header; lists are joined by bars, what is not there is blank."""

    def __init__(self, file: IO[str], columns: Sequence[Column], *, separator: str = ",") -> None:
        self._file, self._columns = file, columns
        self._lines = csv.writer(file, lineterminator="\n", delimiter=separator)
        self._lines.writerow([column.name for column in columns])

    def write(self, rows: Sequence[AnswerRow]) -> None:
        """Append rows."""
        self._lines.writerows([column.text(row) for column in self._columns] for row in rows)
        self._file.flush()
        self.num_rows += len(rows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonlWriter(Writer):
    """One JSON object a line; lists are lists, what is not there is null."""

    def __init__(self, file: IO[str], columns: Sequence[Column]) -> None:
        self._file, self._columns = file, columns

    def write(self, rows: Sequence[AnswerRow]) -> None:
        """Append rows."""
        for row in rows:
            cells = {column.name: column.of(row) for column in self._columns}
            self._file.write(json.dumps(cells, ensure_ascii=False, default=str) + "\n")
        self._file.flush()
        self.num_rows += len(rows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ParquetWriter(Writer):
    """Typed columns: whole numbers, doubles, strings, dictionaries for classes, lists of strings for sets."""

    def __init__(self, path: Path, columns: Sequence[Column], copied: Any) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"whole": pa.int64(), "number": pa.float64(), "text": pa.string(), "flag": pa.bool_(),
                 "words": pa.list_(pa.string()), "class": pa.dictionary(pa.int32(), pa.string())}
        self._schema = pa.schema([(column.name, copied.field(column.name).type if column.type == "copied"
                                   else types[column.type]) for column in columns])
        self._columns = columns
        self._codes = {column.name: {label: code for code, label in enumerate(column.classes)} for column in columns}
        self._writer = pq.ParquetWriter(path, self._schema)
        self._waiting: list[Any] = []

    def write(self, rows: Sequence[AnswerRow]) -> None:
        """Append rows; they reach the file in groups of about 65,536."""
        import pyarrow as pa

        arrays = [self._array(column, [column.of(row) for row in rows]) for column in self._columns]
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        self.num_rows += len(rows)
        if sum(len(part) for part in self._waiting) >= ROWS_OF_A_GROUP:
            self._flush()

    def _array(self, column: Column, values: list[Any]) -> Any:
        import pyarrow as pa

        if column.type == "class":
            codes = [None if value is None else self._codes[column.name][value] for value in values]
            return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(column.classes, pa.string()))
        kind = self._schema.field(column.name).type
        if column.type == "copied" and pa.types.is_string(kind):
            values = [None if value is None else str(value) for value in values]
        return pa.array(values, kind)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=ROWS_OF_A_GROUP)
        self._waiting = []

    def close(self) -> None:
        """Write what is waiting, and the file's footer."""
        self._flush()
        self._writer.close()


def copied_types(frame: Any, names: Sequence[str]) -> Any:
    """The Arrow schema of some columns of a polars frame; objects of Python become strings."""
    import polars as pl
    import pyarrow as pa

    plain = frame.select(names).head(0)
    plain = plain.with_columns([pl.lit(None, dtype=pl.String).alias(name) for name in names
                                if plain[name].dtype in (pl.Object, pl.Null)])
    found = plain.to_arrow().schema
    return pa.schema([(one.name, pa.string() if pa.types.is_large_string(one.type) or str(one.type) == "string_view"
                       else one.type) for one in found])


def open_writer(path: Path, columns: Sequence[Column], copied: Any) -> Writer:
    """A writer by the ending of the file's name: .parquet, .pq, .jsonl, .ndjson, .tsv, .csv.

    Args:
        path: where.
        columns: of the answers.
        copied: the Arrow schema of the copied columns (`copied_types`).
    """
    suffix = refuse_ending(path)
    if suffix in (".parquet", ".pq"):
        return ParquetWriter(path, columns, copied)
    file = path.open("w", newline="", encoding="utf-8")
    if suffix in (".jsonl", ".ndjson"):
        return JsonlWriter(file, columns)
    return CsvWriter(file, columns, separator="\t" if suffix == ".tsv" else ",")


def refuse_ending(path: Path) -> str:
    """The ending of a file's name in small letters. Raises RecipeError for one that promises another form."""
    suffix = path.suffix.lower()
    if suffix not in ENDINGS:
        raise RecipeError(f"answers are written as .csv, .tsv, .parquet or .jsonl; found {str(path)!r}")
    return suffix


def partial_path(path: Path) -> Path:
    """Where answers lie until they are whole: answers.csv → answers.partial.csv."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


@contextmanager
def whole_or_partial(path: Path, columns: Sequence[Column], copied: Any) -> Iterator[Writer]:
    """A writer whose file is renamed to `path` at the end. After an error it keeps its partial name, with the rows
    written so far; without any it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    writer = open_writer(partial, columns, copied)
    try:
        yield writer
    except BaseException:
        writer.close()
        if not writer.num_rows:
            partial.unlink()
        raise
    writer.close()
    partial.replace(path)
