"""Scores: the metrics of a target's task, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.schema import Target
from sensorium.metrics.bootstrap import Estimate, Metric, Resampling, estimate
from sensorium.metrics.classification import CLASSIFICATION
from sensorium.metrics.classification import HIGHER_IS_BETTER as CLASSIFICATION_HIGHER
from sensorium.metrics.regression import HIGHER_IS_BETTER as REGRESSION_HIGHER
from sensorium.metrics.regression import REGRESSION

Floats = npt.NDArray[np.float64]
Names = tuple[str, ...]
HIGHER_IS_BETTER = {**CLASSIFICATION_HIGHER, **REGRESSION_HIGHER}
METRIC_WORDS = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "auroc": "AUROC",
    "log_loss": "log-loss", "ece": "ECE", "mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R²",
}


@dataclass(frozen=True)
class Score:
    """One target predicted from one subset of modalities.

    Args:
        modalities: the subset, in the schema's order; empty: what each row has ("as found").
        target: the target.
        rows: labelled rows that have all of the subset.
        metrics: name → value with its interval.
    """

    modalities: Names
    target: str
    rows: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Baseline:
    """A shallow model beside: its method, the features it reads, its scores on the rows the model is scored on."""

    target: str
    method: str
    features: str
    rows: int
    metrics: dict[str, Estimate]
    setting: str


def metrics_of(target: Target) -> Mapping[str, Metric]:
    """The metrics of a target's task."""
    return CLASSIFICATION if target.task == "classify" else REGRESSION


def primary_metric(target: Target, *, balance: bool) -> str:
    """The metric that comparisons and sentences speak of."""
    return ("balanced_accuracy" if balance else "accuracy") if target.task == "classify" else "rmse"


def score_metrics(
    target: Target, truth: npt.NDArray[Any], predicted: Floats, resampling: Resampling,
) -> dict[str, Estimate]:
    """Every metric of the task with its interval; (row, class_) probabilities or (row, 1) numbers."""
    shaped = predicted if target.task == "classify" else predicted[:, 0]
    return {name: estimate(metric, truth, shaped, resampling) for name, metric in metrics_of(target).items()}
