"""Scores by group: the worst, the gap, and what chance would do."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics.classification import accuracy, auroc
from sensorium.metrics.groups import by_group
from sensorium.metrics.proportion import wilson
from sensorium.metrics.regression import mae


def _right(share: float, num_rows: int) -> np.ndarray:
    return np.arange(num_rows) < round(share * num_rows)


def _predictions(right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(len(right), dtype=np.int64), np.where(right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])


def test_each_group_is_scored_on_its_rows() -> None:
    right = np.concatenate([_right(0.9, 50), _right(0.6, 40), _right(0.75, 20), _right(0.0, 3)])
    groups = np.repeat(["fr", "de", "en", "xx"], [50, 40, 20, 3])
    order = np.random.default_rng(0).permutation(113)
    truth, predicted = _predictions(right[order])
    table = by_group(accuracy, truth, predicted, groups[order], share=True)
    assert [(one.group, one.rows, one.small) for one in table.groups] == [
        ("xx", 3, True), ("de", 40, False), ("en", 20, False), ("fr", 50, False)]
    assert [one.score for one in table.groups] == [wilson(0, 3), wilson(24, 40), wilson(15, 20), wilson(45, 50)]
    assert table.whole == wilson(84, 113)
    assert (table.worst, table.best, table.gap.value) == ("de", "fr", pytest.approx(0.3))
    assert 0 < table.gap.low < 0.3 < table.gap.high
    assert table.p_value < 0.05 and table.gap_by_chance < 0.3


def test_newcombe_s_published_example() -> None:
    """56/70 against 48/80: 0.0524 to 0.3339 (Newcombe 1998, table II, method 10)."""
    truth, predicted = _predictions(np.concatenate([_right(0.8, 70), _right(0.6, 80)]))
    gap = by_group(accuracy, truth, predicted, np.repeat([1, 2], [70, 80]), share=True).gap
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_chance_alone_makes_gaps() -> None:
    """Groups that do not matter: the p-value is uniform, though the largest gap is never 0."""
    p_values, gaps = [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        truth, predicted = _predictions(random.random(120) < 0.7)
        table = by_group(accuracy, truth, predicted, random.integers(0, 6, 120), share=True, seed=seed)
        p_values.append(table.p_value)
        gaps.append(table.gap.value)
    assert np.mean(gaps) > 0.2
    assert np.mean(np.array(p_values) < 0.1) < 0.2
    assert 0.35 < np.mean(p_values) < 0.65


def test_errors_have_their_worst_group_on_the_other_side() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(["near", "far"], 100)
    error = random.normal(size=200) * np.repeat([1.0, 3.0], 100)
    table = by_group(mae, np.zeros(200), error, groups, higher_is_better=False)
    assert (table.worst, table.best) == ("far", "near")
    assert table.gap.value == pytest.approx(np.abs(error[100:]).mean() - np.abs(error[:100]).mean())
    assert 0 < table.gap.low < table.gap.value < table.gap.high
    spread = np.hypot(np.abs(error[100:]).std(), np.abs(error[:100]).std()) / 10
    assert table.gap.high - table.gap.low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert table.p_value < 0.01


def test_groups_are_resampled_apart() -> None:
    """Two groups of equal errors: the gap is 0 and as uncertain as two independent means."""
    error = np.tile(np.random.default_rng(0).normal(size=50), 2)
    table = by_group(mae, np.zeros(100), error, np.repeat([0, 1], 50), higher_is_better=False)
    assert table.gap.value == 0
    assert table.gap.high - table.gap.low == pytest.approx(2 * 1.96 * np.abs(error).std() / 5, rel=0.2)


def test_a_group_in_which_the_metric_is_not_defined_comes_last() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 90)
    truth[:30] = 0
    score = np.clip(0.5 + 0.2 * (2 * truth - 1) + 0.2 * random.normal(size=90), 0.01, 0.99)
    table = by_group(auroc, truth, np.stack([1 - score, score], axis=1), np.repeat(["one", "two", "six"], 30))
    assert table.groups[-1].group == "one" and np.isnan(table.groups[-1].score.value)
    assert {table.worst, table.best} == {"two", "six"}


def test_one_group_has_no_gap() -> None:
    truth, predicted = _predictions(_right(0.5, 40))
    table = by_group(accuracy, truth, predicted, np.repeat(["a", "b"], [35, 5]), share=True)
    assert (table.worst, table.best) == ("", "") and np.isnan(table.gap.value) and np.isnan(table.p_value)


def test_what_is_refused() -> None:
    truth, predicted = _predictions(_right(0.5, 10))
    with pytest.raises(DataError, match="each of 10 rows"):
        by_group(accuracy, truth, predicted, np.zeros(9))
