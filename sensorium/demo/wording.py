"""Captions of scenes of objects in varied words, and the way back from a caption to colour, shape and place."""

from __future__ import annotations

import re
from typing import NamedTuple

from sensorium.demo.objects import COLOURS, PLACES, SHAPES, Objects
from sensorium.keyed import Draws

CAPTIONS = (
    "a {look} {shape} in the {place}",
    "there is a {look} {shape} in the {place}",
    "in the {place} there is a {look} {shape}",
    "the {shape} in the {place} is {colour}",
    "a {look} {shape} at the {place} of the picture",
    "look at the {place}: a {look} {shape}",
    "one {look} {shape}, {place}",
    "the {place} corner holds a {look} {shape}",
    "somebody painted a {shape} in {colour}, {place}",
    "you see a {look} {shape} near the {place} corner",
    "{place}, a {shape}, and its colour is {colour}",
    "the picture shows a {look} {shape} in its {place} part",
)
"""Wordings of one object; `look` is the colour, or the size and the colour."""
PART = "a {look} {shape} in the {place}"
"""How each of several objects is said."""
COLOUR_WORDS = {"red": ("red",), "yellow": ("yellow",), "green": ("green",), "blue": ("blue",),
                "purple": ("purple", "violet"), "black": ("black",)}
SHAPE_WORDS = {"circle": ("circle", "disc"), "square": ("square", "box"), "triangle": ("triangle",), "star": ("star",)}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    place: (place, place.replace("upper", "top").replace("lower", "bottom")) for place in PLACES}
SIZE_WORDS = (("small", "little"), ("large", "big"))
"""Of small objects, of large ones; half of the captions name no size."""


class Attributes(NamedTuple):
    """What a caption says of each attribute; None where it says nothing, or two different things."""

    colour: str | None
    shape: str | None
    place: str | None


def captions(objects: Objects) -> list[str]:
    """A sentence a scene that states colour, shape and place of each of its objects."""
    template = objects.draws.integers("words/template", high=len(CAPTIONS))
    told = []
    for row in range(len(objects)):
        count = len(objects.row(row))
        parts = [_part(objects, row, number, PART if count > 1 else CAPTIONS[template[row]])
                 for number in range(count)]
        told.append(" and ".join([", ".join(parts[:-1]), parts[-1]]) if count > 1 else parts[0])
    return told


def _part(objects: Objects, row: int, number: int, template: str) -> str:
    """One object in the words of a template, synonyms drawn."""
    one = objects.row(row)[number]
    draws = Draws(objects.draws.seed, objects.draws.epoch, objects.draws.rows[row : row + 1])
    colour, shape, place, size = draws.uniform(f"words/{number}", 4)[0]
    words = [_synonym(choices, share) for choices, share in (
        (COLOUR_WORDS[COLOURS[one.colour]], colour), (SHAPE_WORDS[SHAPES[one.shape]], shape),
        (PLACE_WORDS[PLACES[one.place]], place))]
    sizes = SIZE_WORDS[int(objects.large[row, number])]
    look = words[0] if size < 0.5 else f"{_synonym(sizes, 2 * size - 1)} {words[0]}"
    return template.format(look=look, colour=words[0], shape=words[1], place=words[2])


def _synonym(words: tuple[str, ...], share: float) -> str:
    return words[int(share * len(words))]


def attributes_of(caption: str) -> Attributes:
    """The colour, shape and place that a caption of one object states, whatever its wording.

    Example:
        >>> attributes_of("Top left, a little violet disc.")
        Attributes(colour='purple', shape='circle', place='upper left')
        >>> attributes_of("a red or blue star")
        Attributes(colour=None, shape='star', place=None)
    """
    text = " ".join(re.findall(r"[a-z]+", caption.lower()))
    return Attributes(*(_stated(text, words) for words in (COLOUR_WORDS, SHAPE_WORDS, PLACE_WORDS)))


def _stated(text: str, words: dict[str, tuple[str, ...]]) -> str | None:
    """The one value of which the text has a word, else None."""
    found = [value for value, synonyms in words.items() if re.search(rf"\b({'|'.join(synonyms)})\b", text)]
    return found[0] if len(found) == 1 else None
