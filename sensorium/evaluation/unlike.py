"""Rows unlike the training data: how many there are, whether that is more than expected, and how they are answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.evaluation.coverage import pooled_band
from sensorium.evaluation.embedder import estimate_json
from sensorium.evaluation.scored import Scored
from sensorium.evaluation.scores import METRIC_WORDS, metrics_of, primary_metric
from sensorium.metrics.bootstrap import Estimate, estimate
from sensorium.metrics.coverage import coverage_band
from sensorium.metrics.proportion import wilson

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MOST_SHOWN = 12
MOST_LISTED = 200


@dataclass(frozen=True)
class UnlikePattern:
    """The rows that have just some modalities.

    Args:
        modalities: those.
        rows: judged rows.
        expected: the share of rows like the calibration rows that is flagged.
        flagged: the share flagged, with Wilson's interval.
        high: up to what share chance allows, corrected for the number of patterns.
    """

    modalities: tuple[str, ...]
    rows: int
    expected: float
    flagged: Estimate
    high: float


@dataclass(frozen=True)
class Unlike:
    """Rows unlike the training data.

    Args:
        rows: judged rows.
        not_judged: rows whose pattern of modalities too few training rows have.
        flagged: the share flagged, with Wilson's interval.
        expected, high: the share expected, and up to what chance allows.
        patterns: by what the rows have.
        listed: (row of the table from 0, distance over the threshold) of the flagged rows, the strangest first.
        scores: target → (metric, on flagged rows, on the others) where both have ten rows or more.
        sentence: the finding in words.
    """

    rows: int
    not_judged: int
    flagged: Estimate
    expected: float
    high: float
    patterns: tuple[UnlikePattern, ...]
    listed: tuple[tuple[int, float], ...]
    scores: dict[str, tuple[str, Estimate, Estimate]]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; rows are numbered from 1."""
        return {"rows": self.rows, "not_judged": self.not_judged, "flagged": estimate_json(self.flagged),
                "expected": self.expected, "chance_allows": self.high, "sentence": self.sentence,
                "patterns": [{"modalities": list(p.modalities), "rows": p.rows, "expected": p.expected,
                              "flagged": estimate_json(p.flagged), "chance_allows": p.high} for p in self.patterns],
                "most_unlike": [{"row": row + 1, "strangeness": float(f"{value:.6g}")} for row, value in self.listed],
                "scores": {target: {"metric": metric, "flagged": estimate_json(ours), "others": estimate_json(others)}
                           for target, (metric, ours, others) in self.scores.items()}}


def unlike_of(
    scored: Scored, vectors: Floats, predicted: dict[str, Floats], unseen: Bools,
) -> Unlike | None:
    """Judge rows.

    Args:
        scored: the rows.
        vectors: (row, width) fused vectors of what each row has; NaN where nothing.
        predicted: target → (row, output) as found.
        unseen: (row,) False for rows that set the thresholds, which are not judged.

    Returns:
        None where the model does not know where its training rows lie, or no row can be judged.
    """
    familiar = scored.model.familiar
    if familiar is None:
        return None
    strange = familiar.strangeness(vectors, scored.presence)
    judged = np.isfinite(strange) & unseen
    if not judged.any():
        return None
    flagged = np.asarray(judged & (strange > 1))
    which = familiar.pattern_of(scored.presence)
    numbers = np.unique(which[judged]).tolist()
    patterns = []
    for number in numbers:
        own, one = judged & (which == number), familiar.patterns[number]
        expected = 1 - one.familiar.quantile
        low, _ = coverage_band(one.held_out, int(own.sum()), expected, comparisons=len(numbers))
        patterns.append(UnlikePattern(one.modalities, int(own.sum()), expected,
                                      wilson(int(flagged[own].sum()), int(own.sum())), 1 - low))
    patterns.sort(key=lambda one: -one.rows)
    shares = np.array([one.rows for one in patterns]) / judged.sum()
    known = {one.modalities: one.held_out for one in familiar.patterns}
    low, _ = pooled_band([known[one.modalities] for one in patterns], [one.rows for one in patterns],
                         [one.expected for one in patterns])
    order = np.flatnonzero(flagged)[np.argsort(-strange[flagged], kind="stable")][:MOST_LISTED]
    found = Unlike(
        int(judged.sum()), int((~judged & unseen & scored.presence.any(axis=1)).sum()),
        wilson(int(flagged.sum()), int(judged.sum())), float(shares @ [one.expected for one in patterns]),
        1 - low, tuple(patterns),
        tuple(zip(scored.rows[order].tolist(), strange[order].tolist(), strict=True)),
        _scores(scored, predicted, flagged, judged), "")
    return Unlike(**{**vars(found), "sentence": _sentence(found)})


def _scores(
    scored: Scored, predicted: dict[str, Floats], flagged: Bools, judged: Bools,
) -> dict[str, tuple[str, Estimate, Estimate]]:
    """How flagged rows are answered, and the others."""
    found = {}
    for target in scored.model.schema.targets:
        if target.name not in predicted:
            continue
        labelled = scored.labelled(target) & judged
        ours, others = labelled & flagged, labelled & ~flagged
        if min(ours.sum(), others.sum()) < 10:
            continue
        name = primary_metric(target, balance=scored.model.recipe.training.balance)
        values = predicted[target.name] if target.task == "classify" else predicted[target.name][:, 0]
        truth = scored.truth(target)
        told = [estimate(metrics_of(target)[name], truth[own], values[own], scored.resampling(own))
                for own in (ours, others)]
        found[target.name] = (name, told[0], told[1])
    return found


def _sentence(found: Unlike) -> str:
    count = round(found.flagged.value * found.rows)
    said = (f"{count:,} of {found.rows:,} rows ({_percent(found.flagged.value)}) are unlike the training data, where "
            f"{_percent(found.expected)} would be expected of rows like them")
    said += (f" and chance allows up to {_percent(found.high)}: these rows come from somewhere else."
             if found.flagged.value > found.high + 1e-12 else f" (chance allows up to {_percent(found.high)}).")
    for target, (metric, ours, others) in found.scores.items():
        said += (f" {target}: {METRIC_WORDS[metric]} {ours.value:.3f} ({ours.low:.3f} to {ours.high:.3f}) on flagged "
                 f"rows, {others.value:.3f} on the others.")
    if found.not_judged:
        said += (f" Not judged, because too few training rows have just what they have or all of those are alike: "
                 f"{found.not_judged:,}.")
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".removesuffix(".0") + " %"
