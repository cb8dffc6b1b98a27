"""Areas under curves and effective robustness: closed forms, naive references, planted methods."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import replicate_weights
from sensorium.metrics.classification import accuracy
from sensorium.metrics.regression import rmse
from sensorium.metrics.robustness import area_difference, area_under, effective_robustness, score_curve

SEVERITIES = (0.0, 0.2, 0.6, 1.0)


def _method(shares: list[float], num_rows: int = 400, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Truth, and predictions right in exactly these shares of the rows, the rows in one order of difficulty."""
    order = np.random.default_rng(seed).permutation(num_rows)
    truth = np.zeros(num_rows, dtype=np.int64)
    return truth, [np.where((order < round(share * num_rows))[:, None], [[0.9, 0.1]], [[0.1, 0.9]]) for share in shares]


def test_areas_in_closed_form() -> None:
    assert area_under([0, 1], [0.7, 0.7]) == pytest.approx(0.7)
    assert area_under([0, 10], [1.0, 0.0]) == pytest.approx(0.5)
    grid = np.linspace(0, 1, 400)
    assert area_under(grid, np.exp(-grid)) == pytest.approx(1 - np.exp(-1), abs=1e-6)
    scores = np.random.default_rng(0).random((4, 5))
    np.testing.assert_allclose(area_under(SEVERITIES, scores), np.trapezoid(scores, SEVERITIES, axis=0))
    np.testing.assert_allclose(area_under(3 + 7 * np.array(SEVERITIES), scores), area_under(SEVERITIES, scores))


def test_a_curve_is_its_metrics_and_its_area() -> None:
    truth, predictions = _method([0.9, 0.8, 0.5, 0.25])
    curve = score_curve(accuracy, truth, predictions, SEVERITIES, replicate_weights(400, replicates=100))
    assert [score.value for score in curve.scores] == [0.9, 0.8, 0.5, 0.25]
    assert curve.area.value == pytest.approx(np.trapezoid([0.9, 0.8, 0.5, 0.25], SEVERITIES))
    assert curve.severities == SEVERITIES
    assert curve.area.low < curve.area.value < curve.area.high


def test_intervals_are_those_of_resampled_rows() -> None:
    truth, predictions = _method([0.9, 0.8, 0.5, 0.25], 60)
    drawn = replicate_weights(60, replicates=50)
    areas = []
    for weights in drawn.weights:
        rows = np.repeat(np.arange(60), weights)
        areas.append(np.trapezoid([accuracy(truth[rows], one[rows]) for one in predictions], SEVERITIES))
    found = score_curve(accuracy, truth, predictions, SEVERITIES, drawn).area
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(areas, [0.025, 0.975])))


def test_differences_are_paired() -> None:
    truth, a = _method([0.9, 0.8, 0.6, 0.4])
    _, b = _method([0.9, 0.75, 0.5, 0.3])
    drawn = replicate_weights(400, replicates=200)
    found = area_difference(accuracy, truth, a, b, SEVERITIES, drawn)
    assert found.value == pytest.approx(np.trapezoid([0, 0.05, 0.1, 0.1], SEVERITIES))
    assert found.low > 0
    alone = score_curve(accuracy, truth, a, SEVERITIES, drawn).area
    assert found.high - found.low < 0.6 * (alone.high - alone.low)
    same = area_difference(accuracy, truth, a, a, SEVERITIES, drawn)
    assert (same.low, same.value, same.high) == (0, 0, 0)


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def test_effective_robustness_by_hand() -> None:
    truth, own = _method([0.9, 0.85, 0.7, 0.6])
    _, late = _method([0.8, 0.7, 0.5, 0.3])
    _, other = _method([0.85, 0.7, 0.4, 0.3])
    drawn = replicate_weights(400, replicates=50)
    beyond = []
    for score, first, second in zip([0.9, 0.85, 0.7, 0.6], [0.8, 0.7, 0.5, 0.3], [0.85, 0.7, 0.4, 0.3]):
        lost = (_logit(first) - _logit(0.8) + _logit(second) - _logit(0.85)) / 2
        beyond.append(score - 1 / (1 + np.exp(-(_logit(0.9) + lost))))
    found = effective_robustness(accuracy, truth, own, [late, other], SEVERITIES, drawn)
    assert found.value == pytest.approx(np.trapezoid(beyond, SEVERITIES))
    assert found.low > 0


def test_a_better_model_is_not_a_more_robust_one() -> None:
    """All lose two logits: areas differ, effective robustness does not."""
    def shares(clean: float) -> list[float]:
        return [1 / (1 + np.exp(-(_logit(clean) - loss))) for loss in (0, 2)]

    drawn = replicate_weights(20_000, replicates=20)
    truth, late = _method(shares(0.7), 20_000)
    _, good = _method(shares(0.95), 20_000)
    assert area_difference(accuracy, truth, good, late, (0, 1), drawn).low > 0.2
    found = effective_robustness(accuracy, truth, good, [late], (0, 1), drawn)
    assert found.value == pytest.approx(0, abs=1e-4)
    itself = effective_robustness(accuracy, truth, late, [late], (0, 1), drawn)
    assert (itself.low, itself.value, itself.high) == pytest.approx((0, 0, 0), abs=1e-12)


def test_errors_are_compared_by_their_ratios() -> None:
    truth = np.random.default_rng(0).normal(size=300)
    noise = np.random.default_rng(1).normal(size=300)
    late = [truth + noise, truth + 3 * noise]
    drawn = replicate_weights(300, replicates=20)
    as_late = effective_robustness(rmse, truth, [truth + 0.1 * noise, truth + 0.3 * noise], [late], (0, 1), drawn,
                                   scale="log")
    assert as_late.value == pytest.approx(0, abs=1e-12)
    firm = effective_robustness(rmse, truth, [truth + noise, truth + noise], [late], (0, 1), drawn, scale="log")
    lost = 2 * float(np.sqrt(np.mean(noise**2)))
    assert firm.value == pytest.approx(-lost / 2, rel=1e-9) and firm.high < 0


def test_perfect_and_hopeless_scores_stay_finite() -> None:
    truth, perfect = _method([1.0, 1.0])
    _, hopeless = _method([1.0, 0.0])
    drawn = replicate_weights(400, replicates=20)
    for own, reference in ((perfect, hopeless), (hopeless, perfect)):
        found = effective_robustness(accuracy, truth, own, [reference], (0, 1), drawn)
        assert np.isfinite([found.low, found.value, found.high]).all()


def test_what_is_refused() -> None:
    truth, own = _method([0.9, 0.8])
    drawn = replicate_weights(400, replicates=2)
    with pytest.raises(DataError, match=r"growing severities, found 2 scores at \[1.0, 0.0\]"):
        score_curve(accuracy, truth, own, (1, 0), drawn)
    with pytest.raises(DataError, match="each of 3 severities, found 2"):
        area_difference(accuracy, truth, own, own, (0, 0.5, 1), drawn)
    with pytest.raises(DataError, match="needs a reference"):
        effective_robustness(accuracy, truth, own, [], (0, 1), drawn)
