"""Classification metrics against scikit-learn, repeated rows and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from sensorium.errors import DataError
from sensorium.metrics.classification import CLASSIFICATION, HIGHER_IS_BETTER, accuracy, auroc, ece, log_loss, macro_f1


def _rows(num_rows: int = 120, num_classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, num_classes, num_rows)
    logits = random.normal(size=(num_rows, num_classes))
    logits[np.arange(num_rows), truth] += 1.0
    logits = np.round(logits, 1)  # ties
    raised = np.exp(logits)
    return truth, raised / raised.sum(axis=1, keepdims=True)


def _expected(name: str, truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> float:
    predicted = probabilities.argmax(axis=1)
    if name == "accuracy":
        return float(reference.accuracy_score(truth, predicted, sample_weight=weights))
    if name == "balanced_accuracy":
        return float(reference.balanced_accuracy_score(truth, predicted, sample_weight=weights))
    if name == "macro_f1":
        return float(reference.f1_score(truth, predicted, average="macro", sample_weight=weights))
    if name == "log_loss":
        labels = np.arange(probabilities.shape[1])
        return float(reference.log_loss(truth, probabilities, sample_weight=weights, labels=labels))
    if name == "auroc":
        return float(np.mean([reference.roc_auc_score(truth == k, probabilities[:, k], sample_weight=weights)
                              for k in ([1] if probabilities.shape[1] == 2 else range(probabilities.shape[1]))]))
    confidence, total = probabilities.max(axis=1), 0.0
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if weights[inside].sum() > 0:
            hit = np.average(predicted[inside] == truth[inside], weights=weights[inside])
            sure = np.average(confidence[inside], weights=weights[inside])
            total += weights[inside].sum() / weights.sum() * abs(hit - sure)
    return total


@pytest.mark.parametrize("name", sorted(CLASSIFICATION))
@pytest.mark.parametrize("num_classes", [2, 4])
def test_equals_scikit_learn_under_weights(name: str, num_classes: int) -> None:
    truth, probabilities = _rows(num_classes=num_classes)
    weights = np.random.default_rng(1).uniform(0.1, 3.0, size=(3, len(truth)))
    found = CLASSIFICATION[name](truth, probabilities, weights)
    expected = [_expected(name, truth, probabilities, row) for row in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    one = CLASSIFICATION[name](truth, probabilities, weights[0])
    assert isinstance(one, float)
    assert one == pytest.approx(expected[0], rel=1e-12)
    assert CLASSIFICATION[name](truth, probabilities) == pytest.approx(
        _expected(name, truth, probabilities, np.ones(len(truth))), rel=1e-12)


@pytest.mark.parametrize("name", sorted(CLASSIFICATION))
def test_a_weight_is_a_repetition(name: str) -> None:
    """Also where a class loses all its rows in a replicate, and with rows of an unseen class."""
    truth, probabilities = _rows(num_rows=40)
    truth[:3] = -1
    counts = np.random.default_rng(2).integers(0, 3, size=(6, len(truth)))
    counts[0, truth == 1] = 0
    counts[1, truth == -1] = 0
    found = np.asarray(CLASSIFICATION[name](truth, probabilities, counts.astype(np.uint16)))
    for row, times in enumerate(counts):
        chosen = np.repeat(np.arange(len(truth)), times)
        assert found[row] == pytest.approx(CLASSIFICATION[name](truth[chosen], probabilities[chosen]), rel=1e-12)


def test_perfect_and_reversed_predictions() -> None:
    truth = np.array([0, 1, 1, 0])
    perfect = np.eye(2)[truth]
    assert [CLASSIFICATION[name](truth, perfect) for name in
            ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss", "ece")] == [1, 1, 1, 1, 0, 0]
    wrong = 1 - perfect
    assert accuracy(truth, wrong) == 0
    assert auroc(truth, wrong) == 0
    assert ece(truth, wrong) == 1
    assert log_loss(truth, wrong) == pytest.approx(-np.log(1e-15))


def test_auroc_of_equal_scores_is_a_half() -> None:
    assert auroc(np.array([0, 1, 0, 1, 1]), np.full((5, 2), 0.5)) == 0.5


def test_auroc_is_the_share_of_ordered_pairs() -> None:
    truth, probabilities = _rows(num_rows=30, num_classes=3)
    areas = []
    for number in range(3):
        gaps = probabilities[truth == number, number][:, None] - probabilities[truth != number, number][None, :]
        areas.append(np.mean((gaps > 0) + 0.5 * (gaps == 0)))
    assert auroc(truth, probabilities) == pytest.approx(np.mean(areas), rel=1e-12)


def test_an_unseen_class_is_wrong_everywhere() -> None:
    truth, probabilities = np.array([0, 1, -1]), np.array([[0.9, 0.1], [0.2, 0.8], [1.0, 0.0]])
    assert accuracy(truth, probabilities) == pytest.approx(2 / 3)
    assert CLASSIFICATION["balanced_accuracy"](truth, probabilities) == pytest.approx(2 / 3)
    assert macro_f1(truth, probabilities) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert log_loss(truth, probabilities) == pytest.approx(-(np.log(0.9) + np.log(0.8) + np.log(1e-15)) / 3)
    assert ece(truth, probabilities) == pytest.approx((0.1 + 0.2 + 1.0) / 3)


def test_undefined_is_nan_without_a_warning() -> None:
    truth, probabilities = np.array([1, 1]), np.array([[0.3, 0.7], [0.6, 0.4]])
    assert np.isnan(auroc(truth, probabilities))
    for metric in CLASSIFICATION.values():
        assert np.isnan(metric(truth, probabilities, np.zeros(2)))
        assert np.isnan(metric(truth[:0], probabilities[:0], np.ones(0)))


def test_directions_name_every_metric() -> None:
    assert HIGHER_IS_BETTER.keys() == CLASSIFICATION.keys()
    truth, _ = _rows()
    good, bad = 0.9 * np.eye(4)[truth] + 0.025, 0.9 * np.eye(4)[(truth + 1) % 4] + 0.025
    for name, metric in CLASSIFICATION.items():
        assert (metric(truth, good) > metric(truth, bad)) is HIGHER_IS_BETTER[name], name


@pytest.mark.parametrize(
    ("truth", "probabilities", "weights", "words"),
    [
        (np.array([0, 1]), np.ones((3, 2)) / 2, None, r"\(2,\) and \(3, 2\)"),
        (np.array([0, 2]), np.ones((2, 2)) / 2, None, "from -1 .* to 1, found 0 … 2"),
        (np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 0.5]]), None, "row 1 are not finite"),
        (np.array([0, 1]), np.ones((2, 2)) / 2, np.ones((2, 3)), r"one for each row, found \(2, 3\)"),
    ],
)
def test_wrong_arguments_are_named(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        accuracy(truth, probabilities, weights)
