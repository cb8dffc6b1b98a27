"""Questions about scenes of objects, their answers, and scenes made to fit them.

The question and its answer are drawn first, each answer that a question has as probable as the others; then a scene of
which the answer is true, with other objects that leave it true. The question alone therefore tells no more than how
many answers it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sensorium.demo.objects import (
    COLOURS,
    MOST,
    NOTHING,
    PLACES,
    SHAPES,
    Combination,
    Objects,
    ObjectSplit,
    combinations,
    draws_of,
    sizes,
)
from sensorium.errors import DataError

Choice = TypeVar("Choice")
QUESTIONS: dict[str, tuple[str, ...]] = {
    "colour_of": ("what colour is the {shape}", "which colour has the {shape}"),
    "colour_at": ("what colour is the thing in the {place}", "which colour do you see in the {place}"),
    "shape_of": ("what shape is the {colour} one", "which shape is {colour}"),
    "shape_at": ("what shape is in the {place}", "which shape do you see in the {place}"),
    "place_of": ("where is the {colour} {shape}", "in which corner is the {colour} {shape}"),
    "place_of_shape": ("where is the {shape}", "in which corner is the {shape}"),
    "exists": ("is there a {colour} {shape}", "do you see a {colour} {shape}"),
    "count_colour": ("how many objects are {colour}", "how many {colour} objects do you see"),
    "count_shape": ("how many {shape}s are there", "how many {shape}s do you see"),
    "count": ("how many objects are there", "how many objects do you see"),
}
"""The types of questions and their wordings."""
ANSWERS = (*COLOURS, *SHAPES, *PLACES, "yes", "no", *map(str, range(MOST + 1)))
"""Every answer there is."""


@dataclass(frozen=True)
class Asked:
    """One question: its type (of QUESTIONS), its words and the answer (of ANSWERS)."""

    type: str
    question: str
    answer: str


def ask(
    rows: Iterable[int], *, seed: int = 0, split: ObjectSplit = "train", most: int = MOST,
) -> tuple[Objects, list[Asked]]:
    """Scenes of one to `most` objects of the split's combinations, and a question about each; keyed by row.

    Raises:
        DataError: `most` is not in 1…MOST. RecipeError: an unknown split.

    Example:
        >>> _, asked = ask(range(2), seed=1)
        >>> [(one.question, one.answer) for one in asked]
        [('is there a red triangle?', 'yes'), ('how many purple objects do you see?', '3')]
    """
    if not 1 <= most <= MOST:
        raise DataError(f"a scene has 1 to {MOST} objects, found {most}")
    shown = combinations(split)
    draws = draws_of(rows, seed=seed, split=split)
    types, shares = draws.integers("ask/type", high=len(QUESTIONS)), draws.uniform("ask/shares", 32)
    scenes = np.full((len(draws.rows), most, 3), NOTHING, dtype=np.int64)
    asked = []
    for row, (number, numbers) in enumerate(zip(types, shares.tolist(), strict=True)):
        kind = list(QUESTIONS)[number]
        composed = _Composed(shown, most, numbers)
        answer, values = _COMPOSERS[kind](composed)
        scenes[row, : len(composed.scene)] = composed.scene
        words = {name: names[values[name]] for name, names in (("colour", COLOURS), ("shape", SHAPES),
                                                               ("place", PLACES)) if name in values}
        asked.append(Asked(kind, f"{composed.pick(QUESTIONS[kind]).format(**words)}?", answer))
    return Objects(draws, scenes[..., 0], scenes[..., 1], scenes[..., 2], sizes(draws, most)), asked


def question_floor(known: Sequence[Asked], asked: Sequence[Asked], key: Callable[[Asked], str]) -> float:
    """Accuracy of whoever knows only the key of each question, and answers what was most frequent for it in `known`.

    Args:
        known: questions whose answers are known.
        asked: those to answer.
        key: what is looked at: the words, the type.
    """
    counts: dict[str, Counter[str]] = {}
    for one in known:
        counts.setdefault(key(one), Counter())[one.answer] += 1
    usual = {name: count.most_common(1)[0][0] for name, count in counts.items()}
    return sum(usual.get(key(one)) == one.answer for one in asked) / len(asked) if asked else float("nan")


class _Composed:
    """A scene in the making, from the row's random numbers.

    Args:
        shown: the combinations that may be shown.
        most: objects at most.
        shares: random numbers in 0…1, used one after the other.
    """

    def __init__(self, shown: Sequence[Combination], most: int, shares: Sequence[float]) -> None:
        self.shown, self.most, self.shares = shown, most, iter(shares)
        self.scene: list[Combination] = []

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of the choices, each as probable."""
        return choices[int(next(self.shares) * len(choices))]

    def values(self, name: str, **given: int) -> list[int]:
        """The values of an attribute that occur with the given ones among the combinations that may be shown."""
        return sorted({getattr(one, name) for one in self.shown
                       if all(getattr(one, other) == value for other, value in given.items())})

    def add(self, *wanted: Callable[[Combination], bool]) -> None:
        """One more object at a free place, of the first kind wanted that there is."""
        taken = {one.place for one in self.scene}
        free = [one for one in self.shown if one.place not in taken]
        self.scene.append(self.pick(next(some for some in ([one for one in free if want(one)] for want in wanted)
                                         if some)))

    def fill(self, others: Callable[[Combination], bool]) -> None:
        """Other objects, up to a number of objects that is drawn."""
        count = self.pick(range(max(1, len(self.scene)), self.most + 1))
        while len(self.scene) < count:
            self.add(others)


