"""Values of a request → cells: a string for a medium is base64 or a data: URL, never a path and never an address."""

from __future__ import annotations

import base64
import binascii
import io
import re
from typing import Any

import numpy as np

from sensorium.data.schema import Modality, Schema
from sensorium.serving.refusal import Refusal

FILES = frozenset({"image", "audio", "video"})
NUMBERS = frozenset({"series", "points"})
_DATA = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
NOT_BASE64 = ("neither base64 nor a data: URL with base64; send the file itself: the server opens no paths and fetches "
              "no addresses")


class Cells:
    """What a request's values mean, by column.

    Args:
        schema: of the model.
    """

    def __init__(self, schema: Schema) -> None:
        self._modalities: dict[str, Modality] = {}
        for modality in schema.modalities:
            for column in modality.columns:
                if column not in self._modalities or modality.kind.name in FILES:
                    self._modalities[column] = modality

    def row(self, given: Any, where: str) -> dict[str, Any]:
        """A row of JSON as cells.

        Raises:
            Refusal: 422, with what was expected.
        """
        if not isinstance(given, dict):
            raise Refusal(422, f"{where}: expected an object of column and value, found {_kind_of(given)}")
        return {name: self._cell(name, value) for name, value in given.items()}

    def is_file(self, column: str) -> bool:
        """Whether a column holds files."""
        modality = self._modalities.get(column)
        return modality is not None and (modality.kind.name in FILES | NUMBERS or bool(modality.part))

    def may_repeat(self, column: str) -> bool:
        """Whether a cell of the column may be a list."""
        modality = self._modalities.get(column)
        return modality is not None and modality.kind.name != "table"

    def _cell(self, column: str, value: Any) -> Any:
        if value is None or column not in self._modalities:
            return value
        kind = self._modalities[column].kind.name
        if kind == "table":
            if isinstance(value, str | int | float):
                return value
            raise Refusal(422, f"{column}: expected a number, a text or null, found {_kind_of(value)}")
        if not self.is_file(column):
            return [_text(column, one) for one in value] if isinstance(value, list) else _text(column, value)
        if kind in NUMBERS and isinstance(value, list) and not all(isinstance(one, str) for one in value):
            return numbers(column, value)
        return [from_base64(column, one) for one in value] if isinstance(value, list) else from_base64(column, value)


def _text(column: str, value: Any) -> Any:
    if isinstance(value, str | int | float) or value is None:
        return value
    raise Refusal(422, f"{column}: expected a text, found {_kind_of(value)}")


def numbers(column: str, value: list[Any]) -> bytes | None:
    """Numbers, or rows of numbers of equal length, as the bytes of a .npy file: it is decoded where all files are."""
    if not value:
        return None
    rows = value if isinstance(value[0], list) else [value]
    widths = {len(row) if isinstance(row, list) else -1 for row in rows}
    if len(widths) != 1 or -1 in widths or not all(type(one) in (int, float) for row in rows for one in row):
        raise Refusal(422, f"{column}: expected a file as base64, or numbers: [1, 2] or rows of equal length [[1, 2], "
                           f"[3, 4]]")
    buffer = io.BytesIO()
    try:
        np.save(buffer, np.asarray(value, dtype=np.float64), allow_pickle=False)
    except OverflowError as error:
        raise Refusal(422, f"{column}: a number that is too large") from error
    return buffer.getvalue()


def from_base64(column: str, value: Any) -> bytes | None:
    """The bytes that a string stands for."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Refusal(422, f"{column}: expected base64 or a data: URL, found {_kind_of(value)}")
    head = _DATA.match(value)
    if head is not None and not head[0].lower().endswith(";base64,"):
        raise Refusal(422, f"{column}: {NOT_BASE64}")
    try:
        found = base64.b64decode("".join(value[0 if head is None else head.end() :].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(422, f"{column}: {NOT_BASE64}") from error
    if value.strip() and not found:
        raise Refusal(422, f"{column}: {NOT_BASE64}")
    return found or None


def _kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    return ("null" if value is None else "true or false" if isinstance(value, bool) else "a number"
            if isinstance(value, int | float) else "a text" if isinstance(value, str) else "a list"
            if isinstance(value, list) else "an object")
