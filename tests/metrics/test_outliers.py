"""Rows unlike the training data: distances by definition, false alarms as promised, planted strangers found."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics.outliers import fit_familiar


def test_distances_by_definition() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(20_000, 3)) @ np.array([[2.0, 0, 0], [1, 1, 0], [0, 0, 0.1]]) + [5, 0, -1]
    familiar = fit_familiar(rows)
    new = random.normal(size=(50, 3)) + [5, 0, -1]
    inverse = np.linalg.inv(np.cov(rows.T))
    expected = [np.sqrt((row - rows.mean(axis=0)) @ inverse @ (row - rows.mean(axis=0))) for row in new]
    np.testing.assert_allclose(familiar.distances(new), expected, rtol=0.02)


@pytest.mark.parametrize(("num_rows", "width"), [(2000, 8), (150, 60), (80, 100)])
def test_rows_alike_are_flagged_as_rarely_as_promised(num_rows: int, width: int) -> None:
    """Also where there are hardly more rows than numbers, or fewer: distances to their own fit would be too short."""
    shares = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        mixing = random.normal(size=(width, width)) / np.sqrt(width)
        familiar = fit_familiar(random.normal(size=(num_rows, width)) @ mixing, quantile=0.95, seed=seed)
        shares.append(familiar.unlike(random.normal(size=(1000, width)) @ mixing).mean())
    assert 0.015 < np.mean(shares) < 0.08


def test_strangers_are_flagged() -> None:
    random = np.random.default_rng(0)
    familiar = fit_familiar(random.normal(size=(1000, 16)))
    assert familiar.unlike(random.normal(size=(200, 16)) + 2.0).mean() > 0.95
    assert familiar.unlike(random.normal(size=(2000, 16))).mean() < 0.03
    assert familiar.rows == 1000 and familiar.quantile == 0.99


def test_one_mean_a_class_finds_what_lies_between_them() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 1000)
    rows = random.normal(size=(1000, 4)) + np.where(labels[:, None] == 1, 6.0, -6.0) * np.array([1, 0, 0, 0])
    between = random.normal(size=(100, 4))
    assert fit_familiar(rows).unlike(between).mean() < 0.1
    assert fit_familiar(rows, labels).unlike(between).mean() > 0.9
    assert fit_familiar(rows, np.where(labels == 1, 7, -1)).unlike(between).mean() > 0.9


def test_flat_embeddings_of_unit_length() -> None:
    """Directions in which training rows never vary: a row that leaves them is unlike, however little it moves."""
    random = np.random.default_rng(0)
    rows = np.zeros((500, 32))
    rows[:, :4] = random.normal(size=(500, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    familiar = fit_familiar(rows)
    assert familiar.unlike(rows).mean() < 0.03
    turned = np.roll(rows, 8, axis=1)
    assert familiar.unlike(turned).all()
    assert not fit_familiar(np.ones((50, 3))).unlike(np.ones((5, 3))).any()


def test_held_out_rows_set_the_threshold() -> None:
    """Training rows that were learned by heart lie tighter than new ones."""
    random = np.random.default_rng(0)
    tight, held_out, new = (scale * random.normal(size=(500, 8)) for scale in (0.5, 1.0, 1.0))
    assert fit_familiar(tight).unlike(new).mean() > 0.3
    assert fit_familiar(tight, held_out=held_out).unlike(new).mean() < 0.04


def test_rows_without_an_embedding_are_not_judged() -> None:
    rows = np.random.default_rng(0).normal(size=(100, 3))
    holed = np.concatenate([rows, np.full((5, 3), np.nan)])
    familiar = fit_familiar(holed)
    assert familiar.rows == 100
    np.testing.assert_array_equal(familiar.whitening, fit_familiar(rows).whitening)
    assert np.isnan(familiar.distances(holed)[-5:]).all()
    assert not familiar.unlike(holed)[-5:].any()


def test_what_is_refused() -> None:
    with pytest.raises(DataError, match="19 training rows are too few"):
        fit_familiar(np.random.default_rng(0).normal(size=(19, 2)))
    with pytest.raises(DataError, match="quantile"):
        fit_familiar(np.zeros((30, 2)), quantile=1.0)
    with pytest.raises(DataError, match=r"\(row, 2\)"):
        fit_familiar(np.random.default_rng(0).normal(size=(30, 2))).distances(np.zeros((4, 3)))
