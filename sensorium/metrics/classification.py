"""How good predicted classes and probabilities are, for one weighting of the rows or for many at once.

Every function takes

- truth: (row,) int64 class numbers in 0 … class_ − 1; −1 is a class that training never saw;
- probabilities: (row, class_) float64 in 0…1, each row summing to 1;
- weights: (row,) or (replicate, row) non-negative, None = each row once; a weight of 2 is the row twice;

and answers a float, or (replicate,) numbers for (replicate, row) weights, NaN where it is not defined. The predicted
class is the first most probable one. A row of an unseen class is always wrong: in `balanced_accuracy` and `macro_f1`
all of them are one more class, recalled never; in `log_loss` its probability is the floor; in `auroc` it is a
negative of every class; in `ece` it is a miss.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import (
    Floats,
    Ints,
    Metric,
    Score,
    Weights,
    one_or_many,
    ratio,
    weight_matrix,
    weighted_mean,
)

Bools = npt.NDArray[np.bool_]
PROBABILITY_FLOOR = 1e-15
ECE_BINS = 15


def accuracy(truth: Ints, probabilities: Floats, weights: Weights | None = None) -> Score:
    """Share of rows whose most probable class is the true one, in 0…1."""
    predicted = _predicted(truth, probabilities)
    return one_or_many(weighted_mean((predicted == truth).astype(np.float64), weights), weights)


def balanced_accuracy(truth: Ints, probabilities: Floats, weights: Weights | None = None) -> Score:
    """Mean recall over the classes that are present in the truth (with weight), in 0…1."""
    predicted = _predicted(truth, probabilities)
    matrix = weight_matrix(weights, len(truth))
    num_keys = probabilities.shape[1] + 1
    there = _sums_by(matrix, truth + 1, num_keys)
    hit = _sums_by(matrix * (predicted == truth), truth + 1, num_keys)
    return one_or_many(_mean_defined(ratio(hit, there)), weights)


def macro_f1(truth: Ints, probabilities: Floats, weights: Weights | None = None) -> Score:
    """Mean of F1 = 2 TP / (2 TP + FP + FN) over the classes present in the truth or the prediction, in 0…1."""
    predicted = _predicted(truth, probabilities)
    matrix = weight_matrix(weights, len(truth))
    num_keys = probabilities.shape[1] + 1
    either = _sums_by(matrix, truth + 1, num_keys) + _sums_by(matrix, predicted + 1, num_keys)
    hit = _sums_by(matrix * (predicted == truth), truth + 1, num_keys)
    return one_or_many(_mean_defined(ratio(2 * hit, either)), weights)


def auroc(truth: Ints, probabilities: Floats, weights: Weights | None = None) -> Score:
    """Area under the ROC curve, in 0…1: one against the rest, averaged over classes with rows of both sorts.

    For one class it is P(score of a positive > score of a negative) + ½ P(equal), by weight (Mann and Whitney 1947).
    Two classes: the area of class 1. NaN where no class has both positives and negatives. Time is proportional to
    classes × replicates × rows.
    """
    _check(truth, probabilities)
    matrix = weight_matrix(weights, len(truth))
    num_classes = probabilities.shape[1]
    total, defined = np.zeros(len(matrix)), np.zeros(len(matrix))
    for number in [1] if num_classes == 2 else range(num_classes):
        positive = truth == number
        if positive.any() and not positive.all():
            area = _area(probabilities[:, number], positive, matrix)
            defined += ~np.isnan(area)
            total += np.nan_to_num(area)
    return one_or_many(ratio(total, defined), weights)


def log_losses(truth: Ints, probabilities: Floats) -> Floats:
    """(row,) −ln p(true class) in nats, p at least 1e-15; a row of an unseen class has that floor (34.5 nats)."""
    _check(truth, probabilities)
    chosen = probabilities[np.arange(len(truth)), np.maximum(truth, 0)]
    chosen = np.where(truth < 0, PROBABILITY_FLOOR, np.clip(chosen, PROBABILITY_FLOOR, 1.0))
    return np.asarray(-np.log(chosen))


def log_loss(truth: Ints, probabilities: Floats, weights: Weights | None = None) -> Score:
    """The mean of `log_losses`."""
    return one_or_many(weighted_mean(log_losses(truth, probabilities), weights), weights)


def ece(truth: Ints, probabilities: Floats, weights: Weights | None = None) -> Score:
    """Expected calibration error, in 0…1: Σ_b share_b · |accuracy_b − confidence_b|.

    Confidence is the largest probability; 15 bins of equal width, each open at its lower end (Guo et al. 2017, eq. 3).
    """
    predicted = _predicted(truth, probabilities)
    matrix = weight_matrix(weights, len(truth))
    confidence = probabilities.max(axis=1)
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gaps = _sums_by(matrix * ((predicted == truth) - confidence), bins, ECE_BINS)
    return one_or_many(ratio(np.abs(gaps).sum(axis=1), matrix.sum(axis=1)), weights)


CLASSIFICATION: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": macro_f1,
    "auroc": auroc,
    "log_loss": log_loss,
    "ece": ece,
}
HIGHER_IS_BETTER: dict[str, bool] = {
    "accuracy": True,
    "balanced_accuracy": True,
    "macro_f1": True,
    "auroc": True,
    "log_loss": False,
    "ece": False,
}


def _area(scores: Floats, positive: Bools, matrix: Floats) -> Floats:
    """(replicate,) weighted area under one ROC curve; NaN where a replicate lacks positives or negatives."""
    order = np.argsort(scores, kind="stable")
    ranked, hits, sorted_scores = matrix[:, order], positive[order], scores[order]
    gained = ranked[:, hits]
    ranked[:, hits] = 0.0
    below = np.zeros((len(matrix), len(scores) + 1))
    np.cumsum(ranked, axis=1, out=below[:, 1:])
    first = np.searchsorted(sorted_scores, sorted_scores[hits], side="left")
    last = np.searchsorted(sorted_scores, sorted_scores[hits], side="right")
    area = np.einsum("rp,rp->r", gained, below[:, first])
    area += np.einsum("rp,rp->r", gained, below[:, last])
    return ratio(area / 2, gained.sum(axis=1) * below[:, -1])


def _sums_by(matrix: Floats, keys: Ints, num_keys: int) -> Floats:
    """(replicate, key) sums of (replicate, row) values over the rows of each key in 0 … num_keys − 1."""
    sums = np.zeros((len(matrix), num_keys))
    if len(keys):
        order = np.argsort(keys, kind="stable")
        present, starts = np.unique(keys[order], return_index=True)
        sums[:, present] = np.add.reduceat(matrix[:, order], starts, axis=1)
    return sums


def _mean_defined(values: Floats) -> Floats:
    """(replicate,) means of (replicate, class_) values over those that are not NaN."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def _predicted(truth: Ints, probabilities: Floats) -> Ints:
    """(row,) the first most probable class, after checking the arguments."""
    _check(truth, probabilities)
    predicted: Ints = np.argmax(probabilities, axis=1).astype(np.int64)
    return predicted


def _check(truth: Ints, probabilities: Floats) -> None:
    if probabilities.ndim != 2 or truth.shape != probabilities.shape[:1] or probabilities.shape[1] == 0:
        raise DataError("expected truth (row,) and probabilities (row, class_) for the same rows, "
                        f"found {truth.shape} and {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        row = int(np.argmax(~np.isfinite(probabilities).all(axis=1)))
        raise DataError(f"probabilities of row {row} are not finite: {probabilities[row]!r}")
    if len(truth) and not (truth.min() >= -1 and truth.max() < probabilities.shape[1]):
        raise DataError(f"expected class numbers from -1 (unseen) to {probabilities.shape[1] - 1}, "
                        f"found {int(truth.min())} … {int(truth.max())}")
