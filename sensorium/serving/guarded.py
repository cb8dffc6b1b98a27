"""Rows of a request, decoded: media within the server's limits, in the guarded processes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sensorium.data.kinds.base import Array, Cell, Kind
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.data.sources import MOST_LISTED
from sensorium.errors import BadCell, unknown_name
from sensorium.runtime.rows import Rows, decoded_rows
from sensorium.serving.limits import MB, Limits
from sensorium.serving.refusal import Refusal

NOWHERE = Path("/nonexistent")
MEDIA = frozenset({"image", "audio", "video", "series", "points"})


@dataclass(frozen=True)
class Limited:
    """A kind that looks at the header of a cell before it decodes it: what declares too much is refused.

    Args:
        kind: what decodes.
        pixels: of a picture or a frame, at most.
        seconds: of a sound or a video, at most.
    """

    kind: Kind
    pixels: int
    seconds: float

    @property
    def name(self) -> str:
        """The kind's name, by which a decoding process knows what to import."""
        return self.kind.name

    def length(self, array: Array) -> int:
        """The kind's own."""
        return self.kind.length(array)

    def decode(self, cell: Cell) -> Array:
        """The kind's own, of a cell that is not too large."""
        if isinstance(cell, bytes):
            self._refuse_large(cell)
        return self.kind.decode(cell)

    def _refuse_large(self, cell: bytes) -> None:
        if self.name == "image":
            width, height = _picture_size(cell)
            if width * height > self.pixels:
                raise BadCell(f"a picture of {width} by {height} pixels: this server reads at most {self.pixels:,}")
        elif self.name in ("audio", "video"):
            seconds = _seconds(cell, self.name)
            if seconds > self.seconds:
                raise BadCell(f"{seconds:,.0f} seconds of {self.name}: this server reads at most {self.seconds:g}")


def _picture_size(cell: bytes) -> tuple[int, int]:
    """(width, height) as the header says; (0, 0) where it cannot be read, which decoding will tell."""
    from PIL import Image

    from sensorium.data.decoding.quiet import without_warnings
    from sensorium.data.kinds.image import FORMATS

    try:
        with without_warnings("PIL"):
            return Image.open(io.BytesIO(cell), formats=FORMATS).size
    except Exception:  # a broken picture says so when it is decoded
        return 0, 0


def _seconds(cell: bytes, name: str) -> float:
    """Length as the header says; 0 where it does not, or cannot be read."""
    from sensorium.data.decoding.media import film_header, track_header

    try:
        if name == "video":
            return film_header(cell).seconds
        import soundfile

        try:
            info = soundfile.info(io.BytesIO(cell))
            return float(info.frames / info.samplerate)
        except soundfile.LibsndfileError:
            return float(track_header(cell)[1] or 0.0)
    except Exception:  # a broken file says so when it is decoded
        return 0.0


class RowDecoder:
    """Decodes rows of requests by a model's schema.

    Args:
        schema: of the model.
        limits: of the server.
    """

    def __init__(self, schema: Schema, limits: Limits) -> None:
        self._schema = schema
        self._most_bytes = int(limits.body_mb * MB)
        self._columns = [column for modality in schema.modalities for column in modality.columns]
        self._guarded = schema.model_copy(update={"modalities": tuple(
            one.model_copy(update={"kind": Limited(one.kind, limits.pixels, limits.seconds)})
            if one.kind.name in MEDIA else one for one in schema.modalities)})

    def decode(self, rows: Sequence[Mapping[str, Any]]) -> Samples:
        """The rows as samples; a cell that cannot be read counts as missing and is listed.

        Args:
            rows: column → text, number, or a file's bytes or path; None is nothing there. Other columns are not read.
        """
        kept = tuple({name: self._cell(row.get(name)) for name in self._columns} for row in rows)
        samples = decoded_rows(Rows(kept, NOWHERE, allow_outside=False), self._guarded)
        return replace(samples, schema=self._schema, cells={
            name: replace(cells, kind=self._schema.modality(name).kind) for name, cells in samples.cells.items()})


    def _cell(self, value: Any) -> Any:
        """A cell with its files read."""
        if isinstance(value, list) and not is_numbers(value):
            return [self._cell(one) for one in value]
        if not isinstance(value, Path):
            return value
        if value.stat().st_size > self._most_bytes:
            raise Refusal(413, f"a file of {value.stat().st_size:,} bytes: this server reads at most "
                               f"{self._most_bytes:,}")
        return value.read_bytes()


def check_rows(rows: Sequence[Mapping[str, Any]], schema: Schema, limits: Limits) -> None:
    """Refuse rows that name unknown columns or are too many, before anything is decoded.

    Raises:
        Refusal: 413 too many or too long, 422 an unknown column, or none at all.
    """
    if not rows:
        raise Refusal(422, "no rows: send at least one")
    if len(rows) > limits.rows:
        raise Refusal(413, f"{len(rows)} rows: this server reads at most {limits.rows} in one request")
    columns = [column for modality in schema.modalities for column in modality.columns]
    known = {*columns, *unread_columns(schema)}
    cells = 0
    for row in rows:
        for name, value in row.items():
            if name not in known:
                raise Refusal(422, str(unknown_name("column", name, columns)))
            values = value if isinstance(value, list) and not is_numbers(value) else [value]
            if len(values) > MOST_LISTED:
                raise Refusal(413, f"{name}: {len(values)} cells in one row: at most {MOST_LISTED} are read")
            cells += len(values)
            longest = max((len(one) for one in values if isinstance(one, str)), default=0)
            if longest > limits.characters:
                raise Refusal(413, f"{name}: {longest:,} characters: this server reads at most {limits.characters:,}")
    if cells > limits.cells:
        raise Refusal(413, f"{cells} cells: this server reads at most {limits.cells} in one request")


def unread_columns(schema: Schema) -> list[str]:
    """Columns of the training table that a row may have, and that are not read."""
    return [*(target.name for target in schema.targets), *(name for name in (schema.group, schema.split) if name),
            *schema.ignored]


def is_numbers(value: list[Any]) -> bool:
    """Whether a list is one cell: numbers, or lists of them."""
    return bool(value) and isinstance(value[0], int | float | list)
