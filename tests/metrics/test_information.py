"""Redundant, unique and synergistic bits: the known worlds, the equations, bias, intervals, predictions."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics.information import (
    Decomposition,
    DecompositionEstimate,
    decompose,
    decompose_predictions,
    decompose_samples,
)

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
WORLDS = {
    "xor": (0.0, 0.0, 0.0, 1.0),
    "copy": (1.0, 0.0, 0.0, 0.0),
    "and": (0.311278, 0.0, 0.0, 0.5),
    "unique": (0.0, 1.0, 1.0, 0.0),
    "one alone": (0.0, 1.0, 0.0, 0.0),
    "redundant and synergistic": (1.0, 0.0, 0.0, 1.0),
}


def _world(name: str, num_rows: int = 10_000, seed: int = 0) -> Columns:
    """Rows of a world: truth, source a, source b."""
    a, b, both = np.random.default_rng(seed).integers(0, 2, size=(3, num_rows))
    return {"xor": (a ^ b, a, b), "copy": (a, a, a), "and": (a & b, a, b), "unique": (2 * a + b, a, b),
            "one alone": (a, a, b), "redundant and synergistic": (2 * both + (a ^ b), 2 * both + a, 2 * both + b)}[name]


def _table(columns: Columns) -> np.ndarray:
    """The exact (t, a, b) table of a world: each row that occurs is as frequent as its copies of the eight draws."""
    sizes = [int(column.max()) + 1 for column in columns]
    table = np.zeros(sizes)
    np.add.at(table, columns, 1.0)
    return table


def _four(found: Decomposition) -> tuple[float, float, float, float]:
    return found.redundant, found.unique_a, found.unique_b, found.synergistic


def _values(found: DecompositionEstimate) -> tuple[float, float, float, float]:
    return found.redundant.value, found.unique_a.value, found.unique_b.value, found.synergistic.value


@pytest.mark.parametrize("name", WORLDS)
def test_known_tables(name: str) -> None:
    exact = np.where(_table(_world(name)) > 0, 1.0, 0.0)
    assert _four(decompose(exact)) == pytest.approx(WORLDS[name], abs=1e-5)


@pytest.mark.parametrize("name", WORLDS)
def test_known_worlds_from_ten_thousand_rows(name: str) -> None:
    found = decompose_samples(*_world(name), replicates=40)
    assert _values(found) == pytest.approx(WORLDS[name], abs=0.05)
    assert found.rows == 10_000 and found.unit == "rows"


def test_the_equations_hold_for_tables_and_for_corrected_estimates() -> None:
    random = np.random.default_rng(0)
    joint = random.dirichlet(np.full(60, 0.5)).reshape(3, 4, 5)

    def told(table: np.ndarray) -> float:
        independent = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
        inside = table > 0
        return float((table[inside] * np.log2(table[inside] / independent[inside])).sum())

    found = decompose(joint)
    assert found.redundant + found.unique_a == pytest.approx(told(joint.sum(axis=2)), abs=1e-9)
    assert found.redundant + found.unique_b == pytest.approx(told(joint.sum(axis=1)), abs=1e-9)
    assert found.information == pytest.approx(told(joint.reshape(3, -1)), abs=1e-9)
    assert sum(_four(found)) == pytest.approx(found.information, abs=1e-9)
    rows = random.choice(60, size=400, p=joint.ravel())
    sampled = decompose_samples(*np.unravel_index(rows, joint.shape), replicates=5)
    assert sum(_values(sampled)) == pytest.approx(sampled.information.value, abs=1e-9)
    counts = np.bincount(rows, minlength=60).reshape(joint.shape)
    assert _four(sampled.plug_in) == pytest.approx(_four(decompose(counts)), abs=1e-9)


def test_swapping_the_sources_swaps_what_is_unique() -> None:
    joint = np.random.default_rng(1).dirichlet(np.full(24, 0.5)).reshape(2, 3, 4)
    found, swapped = decompose(joint), decompose(joint.transpose(0, 2, 1))
    expected = found.redundant, found.unique_b, found.unique_a, found.synergistic
    assert _four(swapped) == pytest.approx(expected, abs=1e-6)


def test_a_noisier_copy_has_nothing_unique() -> None:
    """b is a seen through noise (Blackwell): all that b tells is redundant, and nothing is synergistic."""
    random = np.random.default_rng(0)
    with_a, noise = random.dirichlet(np.ones(6)).reshape(2, 3), random.dirichlet(np.ones(4), size=3)
    found = decompose(np.einsum("ta,ab->tab", with_a, noise))
    assert found.unique_b == pytest.approx(0, abs=1e-6)
    assert found.synergistic == pytest.approx(0, abs=1e-6)
    assert found.unique_a > 0.01


def test_the_correction_removes_the_bias_of_noise() -> None:
    """Independent columns tell nothing; plug-in says otherwise by about (64 − 4 − 16 + 1) / (2 N ln 2) bits."""
    plain, corrected = [], []
    for seed in range(12):
        found = decompose_samples(*np.random.default_rng(seed).integers(0, 4, size=(3, 500)), replicates=2, seed=seed)
        plain.append(found.plug_in.information)
        corrected.append(_values(found))
    assert np.mean(plain) == pytest.approx(45 / (1000 * np.log(2)), rel=0.15)
    assert np.abs(np.mean(corrected, axis=0)).max() < 0.01


def test_the_correction_counts_groups_where_rows_repeat() -> None:
    """100 independent groups of 4 equal rows are biased like 100 rows: by 3 / (200 ln 2) bits."""
    values = []
    for seed in range(60):
        columns = np.repeat(np.random.default_rng(seed).integers(0, 2, size=(3, 100)), 4, axis=1)
        found = decompose_samples(*columns, groups=np.repeat(np.arange(100), 4), replicates=2, seed=seed)
        values.append((found.plug_in.information, found.information.value))
    plain, corrected = np.mean(values, axis=0)
    assert plain == pytest.approx(3 / (200 * np.log(2)), rel=0.3)
    assert abs(corrected) < plain / 3


def test_intervals_cover_the_truth() -> None:
    covered = []
    for seed in range(60):
        truth, a, b = _world("and", 500, seed)
        flipped = np.random.default_rng(seed + 1000).random(500) < 0.1
        found = decompose_samples(np.where(flipped, 1 - truth, truth), a, b, replicates=100, seed=seed)
        exact = np.zeros((2, 2, 2))
        for x, y in np.ndindex(2, 2):
            exact[x & y, x, y], exact[1 - (x & y), x, y] = 0.9, 0.1
        expected = decompose(exact)
        covered.append([found.redundant.low <= expected.redundant <= found.redundant.high,
                        found.synergistic.low <= expected.synergistic <= found.synergistic.high,
                        found.information.low <= expected.information <= found.information.high])
    assert (np.mean(covered, axis=0) >= 0.85).all()


def test_groups_widen_the_intervals() -> None:
    truth, a, b = (np.repeat(column, 10) for column in _world("and", 60))
    groups = np.repeat(np.arange(60), 10)
    by_row = decompose_samples(truth, a, b, replicates=60)
    by_group = decompose_samples(truth, a, b, groups=groups, replicates=60)
    assert by_group.unit == "groups"
    wide, narrow = (found.synergistic.high - found.synergistic.low for found in (by_group, by_row))
    assert wide > 2 * narrow


def _soft(rows: np.ndarray, spread: float = 0.02) -> np.ndarray:
    """Posteriors near the given ones, no two alike."""
    noisy = np.maximum(rows, 1e-3) * np.exp(spread * np.random.default_rng(0).normal(size=rows.shape))
    return noisy / noisy.sum(axis=1, keepdims=True)


def test_predictions_of_planted_worlds() -> None:
    truth, a, b = _world("unique", 1000)
    classes = np.eye(4)
    alone_a = _soft((classes[2 * a] + classes[2 * a + 1]) / 2)
    alone_b = _soft((classes[b] + classes[2 + b]) / 2)
    found = decompose_predictions(alone_a, alone_b, _soft(classes[truth]), truth, replicates=10)
    assert _values(found) == pytest.approx(WORLDS["unique"], abs=0.05)
    truth, a, b = _world("xor", 1000)
    nothing = _soft(np.full((1000, 2), 0.5))
    found = decompose_predictions(nothing, nothing[::-1], _soft(np.eye(2)[truth]), truth, replicates=10)
    assert _values(found) == pytest.approx(WORLDS["xor"], abs=0.05)
    assert max(found.lost_a, found.lost_b, found.lost_ab) < 0.01
    same = _soft(0.7 * np.eye(2)[truth] + 0.15)
    found = decompose_predictions(same, same, same, truth, replicates=10)
    assert _values(found) == pytest.approx((found.information.value, 0, 0, 0), abs=1e-6)


def test_coarse_posteriors_do_not_pass_for_synergy() -> None:
    """b is a noisier view than a, both independent given the truth: redundant I(T; B), unique_a I(T; A) − I(T; B)."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 8, 2000)

    def view(spread: float) -> np.ndarray:
        scores = (np.eye(8)[truth] / spread + random.normal(size=(2000, 8))) / spread
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    def told(posteriors: np.ndarray) -> float:
        return float(3 + (posteriors * np.log2(np.maximum(posteriors, 1e-300))).sum(axis=1).mean())

    a, b = view(0.35), view(0.5)
    both = a * b / (a * b).sum(axis=1, keepdims=True)
    found = decompose_predictions(a, b, both, truth, replicates=2)
    assert found.lost_a > 0.1
    assert found.unique_b.value == pytest.approx(0, abs=0.03)
    assert found.synergistic.value == pytest.approx(told(both) - told(a), abs=0.06)
    assert found.lost_ab == pytest.approx(found.lost_a, abs=0.05)


