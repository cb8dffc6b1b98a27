"""Whether fusing pays: all modalities together against the best single one, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.data.schema import Target
from sensorium.evaluation.scored import Scored
from sensorium.evaluation.scores import HIGHER_IS_BETTER, METRIC_WORDS, Names, metrics_of, primary_metric
from sensorium.metrics.bootstrap import Estimate, paired_difference

Floats = npt.NDArray[np.float64]
# With fewer rows not even a unanimous sign test reaches 95 %, while a bootstrap of them may have no width.
FEWEST = 6


@dataclass(frozen=True)
class Fusion:
    """Whether all modalities together beat the best one of them, paired on the rows that have all.

    Args:
        target: the target.
        metric: what is compared.
        best_single: the modality that is best alone on these rows (a choice that favours it).
        fused, single: the two scores.
        difference: fused − single, positive where fusion is better whatever the metric's direction.
        rows: rows compared.
        unit: what the interval resamples.
        sentence: the finding in words.
    """

    target: str
    metric: str
    best_single: str
    fused: float
    single: float
    difference: Estimate
    rows: int
    unit: str
    sentence: str


def fusion_gain(scored: Scored, target: Target, predicted: Mapping[Names, Floats], names: Names) -> list[Fusion]:
    """All modalities against the best single one, paired; empty where no labelled row has all."""
    kept = scored.labelled(target) & scored.has(names)
    if not kept.any():
        return []
    metric_name = primary_metric(target, balance=scored.model.recipe.training.balance)
    metric = metrics_of(target)[metric_name]
    sign = 1.0 if HIGHER_IS_BETTER[metric_name] else -1.0
    truth = scored.truth(target)[kept]
    shaped = {s: (p if target.task == "classify" else p[:, 0])[kept] for s, p in predicted.items()}
    values = {s: float(np.asarray(metric(truth, p, None))) for s, p in shaped.items() if len(s) == 1 or s == names}
    best = max((s for s in values if len(s) == 1), key=lambda s: sign * values[s])
    resampling = scored.resampling(kept)
    gap = paired_difference(metric, truth, shaped[names], shaped[best], resampling)
    signed = gap if sign > 0 else Estimate(-gap.value, -gap.high, -gap.low)
    return [Fusion(target.name, metric_name, best[0], values[names], values[best], signed, int(kept.sum()),
                   resampling.unit, _sentence(target, metric_name, best[0], values[names], values[best], signed,
                                              int(kept.sum()), resampling.unit))]


def _sentence(
    target: Target, metric: str, best: str, fused: float, single: float, gap: Estimate, rows: int, unit: str,
) -> str:
    points = HIGHER_IS_BETTER[metric] and metric != "r2"
    scale, word = (100.0, " points") if points else (1.0, "")
    turn = scale if gap.value >= 0 else -scale  # the difference is told without a sign, so its interval turns with it
    low, high = sorted((turn * gap.low, turn * gap.high))
    shown = (f"{METRIC_WORDS[metric]} {fused:.3f} against {single:.3f}, a difference of "
             f"{scale * abs(gap.value):.3g}{word} (95 % interval {low:+.3g} to {high:+.3g}, "
             f"paired on {rows:,} row{'' if rows == 1 else 's'}{', resampled by group' if unit == 'groups' else ''})")
    if rows < FEWEST:
        return (f"{target.name}: too few rows have all modalities to say whether fusing them pays (the best single one "
                f"is {best}): {shown}.")
    if gap.low > 0:
        return f"{target.name}: all modalities together beat the best single one ({best}): {shown}."
    if gap.high < 0:
        return f"{target.name}: all modalities together are worse than {best} alone: {shown}."
    return f"{target.name}: all modalities together cannot be told apart from {best} alone: {shown}."
