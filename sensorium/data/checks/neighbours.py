"""Near pairs among many vectors, exactly: a projection rules out almost all pairs before they are compared in full."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]
BLOCK = 2048
PROJECTED = 64
LEARNED_FROM = 4000
ROUNDING = 1e-4
MANY = 20_000


@dataclass(frozen=True)
class Pairs:
    """Pairs of things that are alike.

    Args:
        first, second: (pair,) their numbers, first < second.
        likeness: (pair,) how alike.
        cut: whether there were more than asked for, and the least alike were left out.
    """

    first: Numbers
    second: Numbers
    likeness: npt.NDArray[np.float64]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.first)

    def kept(self, which: npt.NDArray[np.bool_]) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.first[which], self.second[which], self.likeness[which], self.cut)


NO_PAIRS = Pairs(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0))


def near_pairs(vectors: Vectors, least: float, *, most: int = 50_000) -> Pairs:
    """Every pair whose dot product is at least `least`, without comparing all of them in full.

    With P a projection on the 64 main directions and r the length of what it leaves out,
    a·b ≤ Pa·Pb + r_a r_b, which is one dot product of 65 numbers; no pair is missed.

    Args:
        vectors: (thing, number) of length at most 1.
        least: above 0.
        most: pairs to return at most, the most alike.

    Example:
        >>> near_pairs(np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32), 0.9).first.tolist()
        [0]
    """
    if len(vectors) < 2:
        return NO_PAIRS
    many = len(vectors) > BLOCK and vectors.shape[1] > 2 * PROJECTED
    short = _shortened(vectors) if many else vectors
    found = NO_PAIRS
    for start in range(0, len(vectors), BLOCK):
        for other in range(start, len(vectors), BLOCK):
            bounds = short[start : start + BLOCK] @ short[other : other + BLOCK].T
            rows, columns = np.nonzero((bounds if other > start else np.triu(bounds, 1)) >= least - ROUNDING)
            if len(rows) == 0:
                continue
            dots = _dots(vectors[start : start + BLOCK], vectors[other : other + BLOCK], rows, columns)
            near = dots >= least
            found = _most_alike(found, Pairs(rows[near] + start, columns[near] + other, dots[near]), most)
            if found.cut:
                least = max(least, float(found.likeness.min()))
    return found


def _dots(first: Vectors, second: Vectors, rows: Numbers, columns: Numbers) -> npt.NDArray[np.float64]:
    """(pair,) dot products of some rows of two blocks; of many, by way of all."""
    if len(rows) > MANY:
        return np.asarray((first @ second.T)[rows, columns], dtype=np.float64)
    return np.asarray(np.einsum("pd,pd->p", first[rows], second[columns]), dtype=np.float64)


def _most_alike(found: Pairs, more: Pairs, most: int) -> Pairs:
    """Both together, or the most alike of them."""
    likeness = np.concatenate([found.likeness, more.likeness])
    both = Pairs(np.concatenate([found.first, more.first]), np.concatenate([found.second, more.second]), likeness,
                 found.cut)
    if len(both) <= most:
        return both
    best = np.sort(np.argpartition(-likeness, most - 1)[:most])
    return Pairs(both.first[best], both.second[best], likeness[best], True)


def _shortened(vectors: Vectors) -> Vectors:
    """(thing, 65): the projection and the length of what it leaves out; dot products bound the vectors' from above."""
    some = vectors[:: max(1, len(vectors) // LEARNED_FROM)]
    _, directions = np.linalg.eigh(some.T.astype(np.float64) @ some)
    projected = vectors @ directions[:, -PROJECTED:].astype(np.float32)
    left = np.sqrt(np.maximum((vectors**2).sum(axis=1) - (projected**2).sum(axis=1), 0.0))
    return np.concatenate([projected, left[:, None]], axis=1)


def leaders(count: int, pairs: Pairs) -> Numbers:
    """(thing,) the first thing that each one is directly near to and that is near to no earlier one; else itself.

    Unlike connected components, no chain of small steps joins things that are far apart.

    Example:
        >>> leaders(3, Pairs(np.array([0, 1]), np.array([1, 2]), np.ones(2))).tolist()
        [0, 0, 2]
    """
    found = np.arange(count, dtype=np.int64)
    order = np.lexsort((pairs.first, pairs.second))
    for first, second in zip(pairs.first[order].tolist(), pairs.second[order].tolist(), strict=True):
        if found[first] == first and found[second] == second:
            found[second] = first
    return found
