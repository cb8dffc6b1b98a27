"""Attribution drawn on what it is about: picture, words, waveform, signal, frames, columns, cloud."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from sensorium.data.kinds import AudioKind, ImageKind, PointsKind, SeriesKind, TableKind, TextKind, VideoKind
from sensorium.data.kinds.points import EXTENT, SHOWN_POINTS
from sensorium.data.kinds.video import SHOWN_FRAMES
from sensorium.data.samples import Samples
from sensorium.evaluation.attribution import TokenAttribution
from sensorium.evaluation.attribution_marks import Part, bar, beam, ribbon, sign, strength, strongest, words

Floats = npt.NDArray[np.float64]
MOST_CHARACTERS = 1200
LONGEST_WORD = 20
WORTH_A_SIGN = 0.3
WHOLE = 0.999
@dataclass(frozen=True)
class _Cell:
    """One cell of a row: its decoded array and its tokens' attributions; those without a place apart."""

    array: Any
    values: Floats
    span: Floats
    whole: Floats


def drawn(samples: Samples, name: str, row: int, told: TokenAttribution, *, reach: float, unit: str) -> Markup:
    """A modality of a row with its attribution: the total, then each cell with what its places did.

    Args:
        samples: the decoded table.
        name: the modality.
        row: the row's number, from 0.
        told: its attribution.
        reach: the attribution of one place that is drawn in full.
        unit: "bits", or "" for a number's own unit.
    """
    cells = samples.cells[name]
    numbers = [cell for cell in cells.cells_of_row[row].tolist() if cell >= 0]
    slots = [slot for slot, cell in enumerate(cells.cells_of_row[row].tolist()) if cell >= 0]
    parts = []
    for slot, array in zip(slots, cells.arrays.get(numbers), strict=True):
        own = told.cell == slot
        span = None if told.span is None else told.span[own]
        placeless = without_place(cells.kind, span, int(own.sum()))
        cell = _Cell(array, told.values[own][~placeless],
                     np.zeros((0, 2)) if span is None else span[~placeless], told.values[own][placeless])
        parts.append(_cell(cells.kind, cell, reach, unit))
    return Markup("".join(parts))


def places(samples: Samples, name: str, told: TokenAttribution) -> Floats:
    """(place,) what each place of a modality did: tokens at the same place are added, those without one left out."""
    found = []
    for slot in np.unique(told.cell):
        own = told.cell == slot
        if told.span is not None:
            placed = ~without_place(samples.cells[name].kind, told.span[own], int(own.sum()))
            found.append(_merged(told.span[own][placed], told.values[own][placed])[1])
    return np.concatenate(found) if found else np.zeros(0)


def without_place(kind: Any, span: Floats | None, count: int) -> npt.NDArray[np.bool_]:
    """(token,) which tokens are about the whole cell: the timbre of a sound, a class token, all that have no span."""
    if span is None or count == 0:
        return np.ones(count, dtype=bool)
    if isinstance(kind, TextKind):
        return np.asarray(span[:, 1] <= span[:, 0])
    if isinstance(kind, PointsKind | TableKind) or len(np.unique(span, axis=0)) == 1:
        return np.zeros(count, dtype=bool)
    if isinstance(kind, ImageKind):
        return np.asarray((span[:, 2] - span[:, 0]) * (span[:, 3] - span[:, 1]) > WHOLE)
    lasting = span[:, 1].max() - span[:, 0].min()
    return np.asarray(span[:, 1] - span[:, 0] > WHOLE * lasting)


