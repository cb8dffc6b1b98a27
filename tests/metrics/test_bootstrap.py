"""The bootstrap: multinomial weights, coverage, pairing, groups."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics import bootstrap
from sensorium.metrics.bootstrap import Resampling, estimate, interval, paired_difference, replicate_weights
from sensorium.metrics.classification import CLASSIFICATION, accuracy, auroc
from sensorium.metrics.regression import mae


def _two_columns(right: np.ndarray) -> np.ndarray:
    """Probabilities of two classes whose first is the answer where `right`."""
    return np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])


def test_weights_are_multinomial() -> None:
    weights = replicate_weights(50, replicates=4000).weights.astype(float)
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean() == 1
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(weights.var(axis=0), 1 - 1 / 50, atol=0.15)
    covariance = np.cov(weights.T)
    np.testing.assert_allclose(covariance[~np.eye(50, dtype=bool)].mean(), -1 / 50, atol=0.002)


def test_replicates_are_keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither their number nor the chunks that they were computed in changes them; the seed does."""
    whole = replicate_weights(30, replicates=20, seed=3).weights
    assert (replicate_weights(30, replicates=7, seed=3).weights == whole[:7]).all()
    assert (replicate_weights(30, replicates=20, seed=4).weights != whole).any()
    monkeypatch.setattr(bootstrap, "CHUNK_VALUES", 64)
    assert (replicate_weights(30, replicates=20, seed=3).weights == whole).all()


def test_groups_are_drawn_whole_where_there_are_ten() -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 3)) * 7
    drawn = replicate_weights(30, groups, replicates=50)
    assert drawn.unit == "groups"
    for name in np.unique(groups):
        member = drawn.weights[:, groups == name]
        assert (member == member[:, :1]).all()
    first = np.unique(groups, return_index=True)[1]
    assert (drawn.weights[:, first].sum(axis=1) == 10).all()
    few = replicate_weights(30, np.repeat(np.arange(9), [6, 3, 3, 3, 3, 3, 3, 3, 3]), replicates=50)
    assert few.unit == "rows"
    assert (few.weights == replicate_weights(30, replicates=50).weights).all()


def test_fewer_replicates_beyond_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MANY_ROWS", 40)
    assert replicate_weights(40).weights.shape == (1000, 40)
    assert replicate_weights(41).weights.shape == (200, 41)
    assert replicate_weights(41, replicates=300).weights.shape == (300, 41)


def test_the_interval_covers_a_binomial() -> None:
    random = np.random.default_rng(0)
    resampling = replicate_weights(200, replicates=400)
    covered = []
    for _ in range(300):
        found = estimate(accuracy, np.zeros(200, dtype=np.int64), _two_columns(random.random(200) < 0.7), resampling)
        covered.append(found.low <= 0.7 <= found.high)
    assert 0.91 <= np.mean(covered) <= 0.98


def test_the_interval_of_a_mean_has_its_width() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = estimate(mae, values, np.zeros(400), replicate_weights(400))
    error = np.abs(values).std() / 20
    assert found.value == pytest.approx(np.abs(values).mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_groups_widen_the_interval_of_rows_that_agree() -> None:
    right = np.repeat(np.random.default_rng(0).random(40) < 0.6, 10)
    truth, groups = np.zeros(400, dtype=np.int64), np.repeat(np.arange(40), 10)
    rows = estimate(accuracy, truth, _two_columns(right), replicate_weights(400))
    whole = estimate(accuracy, truth, _two_columns(right), replicate_weights(400, groups))
    assert (whole.high - whole.low) / (rows.high - rows.low) == pytest.approx(np.sqrt(10), rel=0.15)


@pytest.mark.parametrize("name", sorted(CLASSIFICATION))
def test_chunks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    truth, probabilities = random.integers(0, 3, 60), random.dirichlet(np.ones(3), 60)
    resampling = replicate_weights(60, replicates=30)
    whole = estimate(CLASSIFICATION[name], truth, probabilities, resampling)
    monkeypatch.setattr(bootstrap, "CHUNK_VALUES", 7 * 60)
    chunked = estimate(CLASSIFICATION[name], truth, probabilities, resampling)
    assert (chunked.value, chunked.low, chunked.high) == pytest.approx((whole.value, whole.low, whole.high), rel=1e-12)


def test_a_paired_difference_cancels_what_is_shared() -> None:
    random = np.random.default_rng(0)
    truth = np.zeros(500, dtype=np.int64)
    right = random.random(500) < 0.6
    better = right.copy()
    better[np.flatnonzero(~right)[:15]] = True
    resampling = replicate_weights(500)
    gap = paired_difference(accuracy, truth, _two_columns(better), _two_columns(right), resampling)
    single = estimate(accuracy, truth, _two_columns(right), resampling)
    assert gap.value == pytest.approx(0.03)
    assert gap.low > 0
    assert gap.high - gap.low < 0.5 * (single.high - single.low)
    same = paired_difference(accuracy, truth, _two_columns(right), _two_columns(right), resampling)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_same_replicates_in_pairs_as_alone() -> None:
    random = np.random.default_rng(1)
    truth, a, b = random.normal(size=(3, 50))
    resampling = replicate_weights(50, replicates=80)
    gap = paired_difference(mae, truth, a, b, resampling)
    expected = np.asarray(mae(truth, a, resampling.weights)) - np.asarray(mae(truth, b, resampling.weights))
    assert (gap.low, gap.high) == pytest.approx(interval(expected), rel=1e-12)


def test_undefined_replicates_are_left_out() -> None:
    assert interval(np.array([np.nan, 1.0, 2.0, 3.0]), level=0.5) == (1.5, 2.5)
    assert np.isnan(interval(np.full(3, np.nan))).all()
    truth, probabilities = np.array([0, 0, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7]])
    found = estimate(auroc, truth, probabilities, replicate_weights(4))
    assert found.value == pytest.approx(2 / 3)
    assert found.low == 0
    assert found.high == 1


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(DataError, match="at least one row"):
        replicate_weights(0)
    with pytest.raises(DataError, match=r"each of 3 rows, found shape \(2,\)"):
        replicate_weights(3, np.array([0, 1]))
    with pytest.raises(DataError, match="at least one bootstrap replicate, found 0"):
        replicate_weights(3, replicates=0)
    with pytest.raises(DataError, match="drawn for 3 rows, the truth has 2"):
        estimate(mae, np.zeros(2), np.zeros(2), Resampling(np.ones((5, 3), dtype=np.uint16), "rows"))
