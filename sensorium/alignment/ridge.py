"""Ridges: given as numbers, or chosen by cross-validation in one pass over the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sensorium.alignment.blocks import Floats, columns_of
from sensorium.alignment.moments import Moments
from sensorium.alignment.whitening import Whitened, from_moments
from sensorium.errors import AlignmentError

Solve = Callable[[Whitened], Sequence[Floats]]

RELATIVE_RIDGES = tuple(10.0**exponent for exponent in range(-6, 2))


def ridges_of(ridge: Any, names: Sequence[str]) -> tuple[float, ...] | None:
    """Per view its ridge, from one number or one for each view; None for "cv".

    Raises:
        AlignmentError: it is none of these.

    Example:
        >>> ridges_of(0.1, ("X", "y"))
        (0.1, 0.1)
    """
    wanted = f"expected ridge to be a number of at least 0, {len(names)} of them (one for each view) or 'cv'"
    if isinstance(ridge, str):
        if ridge != "cv":
            raise AlignmentError(f"{wanted}; found {ridge!r}")
        return None
    numbers = list(np.ravel(ridge)) if np.ndim(ridge) <= 1 else []
    if len(numbers) == 1 and np.ndim(ridge) == 0:
        numbers *= len(names)
    if len(numbers) != len(names):
        raise AlignmentError(f"{wanted}; found {ridge!r}")
    for number in numbers:
        if not isinstance(number, int | float | np.integer | np.floating) or isinstance(number, bool) \
                or not 0 <= number < np.inf:
            raise AlignmentError(f"{wanted}; found {ridge!r}")
    return tuple(float(number) for number in numbers)


def choose_ridges(
    folds: Sequence[Moments], widths: Sequence[int], solve: Solve, *, features: Sequence[int],
) -> tuple[tuple[float, ...], dict[str, Floats]]:
    """The ridges whose weights, fitted to the other folds, have the largest total correlation on the held-out ones.

    Candidates are RELATIVE_RIDGES times each view's mean variance. A fold is held out by joining the moments of the
    others: the rows are not read again.

    Args:
        folds: moments of the views side by side, one for each fold.
        widths: per view its columns in them.
        solve: from whitened views to per view (column, k) weights.
        features: per view the number that its total variance is divided by (its columns before any rotation).

    Returns:
        Per view its ridge, and what was tried: "ridge" (candidate, view) and "score" (candidate,), the mean over folds.

    Raises:
        AlignmentError: a fold has fewer than 2 rows.
    """
    least = min(part.count for part in folds)
    if len(folds) < 2:
        raise AlignmentError("ridge='cv' was set after the first rows were taken in, so no folds were kept: set it "
                             "before")
    if least < 2:
        raise AlignmentError(f"ridge='cv' over {len(folds)} folds needs at least {2 * len(folds)} rows, found "
                             f"{sum(part.count for part in folds)}: give a number, or a smaller cv")
    total = folds[0].joined(folds[1:])
    variances = [float(total.squares[part].sum()) / (total.count - 1) / size
                 for part, size in zip(columns_of(widths), features)]
    candidates = np.outer(RELATIVE_RIDGES, variances)
    scores = np.zeros(len(candidates))
    for number, held_out in enumerate(folds):
        others = [part for i, part in enumerate(folds) if i != number]
        train = others[0].joined(others[1:])
        for i, ridges in enumerate(candidates):
            whitened, _ = from_moments(train, [""] * len(widths), widths, ridges.tolist())
            scores[i] += total_correlation(held_out.scatter, widths, solve(whitened)) / len(folds)
    best = int(np.argmax(scores))
    return tuple(candidates[best].tolist()), {"ridge": candidates, "score": scores}


def total_correlation(scatter: Floats, widths: Sequence[int], weights: Sequence[Floats]) -> float:
    """Σ over components of the mean over pairs of views of the correlation of their variates.

    Args:
        scatter: (all columns, all columns) cross-products of centred rows.
        widths: per view its columns.
        weights: per view (column, k).

    Returns:
        From −k to k; a variate that is constant correlates by 0.

    Example:
        >>> total_correlation(np.array([[1.0, 0.5], [0.5, 1.0]]), (1, 1), [np.ones((1, 1)), np.ones((1, 1))])
        0.5
    """
    columns = columns_of(widths)
    lengths = [np.einsum("fk,fk->k", w, scatter[part, part] @ w) for part, w in zip(columns, weights)]
    total, pairs = 0.0, 0
    for i, first in enumerate(columns):
        for j in range(i):
            cross = np.einsum("fk,fk->k", weights[i], scatter[first, columns[j]] @ weights[j])
            norm = np.sqrt(np.maximum(lengths[i], 0.0) * np.maximum(lengths[j], 0.0))
            total += float(np.divide(cross, norm, out=np.zeros_like(cross), where=norm > 0).sum())
            pairs += 1
    return total / pairs
