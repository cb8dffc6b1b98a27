"""Probes: what a simple classifier makes of frozen embeddings."""

from __future__ import annotations

import warnings

import numpy as np

from sensorium.metrics.bootstrap import Floats, Ints
from sensorium.metrics.classification import PROBABILITY_FLOOR

INVERSE_PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0)
FIXED_INVERSE_PENALTY = 10.0
MOST_FOLDS = 4
MOST_STEPS = 300


def linear_probe(examples: Floats, truth: Ints, place: Ints, test: Floats, num_classes: int) -> tuple[float, Floats]:
    """Logistic regression (L2, at most 300 steps), C by cross-validated log-loss.

    A class with a single example is trained on in every fold; where all are such, C is 10.

    Args:
        examples: (row, width) embeddings to train on.
        truth: (row,) class numbers; every one of 0 … num_classes − 1 is there.
        place: (row,) the example's number within its class, from 0: folds are every fourth of these.
        test: (test_row, width) embeddings to answer.
        num_classes: how many classes there are.

    Returns:
        The chosen C, and (test_row, class_) probabilities.

    Example:
        >>> penalty, answer = linear_probe(np.eye(2), np.array([0, 1]), np.zeros(2, dtype=int), np.eye(2), 2)
        >>> penalty, answer.argmax(axis=1).tolist()
        (10.0, [0, 1])
    """
    basis = np.linalg.qr(examples.T)[0] if len(examples) < examples.shape[1] else np.eye(examples.shape[1])
    inside, outside = examples @ basis, test @ basis  # the weights lie in the examples' span: the same fit, but smaller
    chosen = FIXED_INVERSE_PENALTY
    alone = np.bincount(truth, minlength=num_classes)[truth] < 2
    folds = np.where(alone, -1, place % MOST_FOLDS)
    if not alone.all():
        losses = np.zeros(len(INVERSE_PENALTIES))
        for fold in np.unique(folds[folds >= 0]).tolist():
            held = folds == fold
            for number, penalty in enumerate(INVERSE_PENALTIES):
                guessed = _fitted(inside[~held], truth[~held], inside[held], penalty, num_classes)
                right = guessed[np.arange(int(held.sum())), truth[held]]
                losses[number] -= float(np.log(np.maximum(right, PROBABILITY_FLOOR)).sum())
        chosen = INVERSE_PENALTIES[int(losses.argmin())]
    return chosen, _fitted(inside, truth, outside, chosen, num_classes)


def _fitted(examples: Floats, truth: Ints, test: Floats, penalty: float, num_classes: int) -> Floats:
    """(row, class_) probabilities of logistic regression with this C."""
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that stops early is still a probe
        model = LogisticRegression(C=penalty, max_iter=MOST_STEPS).fit(examples, truth)
    probabilities = np.zeros((len(test), num_classes))
    probabilities[:, model.classes_] = model.predict_proba(test)
    return probabilities


def nearest_mean(examples: Floats, truth: Ints, test: Floats, num_classes: int) -> Floats:
    """(test_row, class_) with a 1 at the class whose mean direction is most similar.

    Example:
        >>> nearest_mean(np.eye(2), np.array([0, 1]), np.array([[0.2, 3.0]]), 2).tolist()
        [[0.0, 1.0]]
    """
    means = np.stack([_directions(examples)[truth == number].mean(axis=0) for number in range(num_classes)])
    return np.asarray(np.eye(num_classes)[(_directions(test) @ _directions(means).T).argmax(axis=1)])


def _directions(vectors: Floats) -> Floats:
    """Each row divided by its length; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))
