"""Reading CSV and TSV files as people and programs write them: separators, encodings, blank and unequal lines."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sensorium.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def read_csv(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """All cells as strings, so that each kind decides what a cell means."""
    import polars as pl

    raw, separator, header, notes = _prepared(path)
    try:
        frame = pl.read_csv(io.BytesIO(raw), separator=separator, infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise DataError(f"{str(path)!r} has no rows") from error
    except pl.exceptions.PolarsError as error:
        _refuse_unequal(raw, separator, path, len(header))
        raise DataError(f"cannot read {str(path)!r}: {str(error).splitlines()[0]}") from error
    if frame.height and (frame.width != len(header) or frame.to_series(frame.width - 1).null_count()):
        num_blank = _refuse_unequal(raw, separator, path, len(header))
        if num_blank and frame.width > 1:
            blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
            if blank.sum() == num_blank:
                frame = frame.filter(~blank)
                notes.append(f"{num_blank} blank lines are not rows")
    frame.columns = _named(header)
    return frame, tuple(notes)


def read_lines(path: Path) -> tuple[list[str], list[list[str]], tuple[str, ...]]:
    """The names of the columns, the cells of each row as strings, and notes: by Python's reader, without a data frame.

    Raises DataError where `read_csv` does.
    """
    raw, separator, header, notes = _prepared(path)
    num_blank = _refuse_unequal(raw, separator, path, len(header))
    lines = [cells or [""] for _, cells in _lines(raw, separator, path) if cells or len(header) == 1][1:]
    if num_blank and len(header) > 1:
        notes.append(f"{num_blank} blank lines are not rows")
    return _named(header), lines, tuple(notes)


def _prepared(path: Path) -> tuple[bytes, str, list[str], list[str]]:
    """The file as UTF-8, what separates its cells, the names in its first line, and notes."""
    raw, notes = _utf8(path)
    if b"\n" not in raw:
        raw = raw.replace(b"\r", b"\n")
    raw = raw.strip(b"\r\n")
    first, _, rest = raw.partition(b"\n")
    announced = first.strip().removeprefix(b"sep=").decode() if first.startswith(b"sep=") else None
    if announced is not None and len(announced) == 1:  # as Excel writes it
        raw = rest
    else:
        announced = None
    separator = announced or ("\t" if path.suffix.lower() == ".tsv" else _separator(raw))
    header = [name.strip() for name in next(iter(_lines(raw, separator, path)), (0, []))[1]]
    refuse_repeated(header, path)
    return raw, separator, header, notes


def _utf8(path: Path) -> tuple[bytes, list[str]]:
    """The file as UTF-8 without a byte order mark, and what was done for it."""
    raw = path.read_bytes()
    if raw[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise DataError(f"cannot read {str(path)!r} as text: it is an Excel or zip file; save the sheet as CSV")
    start = raw[:2000]
    encoding = "utf-8"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif start.count(0) > len(start) // 4:
        encoding = "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
    else:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            encoding = "cp1252"
    if encoding == "utf-8":
        return raw.removeprefix(b"\xef\xbb\xbf"), []
    raw = raw.decode(encoding, errors="replace").encode()
    return raw.removeprefix(b"\xef\xbb\xbf"), [f"{path.name} is not UTF-8: read as {encoding}"]


def _named(header: Sequence[str]) -> list[str]:
    """The header with names for the nameless: `index` for the first (as pandas writes it), else `column_N`."""
    names = list(header)
    for place, name in enumerate(names):
        if not name:
            free = "index" if place == 0 else f"column_{place + 1}"
            while free in names:
                free += "_"
            names[place] = free
    return names


def _separator(raw: bytes) -> str:
    """The sign that occurs most often in the first line, outside quotes."""
    outside = "".join(raw.split(b"\n", 1)[0].decode().split('"')[::2])
    counts = {separator: outside.count(separator) for separator in (",", ";", "\t", "|")}
    best = max(counts, key=lambda s: counts[s])
    return best if counts[best] else ","


def _lines(raw: bytes, separator: str, path: Path, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) by Python's reader, which is slow but exact."""
    limit = csv.field_size_limit(len(raw) + 1)
    reader = csv.reader(io.StringIO(raw.decode(), newline=""), delimiter=separator, strict=strict)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"cannot read {str(path)!r}: line {reader.line_num}: {error} (is a quote left open?)"
                        ) from error
    finally:
        csv.field_size_limit(limit)


def _refuse_unequal(raw: bytes, separator: str, path: Path, width: int) -> int:
    """Raise for the first line of another length than the header's; else the number of blank lines."""
    num_blank = 0
    for line, cells in _lines(raw, separator, path, strict=True):
        if cells and len(cells) != width:
            raise DataError(f"cannot read {str(path)!r}: line {line} has {len(cells)} cells, the header has {width}; "
                            f"put quotes around cells that contain {separator!r}")
        num_blank += not cells
    return num_blank


def refuse_repeated(names: Sequence[str], path: Path) -> None:
    """Raise where two columns have one name."""
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise DataError(f"{str(path)!r} has two columns of the same name: {', '.join(map(repr, repeated))}; "
                        f"rename one of them")