Composer = Callable[[_Composed], tuple[str, dict[str, int]]]
"""Draws what is asked and the answer, and makes the scene; the answer, and the values named in the question."""


def _one_of(asked: str, told: str, names: Sequence[str]) -> Composer:
    """What is the `asked` (a name of `names`) of the only object of a given `told`?"""
    def compose(composed: _Composed) -> tuple[str, dict[str, int]]:
        given = composed.pick(composed.values(told))
        answer = composed.pick(composed.values(asked, **{told: given}))
        composed.add(lambda one: getattr(one, told) == given and getattr(one, asked) == answer)
        composed.fill(lambda one: getattr(one, told) != given)
        return names[answer], {told: given}
    return compose


def _counted(told: str) -> Composer:
    """How many objects have a given `told`?"""
    def compose(composed: _Composed) -> tuple[str, dict[str, int]]:
        given, count = composed.pick(composed.values(told)), composed.pick(range(composed.most + 1))
        for _ in range(count):
            composed.add(lambda one: getattr(one, told) == given)
        composed.fill(lambda one: getattr(one, told) != given)
        return str(count), {told: given}
    return compose


def _place_of(composed: _Composed) -> tuple[str, dict[str, int]]:
    """Where is the object of a given colour and shape?"""
    colour, shape = composed.pick(sorted({(one.colour, one.shape) for one in composed.shown}))
    place = composed.pick(composed.values("place", colour=colour, shape=shape))
    composed.add(lambda one: one == (colour, shape, place))
    composed.fill(lambda one: one[:2] != (colour, shape))
    return PLACES[place], {"colour": colour, "shape": shape}


def _exists(composed: _Composed) -> tuple[str, dict[str, int]]:
    """Is there an object of a given colour and shape? Half of the others have one of the two."""
    asked = colour, shape = composed.pick(sorted({(one.colour, one.shape) for one in composed.shown}))
    there, count = composed.pick((True, False)), composed.pick(range(1, composed.most + 1))
    if there:
        composed.add(lambda one: one[:2] == asked)
    while len(composed.scene) < count:
        if composed.pick((True, False)):
            composed.add(lambda one: (one.colour == colour) != (one.shape == shape), lambda one: one[:2] != asked)
        else:
            composed.add(lambda one: one[:2] != asked)
    return "yes" if there else "no", {"colour": colour, "shape": shape}


def _count(composed: _Composed) -> tuple[str, dict[str, int]]:
    """How many objects are there?"""
    composed.fill(lambda one: True)
    return str(len(composed.scene)), {}


_COMPOSERS: dict[str, Composer] = {
    "colour_of": _one_of("colour", "shape", COLOURS), "colour_at": _one_of("colour", "place", COLOURS),
    "shape_of": _one_of("shape", "colour", SHAPES), "shape_at": _one_of("shape", "place", SHAPES),
    "place_of": _place_of, "place_of_shape": _one_of("place", "shape", PLACES), "exists": _exists,
    "count_colour": _counted("colour"), "count_shape": _counted("shape"), "count": _count,
}
