"""Who contributes what: Shapley values of the modalities, over the rows that have all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import prior_of
from sensorium.data.schema import Target
from sensorium.evaluation.scored import Scored
from sensorium.evaluation.scores import Names
from sensorium.metrics.bootstrap import Estimate, estimate, mean_value
from sensorium.metrics.contribution import shapley, shapley_by_permutations

Floats = npt.NDArray[np.float64]
MAX_EXACT = 5
SAMPLED_ROWS = 300


def contributions_of(
    scored: Scored, target: Target, raw: Mapping[frozenset[str], Floats], names: Names,
) -> dict[str, Estimate]:
    """Mean Shapley value of each modality over the labelled rows that have all of them."""
    truth = scored.truth(target)
    kept = scored.labelled(target) & scored.has(names)
    if target.task == "classify":
        kept &= truth >= 0
    if not kept.any():
        return {}
    if len(names) > MAX_EXACT:
        kept[np.flatnonzero(kept)[SAMPLED_ROWS:]] = False
    value = _value_function(scored, target, kept)
    if len(names) <= MAX_EXACT:
        worth = {frozenset(subset): value(outputs[kept]) for subset, outputs in raw.items()}
        worth[frozenset()] = value(None)
        shares = shapley(worth, names)
    else:
        def of_subset(subset: frozenset[str]) -> Floats:
            if not subset:
                return value(None)
            return value(scored.model.outputs(scored.samples, scored.rows[kept], [subset])[target.name][subset])

        shares = shapley_by_permutations(of_subset, names, num_pairs=8, seed=scored.seed).values
    resampling = scored.resampling(kept)
    return {name: estimate(mean_value, truth[kept], share, resampling) for name, share in shares.items()}


def _value_function(
    scored: Scored, target: Target, kept: npt.NDArray[np.bool_],
) -> Callable[[Floats | None], Floats]:
    """Raw outputs (None: nothing present) → (row,) bits about the true class, or explained shares of the variance."""
    truth = scored.truth(target)[kept]
    prior = prior_of(target, balance=scored.model.recipe.training.balance)

    def value(raw: Floats | None) -> Floats:
        predicted = np.tile(prior, (len(truth), 1)) if raw is None else scored.predicted(target, raw)
        if target.task == "classify":
            return _floats(np.log2(np.maximum(predicted[np.arange(len(truth)), truth], 1e-15)))
        spread = float(np.var(truth)) or 1.0
        return _floats(-((predicted[:, 0] - truth) ** 2) / spread)

    return value


def _floats(values: npt.NDArray[Any]) -> Floats:
    return np.asarray(values, dtype=np.float64)
