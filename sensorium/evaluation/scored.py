"""The rows to score, with what every score needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import predictions
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.evaluation.scores import Names, Score, score_metrics
from sensorium.metrics.bootstrap import Resampling, replicate_weights
from sensorium.model import Model

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


class Scored:
    """The rows to score, with what every score needs."""

    def __init__(self, model: Model, samples: Samples, rows: Rows, seed: int) -> None:
        self.model, self.samples, self.rows, self.seed = model, samples, rows, seed
        self.presence = model.shown(samples.presence[rows]) if model.schema.targets else samples.presence[rows]
        self.groups = None if samples.groups is None else samples.groups[rows]

    def predicted(self, target: Target, raw: Floats) -> Floats:
        return predictions(target, raw, temperature=self.model.temperatures[target.name],
                           balance=self.model.recipe.training.balance)

    def truth(self, target: Target) -> npt.NDArray[Any]:
        return self.samples.labels[target.name].values[self.rows]

    def labelled(self, target: Target) -> npt.NDArray[np.bool_]:
        return self.samples.labels[target.name].mask[self.rows]

    def has(self, subset: Names) -> npt.NDArray[np.bool_]:
        columns = [self.model.schema.names.index(name) for name in subset]
        return np.asarray(self.presence[:, columns].all(axis=1))

    def resampling(self, kept: npt.NDArray[np.bool_]) -> Resampling:
        return replicate_weights(int(kept.sum()), None if self.groups is None else self.groups[kept], seed=self.seed)

    def score(self, target: Target, subset: Names, predicted: Floats, kept: npt.NDArray[np.bool_]) -> Score:
        return Score(subset, target.name, int(kept.sum()),
                     score_metrics(target, self.truth(target)[kept], predicted[kept], self.resampling(kept)))
