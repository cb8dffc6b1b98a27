"""The marks that attribution is drawn with. For and against differ in colour (blue, orange), and without colour too:
plain and hatched or dashed, + and −, up and down, right and left."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup

from sensorium.evaluation.plots import signed

HATCH = Markup(
    '<svg class="hatch" width="0" height="0" aria-hidden="true" focusable="false"><defs><pattern id="against" '
    'width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" '
    'fill="#e8720c"/><line x1="0" x2="0" y1="0" y2="6" stroke="#fff" stroke-width="2.4"/></pattern></defs></svg>')


@dataclass(frozen=True)
class Part:
    """A place with what it did: its ends in 0…1 of the drawing's width, and how a person calls it."""

    start: float
    end: float
    value: float
    words: str


def beam(word: str, value: float, reach: float, unit: str) -> str:
    """A line with a word, a bar from the middle and a number."""
    return f'<div class="share"><span>{html.escape(word)}</span>{bar(value, reach)}<b>{words(value, unit)}</b></div>'


def bar(value: float, reach: float) -> str:
    length = 50 * min(1.0, abs(value) / reach) if reach > 0 else 0.0
    return (f'<svg class="beam" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
            f'<rect class="{sign(value)}" x="{50 if value >= 0 else 50 - length:.2f}" y="1" width="{length:.2f}" '
            f'height="8"/><line class="axis" x1="50" x2="50" y1="0" y2="10"/></svg>')


def sign(value: float) -> str:
    return "for" if value >= 0 else "against"


def words(value: float, unit: str) -> str:
    """A signed number with its unit, short."""
    size = abs(value)
    decimals = 2 if size >= 0.01 else 3
    number = signed(value) if size >= 100 else f"{value:+.{decimals}f}" if size >= 0.0005 else "0"
    return f"{number.replace('-', '−')} {unit}".strip()


def strength(value: float, reach: float) -> float:
    """How strongly a place is shaded, 0…1."""
    return float(min(1.0, abs(value) / reach) ** 0.8) if reach > 0 else 0.0


def strongest(named: Sequence[tuple[str, float]], unit: str) -> str:
    """The strongest place, for and against, in words."""
    if not named:
        return "attribution"
    found = [max(named, key=lambda one: one[1]), min(named, key=lambda one: one[1])]
    return "attribution; strongest " + ", ".join(f"{words(value, unit)} {word}" for word, value in dict(found).items())


def ribbon(parts: Sequence[Part], reach: float, unit: str) -> str:
    bars = []
    for one in parts:
        height = 22 * min(1.0, abs(one.value) / reach) if reach > 0 else 0.0
        width = max(1000 * (one.end - one.start) - 2, 2)
        bars.append(f"<g><title>{words(one.value, unit)}, {one.words}</title>"
                    f'<rect class="{sign(one.value)}" x="{1000 * one.start + 1:.1f}" width="{width:.1f}" '
                    f'y="{23 - height if one.value >= 0 else 23:.1f}" height="{height:.1f}"/></g>')
    told = strongest([(f"at {one.words}", one.value) for one in parts], unit)
    return (f'<svg class="ribbon" viewBox="0 0 1000 46" preserveAspectRatio="none" role="img" '
            f'aria-label="{html.escape(told)}">{"".join(bars)}<line class="axis" x1="0" x2="1000" y1="23" y2="23"/>'
            f"</svg>")


def legend(answer: str) -> Markup:
    """What the marks mean."""
    swatch = '<svg aria-hidden="true" focusable="false"><rect class="{}" width="22" height="12"/></svg>'
    return Markup(f'<p class="signs"><span>{swatch.format("for")}for {html.escape(answer)} (+, up, right, '
                  f'plain)</span>'
                  f'<span>{swatch.format("against")}against it (−, down, left, hatched or dashed)</span>'
                  f"<span>shades compare the places of one modality, bars beside names the modalities</span></p>")


def style() -> Markup:
    """The style sheet that the marks need."""
    return Markup(files("sensorium.evaluation").joinpath("attribution.css").read_text("utf-8"))
