"""From predictions to a few cells, losing as little information about the target as possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import Floats, Ints

FLOOR = 1e-6
STARTS = 4
MAX_PASSES = 100


@dataclass(frozen=True)
class Coarse:
    """Rows in cells.

    Args:
        cells: (row,) int64 cell numbers from 0; every number below the largest occurs.
        lost: bits about the target that the cells no longer tell, were the posteriors right; NaN where unknown.
    """

    cells: Ints
    lost: float


def coarse_posteriors(probabilities: npt.NDArray[Any], count: int, *, seed: int = 0) -> Coarse:
    """Cluster posteriors: the mean of a row's Kullback–Leibler divergence from the mean of its cell is least.

    A posterior is all that a source says about the target, and merging rows into cells loses exactly that mean
    divergence, I(T; X) − I(T; cell) = E KL(p(T | x) ‖ p(T | cell)): k-means with this divergence is the clustering that
    keeps most bits (Dhillon et al. 2003; Banerjee et al. 2005). It never looks at the truth. Begun four times
    by k-means++ with the same divergence, the best kept; passes end where no row moves.

    Args:
        probabilities: (row, class_) in 0…1, each row summing to 1; below 1e-6 counts as 1e-6.
        count: cells at most, 1 or more; fewer where there are fewer distinct posteriors.
        seed: of the starts.

    Raises:
        DataError: there are no rows, a probability is not finite, or `count` is below 1.

    Example:
        >>> coarse_posteriors(np.array([[0.9, 0.1], [0.88, 0.12], [0.2, 0.8]]), 2).cells.tolist()
        [0, 0, 1]
    """
    if probabilities.ndim != 2 or 0 in probabilities.shape or not np.isfinite(probabilities).all() or count < 1:
        raise DataError(f"expected finite posteriors (row, class_) and at least one cell, found "
                        f"{probabilities.shape} and {count} cells")
    clipped = np.maximum(np.asarray(probabilities, dtype=np.float64), FLOOR)
    clipped /= clipped.sum(axis=1, keepdims=True)
    distinct, inverse = np.unique(clipped, axis=0, return_inverse=True)
    times = np.bincount(inverse).astype(np.float64)
    if len(distinct) <= count:
        return Coarse(_renumbered(inverse), 0.0)
    surprise = (distinct * np.log2(distinct)).sum(axis=1)
    found = [_cluster(distinct, times, surprise, _seeds(distinct, times, surprise, count, start, seed))
             for start in range(STARTS)]
    cells, lost = min(found, key=lambda one: one[1])
    return Coarse(_renumbered(cells[inverse]), lost)


def coarse_numbers(values: npt.NDArray[Any], count: int) -> Coarse:
    """Cells of equally many rows, by quantiles; equal numbers share a cell.

    Args:
        values: (row,) finite numbers.
        count: cells at most, 1 or more.

    Example:
        >>> coarse_numbers(np.array([3.0, 1.0, 2.0, 4.0]), 2).cells.tolist()
        [0, 1, 1, 0]
    """
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all() or count < 1:
        raise DataError(f"expected finite numbers (row,) and at least one cell, found {values.shape} and {count} cells")
    edges = np.quantile(values, np.arange(1, count) / count)
    return Coarse(_renumbered(np.searchsorted(edges, values, side="left")), float("nan"))


def _seeds(distinct: Floats, times: Floats, surprise: Floats, count: int, start: int, seed: int) -> Floats:
    """k-means++: each centre is drawn with a chance that grows with the divergence from the nearest one so far."""
    chance = Draws(seed, start, np.arange(count)).uniform("coarse")
    picked = [int(np.searchsorted(np.cumsum(times) / times.sum(), chance[0]))]
    nearest = surprise - distinct @ np.log2(distinct[picked[0]])
    for draw in chance[1:]:
        weight = np.cumsum(np.maximum(nearest, 0.0) * times)
        picked.append(min(int(np.searchsorted(weight, draw * weight[-1], side="right")), len(distinct) - 1))
        nearest = np.minimum(nearest, surprise - distinct @ np.log2(distinct[picked[-1]]))
    return distinct[picked]


def _cluster(distinct: Floats, times: Floats, surprise: Floats, centres: Floats) -> tuple[Ints, float]:
    """Lloyd's passes from given centres: each row's cell, and the bits lost."""
    cells = np.full(len(distinct), -1)
    for _ in range(MAX_PASSES):
        moved = (-distinct @ np.log2(centres).T).argmin(axis=1)
        if (moved == cells).all():
            break
        cells = moved
        sums = np.zeros_like(centres)
        np.add.at(sums, cells, distinct * times[:, None])
        filled = sums.sum(axis=1) > 0
        centres = np.where(filled[:, None], sums / np.where(filled, sums.sum(axis=1), 1.0)[:, None], centres)
    divergence = surprise - (distinct * np.log2(centres[cells])).sum(axis=1)
    return cells.astype(np.int64), float((divergence * times).sum() / times.sum())


def _renumbered(cells: npt.NDArray[Any]) -> Ints:
    """Cells numbered by where they first occur."""
    _, first, inverse = np.unique(cells, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse]
