"""Coverage: the beta-binomial band against simulation, resplits, sizes and classes."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import estimate, replicate_weights
from sensorium.metrics.conformal import conformal_rank
from sensorium.metrics.coverage import (
    INTERVALS,
    SETS,
    coverage_band,
    coverage_by_class,
    interval_coverage,
    interval_width,
    resplit_coverages,
    set_coverage,
    set_size,
    share_empty,
    share_single,
)
from sensorium.metrics.proportion import wilson


def test_the_band_by_counting_orders() -> None:
    """Ranks alone: of the C(n + m, m) ways in which test rows fall among calibration rows, each is as likely."""
    n, m, alpha = 9, 5, 0.3
    rank = conformal_rank(n, alpha)
    chances = np.array([comb(rank - 1 + c, c) * comb(n - rank + m - c, m - c) for c in range(m + 1)]) / comb(n + m, m)
    assert chances.sum() == pytest.approx(1)
    low, high = coverage_band(n, m, alpha, level=0.8)
    sums = np.cumsum(chances)
    assert low == np.flatnonzero(sums > 0.1)[0] / m
    assert high == np.flatnonzero(sums >= 0.9)[0] / m


@pytest.mark.parametrize("resplits", [1, 10])
def test_resplits_of_one_pool_stay_within_their_band(resplits: int) -> None:
    pool = np.random.default_rng(0).normal(size=300)
    means = resplit_coverages(pool, 100, 0.1, resplits=1500, seed=1).reshape(-1, resplits).mean(axis=1)
    low, high = coverage_band(100, 200, 0.1, resplits=resplits, level=0.9)
    assert 0.85 <= ((low <= means) & (means <= high)).mean() <= 0.97
    assert max((means < low).mean(), (means > high).mean()) < 0.08


def test_a_wrong_rank_falls_out_of_the_band() -> None:
    """50 resplits tell 90 % from 88.5 %, which one split cannot."""
    coverages = resplit_coverages(np.random.default_rng(0).normal(size=1676), 480, 0.115, resplits=50)
    low, _ = coverage_band(480, 1196, 0.1, resplits=50, comparisons=7)
    assert coverages.mean() < low
    assert coverage_band(480, 1196, 0.1)[0] < coverages.mean()


def test_bands_shrink_with_resplits_and_widen_with_comparisons() -> None:
    widths = [np.ptp(coverage_band(200, 400, 0.1, resplits=count)) for count in (1, 4, 25)]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.1)
    assert widths[0] == pytest.approx(5 * widths[2], rel=0.1)
    assert np.ptp(coverage_band(200, 400, 0.1, comparisons=10)) > widths[0]


def test_the_normal_shortcut_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = coverage_band(300, 500, 0.1, resplits=50)
    monkeypatch.setattr("sensorium.metrics.coverage.MAX_CONVOLVED", 100)
    assert coverage_band(300, 500, 0.1, resplits=50) == pytest.approx(exact, abs=5e-4)


def test_too_few_rows_cover_everything() -> None:
    assert coverage_band(8, 100, 0.1) == (1.0, 1.0)
    assert (resplit_coverages(np.arange(20.0), 8, 0.1, resplits=3) == 1).all()


def test_metrics_of_sets() -> None:
    truth = np.array([0, 1, 2, -1, 1])
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 0, 1]], dtype=bool)
    assert set_coverage(truth, sets) == pytest.approx(2 / 5)
    assert set_size(truth, sets) == pytest.approx(7 / 5)
    assert share_single(truth, sets) == pytest.approx(2 / 5)
    assert share_empty(truth, sets) == pytest.approx(1 / 5)
    weights = np.array([[1, 1, 1, 1, 1], [2, 0, 0, 0, 1]])
    for metric in SETS.values():
        twice = metric(truth[[0, 0, 4]], sets[[0, 0, 4]])
        np.testing.assert_allclose(metric(truth, sets, weights), [metric(truth, sets), twice])
    found = estimate(set_coverage, truth, sets, replicate_weights(5, replicates=200))
    assert found.low <= found.value <= found.high
    assert [(one.class_, one.rows, one.coverage.value, one.size) for one in coverage_by_class(truth, sets)] == [
        (0, 1, 1.0, 1.0), (1, 2, 0.5, 1.5), (2, 1, 0.0, 0.0)]
    assert coverage_by_class(truth, sets)[1].coverage == wilson(1, 2)


def test_metrics_of_intervals() -> None:
    truth, ends = np.array([1.0, 2.0, 3.0]), np.array([[0.0, 1.0], [2.5, 3.0], [2.0, 6.0]])
    assert interval_coverage(truth, ends) == pytest.approx(2 / 3)
    assert interval_width(truth, ends) == pytest.approx(5.5 / 3)
    assert set(INTERVALS) == {"coverage", "interval_width"}


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match="True and False"):
        set_coverage(np.zeros(2, dtype=np.int64), np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"intervals \(row, 2\)"):
        interval_coverage(np.zeros(2), np.zeros((2, 3)))
    with pytest.raises(DataError, match="found 0"):
        coverage_band(0, 10, 0.1)
    with pytest.raises(DataError, match="1 … 9 of 10"):
        resplit_coverages(np.arange(10.0), 10, 0.1)
