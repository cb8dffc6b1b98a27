"""Where a cleaned copy of a table goes: paths that still lead to their files, and what may not be overwritten."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sensorium.data.checks.findings import counted
from sensorium.data.inspect import Inspection
from sensorium.errors import DataError

FORMATS = (".csv", ".tsv", ".parquet", ".jsonl")
CHANGE_COLUMNS = ("row", "column", "change", "before", "after", "why")


@dataclass(frozen=True)
class Change:
    """One change.

    Args:
        row: the row's number in the original, from 1; None where it is about the whole table.
        column: "" where it is about the whole row.
        change: what was done: blanked, trimmed, dropped, rewritten.
        before, after: the cell; "" where a row was dropped.
        why: the reason.
    """

    row: int | None
    column: str
    change: str
    before: str
    after: str
    why: str


def write_cleaned(frame: pl.DataFrame, changes: Sequence[Change], out: Path, originals: Sequence[str]) -> Path:
    """Write the copy, and every change into a table beside it, whose path is returned.

    Raises:
        DataError: `out` is there already, is an original, or cannot hold what the cells hold.
    """
    refuse_place(out, originals)
    nested = [column.name for column in frame.get_columns()
              if column.dtype == pl.Object or column.dtype == pl.Binary or column.dtype.is_nested()]
    suffix = out.suffix.lower()
    if nested and suffix != ".parquet":
        raise DataError(f"cannot write {str(out)!r}: the cells of {', '.join(map(repr, nested))} are bytes or lists; "
                        f"--fix {out.with_suffix('.parquet')} can hold them")
    out.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".parquet":
        frame.with_columns(pl.Series(column.name, column.to_list()) for column in frame.get_columns()
                           if column.dtype == pl.Object).write_parquet(out)
    elif suffix == ".jsonl":
        frame.write_ndjson(out)
    else:
        frame.write_csv(out, separator="\t" if suffix == ".tsv" else ",")
    listed = out.with_name(f"{out.stem}.changes.csv")
    with listed.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(CHANGE_COLUMNS)
        writer.writerows(["" if change.row is None else change.row, change.column, change.change, change.before,
                          change.after, change.why] for change in changes)
    return listed


def refuse_place(out: Path, originals: Sequence[str]) -> None:
    """Raise DataError where a cleaned copy may not be written: over an original, over anything, in another format."""
    if out.suffix.lower() not in FORMATS:
        raise DataError(f"--fix {str(out)!r}: expected a name that ends in {', '.join(FORMATS)}")
    for original in originals:
        if Path(original).exists() and out.resolve() == Path(original).resolve():
            raise DataError(f"--fix {str(out)!r} is the original, which is never changed; choose another name")
    if out.exists():
        raise DataError(f"--fix {str(out)!r} is there already; choose another name or remove it first")


def moved_paths(
    columns: list[pl.Series], found: Inspection, folder: Path, changes: list[Change],
) -> list[pl.Series]:
    """Relative paths of files, as they are written from the folder of the copy; the changes are added to the list."""
    root = found.data.table.root
    if root.resolve() == folder.resolve():
        return columns
    media = {m.columns[0]: m for m in found.samples.schema.modalities if m.kind.name not in ("table", "text")}
    for place, column in enumerate(columns):
        if column.dtype != pl.String or (column.name not in media and not _names_files(column, root)):
            continue
        separator = media[column.name].separator if column.name in media else ""
        values = [_rewritten(value, root, folder, separator) for value in column.to_list()]
        count = sum(new != old for new, old in zip(values, column.to_list(), strict=True))
        if count:
            outside = any(value.startswith("..") for value in values if value)
            changes.append(Change(None, column.name, "paths rewritten", str(column.drop_nulls()[0]),
                                  str(next(value for value in values if value)),
                                  f"{counted(count, 'path')} from the copy's folder"
                                  f"{', outside of which they lead: read it with --allow-outside' if outside else ''}"))
        columns[place] = pl.Series(column.name, values, dtype=pl.String)
    return columns


def _names_files(column: pl.Series, root: Path) -> bool:
    """Whether an ignored column holds relative paths of files that are there."""
    values = column.drop_nulls().head(20).to_list()
    return bool(values) and all(("/" in value or "." in value) and len(value) < 500 and (root / value).is_file()
                                for value in values)


def _rewritten(value: str | None, root: Path, folder: Path, separator: str) -> str | None:
    """One cell, or a list in one cell, with its relative paths as seen from another folder."""
    if value is None or not value.strip():
        return value
    if separator == "json" and value.lstrip().startswith("["):
        return json.dumps([_rewritten(item, root, folder, "") for item in json.loads(value)], ensure_ascii=False)
    if separator and separator != "json":
        return separator.join(str(_rewritten(item.strip(), root, folder, "")) for item in value.split(separator))
    path = root / value
    if Path(value).is_absolute() or "://" in value or not path.exists():
        return value
    return os.path.relpath(path.absolute(), folder.absolute()).replace(os.sep, "/")
