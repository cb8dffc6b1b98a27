"""Rows of a request, decoded: media within the server's limits, in the guarded processes."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from sensorium.data.cells import UnreadableCell
from sensorium.data.decoding.workers import Refused, decode_guarded
from sensorium.data.kinds import AudioKind, ImageKind, PointsKind, SeriesKind, TableKind, VideoKind
from sensorium.data.kinds.base import Array, Cell, Kind
from sensorium.data.notation import is_missing
from sensorium.data.samples import Samples
from sensorium.data.schema import Modality, Schema
from sensorium.data.sources import MOST_LISTED
from sensorium.errors import BadCell, unknown_name
from sensorium.runtime.rows import Rows, decoded_rows
from sensorium.serving.given import FILES, NUMBERS
from sensorium.serving.limited import Limited
from sensorium.serving.limits import MB, Limits
from sensorium.serving.refusal import Refusal

NOWHERE = Path("/nonexistent")
MOST_NAME = 100
MEDIA = FILES | NUMBERS


@dataclass(frozen=True, eq=False)
class File:
    """A file of a request, and what it became as a cell of each modality that reads it."""

    content: bytes
    results: dict[str, Array | Refused] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """A kind whose files have been decoded already.

    Args:
        kind: the modality's.
        modality: its name.
    """

    kind: Kind
    modality: str

    @property
    def name(self) -> str:
        """The kind's own."""
        return self.kind.name

    def length(self, array: Array) -> int:
        """The kind's own."""
        return self.kind.length(array)

    def decode(self, cell: Cell) -> Array:
        """What the file became; anything else is the server's own, and is decoded here."""
        if not isinstance(cell, File):
            return self.kind.decode(cell)
        found = cell.results[self.modality]
        if isinstance(found, Refused):
            raise BadCell(found.reason)
        return found


class RowDecoder:
    """Decodes rows of requests by a model's schema.

    Args:
        schema: of the model.
        limits: of the server.
    """

    def __init__(self, schema: Schema, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        self._columns = schema.columns
        self._media = [one for one in schema.modalities if one.kind.name in MEDIA]
        self._files = {column for modality in self._media for column in modality.columns}
        self._bytes = {column: sum(cell_bytes(one.kind) for one in self._media if column in one.columns)
                       for column in self._files}
        self._ready = schema.model_copy(update={"modalities": tuple(
            one.model_copy(update={"kind": Ready(one.kind, one.name)}) if one.kind.name in MEDIA else one
            for one in schema.modalities)})

    def num_bytes(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """About how much memory the media of some rows take once they are decoded."""
        return sum(self._bytes[name] * (len(value) if isinstance(value, list) else 1)
                   for row in rows for name, value in row.items() if name in self._bytes and value is not None)

    def decode(self, rows: Sequence[Mapping[str, Any]]) -> Samples:
        """The rows as samples; a cell that cannot be read counts as missing and is listed.

        Args:
            rows: column → text, number, or a file's bytes or path; None is nothing there. Other columns are not read.

        Raises:
            Refusal: decoding takes longer than the limits say.
        """
        files: dict[bytes, File] = {}
        kept = tuple({name: self._cell(row.get(name), files) if name in self._files else row.get(name)
                      for name in self._columns} for row in rows)
        deadline = time.monotonic() + self._limits.decoding_s
        for modality in self._media:
            own = list(dict.fromkeys(_files_in(kept, modality)))
            for file, result in zip(own, self._decoded(modality, own, deadline), strict=True):
                file.results[modality.name] = result
        samples = decoded_rows(Rows(kept, NOWHERE, allow_outside=False), self._ready)
        return replace(samples, schema=self._schema, cells={modality.name: replace(
            cells, kind=modality.kind, unreadable=(*cells.unreadable, *_unseen(kept, modality)))
            for modality in self._schema.modalities for cells in [samples.cells[modality.name]]})

    def _decoded(self, modality: Modality, files: list[File], deadline: float) -> Iterator[Array | Refused]:
        """Each file as the modality reads it, while there is time."""
        limited = cast(Kind, Limited(modality.kind, self._limits.pixels, self._limits.seconds))
        results = decode_guarded(limited, [file.content for file in files], self._limits.decoding)
        with closing(cast("Generator[Array | Refused]", results)):
            for number, result in enumerate(results, start=1):
                yield result
                if number < len(files) and time.monotonic() > deadline:
                    raise Refusal(413, f"{modality.name}: the files take more than {self._limits.decoding_s:g} s to "
                                       f"decode: send fewer at a time")

    def _cell(self, value: Any, files: dict[bytes, File]) -> Any:
        """A cell with its bytes as files, equal ones as one."""
        if isinstance(value, list) and not is_numbers(value):
            return [self._cell(one, files) for one in value]
        if isinstance(value, Path):
            most = int(self._limits.body_mb * MB)
            if value.stat().st_size > most:
                raise Refusal(413, f"a file of {value.stat().st_size:,} bytes: this server reads at most {most:,}")
            value = value.read_bytes()
        return files.setdefault(value, File(value)) if isinstance(value, bytes) else value


def _files_in(rows: Sequence[Mapping[str, Any]], modality: Modality) -> Iterator[File]:
    for row in rows:
        value = row[modality.columns[0]]
        yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, File))


def _unseen(rows: Sequence[Mapping[str, Any]], modality: Modality) -> Iterator[UnreadableCell]:
    """Categories that training did not have; in a table they are counted, here the one who sent them is told."""
    for column in modality.kind.columns if isinstance(modality.kind, TableKind) else ():
        for number, row in enumerate(rows, start=1):
            value = row[column.name]
            if column.type == "category" and not is_missing(value) and math.isnan(column.parse(value)):
                yield UnreadableCell(number, column.name, repr(value)[:80],
                                     f"a category that training did not have: {value!r:.80}")


def cell_bytes(kind: Kind) -> int:
    """The most memory that a decoded cell of a measured kind takes."""
    if isinstance(kind, ImageKind):
        return (kind.height or 0) * (kind.width or 0) * (kind.channels or 0)
    if isinstance(kind, AudioKind):
        return round(4 * (kind.rate or 0) * (kind.max_seconds or 0.0))
    if isinstance(kind, VideoKind):
        frame = (kind.height or 0) * (kind.width or 0) * (kind.channels or 0)
        return round(frame * max(1.0, (kind.rate or 0.0) * (kind.max_seconds or 0.0)))
    if isinstance(kind, SeriesKind):
        return 4 * (kind.max_steps or 0) * len(kind.channels or ())
    return 4 * (kind.max_points or 0) * (3 + len(kind.features or ())) if isinstance(kind, PointsKind) else 0


def check_rows(rows: Sequence[Mapping[str, Any]], schema: Schema, limits: Limits) -> None:
    """Refuse rows that name unknown columns or are too many, before anything is decoded.

    Raises:
        Refusal: 413 too many or too long, 422 an unknown column, or none at all.
    """
    if not rows:
        raise Refusal(422, "no rows: send at least one")
    if len(rows) > limits.rows:
        raise Refusal(413, f"{len(rows)} rows: this server reads at most {limits.rows} in one request")
    columns = schema.columns
    known = {*columns, *unread_columns(schema)}
    cells = 0
    for row in rows:
        for name, value in row.items():
            if name not in known:
                raise Refusal(422, str(unknown_name("column", name[:MOST_NAME], columns)))
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
