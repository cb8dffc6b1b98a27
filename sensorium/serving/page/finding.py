"""Rows that a search found, as cards: their media by address, their texts and values."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from markupsafe import Markup

from sensorium.data.kinds import PointsKind, SeriesKind
from sensorium.data.kinds.base import Kind
from sensorium.data.schema import Modality, Schema
from sensorium.data.sources import is_blank
from sensorium.errors import BadCell

if TYPE_CHECKING:
    from starlette.responses import Response

TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
         ".bmp": "image/bmp", ".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg",
         ".m4a": "audio/mp4", ".mp4": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime",
         ".mkv": "video/x-matroska", ".avi": "video/x-msvideo"}
MOST_ADDRESSES = 4096
MOST_VALUES = 12
MOST_LETTERS = 300
ADDRESS = "/media/"


class Hit(Protocol):
    """What of a search's result is shown."""

    id: str
    score: float
    modality: str
    row: Mapping[str, Any]


class Files:
    """Addresses of the files that searches have found lately; no other file can be fetched.

    Args:
        path: where the page is.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: OrderedDict[str, Path] = OrderedDict()
        self._words: dict[Path, str] = {}

    def address(self, file: Path) -> str:
        """Where a browser fetches it."""
        word = self._words.setdefault(file, secrets.token_urlsafe(12))
        self._known[word] = file
        self._known.move_to_end(word)
        while len(self._known) > MOST_ADDRESSES:
            _, old = self._known.popitem(last=False)
            self._words.pop(old, None)
        return f"{self._path}{ADDRESS}{word}"

    def response(self, word: str) -> Response:
        """The file, or 404."""
        from starlette.responses import FileResponse, PlainTextResponse

        file = self._known.get(word)
        if file is None or file.suffix.lower() not in TYPES or not file.is_file():
            return PlainTextResponse("not found", 404)
        return FileResponse(file, media_type=TYPES[file.suffix.lower()],
                            headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=600"})


@dataclass(frozen=True)
class Found:
    """A card: the row's id, how near it is in words, its media, texts and values; `drawn` are charts."""

    id: str
    score: str
    modality: str
    media: list[tuple[str, str, str]]
    texts: list[tuple[str, str]]
    values: list[tuple[str, str]]
    drawn: list[Markup]


def found_cards(hits: Sequence[Hit], schema: Schema, root: str | Path, files: Files) -> list[Found]:
    """The cards of what was found, in order."""
    return [_card(hit, schema, Path(root), files) for hit in hits]


def _card(hit: Hit, schema: Schema, root: Path, files: Files) -> Found:
    media: list[tuple[str, str, str]] = []
    texts: list[tuple[str, str]] = []
    drawn: list[Markup] = []
    shown: set[str] = set()
    for modality in schema.modalities:
        column = modality.columns[0]
        if modality.kind.name == "table" or column in shown or is_blank(hit.row.get(column)):
            continue
        shown.add(column)
        for cell in _cells(hit.row[column], modality):
            if isinstance(modality.kind, SeriesKind | PointsKind):
                drawn.append(_drawn(modality, cell, root))
            elif modality.kind.name == "text" and not modality.part:
                texts.append((column, cell[:MOST_LETTERS] + (" …" if len(cell) > MOST_LETTERS else "")))
            else:
                kind = "video" if modality.part else modality.kind.name
                media.append((kind, column, files.address(root / cell)))
    values = [(name, f"{value:.6g}" if isinstance(value, float) else str(value)[:MOST_LETTERS])
              for name, value in hit.row.items() if name not in shown and not is_blank(value)]
    return Found(hit.id, f"{hit.score:.3f}".replace("-", "−"), hit.modality, media, texts, values[:MOST_VALUES], drawn)


def _cells(value: Any, modality: Modality) -> list[str]:
    """The cells of a value that may be a list."""
    if isinstance(value, str) and modality.separator:
        from sensorium.data.sources import json_items

        return [str(one) for one in (json_items(value) if modality.separator == "json" else
                                     value.split(modality.separator)) if not is_blank(one)]
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _drawn(modality: Modality, cell: str, root: Path) -> Markup:
    """A recording or a cloud as a chart."""
    try:
        kind: Kind = modality.kind
        return Markup(kind.show(kind.decode(str(root / cell))))
    except BadCell as error:
        return Markup('<p class="quiet">{}: {}</p>').format(modality.name, str(error))
