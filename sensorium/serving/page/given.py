"""What a person put into the boxes, as a row: empty ones are not in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sensorium.data.kinds import TableKind
from sensorium.data.kinds.table import TableColumn
from sensorium.data.schema import Modality, Schema
from sensorium.errors import DataError

What = Literal["file", "files", "text", "number", "category", "date"]


@dataclass(frozen=True)
class Field:
    """One column of a row, and what a person puts there.

    Args:
        column: its name.
        what: a file, several, a text, or a value of a table's column.
        modality: the first modality that reads it.
        values: of a table's column: its notation and categories; None for the others.
    """

    column: str
    what: What
    modality: Modality
    values: TableColumn | None = None


def fields_of(schema: Schema, names: Sequence[str]) -> list[Field]:
    """The columns that some modalities read, in the schema's order; several modalities of one video are one column."""
    found: dict[str, Field] = {}
    for modality in schema.modalities:
        if modality.name not in names:
            continue
        kind = modality.kind
        if isinstance(kind, TableKind):
            for values in kind.columns:
                found.setdefault(values.name, Field(values.name, values.type, modality, values))
            continue
        column = modality.columns[0]
        listed: What = "files" if modality.separator else "file"
        found.setdefault(column, Field(column, "text" if kind.name == "text" and not modality.part else listed,
                                       modality))
    return list(found.values())


def given_row(fields: Sequence[Field], payloads: Sequence[Any], folder: Path) -> dict[str, Any]:
    """Column → cell, as the service takes it: the bytes of files, texts, numbers.

    Args:
        fields: of the boxes.
        payloads: what the browser sent for each: a text, a number, or where an uploaded file lies.
        folder: where uploads lie; a file outside it is refused.

    Raises:
        DataError: a file that was not uploaded here, or is gone.
    """
    row: dict[str, Any] = {}
    for field, payload in zip(fields, payloads, strict=True):
        if field.what in ("file", "files"):
            parts = payload if isinstance(payload, list) else [payload]
            cells = [uploaded(field.column, part, folder) for part in parts if part is not None]
            if cells:
                row[field.column] = cells if field.what == "files" else cells[0]
        elif payload is not None and not (isinstance(payload, str) and not payload.strip()):
            row[field.column] = payload if isinstance(payload, str | int | float) else str(payload)
    return row


def uploaded(column: str, payload: Any, folder: Path) -> bytes:
    """The bytes of an uploaded file."""
    path = payload.get("path") if isinstance(payload, dict) else None
    if not isinstance(path, str) or not is_inside(path, folder):
        raise DataError(f"{column}: this is not a file that was uploaded here")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{column}: the upload is gone from the server (it is kept for an hour): choose it "
                        f"again") from error


def is_inside(path: str, folder: Path) -> bool:
    """Whether a path leads into a folder, links followed."""
    try:
        return "\0" not in path and Path(path).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False
