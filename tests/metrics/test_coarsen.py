"""Coarse predictions: cells that keep what is told about the target."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics.coarsen import coarse_numbers, coarse_posteriors


def _posteriors(num_rows: int, num_classes: int = 4, concentration: float = 0.4) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.full(num_classes, concentration), size=num_rows)


def _kept(probabilities: np.ndarray, cells: np.ndarray) -> float:
    """I(T; cell) in bits where the posteriors are right, by its definition."""
    prior = probabilities.mean(axis=0)
    total = 0.0
    for cell in np.unique(cells):
        inside = probabilities[cells == cell].mean(axis=0)
        total += (cells == cell).mean() * (inside * np.log2(inside / prior)).sum()
    return total


def test_lost_is_what_the_cells_no_longer_tell() -> None:
    posteriors = np.repeat(_posteriors(500), np.random.default_rng(1).integers(1, 9, 500), axis=0)
    posteriors = np.maximum(posteriors, 1e-6) / np.maximum(posteriors, 1e-6).sum(axis=1, keepdims=True)
    coarse = coarse_posteriors(posteriors, 6)
    whole = _kept(posteriors, np.arange(len(posteriors)))
    assert coarse.lost == pytest.approx(whole - _kept(posteriors, coarse.cells), abs=1e-9)


def test_keeps_more_than_the_predicted_class_and_more_with_more_cells() -> None:
    posteriors = np.maximum(_posteriors(800), 1e-5)
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    by_class = _kept(posteriors, posteriors.argmax(axis=1))
    kept = [_kept(posteriors, coarse_posteriors(posteriors, count).cells) for count in (4, 8, 16, 32)]
    assert by_class < kept[0] < kept[1] < kept[2] < kept[3]
    assert kept[3] > 0.9 * _kept(posteriors, np.arange(800))


def test_clusters_that_are_apart_are_found() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 5, 400)
    centres = np.eye(5) * 0.8 + 0.04
    noisy = centres[truth] * np.exp(0.05 * random.normal(size=(400, 5)))
    cells = coarse_posteriors(noisy / noisy.sum(axis=1, keepdims=True), 5).cells
    assert len(np.unique(truth * 5 + cells)) == 5 and cells.max() == 4


def test_few_distinct_posteriors_lose_nothing() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    coarse = coarse_posteriors(rows, 8)
    assert coarse.cells.tolist() == [0, 1, 0] and coarse.lost == 0


def test_the_order_of_rows_does_not_matter() -> None:
    posteriors, order = _posteriors(200), np.random.default_rng(1).permutation(200)
    first, second = coarse_posteriors(posteriors, 5), coarse_posteriors(posteriors[order], 5)
    assert len(np.unique(first.cells[order] * 5 + second.cells)) == 5
    assert first.lost == pytest.approx(second.lost)


def test_quantile_cells() -> None:
    values = np.random.default_rng(0).permutation(60).astype(float)
    assert np.bincount(coarse_numbers(values, 6).cells).tolist() == [10] * 6
    tied = coarse_numbers(np.array([0.0] * 50 + [1.0, 2.0]), 4).cells
    assert (tied[:50] == tied[0]).all()
    assert coarse_numbers(np.zeros(5), 4).cells.tolist() == [0] * 5


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match="finite posteriors"):
        coarse_posteriors(np.array([[np.nan, 1.0]]), 2)
    with pytest.raises(DataError, match="0 cells"):
        coarse_posteriors(np.array([[0.5, 0.5]]), 0)
    with pytest.raises(DataError, match="finite numbers"):
        coarse_numbers(np.array([np.inf]), 2)
