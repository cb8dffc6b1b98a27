"""Sets of classes and intervals of numbers that hold the truth as often as they say (split conformal prediction).

Each row gets a score that is high where the prediction is strange for the true answer. With n calibration rows the
threshold is the ⌈(n + 1)(1 − α)⌉-th smallest of their scores; an answer belongs to the set where its score is not above
it. Where calibration rows and new rows are exchangeable, a set holds the truth with a probability of 1 − α or more, and
of less than 1 − α + 1 / (n + 1) where no scores tie, whatever the model is (Vovk et al. 2005; Lei et al. 2018).

Scores. Classes: 1 − p(class) (Sadinle et al. 2019, "LAC"): among all sets of this coverage its sets are the smallest on
average where the probabilities are right. They are not randomised, so a row always gets the same set. (Adaptive sets,
Romano et al. 2020, are valid only when randomised, else much too large: the same row would get different answers.) The
price: hard classes are covered less often than easy ones, which `coverage_by_class` shows, and where a model is better
than 1 − α some sets are empty: nothing is likely enough. Numbers: |y − ŷ|.

One threshold for each pattern of presence, since predictions from fewer modalities are less sure. Neither the weights
nor the temperature may have seen the calibration rows: their scores would be a little too good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isinf
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Floats, Ints

Bools = npt.NDArray[np.bool_]
Subset = frozenset[str]
MIN_NATURAL = 200
ASSUMPTION = "assumes absence is unrelated"


@dataclass(frozen=True)
class PatternThreshold:
    """The threshold of rows that have exactly some modalities.

    Args:
        modalities: the pattern, in the schema's order.
        threshold: an answer whose score is not above it is in the set; infinite (everything is in it) where there are
            too few rows for 1 − α.
        rows: calibration rows.
        natural: True: rows that have exactly this pattern. False: fuller rows too, read as if they had no more; valid
            where what is absent has nothing to do with how hard a row is.
    """

    modalities: tuple[str, ...]
    threshold: float
    rows: int
    natural: bool

    @property
    def note(self) -> str:
        """What is assumed, in words; empty where nothing is."""
        return "" if self.natural else ASSUMPTION


@dataclass(frozen=True)
class Conformal:
    """Thresholds for every calibrated pattern.

    Args:
        task: what is answered: a set of classes, or an interval of numbers.
        alpha: the share of rows whose truth may be missed, in 0…1.
        names: the modalities, in the schema's order.
        patterns: one a pattern.
    """

    task: Literal["classify", "regress"]
    alpha: float
    names: tuple[str, ...]
    patterns: tuple[PatternThreshold, ...]

    def of(self, modalities: Subset) -> PatternThreshold:
        """The pattern's threshold; an infinite one, calibrated on 0 rows, for a pattern that no row could calibrate."""
        for pattern in self.patterns:
            if frozenset(pattern.modalities) == modalities:
                return pattern
        return PatternThreshold(tuple(name for name in self.names if name in modalities), inf, 0, False)

    def thresholds(self, presence: Bools) -> Floats:
        """(row,) thresholds for (row, modality) presence."""
        if presence.ndim != 2 or presence.shape[1] != len(self.names):
            raise DataError(f"expected presence (row, {len(self.names)}), found {presence.shape}")
        distinct, inverse = np.unique(presence, axis=0, return_inverse=True)
        found = [self.of(frozenset(np.array(self.names, dtype=object)[row])).threshold for row in distinct]
        return np.array(found, dtype=np.float64)[inverse]

    def sets(self, probabilities: Floats, presence: Bools, *, never_empty: bool = False) -> Bools:
        """(row, class_) which classes are in each row's set.

        Args:
            probabilities: (row, class_) in 0…1, predicted from what the row has.
            presence: (row, modality) what that is.
            never_empty: put the most probable class into every set. Sets are then covered more often, not less.
        """
        self._expect("classify")
        chosen = class_scores(probabilities) <= self.thresholds(presence)[:, None]
        if never_empty:
            chosen[np.arange(len(chosen)), probabilities.argmax(axis=1)] = True
        return chosen

    def intervals(self, predicted: Floats, presence: Bools) -> Floats:
        """(row, 2) the ends of each row's interval, in units of the target; infinite where too few rows calibrate."""
        self._expect("regress")
        reach = self.thresholds(presence)
        return np.stack([predicted - reach, predicted + reach], axis=1)

    def _expect(self, task: str) -> None:
        if self.task != task:
            raise DataError(f"these thresholds were calibrated to {self.task}, not to {task}")

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite threshold is null."""
        patterns = [{"modalities": list(one.modalities), "threshold": None if isinf(one.threshold) else one.threshold,
                     "rows": one.rows, "natural": one.natural} for one in self.patterns]
        return {"task": self.task, "alpha": self.alpha, "names": list(self.names), "patterns": patterns}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Conformal:
        """From `to_json`."""
        patterns = (PatternThreshold(tuple(p["modalities"]), inf if p["threshold"] is None else float(p["threshold"]),
                                     int(p["rows"]), bool(p["natural"])) for p in kept["patterns"])
        return cls(kept["task"], float(kept["alpha"]), tuple(kept["names"]), tuple(patterns))


def class_scores(probabilities: Floats) -> Floats:
    """(row, class_) scores 1 − p: how strange each class would be."""
    if probabilities.ndim != 2 or not np.isfinite(probabilities).all():
        raise DataError(f"expected finite probabilities (row, class_), found {probabilities.shape}")
    return np.asarray(1.0 - probabilities, dtype=np.float64)


def conformal_rank(rows: int, alpha: float) -> int:
    """⌈(rows + 1)(1 − alpha)⌉; above `rows` where there are too few of them.

    Example:
        >>> conformal_rank(99, 0.1), conformal_rank(8, 0.1)
        (90, 9)
    """
    if not 0 < alpha < 1:
        raise DataError(f"expected alpha, the share that may be missed, in 0…1, found {alpha!r}")
    return ceil((rows + 1) * (1 - alpha) - 1e-9)


def conformal_threshold(scores: Floats, alpha: float) -> float:
    """The ⌈(n + 1)(1 − α)⌉-th smallest of n scores, infinite where there are fewer.

    Args:
        scores: (row,) scores of the true answers; infinite where the truth can be in no set (an unseen class).
        alpha: the share of rows whose truth may be missed.
    """
    if np.isnan(scores).any():
        raise DataError(f"{int(np.isnan(scores).sum())} of {len(scores)} calibration scores are not numbers")
    rank = conformal_rank(len(scores), alpha)
    return inf if rank > len(scores) else float(np.partition(scores, rank - 1)[rank - 1])


def calibrate_classes(
    probabilities: Mapping[Subset, Floats], truth: Ints, presence: Bools, names: Sequence[str], *, alpha: float = 0.1,
    min_natural: int = MIN_NATURAL,
) -> Conformal:
    """Thresholds for sets of classes, from labelled rows that neither the weights nor the temperature have seen.

    Args:
        probabilities: pattern → (row, class_) predicted from it; rows that lack some of it are not read and may be NaN.
        truth: (row,) class numbers; a row of an unseen class (−1) counts as missed.
        presence: (row, modality) what each row has.
        names: the modalities, in the schema's order.
        alpha: the share of rows whose truth may be missed.
        min_natural: from so many rows that have exactly the pattern on, only they calibrate it.

    Raises:
        DataError: shapes disagree, a pattern has an unknown modality or none, or a score that is needed is not finite.

    Example:
        >>> sure = np.tile([0.8, 0.2], (99, 1))
        >>> fitted = calibrate_classes({frozenset({"a"}): sure}, np.zeros(99, dtype=int), np.ones((99, 1), bool), ["a"])
        >>> fitted.sets(np.array([[0.9, 0.1], [0.5, 0.5]]), np.ones((2, 1), bool)).tolist()
        [[True, False], [False, False]]
    """
    def scores(pattern: Subset, rows: Ints) -> Floats:
        found = class_scores(probabilities[pattern][rows])
        return np.where(truth[rows] < 0, inf, found[np.arange(len(rows)), np.maximum(truth[rows], 0)])

    for pattern, values in probabilities.items():
        _check(pattern, values.shape[:1], truth, presence, names)
    return Conformal("classify", alpha, tuple(names),
                     _patterns(list(probabilities), scores, presence, names, alpha, min_natural))


def calibrate_numbers(
    predicted: Mapping[Subset, Floats], truth: Floats, presence: Bools, names: Sequence[str], *, alpha: float = 0.1,
    min_natural: int = MIN_NATURAL,
) -> Conformal:
    """Thresholds for intervals of numbers; see `calibrate_classes`.

    Args:
        predicted: pattern → (row,) numbers in units of the target.
        truth: (row,) finite numbers.
        presence, names, alpha, min_natural: as there.
    """
    def scores(pattern: Subset, rows: Ints) -> Floats:
        return np.asarray(np.abs(truth[rows] - predicted[pattern][rows]))

    for pattern, values in predicted.items():
        _check(pattern, values.shape, truth, presence, names)
    return Conformal("regress", alpha, tuple(names),
                     _patterns(list(predicted), scores, presence, names, alpha, min_natural))


def _patterns(
    patterns: list[Subset], scores: Callable[[Subset, Ints], Floats], presence: Bools, names: Sequence[str],
    alpha: float, min_natural: int,
) -> tuple[PatternThreshold, ...]:
    found = []
    for pattern in patterns:
        wanted = np.array([name in pattern for name in names])
        exactly = (presence == wanted).all(axis=1)
        natural = int(exactly.sum()) >= min_natural
        rows = np.flatnonzero(exactly if natural else presence[:, wanted].all(axis=1))
        natural = natural or bool(exactly[rows].all())
        found.append(PatternThreshold(tuple(name for name in names if name in pattern),
                                      conformal_threshold(scores(pattern, rows), alpha), len(rows), natural))
    return tuple(found)


def _check(
    pattern: Subset, shape: tuple[int, ...], truth: npt.NDArray[Any], presence: Bools, names: Sequence[str],
) -> None:
    if not pattern or not pattern <= set(names):
        raise DataError(f"expected some of the modalities {list(names)!r}, found {sorted(pattern)!r}")
    if shape != truth.shape or presence.shape != (len(truth), len(names)):
        raise DataError(f"expected predictions and presence (row, {len(names)}) for each of {len(truth)} rows, found "
                        f"{shape} and {presence.shape}")
