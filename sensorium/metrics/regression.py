"""How good predicted numbers are, for one weighting of the rows or for many at once.

Every function takes

- truth: (row,) float64 in original units, without missing labels;
- prediction: (row,) float64 in the same units;
- weights: (row,) or (replicate, row) non-negative, None = each row once; a weight of 2 is the row twice;

and answers a float, or (replicate,) numbers for (replicate, row) weights, NaN where it is not defined.
"""

from __future__ import annotations

import numpy as np

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Floats, Metric, Score, Weights, one_or_many, ratio, weight_matrix, weighted_mean


def mae(truth: Floats, prediction: Floats, weights: Weights | None = None) -> Score:
    """Mean absolute error, in units of the target."""
    return one_or_many(weighted_mean(np.abs(_residual(truth, prediction)), weights), weights)


def rmse(truth: Floats, prediction: Floats, weights: Weights | None = None) -> Score:
    """Root of the mean squared error, in units of the target."""
    return one_or_many(np.sqrt(weighted_mean(_residual(truth, prediction) ** 2, weights)), weights)


def r2(truth: Floats, prediction: Floats, weights: Weights | None = None) -> Score:
    """1 − Σ w (y − ŷ)² / Σ w (y − ȳ_w)², at most 1; 0 is predicting the weighted mean.

    NaN where the truth is constant (scikit-learn answers 0 or 1 there, which a mean over replicates would hide).
    """
    squared = _residual(truth, prediction) ** 2
    matrix = weight_matrix(weights, len(truth))
    if len(truth) == 0:
        return one_or_many(np.full(len(matrix), np.nan), weights)
    centred = truth - truth.mean()
    around = matrix @ centred**2
    spread = around - ratio((matrix @ centred) ** 2, matrix.sum(axis=1))
    rounding = 1e-12 * around + matrix.sum(axis=1) * (1e-14 * float(np.abs(truth).max())) ** 2
    spread = np.where(spread > rounding, spread, 0.0)
    return one_or_many(1.0 - ratio(matrix @ squared, spread), weights)


REGRESSION: dict[str, Metric] = {"mae": mae, "rmse": rmse, "r2": r2}
HIGHER_IS_BETTER: dict[str, bool] = {"mae": False, "rmse": False, "r2": True}


def _residual(truth: Floats, prediction: Floats) -> Floats:
    """(row,) truth − prediction in float64, after checking the arguments."""
    if truth.ndim != 1 or truth.shape != prediction.shape:
        raise DataError("expected truth (row,) and prediction (row,) for the same rows, "
                        f"found {truth.shape} and {prediction.shape}")
    residual = np.asarray(truth, dtype=np.float64) - np.asarray(prediction, dtype=np.float64)
    if not np.isfinite(residual).all():
        row = int(np.argmax(~np.isfinite(residual)))
        raise DataError(f"row {row} cannot be scored: truth {float(truth[row])!r}, prediction "
                        f"{float(prediction[row])!r}; leave out rows without a label")
    return residual
