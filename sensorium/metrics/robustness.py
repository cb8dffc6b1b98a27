"""How a score falls as the input gets worse: the area under its curve, compared at equal clean scores.

A curve is a metric at growing severities, the first of them the clean input: how strongly one modality is corrupted, or
how often it is missing, from 0 (untouched) to 1 (destroyed, always absent). Every interval weights the same rows alike
at all severities and for all methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Estimate, Floats, Metric, Resampling, Score, Weights, estimate

Scale = Literal["logit", "log"]


@dataclass(frozen=True)
class Curve:
    """A metric at growing severities.

    Args:
        severities: as given, growing.
        scores: the metric at each of them.
        area: the area under the curve, the severities stretched to 0…1: the mean score.
    """

    severities: tuple[float, ...]
    scores: tuple[Estimate, ...]
    area: Estimate


def area_under(severities: Sequence[float], scores: npt.ArrayLike) -> Floats:
    """∫ score d severity / (last − first), by trapezoids: the mean score where every severity is as likely.

    Args:
        severities: (severity,) growing, two or more.
        scores: (severity, …) scores; whatever axes follow are kept.

    Raises:
        DataError: lengths disagree, or the severities do not grow.

    Example:
        >>> float(area_under([0.0, 0.5, 1.0], [1.0, 0.8, 0.2]))
        0.7
    """
    grid, values = np.asarray(severities, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if grid.ndim != 1 or len(grid) < 2 or not (np.diff(grid) > 0).all() or len(values) != len(grid):
        raise DataError(f"expected scores at two or more growing severities, found {len(values)} scores at "
                        f"{grid.tolist()}")
    widths = np.diff(grid) / (grid[-1] - grid[0])
    return np.asarray(np.tensordot(widths, (values[1:] + values[:-1]) / 2, axes=1))


def score_curve(
    metric: Metric, truth: npt.NDArray[Any], predictions: Sequence[npt.NDArray[Any]], severities: Sequence[float],
    resampling: Resampling,
) -> Curve:
    """A curve and the area under it, with intervals.

    Args:
        metric: of the contract of `CLASSIFICATION` and `REGRESSION`.
        truth: (row,) class numbers or values.
        predictions: for each severity (row, class_) probabilities or (row,) values, of the same rows.
        severities: growing, the clean one first.
        resampling: weights for these rows.
    """
    scores = tuple(estimate(metric, truth, one, resampling) for one in predictions)
    return Curve(tuple(severities), scores, _of(_Areas(metric, severities, [predictions]).first, truth, resampling))


def area_difference(
    metric: Metric, truth: npt.NDArray[Any], predictions_a: Sequence[npt.NDArray[Any]],
    predictions_b: Sequence[npt.NDArray[Any]], severities: Sequence[float], resampling: Resampling,
) -> Estimate:
    """The area under the curve of a minus that of b, paired; arguments as in `score_curve`."""
    return _of(_Areas(metric, severities, [predictions_a, predictions_b]).difference, truth, resampling)


def effective_robustness(
    metric: Metric, truth: npt.NDArray[Any], predictions: Sequence[npt.NDArray[Any]],
    references: Sequence[Sequence[npt.NDArray[Any]]], severities: Sequence[float], resampling: Resampling, *,
    scale: Scale = "logit",
) -> Estimate:
    """What a method keeps under corruption beyond what its clean score lets expect (Taori et al. 2020).

        ρ = area under [score_v − β_v(clean)],    β_v(x) = s⁻¹( s(x) + mean over references r of [s(r_v) − s(r_clean)] )

    A better model is better on corrupted inputs too; only what exceeds that is robustness. Taori et al. fit β as a line
    through hundreds of models on a logit scale, for one kind of shift v. A few references cannot tell a slope, so here
    it is 1: at every severity the method is expected to lose as much as the references lose, in logits. ρ is 0 for a
    lone reference itself, and for any method that loses as many logits as it does.

    Args:
        metric: a share in 0…1 for scale "logit", an error above 0 for "log".
        truth, predictions, severities, resampling: as in `score_curve`.
        references: predictions at the same severities by one or more methods to be judged against (late fusion).
        scale: s: "logit" of shares, which are kept half a row away from 0 and 1; "log" of errors.

    Returns:
        ρ in units of the metric, paired. Above 0 is more robust for a share, below 0 for an error.
    """
    if not references:
        raise DataError("effective robustness needs a reference method, found none")
    if scale not in ("logit", "log"):
        raise DataError(f"unknown scale {scale!r}: choose logit (shares) or log (errors)")
    edge = 0.5 / max(1, len(truth))
    areas = _Areas(metric, severities, [predictions, *references], scale=scale, edge=edge)
    return _of(areas.beyond_expected, truth, resampling)


class _Areas:
    """Areas under the curves of several methods, as functions of the weights."""

    def __init__(
        self, metric: Metric, severities: Sequence[float], methods: Sequence[Sequence[npt.NDArray[Any]]], *,
        scale: Scale = "logit", edge: float = 0.0,
    ) -> None:
        for one in methods:
            if len(one) != len(severities):
                raise DataError(f"expected predictions at each of {len(severities)} severities, found {len(one)}")
        self.metric, self.severities, self.methods, self.scale, self.edge = metric, severities, methods, scale, edge

    def curves(self, truth: Any, weights: Weights | None) -> list[Floats]:
        """For each method (severity,) or (severity, replicate) scores."""
        return [np.stack([np.asarray(self.metric(truth, one, weights), dtype=np.float64) for one in predictions])
                for predictions in self.methods]

    def first(self, truth: Any, _: Any, weights: Weights | None = None, /) -> Score:
        return area_under(self.severities, self.curves(truth, weights)[0])

    def difference(self, truth: Any, _: Any, weights: Weights | None = None, /) -> Score:
        a, b = self.curves(truth, weights)
        return area_under(self.severities, a - b)

    def beyond_expected(self, truth: Any, _: Any, weights: Weights | None = None, /) -> Score:
        own, *others = self.curves(truth, weights)
        lost = np.mean([self.stretched(one) - self.stretched(one[0]) for one in others], axis=0)
        beyond = own - self.shrunk(self.stretched(own[0]) + lost)
        beyond[0] = 0.0
        return area_under(self.severities, beyond)

    def stretched(self, scores: Floats) -> Floats:
        if self.scale == "log":
            return np.log(np.maximum(scores, 1e-12))
        share = np.clip(scores, self.edge, 1 - self.edge)
        return np.asarray(np.log(share / (1 - share)))

    def shrunk(self, values: Floats) -> Floats:
        return np.exp(values) if self.scale == "log" else np.asarray(1 / (1 + np.exp(-values)))


def _of(score: Metric, truth: npt.NDArray[Any], resampling: Resampling) -> Estimate:
    return estimate(score, truth, truth, resampling)
