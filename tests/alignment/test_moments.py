"""Moments, whitening and compression: the arithmetic below the closed-form estimators."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.alignment.blocks import Blocks
from sensorium.alignment.canonical import leading_singular, signs
from sensorium.alignment.compress import triangular_rows
from sensorium.alignment.moments import Moments, folds_of, gather
from sensorium.alignment.whitening import whiten_gram, whiten_rows


def test_moments_are_those_of_all_rows_however_they_come() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 4)) * [1, 100, 0, 1] + [0, 1e6, 0.1, -3]
    moments = Moments(rows[0])
    for part in np.split(rows, [1, 2, 50]):
        moments.add(part.copy())
    moments.add(rows[:0].copy())
    assert moments.count == 100
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(moments.scatter, 99 * np.cov(rows.T), rtol=1e-10, atol=1e-8)
    assert (moments.scatter[2] == 0).all()


def test_folds_join_to_the_whole() -> None:
    rows = np.random.default_rng(0).normal(size=(53, 3))
    blocks = Blocks.of((rows[:, :2], rows[:, 2:]), ("X", "y"))
    parts = gather(blocks, 4)
    [whole] = gather(blocks)
    joined = parts[0].joined(parts[1:])
    np.testing.assert_allclose(joined.scatter, whole.scatter, rtol=1e-12)
    np.testing.assert_allclose(joined.mean, whole.mean, rtol=1e-12)
    fold = folds_of(0, 53, 4)
    assert [part.count for part in parts] == np.bincount(fold).tolist()
    np.testing.assert_allclose(parts[2].mean, rows[fold == 2].mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("num_folds", [2, 5, 7])
def test_folds_are_even_and_aperiodic(num_folds: int) -> None:
    fold = folds_of(0, 5000, num_folds)
    assert np.ptp(np.bincount(fold)) <= 1
    at_a_period = np.bincount(fold[::num_folds], minlength=num_folds)
    assert at_a_period.max() < 1.3 * at_a_period.mean()
    assert (np.concatenate([folds_of(0, 33, num_folds), folds_of(33, 100, num_folds)]) == fold[:133]).all()


@pytest.mark.parametrize("penalty", [0.0, 2.5])
def test_both_whitenings_whiten(penalty: float) -> None:
    draws = np.random.default_rng(0)
    rows = draws.normal(size=(50, 5)) @ np.diag([1, 10, 1e-3, 1, 1])
    rows = np.hstack([rows, rows @ draws.normal(size=(5, 2)), np.zeros((50, 1))])
    rows -= rows.mean(axis=0)
    gram = rows.T @ rows
    found = whiten_gram(gram, penalty)
    transform, basis = whiten_rows(rows, penalty)
    for one in (found.transform, transform):
        rank = 7 if penalty and one is found.transform else 5
        assert one.shape == (8, rank)
        np.testing.assert_allclose(one.T @ (gram + penalty * np.eye(8)) @ one, np.eye(rank), atol=1e-9)
    np.testing.assert_allclose(rows @ transform, basis, atol=1e-9)
    if not penalty:
        assert sorted([*found.kept, *found.dropped]) == [0, 1, 2, 3, 4, 5, 6]
        np.testing.assert_allclose(rows[:, found.kept] @ found.combination, rows[:, found.dropped], atol=1e-9)


def test_units_do_not_matter_to_the_rank_of_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3))
    basis = whiten_rows(rows - rows.mean(axis=0), 0.0)[1]
    tiny = whiten_rows((rows - rows.mean(axis=0)) * [1, 1e-30, 1e30], 0.0)[1]
    np.testing.assert_allclose(basis @ basis.T, tiny @ tiny.T, atol=1e-12)


def test_triangular_rows_have_the_same_products(monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.alignment import blocks as blocks_module

    monkeypatch.setattr(blocks_module, "BLOCK_VALUES", 100)
    monkeypatch.setattr(blocks_module, "LEAST_ROWS", 1)
    rows = np.random.default_rng(0).normal(size=(201, 5)) + 4
    blocks = Blocks.of((rows[:, :2], rows[:, 2:]), ("X", "y"))
    small = np.hstack(triangular_rows(blocks, rows[0], rows.mean(axis=0) - rows[0]))
    assert small.shape == (5, 5)
    np.testing.assert_allclose(small.T @ small, 200 * np.cov(rows.T), rtol=1e-12)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (20, 20)])
@pytest.mark.parametrize("count", [1, 3, 10, None])
def test_leading_singular_vectors(shape: tuple[int, int], count: int | None) -> None:
    matrix = np.random.default_rng(0).normal(size=shape)
    matrix /= np.linalg.norm(matrix, 2)
    left, values, right = leading_singular(matrix, count)
    size = min(shape) if count is None else count
    np.testing.assert_allclose(values, np.linalg.svd(matrix, compute_uv=False)[:size], atol=1e-12)
    np.testing.assert_allclose(left.T @ left, np.eye(size), atol=1e-10)
    np.testing.assert_allclose(left.T @ matrix @ right, np.diag(values), atol=1e-10)


def test_tiny_singular_values_keep_orthonormal_vectors() -> None:
    matrix = np.zeros((16, 16))
    matrix[0, 0] = 1.0
    left, values, right = leading_singular(matrix, 3)
    np.testing.assert_allclose(values, [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(right.T @ right, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(left.T @ left, np.eye(3), atol=1e-12)


def test_equal_loadings_are_decided_by_the_first() -> None:
    assert signs(np.array([[0.5], [-0.5 - 1e-12]])).tolist() == [1.0]
    assert signs(np.array([[-0.5], [0.5 + 1e-12]])).tolist() == [-1.0]
