"""Numbers in NPY, NPZ, CSV, TSV or Parquet, in bytes or in memory → named columns; nothing oversized is read."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sensorium.data.decoding.files import existing_file, first_line
from sensorium.errors import BadCell, DataError

if TYPE_CHECKING:
    import polars as pl

    from sensorium.data.kinds.base import Cell

Numbers = npt.NDArray[np.float64]
MOST_VALUES = 1 << 23
MOST_BYTES = 1 << 25
MOST_COLUMNS = 4096
MOST_WIDE = 1 << 16
MOST_WRITTEN = 100_000
MEANT = 0.95
NPY, ZIP, PARQUET = b"\x93NUMPY", b"PK\x03\x04", b"PAR1"


@dataclass(frozen=True)
class Columns:
    """What a file of numbers holds.

    Args:
        names: of the columns of numbers; "0", "1" … where the file has none.
        named: whether the file names them.
        values: (row, column) float64, NaN where there is no number.
        others: columns that are not numbers by name: words, dates.
    """

    names: tuple[str, ...]
    named: bool
    values: Numbers
    others: Mapping[str, pl.Series]

    def __len__(self) -> int:
        return len(self.values)


def read_columns(cell: Cell) -> Columns:
    """The columns of a path, bytes, an array, a dictionary of columns or a data frame.

    Raises:
        BadCell: none of these, broken, no numbers in it, or more than 8 million values; sizes that a file declares are
            checked before anything is allocated.
    """
    try:
        if isinstance(cell, np.ndarray):
            return _of_array(cell)
        if isinstance(cell, bytes):
            return _of_file(io.BytesIO(cell), len(cell))
        if isinstance(cell, str | Path):
            path = existing_file(cell)
            with path.open("rb") as file:
                return _of_file(file, path.stat().st_size)
        return _of_frame(cell)
    except BadCell:
        raise
    except ModuleNotFoundError as error:
        raise BadCell(f"text, Parquet and named columns are read by {error.name}, which is not installed: pip install "
                      f"polars pyarrow") from error
    except BaseException as error:  # numpy, zipfile, Arrow and polars raise errors of their own
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BadCell(f"broken numbers ({first_line(Exception(error))})") from error


def _of_file(file: IO[bytes], size: int) -> Columns:
    """By what the file begins with, whatever its name."""
    start = file.read(6)
    file.seek(0)
    if not start:
        raise BadCell("empty file (0 bytes)")
    if start == NPY:
        return _of_array(_array(file))
    if start[:4] == ZIP:
        return _of_archive(file)
    if start[:4] == PARQUET:
        return _of_parquet(file)
    if size > MOST_BYTES:
        raise BadCell(f"{size:,} bytes of text: at most {MOST_BYTES:,} are read; cut it into windows")
    return _of_text(file.read())


def _array(file: IO[bytes]) -> npt.NDArray[Any]:
    """An NPY file's array, after its header has been looked at."""
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise BadCell(f"an array file of version {version[0]}.{version[1]}: expected 1.0 or 2.0")
    shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(file)
    if dtype.hasobject:
        raise BadCell("an array of Python objects, which are not read: save numbers")
    count = 1
    for side in shape:
        count *= int(side)
    _refuse_large(count * max(1, len(dtype.names or ())), dtype.itemsize * count)
    raw = file.read(dtype.itemsize * count)
    if len(raw) < dtype.itemsize * count:
        raise BadCell(f"an array file cut short: {len(raw):,} of {dtype.itemsize * count:,} bytes are there")
    return np.frombuffer(raw, dtype=dtype, count=count).reshape(shape, order="F" if fortran else "C")


def _refuse_large(num_values: int, num_bytes: int = 0) -> None:
    if num_values > MOST_VALUES or num_bytes > 8 * MOST_VALUES or num_values < 0:
        raise BadCell(f"{num_values:,} values: at most {MOST_VALUES:,} are read from a cell; cut it into windows")


