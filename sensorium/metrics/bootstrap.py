"""Intervals by the bootstrap: replicates are rows of non-negative weights, drawn once, shared by every metric.

A metric is a pure function of (truth, prediction, weights) that answers one number for (row,) weights and (replicate,)
numbers for (replicate, row) weights. Resampling rows with replacement is then the same as weighting them by how often
they were drawn (Efron 1979), so a thousand replicates cost matrix products instead of a thousand calls, and two
predictions compared under the same weights are compared on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.keyed import Draws

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Weights = npt.NDArray[Any]
Score = float | Floats

MIN_GROUPS = 10
MANY_ROWS = 20_000
CHUNK_VALUES = 2_000_000


class Metric(Protocol):
    """The contract of `CLASSIFICATION` and `REGRESSION`."""

    def __call__(self, truth: Any, prediction: Any, weights: Weights | None = None, /) -> Score:
        """A float for (row,) weights or None, (replicate,) numbers for (replicate, row) weights."""


@dataclass(frozen=True)
class Resampling:
    """Bootstrap multiplicities.

    Args:
        weights: (replicate, row) uint16, how often each row was drawn.
        unit: what was drawn: whole groups, or rows.
    """

    weights: npt.NDArray[np.uint16]
    unit: Literal["rows", "groups"]


@dataclass(frozen=True)
class Estimate:
    """A number on the data as found, and its percentile interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


def replicate_weights(
    num_rows: int,
    groups: npt.NDArray[Any] | None = None,
    *,
    replicates: int | None = None,
    seed: int = 0,
) -> Resampling:
    """Multinomial bootstrap weights; replicate r depends on (seed, r) alone.

    Args:
        num_rows: rows scored, at least 1.
        groups: (row,) which rows belong together (speaker, patient). Whole groups are drawn where there are 10 or
            more; with fewer a bootstrap over groups has too few distinct values, and rows are drawn.
        replicates: how many; None = 1,000, or 200 beyond 20,000 rows, where the interval's ends need fewer.
        seed: the run's seed.

    Returns:
        The weights, and whether rows or groups were drawn.

    Raises:
        DataError: there are no rows, or `groups` has another length.

    Example:
        >>> drawn = replicate_weights(4, replicates=3)
        >>> drawn.weights.sum(axis=1).tolist(), drawn.unit
        ([4, 4, 4], 'rows')
    """
    if num_rows < 1:
        raise DataError("an interval needs at least one row, found none: score a table that has rows with a target")
    if groups is not None and np.shape(groups) != (num_rows,):
        raise DataError(f"expected one group for each of {num_rows} rows, found shape {np.shape(groups)}")
    count = replicates if replicates is not None else (200 if num_rows > MANY_ROWS else 1000)
    if count < 1:
        raise DataError(f"expected at least one bootstrap replicate, found {count}")
    member: Ints | None = None
    num_units = num_rows
    if groups is not None:
        names, inverse = np.unique(groups, return_inverse=True)
        if len(names) >= MIN_GROUPS:
            member, num_units = inverse, len(names)
    weights = np.empty((count, num_rows), dtype=np.uint16)
    for part in _chunks(count, num_units):
        counts = _multiplicities(np.arange(part.start, part.stop), num_units, seed)
        weights[part] = counts if member is None else counts[:, member]
    return Resampling(weights, "rows" if member is None else "groups")


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of (replicate,) values; replicates where the metric is undefined (NaN) are left out."""
    defined = values[~np.isnan(values)]
    if len(defined) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def estimate(
    metric: Metric,
    truth: npt.NDArray[Any],
    prediction: npt.NDArray[Any],
    resampling: Resampling,
    *,
    level: float = 0.95,
) -> Estimate:
    """A metric and its interval.

    Args:
        metric: one of `CLASSIFICATION` or `REGRESSION`, or any function of the same contract.
        truth: (row,) class numbers or values.
        prediction: (row, class_) probabilities or (row,) values.
        resampling: weights for the same rows.
        level: the interval's nominal coverage, in 0…1.
    """
    return _estimate(lambda weights: metric(truth, prediction, weights), len(truth), resampling, level)


def paired_difference(
    metric: Metric,
    truth: npt.NDArray[Any],
    prediction_a: npt.NDArray[Any],
    prediction_b: npt.NDArray[Any],
    resampling: Resampling,
    *,
    level: float = 0.95,
) -> Estimate:
    """The metric of a minus the metric of b, both under the same weights: what they share cancels."""

    def difference(weights: Weights) -> Score:
        gap = np.asarray(metric(truth, prediction_a, weights)) - np.asarray(metric(truth, prediction_b, weights))
        return np.asarray(gap, dtype=np.float64)

    return _estimate(difference, len(truth), resampling, level)


def weight_matrix(weights: Weights | None, num_rows: int) -> Floats:
    """(replicate, row) float64 weights; (row,) becomes one replicate, None one replicate of ones."""
    if weights is None:
        return np.ones((1, num_rows))
    if np.ndim(weights) not in (1, 2) or np.shape(weights)[-1] != num_rows:
        raise DataError(f"expected weights of shape ({num_rows},) or (replicate, {num_rows}), one for each row, "
                        f"found {np.shape(weights)}")
    return np.atleast_2d(np.asarray(weights, dtype=np.float64))


def one_or_many(values: Floats, weights: Weights | None) -> Score:
    """A float where the weights were (row,) or None, else the (replicate,) values themselves."""
    return float(values[0]) if weights is None or np.ndim(weights) == 1 else values


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Elementwise quotient; NaN, without a warning, where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator == 0, np.nan, numerator / denominator)


def weighted_mean(values: Floats, weights: Weights | None) -> Floats:
    """(replicate,) means Σ w v / Σ w of (row,) values; NaN where all weights are 0."""
    matrix = weight_matrix(weights, len(values))
    return ratio(matrix @ values, matrix.sum(axis=1))


def mean_value(truth: Any, values: Any, weights: Weights | None = None, /) -> Score:
    """A metric that is the mean of its prediction."""
    return one_or_many(weighted_mean(np.asarray(values, dtype=np.float64), weights), weights)


def _estimate(score: Callable[[Weights], Score], num_rows: int, resampling: Resampling, level: float) -> Estimate:
    count, num_weighted = resampling.weights.shape
    if num_weighted != num_rows:
        raise DataError(f"the resampling was drawn for {num_weighted} rows, the truth has {num_rows}: "
                        "call replicate_weights with the rows that are scored")
    parts = [np.asarray(score(resampling.weights[part]), dtype=np.float64) for part in _chunks(count, num_rows)]
    low, high = interval(np.concatenate(parts), level)
    return Estimate(float(score(np.ones(num_rows))), low, high)


def _multiplicities(replicates: Ints, num_units: int, seed: int) -> npt.NDArray[np.uint16]:
    """(replicate, unit) how often each unit was drawn in `num_units` draws with replacement."""
    drawn = Draws(seed, 0, replicates).integers("bootstrap", num_units, high=num_units)
    drawn += num_units * np.arange(len(replicates))[:, None]
    counts = np.bincount(drawn.ravel(), minlength=drawn.size)
    return counts.reshape(drawn.shape).astype(np.uint16)


def _chunks(count: int, width: int) -> list[slice]:
    """Slices of 0 … count − 1 that hold about CHUNK_VALUES values of `width` columns each."""
    step = max(1, CHUNK_VALUES // max(1, width))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]
