"""How often sets and intervals hold the truth, how large they are, and how often they should.

`SETS` and `INTERVALS` follow the contract of metrics: functions of (truth, prediction, weights), see bootstrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import Estimate, Floats, Ints, Metric, Score, Weights, one_or_many, weighted_mean
from sensorium.metrics.conformal import conformal_rank, conformal_threshold
from sensorium.metrics.proportion import wilson

Bools = npt.NDArray[np.bool_]
MAX_CONVOLVED = 4_000_000


def set_coverage(truth: Ints, sets: Bools, weights: Weights | None = None) -> Score:
    """Share of rows whose true class is in their set, in 0…1; a row of an unseen class (−1) is missed."""
    return one_or_many(weighted_mean(_holds(truth, sets).astype(np.float64), weights), weights)


def set_size(truth: Ints, sets: Bools, weights: Weights | None = None) -> Score:
    """Mean number of classes in a set."""
    _check_sets(truth, sets)
    return one_or_many(weighted_mean(sets.sum(axis=1).astype(np.float64), weights), weights)


def share_single(truth: Ints, sets: Bools, weights: Weights | None = None) -> Score:
    """Share of sets of exactly one class: rows that are decided."""
    _check_sets(truth, sets)
    return one_or_many(weighted_mean(np.asarray(sets.sum(axis=1) == 1, dtype=np.float64), weights), weights)


def share_empty(truth: Ints, sets: Bools, weights: Weights | None = None) -> Score:
    """Share of sets without a class: rows in which nothing is likely enough."""
    _check_sets(truth, sets)
    return one_or_many(weighted_mean(np.asarray(~sets.any(axis=1), dtype=np.float64), weights), weights)


def interval_coverage(truth: Floats, ends: Floats, weights: Weights | None = None) -> Score:
    """Share of rows whose number is within their (row, 2) interval, its ends included."""
    _check_ends(truth, ends)
    inside = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
    return one_or_many(weighted_mean(inside.astype(np.float64), weights), weights)


def interval_width(truth: Floats, ends: Floats, weights: Weights | None = None) -> Score:
    """Mean width of the (row, 2) intervals, in units of the target."""
    _check_ends(truth, ends)
    return one_or_many(weighted_mean(np.asarray(ends[:, 1] - ends[:, 0]), weights), weights)


SETS: dict[str, Metric] = {"coverage": set_coverage, "set_size": set_size, "share_single": share_single,
                           "share_empty": share_empty}
INTERVALS: dict[str, Metric] = {"coverage": interval_coverage, "interval_width": interval_width}


@dataclass(frozen=True)
class ClassCoverage:
    """How often the sets of one class's rows hold it; size is their mean number of classes."""

    class_: int
    rows: int
    coverage: Estimate
    size: float


def coverage_by_class(truth: Ints, sets: Bools) -> list[ClassCoverage]:
    """Coverage of every class that occurs, with Wilson's interval; the average over rows may hide a class.

    Example:
        >>> found = coverage_by_class(np.array([0, 0, 1]), np.array([[True, False], [True, True], [True, False]]))
        >>> [(one.class_, one.rows, one.coverage.value, one.size) for one in found]
        [(0, 2, 1.0, 1.5), (1, 1, 0.0, 1.0)]
    """
    held, sizes = _holds(truth, sets), sets.sum(axis=1)
    found = []
    for number in np.unique(truth[truth >= 0]).tolist():
        rows = truth == number
        found.append(ClassCoverage(number, int(rows.sum()), wilson(int(held[rows].sum()), int(rows.sum())),
                                   float(sizes[rows].mean())))
    return found


