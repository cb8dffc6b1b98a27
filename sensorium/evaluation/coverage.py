"""Whether confidence sets and intervals hold the truth as often as they say, for every pattern of presence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.schema import Target
from sensorium.evaluation.embedder import estimate_json
from sensorium.evaluation.scored import Scored
from sensorium.metrics.bootstrap import Estimate
from sensorium.metrics.conformal import ASSUMPTION, Conformal, PatternThreshold, conformal_rank
from sensorium.metrics.coverage import coverage_band
from sensorium.metrics.proportion import wilson

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
GRID = 1000


@dataclass(frozen=True)
class Coverage:
    """How often the sets of some rows hold the truth.

    Args:
        modalities: the pattern that all of these rows have; empty: every judged row.
        rows: judged rows.
        calibration: rows that set the pattern's threshold; 0 for every row together.
        note: what the pattern's threshold assumes, in words; "" where nothing.
        coverage: the share of rows whose set holds the truth, with Wilson's interval.
        low, high: between what it lies where these rows and the calibration rows are alike: the beta-binomial band,
            corrected for the number of patterns; for every row together that of their sum (`pooled_band`).
        size: mean number of classes in a set; mean width of an interval.
        decided: the share of sets of one class; None for numbers.
        decided_right: how often those are right; None where there is none.
    """

    modalities: tuple[str, ...]
    rows: int
    calibration: int
    note: str
    coverage: Estimate
    low: float
    high: float
    size: float
    decided: float | None
    decided_right: Estimate | None

    @property
    def verdict(self) -> str:
        """below, inside or above the band."""
        if self.coverage.value < self.low - 1e-12:
            return "below"
        return "above" if self.coverage.value > self.high + 1e-12 else "inside"


@dataclass(frozen=True)
class Covered:
    """What is known of one target's sets.

    Args:
        target: the target.
        task: classify (sets of classes) or regress (intervals).
        alpha: the share of rows whose truth may be missed.
        patterns: the patterns of the rows, the most frequent first.
        whole: every row together.
        left_out: rows of patterns that too few rows could calibrate; their answers come without a set.
        sentence: the finding in words.
    """

    target: str
    task: str
    alpha: float
    patterns: tuple[Coverage, ...]
    whole: Coverage
    left_out: int
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"target": self.target, "task": self.task, "alpha": self.alpha, "left_out": self.left_out,
                "sentence": self.sentence, "whole": _json(self.whole), "patterns": [_json(p) for p in self.patterns]}


def coverage_of(scored: Scored, target: Target, predicted: Floats, unseen: Bools) -> Covered | None:
    """Judge a target's sets.

    Args:
        scored: the rows.
        target: the target.
        predicted: (row, output) what the model says of each row as found.
        unseen: (row,) False for rows that calibrated the sets, which are not judged.

    Returns:
        None where the model has no sets, or no labelled row of a calibrated pattern is there.
    """
    conformal = scored.model.conformal.get(target.name)
    if conformal is None:
        return None
    kept = scored.labelled(target) & unseen & scored.presence.any(axis=1)
    reach = np.asarray(np.isfinite(conformal.thresholds(scored.presence)))
    left_out = int((kept & ~reach).sum())
    kept &= reach
    if not kept.any():
        return None
    truth, presence = scored.truth(target)[kept], scored.presence[kept]
    held, sizes, right = _held(target, conformal, predicted[kept], presence, truth)
    distinct, which, counts = np.unique(presence, axis=0, return_inverse=True, return_counts=True)
    patterns = []
    for number in np.argsort(-counts, kind="stable").tolist():
        own = which == number
        subset = frozenset(name for name, there in zip(conformal.names, distinct[number], strict=True) if there)
        patterns.append(_one(conformal.of(subset), conformal.alpha, held[own], sizes[own], right[own], len(distinct),
                             classify=target.task == "classify"))
    low, high = pooled_band([one.calibration for one in patterns], [one.rows for one in patterns],
                            [conformal.alpha] * len(patterns))
    whole = _summary((), 0, "", low, high, held, sizes, right, classify=target.task == "classify")
    found = Covered(target.name, target.task, conformal.alpha, tuple(patterns), whole, left_out, "")
    return Covered(target.name, target.task, conformal.alpha, tuple(patterns), whole, left_out, _sentence(found))


def pooled_band(
    calibration: Sequence[int], rows: Sequence[int], alphas: Sequence[float], *, level: float = 0.95,
) -> tuple[float, float]:
    """Between which two numbers the coverage of all patterns' rows together lies, if the method is right.

    Thresholds of different patterns rest partly on the same calibration rows. Given its threshold a pattern covers a
    binomial number of rows with a chance that is Beta(k, n + 1 − k); here the chances rise and fall together, which
    makes their sum as wide as it can be. The sum is then a mixture of normals over the common quantile; one pattern has
    the exact band.

    Args:
        calibration: calibration rows of each pattern.
        rows: judged rows of each pattern.
        alphas: the share of each that may be missed.
        level: the probability to be within.

    Example:
        >>> [round(end, 2) for end in pooled_band([480, 480], [598, 598], [0.1, 0.1])]
        [0.87, 0.93]
    """
    from scipy.special import betaincinv, ndtr

    if len(rows) == 1:
        return coverage_band(calibration[0], rows[0], alphas[0], level=level)
    quantiles = (np.arange(GRID) + 0.5) / GRID
    mean, variance = np.zeros(GRID), np.zeros(GRID)
    for known, own, alpha in zip(calibration, rows, alphas, strict=True):
        rank = min(conformal_rank(known, alpha), known)
        chance = betaincinv(rank, known + 1 - rank, quantiles)
        mean += own * chance
        variance += own * chance * (1 - chance)
    total = int(sum(rows))
    points = np.arange(total + 1) if total <= GRID else np.linspace(0, total, GRID)
    below = ndtr((points[:, None] + 0.5 - mean) / np.sqrt(np.maximum(variance, 1e-12))).mean(axis=1)
    tail = (1 - level) / 2
    low = points[min(int((below <= tail).sum()), len(points) - 1)]
    high = points[min(int((below < 1 - tail).sum()), len(points) - 1)]
    return float(low / total), float(high / total)


def _held(
    target: Target, conformal: Conformal, predicted: Floats, presence: Bools, truth: npt.NDArray[Any],
) -> tuple[Bools, Floats, Bools]:
    """(row,) whether the set holds the truth, its size, and whether the answer is right (classes only)."""
    if target.task == "regress":
        ends = conformal.intervals(predicted[:, 0], presence)
        held = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        return np.asarray(held), np.asarray(ends[:, 1] - ends[:, 0]), np.zeros(len(truth), dtype=bool)
    sets = conformal.sets(predicted, presence)
    held = (truth >= 0) & sets[np.arange(len(truth)), np.maximum(truth, 0)]
    return np.asarray(held), sets.sum(axis=1).astype(np.float64), np.asarray(predicted.argmax(axis=1) == truth)


def _one(
    pattern: PatternThreshold, alpha: float, held: Bools, sizes: Floats, right: Bools, comparisons: int, *,
    classify: bool,
) -> Coverage:
    low, high = coverage_band(pattern.rows, len(held), alpha, comparisons=comparisons)
    return _summary(pattern.modalities, pattern.rows, pattern.note, low, high, held, sizes, right, classify=classify)


def _summary(
    modalities: tuple[str, ...], calibration: int, note: str, low: float, high: float, held: Bools, sizes: Floats,
    right: Bools, *, classify: bool,
) -> Coverage:
    single = sizes == 1
    decided = float(single.mean()) if classify else None
    decided_right = wilson(int(right[single].sum()), int(single.sum())) if classify and single.any() else None
    return Coverage(modalities, len(held), calibration, note, wilson(int(held.sum()), len(held)), low, high,
                    float(sizes.mean()), decided, decided_right)


def _sentence(found: Covered) -> str:
    whole, sets = found.whole, "sets" if found.task == "classify" else "intervals"
    band = f"{_percent(whole.low)} to {_percent(whole.high)}"
    said = (f"{found.target}: {sets} that should hold the truth in {_percent(1 - found.alpha)} of the rows hold it in "
            f"{_percent(whole.coverage.value)} of {whole.rows:,}")
    odd = [one for one in found.patterns if one.verdict != "inside"]
    if whole.verdict == "below":
        said += (f", less often than chance allows ({band}): these rows are unlike those that the {sets} were "
                 f"calibrated on (new groups, another source), so here the {sets} promise too much.")
    elif whole.verdict == "above":
        said += f", more often than chance would have it ({band}): the {sets} are larger here than they need to be."
    else:
        said += f", as often as they should (chance allows {band})."
    if len(found.patterns) > 1 and odd:
        names = "; ".join(f"{' + '.join(one.modalities)} {_percent(one.coverage.value)}, {one.verdict} "
                          f"{_percent(one.low)} to {_percent(one.high)}" for one in odd[:4])
        said += f" Outside their band are the rows that have just {names}."
    if whole.decided is not None and whole.decided_right is not None:
        said += (f" {_percent(whole.decided)} of the rows are decided, their set being one class; "
                 f"{_percent(whole.decided_right.value)} of those are right.")
    if any(one.note for one in found.patterns):
        said += f" Patterns marked \"{ASSUMPTION}\" were calibrated on fuller rows too."
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def _json(one: Coverage) -> dict[str, Any]:
    return {"modalities": list(one.modalities), "rows": one.rows, "calibration_rows": one.calibration,
            "note": one.note, "coverage": estimate_json(one.coverage), "band": [one.low, one.high],
            "verdict": one.verdict, "mean_size": one.size if isfinite(one.size) else None, "decided": one.decided,
            "decided_right": None if one.decided_right is None else estimate_json(one.decided_right)}
