"""Are generated pictures like real ones one by one, and are all kinds of real ones there? Nearest neighbours tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Floats, Ints
from sensorium.metrics.pictures import BLOCK_NUMBERS, checked_features


@dataclass(frozen=True)
class Manifolds:
    """How two sets of pictures cover each other; the ball of a picture reaches to its k-th nearest of the same set.

    Args:
        precision: share of generated pictures in the ball of some real one: are they like real ones?
        recall: share of real pictures in the ball of some generated one: are all kinds there?
        density: mean number of real balls that a generated picture is in, over k; 1 where both sets are alike.
        coverage: share of real pictures in whose ball is some generated one.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(real: npt.NDArray[Any], generated: npt.NDArray[Any], *, neighbours: int = 3) -> Manifolds:
    """Precision and recall, density and coverage of generated pictures.

    All of them depend on the numbers of rows: use as many of both, and the same for every generator.

    Args:
        real: (row, feature), more rows than `neighbours`.
        generated: (row, feature), more rows than `neighbours`.
        neighbours: k.

    Raises:
        DataError: too few rows, widths that differ, or features that are not finite.

    Example:
        >>> line = np.arange(8.0)[:, None]
        >>> precision_recall(line, line[:4] + 0.1, neighbours=1)
        Manifolds(precision=1.0, recall=0.625, density=2.0, coverage=0.625)

    Source: Kynkäänniemi et al. 2019, "Improved precision and recall metric", equations 1 and 2; Naeem et al. 2020,
    "Reliable fidelity and diversity metrics", equations 3 and 5.
    """
    if neighbours < 1:
        raise DataError(f"expected one neighbour or more, found {neighbours!r}")
    real, generated = checked_features(real, generated, fewest=neighbours + 1)
    real_radii, generated_radii = _radii(real, neighbours), _radii(generated, neighbours)
    balls, caught, reached = np.zeros(len(generated), dtype=np.int64), [], []
    for part, squares in _squares(real, generated):
        inside = squares <= real_radii[part, None]
        balls += inside.sum(axis=0)
        reached.append(inside.any(axis=1))
        caught.append((squares <= generated_radii).any(axis=1))
    return Manifolds(float((balls > 0).mean()), float(np.concatenate(caught).mean()), float(balls.mean() / neighbours),
                     float(np.concatenate(reached).mean()))


def nearest_rows(queries: npt.NDArray[Any], gallery: npt.NDArray[Any]) -> tuple[Ints, Floats]:
    """The nearest row of the gallery to each query: what a generated picture might be a copy of.

    Args:
        queries: (query, feature) of generated pictures.
        gallery: (row, feature) of training pictures.

    Returns:
        (query,) int64 its number, the first among equals, and (query,) float64 the Euclidean distance.

    Raises:
        DataError: no rows, widths that differ, or features that are not finite.
    """
    queries, gallery = checked_features(queries, gallery, fewest=1)
    nearest = np.empty(len(queries), dtype=np.int64)
    for part, squares in _squares(queries, gallery):
        nearest[part] = squares.argmin(axis=1)
    return nearest, np.asarray(np.linalg.norm(queries - gallery[nearest], axis=1))


def _radii(rows: Floats, neighbours: int) -> Floats:
    """(row,) squared distance to the k-th nearest other row; the row itself, at 0, comes first."""
    found = np.empty(len(rows))
    for part, squares in _squares(rows, rows):
        found[part] = np.partition(squares, neighbours, axis=1)[:, neighbours]
    return found


def _squares(rows: Floats, others: Floats) -> Iterator[tuple[slice, Floats]]:
    """(row, other) squared distances of some rows at a time; equal rows are at exactly 0."""
    centre = others.mean(axis=0)
    rows, others = rows - centre, others - centre
    lengths = (others**2).sum(axis=1)
    step = max(1, BLOCK_NUMBERS // len(others))
    for start in range(0, len(rows), step):
        part = slice(start, min(start + step, len(rows)))
        own = (rows[part] ** 2).sum(axis=1)
        squares = own[:, None] + lengths - 2 * rows[part] @ others.T
        squares[squares < 1e-12 * (own[:, None] + lengths)] = 0.0
        yield part, squares
