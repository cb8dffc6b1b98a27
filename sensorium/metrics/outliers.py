"""Rows unlike the training data: how far an embedding lies from where training rows lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import Floats, Ints
from sensorium.metrics.conformal import conformal_threshold

FOLDS = 5
FEWEST_ROWS = 20
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Familiar:
    """Where training rows lie: a Gaussian, or one a class with a common covariance (Lee et al. 2018).

    Args:
        means: (class_, width) float64, one row where classes are not told apart.
        whitening: (width, width) float64 W with W Wᵀ = Σ⁻¹.
        threshold: the distance beyond which a row is unlike them.
        quantile: the share of rows like them that lies within it.
        rows: training rows.
    """

    means: Floats
    whitening: Floats
    threshold: float
    quantile: float
    rows: int

    def distances(self, embeddings: npt.NDArray[Any]) -> Floats:
        """(row,) Mahalanobis distance √((z − μ)ᵀ Σ⁻¹ (z − μ)) to the nearest mean; NaN where an embedding is NaN."""
        if embeddings.ndim != 2 or embeddings.shape[1] != self.means.shape[1]:
            raise DataError(f"expected embeddings (row, {self.means.shape[1]}), found {embeddings.shape}")
        return _distances(np.asarray(embeddings, dtype=np.float64), self.means, self.whitening)

    def unlike(self, embeddings: npt.NDArray[Any]) -> Bools:
        """(row,) which rows lie beyond the threshold; of rows like the training rows 1 − `quantile` do."""
        return self.distances(embeddings) > self.threshold


def fit_familiar(
    embeddings: npt.NDArray[Any], labels: npt.NDArray[Any] | None = None, *,
    held_out: npt.NDArray[Any] | None = None, quantile: float = 0.99, seed: int = 0,
) -> Familiar:
    """Learn where training rows lie, and how far is far.

    Covariances are shrunk towards a multiple of the identity (Ledoit and Wolf 2004), so they can be inverted however
    few the rows and however flat the embeddings. Only means and a covariance are kept, no rows.

    The threshold is the ⌈(n + 1) · quantile⌉-th smallest distance of rows that the fit has not seen: of `held_out`, or
    of the training rows in five folds, each measured by the other four. Distances of rows to their own fit are too
    short.

    Args:
        embeddings: (row, width) of training rows, 20 or more; rows with NaN are left out. All from the same subset of
            modalities, which the rows to be judged should also be embedded from.
        labels: (row,) class numbers: a classifier's embeddings lie around one mean a class. None: one mean.
        held_out: (row, width) embeddings of rows that the model was not trained on, which lie less tightly than those
            it was trained on.
        quantile: the share of rows like the training rows that is not flagged, in 0…1.
        seed: of the folds.

    Raises:
        DataError: there are too few rows, or shapes disagree.

    Example:
        >>> random = np.random.default_rng(0)
        >>> familiar = fit_familiar(random.normal(size=(500, 3)))
        >>> familiar.unlike(np.array([[0.0, 0.0, 1.0], [5.0, 0.0, 0.0]])).tolist()
        [False, True]
    """
    rows = np.asarray(embeddings, dtype=np.float64)
    classes = np.zeros(len(rows), dtype=np.int64) if labels is None else np.asarray(labels)
    if rows.ndim != 2 or classes.shape != rows.shape[:1] or not 0 < quantile < 1:
        raise DataError("expected embeddings (row, width), a label for each and a quantile in 0…1, "
                        f"found {rows.shape}, {classes.shape} and {quantile!r}")
    whole = np.isfinite(rows).all(axis=1)
    rows, classes = rows[whole], np.unique(classes[whole], return_inverse=True)[1]
    if len(rows) < FEWEST_ROWS:
        raise DataError(f"{len(rows)} training rows are too few to say which rows are unlike them: "
                        f"expected {FEWEST_ROWS} or more")
    means, whitening = _fit(rows, classes)
    if held_out is None:
        found = np.empty(len(rows))
        fold = Draws(seed, 0, np.arange(len(rows))).order("familiar") % FOLDS
        for number in range(FOLDS):
            inside = fold == number
            found[inside] = _distances(rows[inside], *_fit(rows[~inside], classes[~inside]))
    else:
        found = _distances(np.asarray(held_out, dtype=np.float64), means, whitening)
        found = found[~np.isnan(found)]
    return Familiar(means, whitening, conformal_threshold(found, 1 - quantile), quantile, len(rows))


def _fit(rows: Floats, classes: Ints) -> tuple[Floats, Floats]:
    """Means (class_, width) of the classes that occur, and the whitening of what is left around them."""
    from sklearn.covariance import ledoit_wolf

    _, classes = np.unique(classes, return_inverse=True)
    sums = np.zeros((int(classes.max()) + 1, rows.shape[1]))
    np.add.at(sums, classes, rows)
    means = sums / np.bincount(classes)[:, None]
    covariance, _ = ledoit_wolf(rows - means[classes], assume_centered=True)
    spread, axes = np.linalg.eigh(covariance)
    floor = max(float(spread.max()) * 1e-10, 1e-300)
    return means, np.asarray(axes / np.sqrt(np.maximum(spread, floor)))


def _distances(rows: Floats, means: Floats, whitening: Floats) -> Floats:
    turned, centres = rows @ whitening, means @ whitening
    squares = (turned**2).sum(axis=1)[:, None] - 2 * turned @ centres.T + (centres**2).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squares.min(axis=1), 0.0)))