def test_a_fused_prediction_that_says_less_has_synergy_below_zero() -> None:
    truth = np.random.default_rng(0).integers(0, 2, 500)
    sure, unsure = _soft(np.eye(2)[truth]), _soft(np.full((500, 2), 0.5))
    found = decompose_predictions(sure, sure, unsure, truth, replicates=20)
    assert found.synergistic.high < -0.8


def test_predicted_numbers_and_unseen_classes() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 2000))
    found = decompose_predictions(a, b, a + b, a + b, replicates=10)
    assert found.synergistic.value > 0.5 and np.isnan(found.lost_a)
    assert found.unique_a.value == pytest.approx(found.unique_b.value, abs=0.1)
    truth = random.integers(0, 3, 300)
    posteriors = _soft(0.6 * np.eye(3)[truth] + 0.4 / 3, 0.3)
    unseen = np.where(np.arange(300) < 30, -1, truth)
    kept = decompose_predictions(posteriors, posteriors, posteriors, unseen, replicates=5)
    assert kept == decompose_predictions(*[posteriors[30:]] * 3, truth[30:], replicates=5)
    assert kept.rows == 270


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match="20 rows or more"):
        decompose_samples(np.zeros(5), np.zeros(5), np.zeros(5))
    with pytest.raises(DataError, match=r"\(30,\), \(29,\)"):
        decompose_samples(np.zeros(30), np.zeros(29), np.zeros(30))
    with pytest.raises(DataError, match="none below 0"):
        decompose(-np.ones((2, 2, 2)))
    with pytest.raises(DataError, match="the same rows|from both"):
        decompose_predictions(np.ones((30, 2)), np.ones((30, 2)), np.ones((30, 3)), np.zeros(30))
    with pytest.raises(DataError, match="found 10"):
        decompose_predictions(*[np.full((30, 2), 0.5)] * 3, np.repeat([0, -1], [10, 20]))