def coverage_band(
    num_calibration: int, num_test: int, alpha: float, *, resplits: int = 1, comparisons: int = 1, level: float = 0.95,
) -> tuple[float, float]:
    """Between which two numbers the observed coverage lies with probability `level`, if the method is right.

    With n calibration and m test rows, exchangeable and without ties, the number of covered test rows is beta-binomial:
    m draws with a chance that is Beta(k, n + 1 − k), k = ⌈(n + 1)(1 − α)⌉ (Vovk 2012; Angelopoulos and Bates 2023,
    appendix C). That is a statement about ranks, so it holds for random splits of any fixed pool of scores, and the
    coverages of several splits of one pool are independent: their mean has this distribution convolved with itself.
    Ties only raise coverage.

    Args:
        num_calibration: n, 1 or more.
        num_test: m, 1 or more.
        alpha: the share of rows whose truth may be missed.
        resplits: how many random splits the observed coverage is the mean of.
        comparisons: how many coverages are judged (presence patterns); each gets (1 − level) / comparisons
            (Bonferroni).
        level: the probability that all of them are within their bands.

    Returns:
        (low, high): each tail outside holds at most (1 − level) / (2 comparisons). (1, 1) where n is too small for α.

    Example:
        >>> [round(end, 3) for end in coverage_band(480, 1196, 0.1)]
        [0.867, 0.93]
    """
    from scipy.stats import betabinom, norm

    if min(num_calibration, num_test, resplits, comparisons) < 1 or not 0 < level < 1:
        raise DataError(f"expected at least one calibration row, test row, split and comparison, found "
                        f"{num_calibration}, {num_test}, {resplits} and {comparisons}, and a level in 0…1: {level!r}")
    rank = conformal_rank(num_calibration, alpha)
    if rank > num_calibration:
        return 1.0, 1.0
    tail = (1 - level) / (2 * comparisons)
    one = betabinom(num_test, rank, num_calibration + 1 - rank)
    total = resplits * num_test
    if total > MAX_CONVOLVED:
        mean = float(one.mean()) / num_test
        reach = -float(norm.ppf(tail)) * float(one.std()) / num_test / float(np.sqrt(resplits))
        return max(0.0, mean - reach), min(1.0, mean + reach)
    chances = one.pmf(np.arange(num_test + 1))
    if resplits > 1:
        chances = np.fft.irfft(np.fft.rfft(chances, total + 1) ** resplits, total + 1)
    sums = np.cumsum(np.maximum(chances, 0.0))
    low, high = int((sums <= tail).sum()), int((sums < 1 - tail).sum())
    return low / total, min(high, total) / total


def resplit_coverages(
    scores: Floats, num_calibration: int, alpha: float, *, resplits: int = 50, seed: int = 0,
) -> Floats:
    """(resplit,) the coverage of the other rows when a random `num_calibration` of them set the threshold.

    Args:
        scores: (row,) scores of the true answers (for classes 1 − p) of rows that the model has not seen.
        num_calibration: rows that calibrate, fewer than there are.
        alpha: the share of rows whose truth may be missed.
        resplits: how many splits.
        seed: split r depends on (seed, r) alone.
    """
    if not 1 <= num_calibration < len(scores):
        raise DataError(f"expected 1 … {len(scores) - 1} of {len(scores)} rows to calibrate on, "
                        f"found {num_calibration}")
    found = np.empty(resplits)
    for number in range(resplits):
        order = Draws(seed, number, np.arange(len(scores))).order("resplit")
        threshold = conformal_threshold(scores[order[:num_calibration]], alpha)
        found[number] = (scores[order[num_calibration:]] <= threshold).mean()
    return found


def _holds(truth: Ints, sets: Bools) -> Bools:
    _check_sets(truth, sets)
    return np.asarray((truth >= 0) & sets[np.arange(len(truth)), np.maximum(truth, 0)])


def _check_sets(truth: Ints, sets: Bools) -> None:
    if sets.ndim != 2 or sets.dtype != np.bool_ or truth.shape != sets.shape[:1]:
        raise DataError(f"expected truth (row,) and sets (row, class_) of True and False, found {truth.shape} and "
                        f"{sets.shape} {sets.dtype}")


def _check_ends(truth: Floats, ends: Floats) -> None:
    if ends.shape != (*truth.shape, 2) or truth.ndim != 1:
        raise DataError(f"expected truth (row,) and intervals (row, 2), found {truth.shape} and {ends.shape}")
