"""Distances of Gaussians in closed form, nearest neighbours by loops, collapse that was planted."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics import manifolds, pictures
from sensorium.metrics.manifolds import nearest_rows, precision_recall
from sensorium.metrics.picture_variety import collapse, diversity
from sensorium.metrics.pictures import frechet_distance, kernel_distance

RANDOM = np.random.default_rng(0)


def _with_moments(mean: np.ndarray, covariance: np.ndarray, rows: int = 40) -> np.ndarray:
    """Rows whose mean and covariance are exactly these."""
    drawn = RANDOM.normal(size=(rows, len(mean)))
    drawn = drawn - drawn.mean(axis=0)
    white = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn.T)).T)
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_gaussians() -> None:
    mean_a, mean_b = np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 5.0])
    covariance_a, covariance_b = np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 4.0, 1.0])
    found = frechet_distance(_with_moments(mean_a, covariance_a), _with_moments(mean_b, covariance_b))
    assert found == pytest.approx(5.0 + (1 - 2) ** 2 + 0.0 + (3 - 1) ** 2)
    mixing = RANDOM.normal(size=(3, 3))
    other = mixing @ mixing.T + np.eye(3)
    from scipy.linalg import sqrtm

    found = frechet_distance(_with_moments(mean_a, covariance_a), _with_moments(mean_b, other))
    assert found == pytest.approx(5.0 + np.trace(covariance_a + other - 2 * sqrtm(covariance_a @ other).real))


def test_frechet_distance_with_fewer_rows_than_features() -> None:
    a, b = RANDOM.normal(size=(6, 20)), RANDOM.normal(size=(9, 20)) + 0.5
    roots = [np.linalg.eigh(np.cov(one.T)) for one in (a, b)]
    half = (roots[0][1] * np.sqrt(np.maximum(roots[0][0], 0))) @ roots[0][1].T
    spread = np.linalg.eigvalsh(half @ np.cov(b.T) @ half)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T))
    expected -= 2 * np.sqrt(np.maximum(spread, 0)).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))
    assert frechet_distance(a, a[::-1]) == pytest.approx(0.0, abs=1e-9)


def test_kernel_distance_is_the_loop_over_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = RANDOM.normal(size=(7, 5)), RANDOM.normal(size=(4, 5)) + 1.0

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 5 + 1) ** 3)

    expected = np.mean([kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    expected += np.mean([kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    expected -= 2 * np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(expected)
    monkeypatch.setattr(pictures, "BLOCK_NUMBERS", 9)
    assert kernel_distance(a, b) == pytest.approx(expected)


def test_kernel_distance_is_right_on_average_however_few_the_rows() -> None:
    random = np.random.default_rng(1)
    same = [kernel_distance(random.normal(size=(8, 3)), random.normal(size=(8, 3))) for _ in range(2000)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(2000) and np.mean(np.array(same) < 0) > 0.3
    assert kernel_distance(random.normal(size=(200, 3)), random.normal(size=(200, 3)) + 1.0) > 1.0


def test_precision_and_recall_by_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = RANDOM.normal(size=(30, 2)), RANDOM.normal(size=(25, 2)) + 1.0

    def radius(rows: np.ndarray, row: int) -> float:
        return sorted(np.linalg.norm(rows[row] - other) for place, other in enumerate(rows) if place != row)[2]

    in_real = np.array([[np.linalg.norm(g - r) <= radius(real, i) for i, r in enumerate(real)] for g in generated])
    in_generated = np.array([[np.linalg.norm(g - r) <= radius(generated, j) for r in real]
                             for j, g in enumerate(generated)])
    for _ in range(2):
        found = precision_recall(real, generated)
        assert found.precision == pytest.approx(in_real.any(axis=1).mean()) and 0.5 < found.precision < 1
        assert found.recall == pytest.approx(in_generated.any(axis=0).mean()) and 0.2 < found.recall < 1
        assert found.density == pytest.approx(in_real.sum() / (3 * 25))
        assert found.coverage == pytest.approx(in_real.any(axis=0).mean())
        monkeypatch.setattr(manifolds, "BLOCK_NUMBERS", 70)


def test_identical_and_disjoint_sets() -> None:
    real = RANDOM.normal(size=(40, 6))
    same = precision_recall(real, real.copy())
    assert (same.precision, same.recall, same.coverage) == (1.0, 1.0, 1.0)
    apart = precision_recall(real, real + 100.0)
    assert (apart.precision, apart.recall, apart.density, apart.coverage) == (0.0, 0.0, 0.0, 0.0)
    collapsed = precision_recall(real, np.repeat(real[:1], 40, axis=0))
    assert collapsed.precision == 1.0 and collapsed.recall == 1 / 40


def test_precision_and_recall_do_not_depend_on_where_the_origin_is() -> None:
    real, generated = RANDOM.normal(size=(30, 3)), RANDOM.normal(size=(30, 3))
    assert precision_recall(real + 1e7, generated + 1e7) == precision_recall(real, generated)


def test_the_nearest_training_picture_and_copies() -> None:
    gallery = RANDOM.normal(size=(50, 8))
    queries = np.concatenate([gallery[[7, 3]], RANDOM.normal(size=(5, 8))])
    nearest, far = nearest_rows(queries, gallery)
    expected = [min(range(50), key=lambda row: np.linalg.norm(query - gallery[row])) for query in queries]
    assert nearest.tolist() == expected and nearest[:2].tolist() == [7, 3]
    np.testing.assert_allclose(far, np.linalg.norm(queries - gallery[expected], axis=1))
    assert far[:2].tolist() == [0.0, 0.0] and far[2:].min() > 0.1


def test_diversity_by_loops() -> None:
    generated, real = RANDOM.normal(size=(3, 4, 2)), 2.0 * RANDOM.normal(size=(9, 2))
    within = np.mean([np.linalg.norm(one[i] - one[j]) for one in generated for i in range(4) for j in range(i)])
    spread = np.mean([np.linalg.norm(real[i] - real[j]) for i in range(9) for j in range(i)])
    assert diversity(generated, real) == pytest.approx(within / spread)
    assert diversity(generated[:1], real) > 0
    found = collapse(generated, real)
    across = np.mean([np.linalg.norm(generated[i, a] - generated[j, b])
                      for i in range(3) for j in range(i) for a in range(4) for b in range(4)])
    assert found.within == pytest.approx(within / spread) and found.between == pytest.approx(across / spread)


def test_collapse_that_was_planted() -> None:
    centres, real = 3.0 * RANDOM.normal(size=(10, 1, 16)), 3.0 * RANDOM.normal(size=(50, 16))
    noise = RANDOM.normal(size=(10, 6, 16))
    sound = collapse(centres + noise, real)
    assert not sound.collapsed and sound.told == pytest.approx(0.9, abs=0.05)
    assert sound.words == "pictures differ within a condition and between conditions"
    for generated, words in (
        (centres + 0.01 * noise, "the pictures of one condition are nearly the same"),
        (3.0 * noise, "the condition changes nearly nothing in the pictures"),
        (centres[:1] + 0.01 * noise, "all pictures are nearly the same, whatever the condition"),
    ):
        found = collapse(generated, real)
        assert found.collapsed and found.words == words
    unrelated = [collapse(np.random.default_rng(seed).normal(size=(4, 3, 8)), real[:, :8]).told for seed in range(200)]
    assert abs(np.mean(unrelated)) < 0.02


def test_what_is_refused() -> None:
    rows = RANDOM.normal(size=(5, 2))
    with pytest.raises(DataError, match=r"one width in 2 rows or more, found shapes \(5, 2\), \(1, 2\)"):
        frechet_distance(rows, rows[:1])
    with pytest.raises(DataError, match=r"found shapes \(5, 2\), \(5, 1\)"):
        kernel_distance(rows, rows[:, :1])
    with pytest.raises(DataError, match="not finite: array 1 of 2, row 3"):
        kernel_distance(rows, np.where(np.arange(5)[:, None] == 3, np.nan, rows))
    with pytest.raises(DataError, match="in 4 rows or more"):
        precision_recall(rows[:3], rows)
    with pytest.raises(DataError, match="one neighbour"):
        precision_recall(rows, rows, neighbours=0)
    with pytest.raises(DataError, match="two samples a condition or more, found shape"):
        diversity(rows[:, None], rows)
    with pytest.raises(DataError, match="all 4 real pictures are the same"):
        diversity(np.stack([rows, rows]), np.ones((4, 2)))
    with pytest.raises(DataError, match="two conditions or more, found 1"):
        collapse(rows[None], rows)
