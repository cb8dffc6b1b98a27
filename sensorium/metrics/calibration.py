"""One temperature for all probabilities, so that they mean what they say (Guo et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Floats, Ints

LOWEST, HIGHEST = 0.05, 20.0


def fit_temperature(logits: npt.NDArray[Any], truth: Ints) -> float:
    """The temperature T that minimises the log-loss of softmax(logits / T).

    The log-loss is convex in 1/T, hence has one minimum in log T, found by Brent's bounded method.

    Args:
        logits: (row, class_) finite scores of rows that the model was not trained on; any constant may be added to
            a row, so log-probabilities serve as well.
        truth: (row,) int64 class numbers; rows of an unseen class (−1) are left out.

    Returns:
        T in [0.05, 20]; above 1 the model was too sure. Exactly 1.0 where there is nothing to fit: no rows, one class,
        equal scores within every row, or no row wrong (the log-loss would fall for ever as T goes to 0).

    Raises:
        DataError: shapes disagree, a class number has no column, or a score is not finite.

    Example:
        >>> fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
        1.0
    """
    from scipy.optimize import minimize_scalar

    if logits.ndim != 2 or truth.shape != logits.shape[:1]:
        raise DataError("expected logits (row, class_) and truth (row,) for the same rows, "
                        f"found {logits.shape} and {truth.shape}")
    if len(truth) and truth.max() >= logits.shape[1]:
        raise DataError(f"class number {int(truth.max())} has no column in logits of shape {logits.shape}")
    scores, labels = np.asarray(logits, dtype=np.float64)[truth >= 0], truth[truth >= 0]
    if not np.isfinite(scores).all():
        raise DataError("logits to calibrate on are not finite: look for a diverged model")
    if len(scores) == 0 or scores.shape[1] < 2:
        return 1.0
    lead = scores[np.arange(len(labels)), labels][:, None] - scores
    if np.ptp(scores, axis=1).max() < 1e-12 or (lead >= 0).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = -lead * np.exp(-log_temperature)
        top = scaled.max(axis=1)
        return float(np.mean(top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))))

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-6})
    return float(np.clip(np.exp(found.x), LOWEST, HIGHEST))


def apply_temperature(logits: npt.NDArray[Any], temperature: float) -> Floats:
    """softmax(logits / temperature): (row, class_) float64 probabilities, each row summing to 1.

    Args:
        logits: (row, class_) scores; −inf is a probability of 0.
        temperature: above 0; 1 changes nothing, larger is less sure.
    """
    if not temperature > 0:
        raise DataError(f"expected a temperature above 0, found {temperature!r}")
    scores = np.asarray(logits, dtype=np.float64)
    raised = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
