"""Regression metrics against scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from sensorium.errors import DataError
from sensorium.metrics.regression import HIGHER_IS_BETTER, REGRESSION, mae, r2, rmse

EXPECTED = {
    "mae": reference.mean_absolute_error,
    "rmse": reference.root_mean_squared_error,
    "r2": reference.r2_score,
}


def _rows() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = 50 + 7 * random.normal(size=80)
    return truth, truth + random.normal(size=80)


@pytest.mark.parametrize("name", sorted(REGRESSION))
def test_equals_scikit_learn_under_weights(name: str) -> None:
    truth, prediction = _rows()
    weights = np.random.default_rng(1).uniform(0.1, 3, size=(3, 80))
    expected = [EXPECTED[name](truth, prediction, sample_weight=row) for row in weights]
    np.testing.assert_allclose(REGRESSION[name](truth, prediction, weights), expected, rtol=1e-10)
    one = REGRESSION[name](truth, prediction, weights[1])
    assert isinstance(one, float)
    assert one == pytest.approx(expected[1], rel=1e-10)


@pytest.mark.parametrize("name", sorted(REGRESSION))
def test_a_weight_is_a_repetition(name: str) -> None:
    truth, prediction = _rows()
    counts = np.random.default_rng(2).integers(0, 3, size=80)
    repeated = REGRESSION[name](np.repeat(truth, counts), np.repeat(prediction, counts))
    assert REGRESSION[name](truth, prediction, counts) == pytest.approx(repeated, rel=1e-10)


def test_closed_forms() -> None:
    truth = np.array([1.0, 2.0, 3.0, 6.0])
    assert mae(truth, truth + 2) == 2
    assert rmse(truth, truth - 2) == 2
    assert r2(truth, truth) == 1
    assert r2(truth, np.full(4, truth.mean())) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 / 3])
def test_r2_of_a_constant_truth_is_undefined(constant: float) -> None:
    assert np.isnan(r2(np.full(7, constant), np.arange(7.0)))
    varied = np.array([constant, constant + 1, constant + 3])
    found = np.asarray(r2(varied, np.zeros(3), np.array([[3, 0, 0], [1, 1, 1]])))
    assert np.isnan(found[0])
    assert not np.isnan(found[1])


def test_a_constant_added_to_both_changes_nothing() -> None:
    truth, prediction = _rows()
    for metric in REGRESSION.values():
        assert metric(truth + 1e4, prediction + 1e4) == pytest.approx(metric(truth, prediction), rel=1e-6)


def test_undefined_is_nan_without_a_warning() -> None:
    for metric in REGRESSION.values():
        assert np.isnan(metric(np.zeros(0), np.zeros(0)))
        assert np.isnan(metric(np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.zeros(2)))


def test_directions_name_every_metric() -> None:
    assert HIGHER_IS_BETTER.keys() == REGRESSION.keys()
    truth, prediction = _rows()
    for name, metric in REGRESSION.items():
        assert (metric(truth, prediction) > metric(truth, prediction + 30)) is HIGHER_IS_BETTER[name]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(DataError, match=r"\(2,\) and \(3,\)"):
        mae(np.zeros(2), np.zeros(3))
    with pytest.raises(DataError, match="row 1 cannot be scored: truth nan"):
        rmse(np.array([0.0, np.nan]), np.zeros(2))
