"""What was found as a page: one self-contained HTML file with pictures, players, texts and numbers."""

from __future__ import annotations

import base64
import html
import io
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sensorium.data.decoding.quiet import without_warnings
from sensorium.data.kinds.image import FORMATS, MOST_PIXELS
from sensorium.data.read import as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Modality, Schema
from sensorium.evaluation.page import report_style
from sensorium.retrieval.index import Hit

MOST_CARDS = 100
MEDIA_CHARACTERS = 24_000_000
LONGEST_SIDE, SMALL_SIDE = 480, 128
FILM_BYTES = 3_000_000
FILMS = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg"}


@dataclass(frozen=True)
class Card:
    """A row that was found, as a person looks at it.

    Args:
        place: from 1.
        id: the row's.
        score: in words.
        width: of its bar, in percent.
        media: (modality, how it looks, whether it was ranked).
        cells: the other columns.
    """

    place: int
    id: str
    score: str
    width: float
    media: list[tuple[str, Markup, bool]]
    cells: list[tuple[str, str]]


def write_page(
    path: Path, schema: Schema, query: Mapping[str, Any], hits: Sequence[Hit], *, name: str, to: str | None,
    where: str | None, rows: int, used: Sequence[str],
) -> None:
    """Write the page of a search.

    Args:
        path: the file; it appears whole.
        schema: of the model.
        query: what was searched with: column → cell, files as whole paths.
        hits: what was found; the first 100 are shown.
        name: of the index.
        to, where: of the search.
        rows: of the index.
        used: the modalities of the query.
    """
    shown = list(hits[:MOST_CARDS])
    album = _Album(schema, [dict(query), *(hit.row for hit in shown)])
    asked = _Card(album, schema, 0, dict(query), None)
    best = max([abs(hit.score) for hit in shown] or [1.0]) or 1.0
    cards = []
    for place, hit in enumerate(shown, start=1):
        card = _Card(album, schema, place, hit.row, to)
        cards.append(Card(place, hit.id, f"{hit.score:.3f}", max(0.0, 100 * hit.score / best), card.media, card.cells))
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = files("sensorium.retrieval").joinpath("results.html.jinja").read_text("utf-8")
    text = environment.from_string(template).render(
        style=report_style(), name=name, cards=cards, asked=asked, to=to, where=where, rows=rows, used=used,
        more=len(hits) - len(shown))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


class _Card:
    """The media and the other cells of a row."""

    def __init__(self, album: _Album, schema: Schema, place: int, row: Mapping[str, Any], to: str | None) -> None:
        media = [one for one in schema.modalities if one.kind.name != "table"]
        media.sort(key=lambda one: one.name != to)
        self.media: list[tuple[str, Markup, bool]] = []
        filmed: set[str] = set()
        for one in media:
            if one.columns[0] not in row or (one.part == "audio" and one.columns[0] in filmed):
                continue
            looks = album.show(one, place, row[one.columns[0]])
            if looks is not None:
                self.media.append((one.name, looks, one.name == to))
                filmed |= {one.columns[0]} if "<video" in looks else set()
        columns = {column for one in media for column in one.columns}
        self.cells = [(name, _words(value)) for name, value in row.items()
                      if name not in columns and value is not None and _words(value)]


class _Album:
    """Shows cells until the page's budget of characters is spent.

    Args:
        schema: of the model.
        rows: column → cell, of every row that is shown.
    """

    def __init__(self, schema: Schema, rows: Sequence[Mapping[str, Any]]) -> None:
        self._left = MEDIA_CHARACTERS
        self._names = [one.name for one in schema.modalities
                       if one.kind.name not in ("image", "table", "text") or one.part]
        self._samples: Samples | None = None
        if self._names:
            some = schema.model_copy(update={"modalities": tuple(schema.modality(name) for name in self._names),
                                             "targets": ()})
            columns = {column for one in some.modalities for column in one.columns}
            self._samples = as_samples([{name: row.get(name) for name in columns} for row in rows], some)

    def show(self, modality: Modality, place: int, cell: Any) -> Markup | None:
        """How a row's cell looks; None where it has none or it cannot be shown."""
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            return None
        cells = cell if isinstance(cell, list) else [cell]
        if modality.kind.name == "image" and not modality.part:
            looks = "".join(_picture(one) for one in cells)
        elif modality.kind.name == "text" and not modality.part:
            looks = "".join(f'<p class="text">{html.escape(str(one)[:1200])}</p>' for one in cells)
        else:
            looks = "".join(_film(one) for one in cells) if modality.kind.name == "video" else ""
            looks = looks or self._decoded(modality.name, place)
        if not looks:
            return None
        if len(looks) > self._left:
            return Markup('<p class="quiet">not shown: it would make this page too large</p>')
        self._left -= len(looks)
        return Markup(looks)

    def _decoded(self, name: str, place: int) -> str:
        """As the model reads it."""
        assert self._samples is not None
        cells = self._samples.cells[name]
        there = [cell for cell in cells.cells_of_row[place].tolist() if cell >= 0]
        return "".join(cells.kind.show(array) for array in cells.arrays.get(there))


def _picture(path: Any) -> str:
    """A picture as its file has it, at most 480 pixels a side."""
    from PIL import Image, ImageOps

    try:
        with without_warnings("PIL"), Image.open(str(path), formats=FORMATS) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                return ""
            opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            picture = ImageOps.exif_transpose(opened)
            width, height = picture.size
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            picture = _on_white(picture)
            buffer = io.BytesIO()
            small = max(picture.size) <= SMALL_SIDE
            picture.save(buffer, **({"format": "PNG"} if small else {"format": "JPEG", "quality": 85}))
    except Exception:  # Pillow raises OSError, SyntaxError, struct.error, ValueError … on broken files
        return '<p class="quiet">cannot be shown: the file is missing or broken</p>'
    data = base64.b64encode(buffer.getvalue()).decode()
    return (f'<img class="{"picture small" if small else "picture"}" alt="picture, {width} by {height} pixels" '
            f'loading="lazy" src="data:image/{"png" if small else "jpeg"};base64,{data}">')


def _on_white(picture: Any) -> Any:
    """An RGB picture; what is transparent becomes white."""
    from PIL import Image

    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(ground, picture)
    if picture.mode.startswith("I"):
        picture = picture.point(lambda value: value / 256).convert("L")
    return picture.convert("RGB")


def _film(path: Any) -> str:
    """A player of a short film that browsers play; else nothing."""
    try:
        file = Path(str(path))
        kind = FILMS.get(file.suffix.lower())
        if kind is None or file.stat().st_size > FILM_BYTES:
            return ""
        data = base64.b64encode(file.read_bytes()).decode()
    except OSError:
        return ""
    return f'<video controls preload="metadata" src="data:{kind};base64,{data}"></video>'


def _words(value: Any) -> str:
    """A cell in words."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)
