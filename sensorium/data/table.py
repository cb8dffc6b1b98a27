"""Reading a table: CSV, TSV, Parquet, JSONL, or a folder of class folders."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sensorium.errors import DataError

MEDIA_SUFFIXES = {
    "image": frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jfif"}),
    "audio": frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus"}),
}
UNREAD_SUFFIXES = {
    "video": frozenset({".mp4", ".webm", ".mov", ".avi", ".mkv", ".mpg", ".mpeg", ".m4v"}),
    "array or document": frozenset({".npy", ".npz", ".csv", ".parquet", ".json", ".txt", ".pdf", ".m4a", ".aac",
                                    ".dcm", ".pcd", ".ply", ".bin", ".h5", ".mat", ".srt", ".vtt"}),
}
FOLDER_LABEL = "label"


@dataclass(frozen=True)
class Table:
    """A table in memory; media cells still name files.

    Args:
        frame: the cells; a CSV's cells are strings.
        root: the folder that relative paths start from.
        source: what was read, for messages.
        notes: what was done to read it, a line each.
    """

    frame: pl.DataFrame
    root: Path
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.frame.height)


def read_table(source: str | Path) -> Table:
    """Read a table.

    Args:
        source: a .csv, .tsv, .parquet, .jsonl or .ndjson file, or a folder with one folder of files a class.

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
        return _read_class_folders(path)
    if not path.exists():
        raise DataError(f"cannot read {str(source)!r}: no such file or folder")
    suffix = path.suffix.lower()
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".pq": _read_parquet,
               ".jsonl": _read_jsonl, ".ndjson": _read_jsonl}
    if suffix not in readers:
        raise DataError(f"cannot read {str(source)!r}: expected .csv, .tsv, .parquet, .jsonl or a folder of class "
                        f"folders, found {suffix or 'no file ending'}")
    if path.stat().st_size == 0:
        raise DataError(f"cannot read {str(source)!r}: the file is empty (0 bytes)")
    frame, notes = readers[suffix](path)
    if frame.width == 0 or frame.height == 0:
        raise DataError(f"{str(source)!r} has no rows: {frame.width} columns, {frame.height} rows")
    return Table(frame, path.parent, str(source), notes)


def table_of_rows(rows: Sequence[Mapping[str, Any]], root: str | Path = ".") -> Table:
    """A table of rows given as dictionaries; cells may be paths, bytes, pictures, arrays, numbers or strings."""
    if not rows:
        raise DataError("no rows given")
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        plain = all(v is None or isinstance(v, bool | int | float | str | bytes) for v in values)
        columns.append(pl.Series(name, values, strict=False) if plain else pl.Series(name, values, dtype=pl.Object))
    return Table(pl.DataFrame(columns), Path(root), f"{len(rows)} given rows")


def _read_csv(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """All cells as strings, so that each kind decides what a cell means."""
    raw = path.read_bytes()
    notes: list[str] = []
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252"
        raw = raw.decode(encoding, errors="replace").encode()
        notes.append(f"{path.name} is not UTF-8: read as {encoding}")
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    header_line = raw.split(b"\n", 1)[0].decode()
    separator = "\t" if path.suffix.lower() == ".tsv" else _separator(header_line)
    header = [name.strip() for name in next(csv.reader(io.StringIO(raw.decode()), delimiter=separator), [])]
    _refuse_repeated(header, path)
    try:
        frame = pl.read_csv(io.BytesIO(raw), separator=separator, infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise DataError(f"{str(path)!r} has no rows") from error
    except pl.exceptions.PolarsError as error:
        raise DataError(f"cannot read {str(path)!r}: {_unequal_line(raw, separator, len(header)) or error}") from error
    frame.columns = [name or f"column_{number}" for number, name in enumerate(header, start=1)]
    return frame, tuple(notes)


def _separator(header: str) -> str:
    counts = {separator: header.count(separator) for separator in (",", ";", "\t", "|")}
    best = max(counts, key=lambda s: counts[s])
    return best if counts[best] else ","


def _unequal_line(raw: bytes, separator: str, width: int) -> str | None:
    """Where the first line of another length is, for the message."""
    reader = csv.reader(io.StringIO(raw.decode()), delimiter=separator)
    for cells in reader:
        if cells and len(cells) != width:
            return f"line {reader.line_num} has {len(cells)} cells, the header has {width}"
    return None


def _read_parquet(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    import pyarrow
    import pyarrow.parquet

    try:
        names = list(pyarrow.parquet.read_schema(path).names)
        _refuse_repeated(names, path)
        frame = pl.read_parquet(path)
    except (pyarrow.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {str(path)!r} as Parquet: {str(error).splitlines()[0]}") from error
    return _unwrapped(frame), ()


def _unwrapped(frame: pl.DataFrame) -> pl.DataFrame:
    """Media stored as {bytes, path} structures become their bytes, else their path; categoricals become strings."""
    columns = []
    for column in frame.get_columns():
        if isinstance(column.dtype, pl.Struct) and {"bytes", "path"} <= {f.name for f in column.dtype.fields}:
            values = [None if v is None else (v["bytes"] if v["bytes"] is not None else v["path"])
                      for v in column.to_list()]
            column = pl.Series(column.name, values, dtype=pl.Object if any(isinstance(v, str) for v in values)
                               else pl.Binary)
        elif column.dtype in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
        columns.append(column)
    return pl.DataFrame(columns)


def _read_jsonl(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    import json

    rows = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_repeated([name for name, _ in pairs], path)
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


def _read_class_folders(folder: Path) -> Table:
    """folder/class/file → a table of `file` and `label`."""
    known = {suffix: kind for kind, suffixes in MEDIA_SUFFIXES.items() for suffix in suffixes}
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [(file, one.name) for one in classes for file in sorted(one.rglob("*"))
             if file.is_file() and not file.name.startswith(".")]
    media = [(file, label) for file, label in files if file.suffix.lower() in known]
    if not media:
        raise DataError(f"{str(folder)!r} has no class folders with pictures or sounds in them "
                        f"({len(classes)} folders, {len(files)} files)")
    kinds = Counter(known[file.suffix.lower()] for file, _ in media)
    (kind, _), *others = kinds.most_common()
    chosen = [(file, label) for file, label in media if known[file.suffix.lower()] == kind]
    notes = [f"{count} {other} files left out: the folder holds mostly {kind}" for other, count in others]
    if len(files) > len(media):
        notes.append(f"{len(files) - len(media)} files left out: not pictures or sounds")
    frame = pl.DataFrame({kind: [str(file.relative_to(folder)) for file, _ in chosen],
                          FOLDER_LABEL: [label for _, label in chosen]})
    return Table(frame, folder, str(folder), tuple(notes))


def _refuse_repeated(names: Sequence[str], path: Path) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise DataError(f"{str(path)!r} has two columns of the same name: {', '.join(map(repr, repeated))}; "
                        f"rename one of them")