def _merged(span: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Tokens at the very same place as one."""
    distinct, which = np.unique(span, axis=0, return_inverse=True)
    return distinct, np.bincount(which.ravel(), weights=values, minlength=len(distinct)).astype(np.float64)


def _cell(kind: Any, cell: _Cell, reach: float, unit: str) -> str:
    drawings: list[tuple[type, Callable[[Any, _Cell, float, str], str]]] = [
        (ImageKind, _on_picture), (TextKind, _on_text), (AudioKind, _on_sound), (SeriesKind, _on_series),
        (VideoKind, _on_video), (TableKind, _on_table), (PointsKind, _on_points)]
    draw = next(draw for type_, draw in drawings if isinstance(kind, type_))
    shown = draw(kind, cell, reach, unit) if len(cell.values) else kind.show(cell.array)
    return str(shown) + _whole(cell.whole, reach, unit)


def _whole(values: Floats, reach: float, unit: str) -> str:
    """What tokens without a place did, in one line."""
    if not len(values):
        return ""
    word = "the whole" if len(values) == 1 else f"the whole ({len(values)} tokens)"
    return beam(word, float(values.sum()), reach, unit)


def _on_picture(kind: ImageKind, cell: _Cell, reach: float, unit: str) -> str:
    height, width = cell.array.shape[:2]
    across, down = (100.0, 100.0 * height / width) if width >= height else (100.0 * width / height, 100.0)
    boxes, values = _merged(cell.span, cell.values)
    drawn_boxes = []
    for (left, top, right, bottom), value in zip(boxes, values, strict=True):
        much = strength(value, reach)
        if much < 0.03:
            continue
        mark = (f'<text x="{across * (left + right) / 2:.2f}" y="{down * (top + bottom) / 2:.2f}">'
                f'{"+" if value > 0 else "−"}</text>' if abs(value) >= WORTH_A_SIGN * reach else "")
        drawn_boxes.append(
            f'<g><title>{words(value, unit)}</title><rect class="{sign(value)}" x="{across * left:.2f}" '
            f'y="{down * top:.2f}" width="{across * (right - left):.2f}" height="{down * (bottom - top):.2f}" '
            f'opacity="{0.75 * much:.2f}"/>{mark}</g>')
    told = strongest([(f"at {_corner(box)}", value) for box, value in zip(boxes, values, strict=True)], unit)
    return (f'<div class="over">{kind.show(cell.array)}<svg viewBox="0 0 {across:.2f} {down:.2f}" role="img" '
            f'preserveAspectRatio="none" aria-label="{html.escape(told)}">{"".join(drawn_boxes)}</svg></div>')


def _corner(box: Floats) -> str:
    """Where a box is, in words."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    vertical = "top" if y < 1 / 3 else "bottom" if y > 2 / 3 else "middle"
    horizontal = "left" if x < 1 / 3 else "right" if x > 2 / 3 else "centre"
    return f"the {vertical} {horizontal}"


def _on_text(kind: TextKind, cell: _Cell, reach: float, unit: str) -> str:
    units = text_parts(cell.array, cell.span, cell.values)
    pieces, last = [], 0
    for start, end, value in units:
        if start >= MOST_CHARACTERS:
            break
        pieces.append(html.escape(cell.array[last:start]))
        word = html.escape(cell.array[start:end])
        much = strength(value, reach)
        title = f'title="{words(value, unit)}"'
        pieces.append(f'<mark class="{sign(value)}" style="--much: {0.7 * much:.2f}" {title}>{word}</mark>'
                      if much >= 0.05 else f"<span {title}>{word}</span>")
        last = end
    left = [value for start, _, value in units if start >= MOST_CHARACTERS]
    rest = f" … ({words(sum(left), unit)} from the rest)" if left else html.escape(cell.array[last:MOST_CHARACTERS])
    return f'<p class="read">{"".join(pieces)}{rest}</p>'


def text_parts(text: str, span: Floats, values: Floats) -> list[tuple[int, int, float]]:
    """Words with what their tokens did: (start, end, value). A token of several words is shared by their letters; words
    longer than 20 letters (languages without spaces) are cut where tokens begin."""
    cuts = sorted({int(place) for place in span[:, 0]})
    units = []
    for found in re.finditer(r"\S+", text):
        inside = [cut for cut in cuts if found.start() < cut < found.end()] if len(found[0]) > LONGEST_WORD else []
        edges = [found.start(), *inside, found.end()]
        units += list(pairwise(edges))
    shares = np.zeros(len(units))
    ends = np.array([end for _, end in units])
    for (start, end), value in zip(span.astype(int).tolist(), values.tolist(), strict=True):
        first = int(np.searchsorted(ends, start, side="right"))
        letters = []
        for number in range(first, len(units)):
            if units[number][0] >= end:
                break
            letters.append((number, min(end, units[number][1]) - max(start, units[number][0])))
        if not letters and units:  # a space: the word behind it, else the last one
            letters = [(min(first, len(units) - 1), 1)]
        for number, count in letters:
            shares[number] += value * count / sum(length for _, length in letters)
    return [(start, end, float(value)) for (start, end), value in zip(units, shares, strict=True)]


def _on_sound(kind: AudioKind, cell: _Cell, reach: float, unit: str) -> str:
    assert kind.rate is not None
    ribbon = _timed(cell, 0.0, len(cell.array) / kind.rate, reach, unit)
    return f'<div class="sound">{kind.show(cell.array)}{ribbon}</div>'


def _on_series(kind: SeriesKind, cell: _Cell, reach: float, unit: str) -> str:
    assert kind.rate is not None
    stop = cell.array.start + max(1, len(cell.array.values) - 1) / kind.rate
    return f"{_timed(cell, cell.array.start, stop, reach, unit)}{kind.show(cell.array)}"


def _timed(cell: _Cell, first: float, last: float, reach: float, unit: str) -> str:
    """Bars over seconds, up for and down against."""
    span, values = _merged(cell.span, cell.values)
    place = np.clip((span - first) / max(last - first, 1e-9), 0.0, 1.0)
    return ribbon([Part(start, end, value, f"{seconds[0]:.2f} to {seconds[1]:.2f} s") for (start, end), value, seconds
                    in zip(place, values, span, strict=True)], reach, unit)


def _on_video(kind: VideoKind, cell: _Cell, reach: float, unit: str) -> str:
    """The strip of frames, with bars where it shows what a token saw."""
    times = cell.array.times.mean(axis=1)
    shown = np.unique(np.linspace(0, len(times) - 1, SHOWN_FRAMES).round().astype(int))
    centres = (np.arange(len(shown)) + 0.5) / len(shown)
    half = 0.5 / len(shown)
    seconds = np.concatenate([[cell.array.times[0, 0]], times[shown], [cell.array.times[-1, 1]]])
    across = np.concatenate([[centres[0] - half], centres, [centres[-1] + half]])
    span, values = _merged(cell.span, cell.values)
    place = np.interp(span, seconds, across)
    parts = [Part(start, end, value, f"{when[0]:.2f} to {when[1]:.2f} s")
             for (start, end), value, when in zip(place, values, span, strict=True)]
    return f"{kind.show(cell.array)}{ribbon(parts, reach, unit)}"


def _on_table(kind: TableKind, cell: _Cell, reach: float, unit: str) -> str:
    told = dict(zip(cell.span[:, 0].astype(int).tolist(), cell.values.tolist(), strict=True))
    lines = []
    for place, (column, value) in enumerate(zip(kind.columns, cell.array, strict=True)):
        mine = (f'<td class="beams">{bar(told[place], reach)}</td><td class="num"><b>{words(told[place], "")}</b></td>'
                if place in told else "<td></td><td></td>")
        read = html.escape(column.readable(float(value)))
        lines.append(f'<tr><th scope="row">{html.escape(column.name)}</th><td>{read}</td>{mine}</tr>')
    return f'<table class="values">{"".join(lines)}</table>'


def _on_points(kind: PointsKind, cell: _Cell, reach: float, unit: str) -> str:
    """The cloud from above; each point has the shade of the nearest token's anchor: filled for, hollow against."""
    points = cell.array[:: max(1, len(cell.array) // SHOWN_POINTS), :2].astype(np.float64)
    apart = ((points[:, None] - cell.span[None, :, :2]) ** 2).sum(axis=2)
    nearest = cell.values[apart.argmin(axis=1)] if len(points) else np.zeros(0)

    def at(x: float, y: float) -> str:
        return f'cx="{50 + 45 * np.clip(x / EXTENT, -1, 1):.1f}" cy="{50 - 45 * np.clip(y / EXTENT, -1, 1):.1f}"'

    dots = []
    for (x, y), value in zip(points, nearest, strict=True):
        shade = f"{0.25 + 0.75 * strength(value, reach):.2f}"
        look = (f'r="1.4" fill="#1d7fd1" opacity="{shade}"' if value >= 0 else
                f'r="1.2" fill="none" stroke="#c95f00" stroke-width=".8" opacity="{shade}"')
        dots.append(f"<circle {at(x, y)} {look}/>")
    rings = [f'<g><title>{words(value, unit)}</title><circle class="far" {at(x, y)} r="2.6"/></g>'
             for (x, y), value in zip(cell.span[:, :2], cell.values, strict=True)]
    told = strongest([(f"at x {x * (kind.scale or 1.0):.3g}, y {y * (kind.scale or 1.0):.3g}", value)
                       for (x, y), value in zip(cell.span[:, :2], cell.values, strict=True)], unit)
    return (f'<figure class="cloud"><svg class="points" viewBox="0 0 100 100" role="img" '
            f'aria-label="{html.escape(told)}"><rect width="100" height="100" fill="#f4f4f2"/>{"".join(dots)}'
            f'{"".join(rings)}</svg><figcaption>{len(cell.array)} points from above, each shaded as the nearest of '
            f"{len(cell.values)} tokens: filled for, hollow against</figcaption></figure>")
