"""Explained rows for a person: the answer, a sentence, and the attribution drawn on everything the row holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from sensorium.data.kinds import SeriesKind
from sensorium.data.kinds.series import SHOWN_CHANNELS
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.evaluation.attribution import Attribution
from sensorium.evaluation.attribution_drawing import drawn, places
from sensorium.evaluation.attribution_marks import beam, legend, words
from sensorium.evaluation.plots import number_words, percent_words

MEDIA_CHARACTERS = 2_000_000
FAINTEST = 0.15
TOO_LARGE = Markup('<p class="quiet">not drawn: it would make this page too large</p>')


@dataclass(frozen=True)
class Media:
    """A modality on a card: what it did as a whole, as a bar, and what its places did, drawn on it.

    Args:
        total, drawing: HTML.
        lines: how many channels are drawn one below the other.
    """

    total: Markup
    drawing: Markup
    lines: int


@dataclass(frozen=True)
class Card:
    """A row: its number from 1; (word, value, how probable) what was true and answered; a sentence; its media."""

    row: int
    answer: list[tuple[str, str, str]]
    said: str
    media: list[Media]
    absent: list[str]


def attribution_cards(
    samples: Samples, target: Target, told: Sequence[Attribution], truths: Mapping[int, str] | None = None,
    *, characters: int = MEDIA_CHARACTERS,
) -> Markup:
    """The cards of some rows, below what their marks mean.

    Bars beside the names compare modalities. Shades are relative to the modality's own strongest place, so that a quiet
    modality can be read too, but never to less than .15 of the row's strongest, so that noise stays faint.

    Args:
        samples: the decoded table.
        target: the target that is explained.
        told: the rows' attributions.
        truths: row, from 0 → what was true, where it is known.
        characters: of media that may be drawn; the cards behind say so.
    """
    left = characters
    cards = []
    for one in told:
        card = _card(samples, target, one, (truths or {}).get(one.row))
        kept = []
        for media in card.media:
            fits = len(media.drawing) <= left
            left -= len(media.drawing) if fits else 0
            kept.append(media if fits else Media(media.total, TOO_LARGE, 1))
        cards.append(Card(card.row, card.answer, card.said, kept, card.absent))
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(
        files("sensorium.evaluation").joinpath("attribution_cards.html.jinja").read_text("utf-8"))
    what = "the answered class" if target.task == "classify" else "a larger number"
    return Markup(template.render(cards=cards, legend=legend(what)))


def _card(samples: Samples, target: Target, told: Attribution, truth: str | None) -> Card:
    reach = {name: float(np.abs(places(samples, name, one)).max(initial=0.0)) for name, one in told.tokens.items()}
    most = max(reach.values(), default=0.0)
    whole = max([abs(value) for value in told.totals.values()] or [0.0])
    media = [Media(Markup(beam(name, one.total, whole, told.unit)),
                   drawn(samples, name, told.row, one, reach=max(reach[name], FAINTEST * most) or whole,
                         unit=told.unit), _lines(samples, name))
             for name, one in told.tokens.items()]
    absent = [name for name in samples.schema.names if name not in told.tokens]
    return Card(told.row + 1, _answer(target, told, truth), sentence(told), media, absent)


def _lines(samples: Samples, name: str) -> int:
    kind = samples.cells[name].kind
    return min(SHOWN_CHANNELS, len(kind.channels)) if isinstance(kind, SeriesKind) else 1


def _answer(target: Target, told: Attribution, truth: str | None) -> list[tuple[str, str, str]]:
    if target.task == "classify":
        shown = [("answered", str(told.class_), percent_words(2.0**told.value))]
    else:
        shown = [("answered", number_words(told.value), "")]
    return shown if truth is None else [("true", truth, ""), *shown]


def sentence(told: Attribution) -> str:
    """What the attribution of a row says, in words."""
    if told.unit == "bits":
        before, after = percent_words(2.0**told.baseline), percent_words(2.0**told.value)
        said = (f"From neutral tokens the model would give “{told.class_}” {before}; from this row's it gives "
                f"{after}, {words(told.value - told.baseline, 'bits')}.")
    else:
        said = (f"From neutral tokens the model would answer {number_words(told.baseline)}; from this row's "
                f"it answers {number_words(told.value)}.")
    totals = told.totals
    if len(totals) > 1:
        most = max(totals, key=lambda name: abs(totals[name]))
        said += f" {most} moved it most ({words(totals[most], told.unit)})"
        sign = 1.0 if told.value >= told.baseline else -1.0
        opposed = [f"{name} ({words(value, told.unit)})" for name, value in totals.items() if sign * value < -0.05]
        said += f"; {' and '.join(opposed)} pulled the other way." if opposed else "."
    return said
