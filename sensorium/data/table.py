"""Reading a table: CSV, TSV, Parquet, JSONL, or a folder of class folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.data.decoding.paths import TableFolder
from sensorium.data.delimited import read_csv, refuse_repeated
from sensorium.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MEDIA_SUFFIXES = {
    "image": frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jfif"}),
    "audio": frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus", ".m4a", ".aac", ".wma"}),
    "video": frozenset({".mp4", ".webm", ".mov", ".avi", ".mkv", ".mpg", ".mpeg", ".m4v", ".ogv", ".3gp"}),
}
MEDIA_WORDS = {"image": "pictures", "audio": "sounds", "video": "videos"}
NUMBER_SUFFIXES = frozenset({".npy", ".npz", ".csv", ".tsv", ".parquet"})
"""Files of numbers: what they hold (a series, points) is seen inside."""
UNREAD_SUFFIXES = {"document": frozenset({".json", ".txt", ".pdf", ".dcm", ".pcd", ".ply", ".bin", ".h5", ".mat",
                                          ".srt", ".vtt", ".nii"})}
FOLDER_LABEL = "label"
PLAIN_TYPES = frozenset({bool, int, float, str, bytes, date, datetime, time, timedelta, Decimal})
SPLIT_WORDS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "dev": "validation",
               "validation": "validation", "calibration": "calibration", "test": "test"}


@dataclass(frozen=True)
class Table:
    """A table in memory; media cells still name files.

    Args:
        frame: the cells; a CSV's cells are strings.
        root: the folder that relative paths start from.
        source: what was read, for messages.
        notes: what was done to read it, a line each.
        allow_outside: whether cells may name files outside `root`.
    """

    frame: pl.DataFrame
    root: Path
    source: str
    notes: tuple[str, ...] = ()
    allow_outside: bool = False

    def __len__(self) -> int:
        return int(self.frame.height)

    @property
    def folder(self) -> TableFolder:
        """Which files its cells may name."""
        return TableFolder(self.root, allow_outside=self.allow_outside)


def read_table(source: str | Path, *, allow_outside: bool = False) -> Table:
    """Read a table.

    Args:
        source: a .csv, .tsv, .parquet, .jsonl or .ndjson file, or a folder with one folder of files a class.
        allow_outside: whether its cells may name media files outside its folder.

    Raises:
        DataError: nothing there, an unknown format, no rows, two columns of one name, lines of unequal length.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "t.csv"
        >>> _ = file.write_text("a,b\\n1,x\\n")
        >>> read_table(file).frame.columns
        ['a', 'b']
    """
    path = Path(source)
    if path.is_dir():
        return _read_class_folders(path, allow_outside=allow_outside)
    if not path.exists():
        broken = " (a link to nothing)" if path.is_symlink() else ""
        raise DataError(f"cannot read {str(source)!r}: no such file or folder{broken}")
    suffix = path.suffix.lower()
    readers = {".csv": read_csv, ".tsv": read_csv, ".parquet": _read_parquet, ".pq": _read_parquet,
               ".jsonl": _read_jsonl, ".ndjson": _read_jsonl}
    if suffix not in readers:
        raise DataError(f"cannot read {str(source)!r}: expected .csv, .tsv, .parquet, .jsonl or a folder of class "
                        f"folders, found {suffix or 'no file ending'}"
                        f"{'; save the sheet as CSV' if suffix in ('.xlsx', '.xls', '.ods') else ''}")
    if path.stat().st_size == 0:
        raise DataError(f"cannot read {str(source)!r}: the file is empty (0 bytes)")
    try:
        frame, notes = readers[suffix](path)
    except OSError as error:
        raise DataError(f"cannot read {str(source)!r}: {error.strerror or type(error).__name__}") from error
    if frame.width == 0 or frame.height == 0:
        raise DataError(f"{str(source)!r} has no rows: {frame.width} columns, {frame.height} rows")
    return Table(frame, path.parent, str(source), notes, allow_outside)


def table_of_rows(rows: Sequence[Mapping[str, Any]], root: str | Path = ".") -> Table:
    """A table of rows given as dictionaries; cells may be paths, bytes, pictures, arrays, numbers or strings."""
    import polars as pl

    given: Any = rows
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise DataError(f"rows: expected dictionaries or the path of a table, found {type(rows).__name__}")
    if not rows:
        raise DataError("no rows given")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise DataError(f"row {number}: expected a dictionary of column and cell, found {type(row).__name__}")
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise DataError("the given rows have no columns")
    columns = [column_of_values(str(name), [row.get(name) for row in rows]) for name in names]
    return Table(pl.DataFrame(columns), Path(root), f"{len(rows)} given rows", allow_outside=True)


def column_of_values(name: str, values: list[Any]) -> pl.Series:
    """A column of Python values: typed where they are plain, objects otherwise."""
    import polars as pl

    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    kinds = {type(value) for value in values if value is not None}
    if kinds <= PLAIN_TYPES and not (bytes in kinds and len(kinds) > 1):
        if str in kinds:  # beside words, a number that is not there is a blank
            values = [None if isinstance(v, float) and v != v else v for v in values]
            values = [v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values]
        try:
            column = pl.Series(name, values, strict=False)
        except (pl.exceptions.PolarsError, OverflowError, TypeError):
            column = pl.Series(name, [None] * len(values))
        if column.null_count() == sum(value is None for value in values):
            return column
        return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
    return pl.Series(name, values, dtype=pl.Object)


def _read_parquet(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    import polars as pl
    import pyarrow
    import pyarrow.parquet

    try:
        names = list(pyarrow.parquet.read_schema(path).names)
        refuse_repeated(names, path)
        frame = pl.read_parquet(path)
    except (pyarrow.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {str(path)!r} as Parquet: {str(error).splitlines()[0]}") from error
    return unwrapped(frame), ()


def unwrapped(frame: pl.DataFrame) -> pl.DataFrame:
    """Media stored as {bytes, path} structures (or lists of them) become their bytes, else their path; categoricals
    become strings."""
    import polars as pl

    columns = []
    for column in frame.rename({name: "index" for name in frame.columns if name == "__index_level_0__"
                                and "index" not in frame.columns}).get_columns():
        dtype = column.dtype
        if isinstance(dtype, pl.List) and _is_medium(dtype.inner):
            lists = [None if items is None else [_medium(item) for item in items] for items in column.to_list()]
            column = pl.Series(column.name, lists, dtype=pl.Object)
        elif _is_medium(dtype):
            values = [_medium(value) for value in column.to_list()]
            types = {type(value) for value in values if value is not None}
            column = pl.Series(column.name, values, dtype=pl.String if types == {str} else pl.Object if str in types
                               else pl.Binary)
        elif column.dtype in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
        columns.append(column)
    return pl.DataFrame(columns)


def _is_medium(dtype: Any) -> bool:
    import polars as pl

    return isinstance(dtype, pl.Struct) and {"bytes", "path"} <= {field.name for field in dtype.fields}


def _medium(value: Any) -> Any:
    """The bytes of a {bytes, path} structure, else its path."""
    return None if value is None else value["bytes"] if value["bytes"] is not None else value["path"]


def _read_jsonl(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    import json

    rows = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        refuse_repeated([name for name, _ in pairs], path)
        return dict(pairs)

    with path.open(encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = json.loads(line, object_pairs_hook=unique)
                    if not isinstance(row, dict):
                        raise DataError(f"{str(path)!r} line {number}: expected an object, found {line.strip()[:40]!r}")
                    rows.append(row)
        except UnicodeDecodeError as error:
            raise DataError(f"cannot read {str(path)!r}: not UTF-8 text") from error
        except json.JSONDecodeError as error:
            raise DataError(f"{str(path)!r} line {number} is not JSON: {error}") from error
    if not rows:
        raise DataError(f"{str(path)!r} has no rows")
    return table_of_rows(rows).frame, ()


def _read_class_folders(folder: Path, *, allow_outside: bool) -> Table:
    """folder/class/file → a table of `image`, `audio` or `video` and `label`; folder/train/class/file adds `split`."""
    import polars as pl

    known = {suffix: kind for kind, suffixes in MEDIA_SUFFIXES.items() for suffix in suffixes}
    tops = _folders(folder)
    in_splits = len(tops) > 1 and all(p.name.lower() in SPLIT_WORDS and _folders(p) for p in tops)
    classes = [(one, top.name.lower()) for top in tops for one in _folders(top)] if in_splits \
        else [(top, "") for top in tops]
    files = [(file, one.name, split) for one, split in classes for file in sorted(one.rglob("*"))
             if file.is_file() and not file.name.startswith(".")]
    loose = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")]
    media = [found for found in files if found[0].suffix.lower() in known]
    if not media:
        table = next((f" (it holds {file.name!r}: name that file)" for file in loose
                      if file.suffix.lower() in (".csv", ".tsv", ".parquet", ".jsonl")), "")
        raise DataError(f"{str(folder)!r} has no class folders with pictures, sounds or videos in them ({len(tops)} "
                        f"folders, {len(files)} files in them){table}")
    kinds = Counter(known[file.suffix.lower()] for file, _, _ in media)
    (kind, _), *others = kinds.most_common()
    chosen = [found for found in media if known[found[0].suffix.lower()] == kind]
    notes = [f"{count} {other} files left out: the folder holds mostly {kind}" for other, count in others]
    if len(files) > len(media):
        notes.append(f"{len(files) - len(media)} files left out: not pictures, sounds or videos")
    if loose:
        notes.append(f"{len(loose)} files left out: they stand in no class folder ({loose[0].name!r})")
    empty = [one.name for one, _ in classes if not any(found[1] == one.name for found in chosen)]
    if empty:
        notes.append(f"class folders without {kind} files: {', '.join(map(repr, empty[:5]))}")
    columns = {kind: [str(file.relative_to(folder)) for file, _, _ in chosen],
               FOLDER_LABEL: [label for _, label, _ in chosen]}
    if in_splits:
        columns["split"] = [split for _, _, split in chosen]
    return Table(pl.DataFrame(columns), folder, str(folder), tuple(notes), allow_outside)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
