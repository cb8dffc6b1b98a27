"""The truth of the world of objects: coloured shapes in the quarters of a picture, and which combinations are held out.

96 combinations of a colour, a shape and a place. Twenty of them never occur in training (`held_out`), although each of
their values, and each pair of their values, does: whoever draws or names them right has learnt the parts, not the
pictures. Everything is synthetic. Every draw is keyed by (seed, split, row): row i is the same however many are asked
for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from sensorium.demo.scene import Bools, Ints
from sensorium.errors import DataError, unknown_name
from sensorium.keyed import Draws

COLOURS = ("red", "yellow", "green", "blue", "purple", "black")
SHAPES = ("circle", "square", "triangle", "star")
PLACES = ("upper left", "upper right", "lower left", "lower right")
MOST = 3
"""Objects in a scene."""
NOTHING = -1
ObjectSplit = Literal["train", "test_seen", "test"]
OBJECT_SPLITS: dict[ObjectSplit, int] = {"train": 0, "test_seen": 1, "test": 2}
"""`train` and `test_seen` show seen combinations alone, `test` held-out ones alone."""


class Combination(NamedTuple):
    """Numbers of COLOURS, SHAPES and PLACES."""

    colour: int
    shape: int
    place: int


@dataclass(frozen=True)
class Objects:
    """Some scenes of objects.

    Args:
        draws: keyed randomness of these rows, for everything that carries no meaning.
        colour, shape, place: (row, object) numbers of COLOURS, SHAPES and PLACES, NOTHING where there are fewer
            objects; no two objects of a row share a place.
        large: (row, object) False = small.
    """

    draws: Draws
    colour: Ints
    shape: Ints
    place: Ints
    large: Bools

    def __len__(self) -> int:
        return len(self.colour)

    def row(self, row: int) -> list[Combination]:
        """The objects of one scene."""
        columns = (values[row].tolist() for values in (self.colour, self.shape, self.place))
        return [Combination(*one) for one in zip(*columns, strict=True) if one[0] != NOTHING]


def held_out(colour: int, shape: int, place: int) -> bool:
    """Whether training never shows this combination: where colour + shape + 2 · place leaves 2 when divided by five.

    The rule was fixed before anything was trained. It holds out 20 of the 96 combinations: three or four of each
    colour, five of each shape and of each place; and of any two values it holds out at most one combination (of a shape
    and a place: two of six), so that training shows every pair.
    """
    return (colour + shape + 2 * place) % 5 == 2


@lru_cache
def combinations(split: ObjectSplit) -> tuple[Combination, ...]:
    """The combinations that a split shows.

    Raises:
        RecipeError: an unknown split.

    Example:
        >>> len(combinations("train")), len(combinations("test"))
        (76, 20)
    """
    if split not in OBJECT_SPLITS:
        raise unknown_name("split of the world of objects", split, list(OBJECT_SPLITS))
    every = (Combination(*one) for one in product(*(range(len(names)) for names in (COLOURS, SHAPES, PLACES))))
    return tuple(one for one in every if held_out(*one) == (split == "test"))


def draw_objects(rows: Iterable[int], *, seed: int = 0, split: ObjectSplit = "train", most: int = 1) -> Objects:
    """Scenes of one to `most` objects, each as probable; the first object's combination is uniform over the split's.

    Raises:
        DataError: `most` is not in 1…MOST. RecipeError: an unknown split.
    """
    if not 1 <= most <= MOST:
        raise DataError(f"a scene has 1 to {MOST} objects, found {most}")
    shown = np.array(combinations(split))
    draws = draws_of(rows, seed=seed, split=split)
    count = 1 + draws.integers("objects/count", high=most)
    first = shown[draws.integers("objects/first", high=len(shown))]
    free = np.argsort(draws.bits("objects/places", len(PLACES)), axis=1)
    free = free[free != first[:, 2:]].reshape(len(count), len(PLACES) - 1)
    chosen = [first]
    for number in range(1, most):
        place = free[:, number - 1]
        share = draws.uniform(f"objects/{number}")
        there = [np.flatnonzero(shown[:, 2] == one) for one in range(len(PLACES))]
        chosen.append(shown[[there[p][int(u * len(there[p]))] for p, u in zip(place, share, strict=True)]])
    values = np.stack(chosen, axis=1)
    values = np.where(np.arange(most)[None, :, None] < count[:, None, None], values, NOTHING)
    return Objects(draws, values[..., 0], values[..., 1], values[..., 2], sizes(draws, most))


def draws_of(rows: Iterable[int], *, seed: int, split: ObjectSplit) -> Draws:
    """The keyed randomness of some rows of a split."""
    return Draws(seed, OBJECT_SPLITS[split], np.array(list(rows), dtype=np.int64))


def sizes(draws: Draws, most: int) -> Bools:
    """(row, object) whether each object is large."""
    return np.asarray(draws.uniform("objects/large", most) < 0.5)
