"""A metric for each group of rows: which one is worst, by how much, and whether chance alone would do as much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import Estimate, Floats, Metric, estimate, interval, replicate_weights
from sensorium.metrics.proportion import wilson

MIN_ROWS = 10
SHUFFLES = 500


@dataclass(frozen=True)
class GroupScore:
    """One group: its name, its rows, its score, and whether it is too small to be called worst or best."""

    group: str
    rows: int
    score: Estimate
    small: bool


@dataclass(frozen=True)
class GroupTable:
    """A metric by group.

    Args:
        groups: the worst first; groups in which the metric is not defined last.
        whole: the metric on all rows.
        worst, best: among the groups that are not small; empty where fewer than two of those can be scored.
        gap: best − worst, never below 0 in value whatever the metric's direction; NaN where there are no two groups.
        gap_by_chance: the gap that one in twenty shuffles of the groups reaches. Of many small groups some are bad by
            chance, and the gap found is the largest of many: it is news only where it is above this.
        p_value: share of shuffles that reach the gap found.
    """

    groups: tuple[GroupScore, ...]
    whole: Estimate
    worst: str
    best: str
    gap: Estimate
    gap_by_chance: float
    p_value: float


def by_group(
    metric: Metric, truth: npt.NDArray[Any], prediction: npt.NDArray[Any], groups: npt.NDArray[Any], *,
    higher_is_better: bool = True, share: bool = False, level: float = 0.95, seed: int = 0,
) -> GroupTable:
    """Score every group of rows.

    Args:
        metric: of the contract of `CLASSIFICATION` and `REGRESSION`.
        truth: (row,) class numbers or values.
        prediction: (row, class_) probabilities or (row,) values.
        groups: (row,) which group each row belongs to.
        higher_is_better: the metric's direction.
        share: the metric is a share of rows (accuracy, coverage): Wilson's interval, and Newcombe's (1998) for the gap,
            which hold for a handful of rows; else a bootstrap within each group.
        level: nominal coverage of the intervals, each on its own.
        seed: of the bootstrap and of the shuffles.

    Raises:
        DataError: there are no rows, or lengths differ.

    Example:
        >>> from sensorium.metrics.classification import accuracy
        >>> right = np.array([[0.9, 0.1]] * 30 + [[0.1, 0.9]] * 10)
        >>> table = by_group(accuracy, np.zeros(40, dtype=int), right, np.repeat(["a", "b"], 20), share=True)
        >>> table.worst, table.gap.value, table.p_value < 0.01
        ('b', 0.5, True)
    """
    if len(truth) == 0 or np.shape(groups) != (len(truth),) or len(prediction) != len(truth):
        raise DataError(f"expected one group and one prediction for each of {len(truth)} rows, at least one, found "
                        f"{np.shape(groups)} and {np.shape(prediction)}")
    names, member = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    sizes = np.bincount(member)
    sign = 1.0 if higher_is_better else -1.0
    scores = [_score(metric, truth[member == one], prediction[member == one], share, level, seed)
              for one in range(len(names))]
    order = sorted(range(len(names)), key=lambda one: (np.isnan(scores[one].value), sign * scores[one].value))
    table = tuple(GroupScore(str(names[one]), int(sizes[one]), scores[one], bool(sizes[one] < MIN_ROWS))
                  for one in order)
    whole = _score(metric, truth, prediction, share, level, seed)
    ranked = [one for one in order if sizes[one] >= MIN_ROWS and not np.isnan(scores[one].value)]
    if len(ranked) < 2:
        nothing = Estimate(float("nan"), float("nan"), float("nan"))
        return GroupTable(table, whole, "", "", nothing, float("nan"), float("nan"))
    worst, best = ranked[0], ranked[-1]
    if share:
        gap = _newcombe(scores[best], scores[worst])
    else:
        ends = [_replicates(metric, truth[member == one], prediction[member == one], seed + place)
                for place, one in enumerate((best, worst))]
        gap = Estimate(scores[best].value - scores[worst].value, *interval(ends[0] - ends[1], level))
    if not higher_is_better:
        gap = Estimate(-gap.value, -gap.high, -gap.low)
    kept = np.isin(member, ranked)
    shuffled = _shuffled_gaps(metric, truth[kept], prediction[kept], member[kept], seed)
    chance = float(np.nanquantile(shuffled, 0.95))
    return GroupTable(table, whole, str(names[worst]), str(names[best]), gap, chance,
                      float((1 + (shuffled >= gap.value - 1e-12).sum()) / (1 + len(shuffled))))


def _score(
    metric: Metric, truth: npt.NDArray[Any], prediction: npt.NDArray[Any], share: bool, level: float, seed: int,
) -> Estimate:
    if share:
        return wilson(round(float(np.asarray(metric(truth, prediction, None))) * len(truth)), len(truth), level)
    resampling = replicate_weights(len(truth), replicates=SHUFFLES, seed=seed)
    return estimate(metric, truth, prediction, resampling, level=level)


def _replicates(metric: Metric, truth: npt.NDArray[Any], prediction: npt.NDArray[Any], seed: int) -> Floats:
    weights = replicate_weights(len(truth), replicates=SHUFFLES, seed=seed).weights
    return np.asarray(metric(truth, prediction, weights), dtype=np.float64)


def _newcombe(a: Estimate, b: Estimate) -> Estimate:
    """The difference of two independent shares, from their Wilson intervals (Newcombe 1998, method 10)."""
    gap = a.value - b.value
    return Estimate(gap, gap - float(np.hypot(a.value - a.low, b.high - b.value)),
                    gap + float(np.hypot(a.high - a.value, b.value - b.low)))


def _shuffled_gaps(
    metric: Metric, truth: npt.NDArray[Any], prediction: npt.NDArray[Any], member: npt.NDArray[Any], seed: int,
) -> Floats:
    """(shuffle,) largest − smallest score of the groups where rows are dealt to them at random."""
    ranks = Draws(seed, 0, np.arange(SHUFFLES)).bits("groups", len(truth))
    dealt = member[np.argsort(ranks, axis=1)]
    scores = np.stack([np.asarray(metric(truth, prediction, (dealt == one).astype(np.float64)), dtype=np.float64)
                       for one in np.unique(member)])
    return np.asarray(np.fmax.reduce(scores) - np.fmin.reduce(scores))