def _of_archive(file: IO[bytes]) -> Columns:
    """An NPZ file: one array, or several of equal length as columns."""
    with zipfile.ZipFile(file) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        if not members:
            raise BadCell("a zip file without arrays")
        if len(members) > MOST_COLUMNS:
            raise BadCell(f"{len(members):,} arrays in one file: at most {MOST_COLUMNS:,} are read")
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name in members:
            with archive.open(name) as member:
                if member.read(6) != NPY:
                    raise BadCell(f"{name!r} in the zip file is not an array")
                member.seek(0)
                arrays[name.removesuffix(".npy")] = _array(member)
            _refuse_large(sum(array.size for array in arrays.values()))
    if len(arrays) == 1:
        return _of_array(next(iter(arrays.values())))
    columns: dict[str, npt.NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            columns[name] = array
        elif array.ndim == 2:
            columns |= {f"{name}_{place}": array[:, place] for place in range(array.shape[1])}
    return _of_frame(columns)


def _of_array(array: npt.NDArray[Any]) -> Columns:
    """(row,) or (row, column) numbers; a structured array has named columns."""
    if array.dtype.names is not None:
        return _of_frame({name: array[name] for name in array.dtype.names})
    if array.ndim not in (1, 2):
        raise BadCell(f"an array of shape {array.shape}: expected (row,) or (row, column)")
    if array.dtype.kind not in "fiub":
        raise BadCell(f"an array of {array.dtype}: expected numbers")
    _refuse_large(array.size)
    table = array[:, None] if array.ndim == 1 else array
    if table.shape[1] > MOST_WIDE:
        raise BadCell(f"{table.shape[1]:,} columns: at most {MOST_WIDE:,} are read")
    return Columns(tuple(map(str, range(table.shape[1]))), False, _finite(table), {})


def _finite(values: npt.NDArray[Any]) -> Numbers:
    """As double precision, NaN for what is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = values.astype(np.float64)
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _of_frame(frame: Any) -> Columns:
    """A dictionary of columns, a polars or a pandas data frame."""
    import polars as pl

    if type(frame).__module__.startswith("pandas."):
        frame = {str(name): frame[name].to_numpy() for name in frame.columns}
    if isinstance(frame, pl.DataFrame):
        frame = {column.name: column for column in frame}
    if not isinstance(frame, Mapping) or not frame:
        raise BadCell(f"expected a path, bytes, an array or columns of numbers, found {type(frame).__name__}")
    columns = [values if isinstance(values, pl.Series) else _series(str(name), values)
               for name, values in frame.items()]
    if len({len(column) for column in columns}) > 1:
        raise BadCell(f"columns of unequal length: {', '.join(str(len(column)) for column in columns[:8])}")
    return _of_series([str(name) for name in frame], columns, named=True)


def _series(name: str, values: Any) -> pl.Series:
    """A column; numpy's dates in a unit that polars knows."""
    import polars as pl

    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        values = values.astype("datetime64[us]")
    return pl.Series(name, values)


def _of_series(names: Sequence[str], columns: Sequence[pl.Series], *, named: bool) -> Columns:
    """Columns of numbers and others."""
    if len(columns) > MOST_COLUMNS:
        raise BadCell(f"{len(columns):,} columns: at most {MOST_COLUMNS:,} are read")
    _refuse_large(sum(map(len, columns)))
    found: dict[str, Numbers] = {}
    others: dict[str, pl.Series] = {}
    for name, column in zip(_distinct(names), columns, strict=True):
        numbers = _numbers(column)
        if numbers is None:
            others[name] = column
        else:
            found[name] = numbers
    if not found and not others:
        raise BadCell("no columns")
    count = len(columns[0])
    values = np.stack(list(found.values()), axis=1) if found else np.zeros((count, 0))
    return Columns(tuple(found), named, values, others)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names; those of several columns with the column's number behind, those of none the number alone."""
    counts = Counter(name.strip() for name in names)
    return [name.strip() if name.strip() and counts[name.strip()] == 1 else f"{name.strip()}_{place}".lstrip("_")
            for place, name in enumerate(names)]


def _numbers(column: pl.Series) -> Numbers | None:
    """(row,) the column as numbers; None where it holds something else."""
    import polars as pl

    from sensorium.data.streams.stamps import written_numbers

    if column.dtype.is_numeric() or column.dtype == pl.Boolean or column.dtype == pl.Null:
        return _finite(column.cast(pl.Float64).fill_null(np.nan).to_numpy())
    if column.dtype != pl.String:
        return None
    numbers = _finite(column.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy())
    if np.isfinite(numbers).sum() >= MEANT * (len(column) - column.null_count()):
        return numbers
    text = column.str.strip_chars()
    blank = text.is_null() | text.str.to_lowercase().is_in(["", "na", "nan", "null", "none", "inf", "-inf", "?", "-"])
    known = len(text) - int(blank.sum())
    numbers = _finite(text.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy())
    if np.isfinite(numbers).sum() < MEANT * known:
        numbers = _finite(written_numbers(text.head(MOST_WRITTEN)))
    return numbers if len(numbers) == len(text) and np.isfinite(numbers).sum() >= MEANT * known else None


def _of_parquet(file: IO[bytes]) -> Columns:
    """A Parquet file whose footer does not declare too much."""
    import polars as pl
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file)
    about = parquet.metadata
    declared = sum(about.row_group(number).total_byte_size for number in range(min(about.num_row_groups, MOST_VALUES)))
    _refuse_large(about.num_rows * max(1, about.num_columns), declared)
    frame = pl.from_arrow(parquet.read(use_threads=False))
    assert isinstance(frame, pl.DataFrame)
    return _of_frame(frame)


