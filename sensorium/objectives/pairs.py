"""Which modalities a step contrasts with which."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from sensorium.keyed import Draws

Bools = npt.NDArray[np.bool_]
Pair = tuple[tuple[int, ...], tuple[int, ...]]
TRIES = 64


def drawn_pair(presence: Bools, lot: int) -> Pair | None:
    """Two random disjoint non-empty sets of modalities that at least two rows have all of.

    Every modality goes to one side, to the other, or stays out, with a third each; a draw with an empty side, or one
    that fewer than two rows can show, is drawn again. Drawn for each row apart, the pattern of what is there would
    itself tell rows from each other. With two modalities it is always the one against the other.

    Args:
        presence: (row, modality) of all rows of the step.
        lot: the step's number: equal ones give equal draws.

    Returns:
        The columns of both sides; None where no pair was found in 64 tries.
    """
    sides = Draws(lot, 0, np.arange(TRIES)).integers("side", presence.shape[1], high=3)
    for side in sides.tolist() if presence.shape[1] > 2 else [[0, 1]] if presence.shape[1] == 2 else []:
        first = tuple(column for column, one in enumerate(side) if one == 0)
        second = tuple(column for column, one in enumerate(side) if one == 1)
        if first and second and presence[:, first + second].all(axis=1).sum() > 1:
            return first, second
    return None


def single_pairs(presence: Bools, anchor: int | None = None) -> list[Pair]:
    """Every two modalities (or the anchor with each other one) that at least two rows have both of."""
    columns = range(presence.shape[1])
    pairs = combinations(columns, 2) if anchor is None else ((anchor, other) for other in columns if other != anchor)
    return [((a,), (b,)) for a, b in pairs if presence[:, [a, b]].all(axis=1).sum() > 1]