def _of_text(raw: bytes) -> Columns:
    """CSV, TSV or numbers between blanks; the first line names the columns unless it is all numbers."""
    import polars as pl

    text, separator, header = _text(raw)
    _refuse_large(text.count(separator) + text.count(b"\n"))
    try:
        frame = pl.read_csv(io.BytesIO(text), separator=separator.decode(), has_header=header is not None,
                            infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise BadCell("a text file without lines") from error
    except (pl.exceptions.PolarsError, DataError) as error:
        raise BadCell(f"lines that are not columns of numbers ({first_line(error)})") from error
    if header is not None and len(header) != frame.width:
        raise BadCell(f"{len(header)} names for {frame.width} columns")
    names = header or list(map(str, range(frame.width)))
    columns = _of_series(names, frame.get_columns(), named=header is not None)
    if header is None and columns.others:
        raise BadCell("a text that holds no columns of numbers")
    return columns


def _text(raw: bytes) -> tuple[bytes, bytes, list[str] | None]:
    """(UTF-8 in plain lines, what separates its columns, the names in its first line or None)."""
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not wide and b"\0" in raw:
        raise BadCell("neither an array, a Parquet file nor a text")
    if wide or not raw.isascii():
        try:
            raw = raw.decode("utf-16" if wide else "utf-8-sig").encode()
        except UnicodeDecodeError:
            raw = raw.decode("cp1252", errors="replace").encode()
    text = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").strip(b"\n")
    first, _, rest = text.partition(b"\n")
    if first.startswith(b"#"):  # as numpy.savetxt writes names
        first = first.lstrip(b"# ")
        text = first + b"\n" + rest
    counts = {separator: first.count(separator) for separator in (b",", b";", b"\t", b"|")}
    separator = max(counts, key=lambda s: counts[s])
    if not counts[separator]:
        separator = b" " if b" " in first.strip() else b","
    if separator == b" ":
        text = b"\n".join(b" ".join(line.split()) for line in text.split(b"\n"))
        first = text.partition(b"\n")[0]
    width = first.count(separator) + 1
    if width > MOST_COLUMNS:
        raise BadCell(f"{width:,} columns: at most {MOST_COLUMNS:,} are read")
    cells = [cell.strip().strip('"').strip() for cell in first.decode().split(separator.decode())]
    return text, separator, None if all(map(_is_number, cells)) else cells


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ".") or "nan")
    except ValueError:
        return False
    return True
