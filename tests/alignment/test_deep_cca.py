"""Losses of deep CCA: the exact correlations, published gradients, the Eckart–Young minimum, and clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from sensorium.alignment import cca_loss, eckart_young_loss
from sensorium.errors import AlignmentError


def _views(rows: int, *widths: int, seed: int = 0, shared: int = 2) -> list[Tensor]:
    """Views that share some directions, mixed with noise; float64."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(rows, shared))
    return [torch.from_numpy(common @ random.normal(size=(shared, width)) + random.normal(size=(rows, width)) + 3.0)
            for width in widths]


def _covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a - a.mean(axis=0)).T @ (b - b.mean(axis=0)) / (len(a) - 1)


def _inverse_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors / np.sqrt(values) @ vectors.T)


def _correlations(a: np.ndarray, b: np.ndarray, ridge: float) -> np.ndarray:
    """By the symmetric roots of Andrew et al., not by Cholesky factors."""
    left, right = (_inverse_root(_covariance(x, x) + ridge * np.eye(x.shape[1])) for x in (a, b))
    return np.asarray(np.linalg.svd(left @ _covariance(a, b) @ right, compute_uv=False))


def _andrew_gradient(a: np.ndarray, b: np.ndarray, ridge: float) -> np.ndarray:
    """∂corr/∂a of Andrew et al. 2013, section 3: (2 ∇11 a + ∇12 b) / (rows − 1)."""
    left, right = (_inverse_root(_covariance(x, x) + ridge * np.eye(x.shape[1])) for x in (a, b))
    u, d, vt = np.linalg.svd(left @ _covariance(a, b) @ right, full_matrices=False)
    own = -0.5 * left @ u @ np.diag(d) @ u.T @ left
    cross = left @ u @ vt @ right
    return np.asarray((2 * (a - a.mean(axis=0)) @ own + (b - b.mean(axis=0)) @ cross.T) / (len(a) - 1))


@pytest.mark.parametrize("ridge", [0.0, 1e-4, 0.3])
@pytest.mark.parametrize("widths", [(4, 4), (3, 5)])
def test_value_is_minus_the_sum_of_correlations(ridge: float, widths: tuple[int, int]) -> None:
    a, b = _views(60, *widths)
    expected = _correlations(a.numpy(), b.numpy(), ridge)
    assert float(cca_loss([a, b], ridge=ridge)) == pytest.approx(-expected.sum(), abs=1e-12)
    squares = float(cca_loss([a, b], ridge=ridge, squared=True))
    assert squares == pytest.approx(-np.square(expected).sum(), abs=1e-12)
    assert expected.sum() + squares > 0.1  # two different numbers here


def test_three_views_are_the_sum_over_pairs() -> None:
    a, b, c = _views(60, 3, 4, 5)
    pairs = sum(float(cca_loss(list(pair))) for pair in ((a, b), (a, c), (b, c)))
    assert float(cca_loss([a, b, c])) == pytest.approx(pairs, abs=1e-12)
    assert float(cca_loss([c, a, b])) == pytest.approx(pairs, abs=1e-12)


def test_affine_invariance() -> None:
    a, b = _views(80, 4, 4)
    mixing = torch.from_numpy(np.random.default_rng(5).normal(size=(4, 4)))
    moved = cca_loss([a @ mixing + 7.0, b * 1e3], ridge=0.0)
    assert float(moved) == pytest.approx(float(cca_loss([a, b], ridge=0.0)), abs=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 1e-4, 0.3])
@pytest.mark.parametrize("widths", [(4, 4), (3, 5)])
def test_gradient_is_andrew_s(ridge: float, widths: tuple[int, int]) -> None:
    a, b = (view.requires_grad_() for view in _views(60, *widths))
    cca_loss([a, b], ridge=ridge).backward()
    pair = a.detach().numpy(), b.detach().numpy()
    np.testing.assert_allclose(-a.grad.numpy(), _andrew_gradient(*pair, ridge), atol=1e-15)
    np.testing.assert_allclose(-b.grad.numpy(), _andrew_gradient(*pair[::-1], ridge), atol=1e-15)


def test_gradients_by_differences() -> None:
    three = [view.requires_grad_() for view in _views(12, 3, 3, 3)]
    other = [view.requires_grad_() for view in _views(5, 3, 3, 3, seed=1)]
    torch.autograd.gradcheck(lambda *views: cca_loss(views, ridge=1e-3), three)
    torch.autograd.gradcheck(lambda *views: cca_loss(views, ridge=1e-3, squared=True), three)
    torch.autograd.gradcheck(lambda *views: eckart_young_loss(views), three)
    torch.autograd.gradcheck(lambda *views: eckart_young_loss(views[:3], independent=views[3:]), (*three, *other))


@pytest.mark.parametrize("dead", [0.0, 5.0, 1e-3])
def test_dead_units_leave_everything_finite(dead: float) -> None:
    a, b = _views(60, 4, 4)
    a[:, 1] = dead
    b[:, 0] = dead
    b[:, 2] = b[:, 3]  # and two equal units
    a.requires_grad_()
    b.requires_grad_()
    loss = cca_loss([a, b])
    loss.backward()
    alive = _correlations(a.detach().numpy()[:, [0, 2, 3]], b.detach().numpy()[:, [1, 2, 3]], 1e-4)
    assert loss.item() == pytest.approx(-alive.sum(), abs=1e-6)
    assert bool(torch.isfinite(a.grad).all()) and bool(torch.isfinite(b.grad).all())


def test_equal_correlations_leave_the_gradient_finite() -> None:
    """Repeated singular values: the backward pass of an eigendecomposition divides by their difference."""
    [a] = _views(40, 3)
    twin = a.clone().requires_grad_()
    cca_loss([a, twin], ridge=0.0).backward()
    assert float(twin.grad.abs().max()) < 1e-12  # three correlations of 1: nothing is left to gain


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_inside_is_float64(dtype: torch.dtype) -> None:
    a, b = (view.to(dtype).requires_grad_() for view in _views(60, 4, 4))
    loss = cca_loss([a, b])
    loss.backward()
    expected = _correlations(a.detach().double().numpy(), b.detach().double().numpy(), 1e-4).sum()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(-expected, rel=1e-7)
    assert a.grad.dtype == dtype
    exact = eckart_young_loss([a.double(), b.double()])
    assert eckart_young_loss([a, b]).item() == pytest.approx(exact.item(), rel=1e-7)


def test_autocast_changes_nothing() -> None:
    views = [view.float() for view in _views(60, 4, 4)]
    plain = [float(cca_loss(views)), float(eckart_young_loss(views))]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert [float(cca_loss(views)), float(eckart_young_loss(views))] == plain


def _generalised(views: list[np.ndarray]) -> np.ndarray:
    """All generalised eigenvalues of (all covariances, the views' own), largest first."""
    own = scipy.linalg.block_diag(*(_covariance(view, view) for view in views))
    every = np.hstack(views)
    return np.asarray(scipy.linalg.eigh(_covariance(every, every), own, eigvals_only=True)[::-1])


def _minimised(views: list[Tensor], dims: int) -> tuple[float, list[Tensor]]:
    """The Eckart–Young loss over linear maps at its minimum, and the mapped views."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(view.shape[1], dims, generator=generator, dtype=torch.float64, requires_grad=True)
            for view in views]
    optimizer = torch.optim.LBFGS(maps, max_iter=2000, tolerance_grad=1e-12, tolerance_change=1e-16, history_size=50,
                                  line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = eckart_young_loss([view @ weights for view, weights in zip(views, maps)])
        loss.backward()
        return loss

    optimizer.step(closure)
    mapped = [view @ weights.detach() for view, weights in zip(views, maps)]
    return eckart_young_loss(mapped).item(), mapped


@pytest.mark.parametrize("widths", [(4, 5), (4, 5, 3)])
def test_the_minimum_of_eckart_young_is_canonical(widths: tuple[int, ...]) -> None:
    """Its value is −Σ λ², λ being generalised CCA's eigenvalues; its outputs correlate as the canonical variates do."""
    views = _views(80, *widths)
    values = _generalised([view.numpy() for view in views])[:2]
    loss, mapped = _minimised(views, 2)
    assert loss == pytest.approx(-np.square(values).sum(), abs=1e-8)
    own = sum(_covariance(view.numpy(), view.numpy()) for view in mapped)
    np.testing.assert_allclose(np.linalg.eigvalsh(own)[::-1], values, atol=1e-4)
    found = _generalised([view.numpy() for view in mapped])[:2]
    np.testing.assert_allclose(found, values, atol=1e-8)
    if len(widths) == 2:
        np.testing.assert_allclose(values, 1 + _correlations(views[0].numpy(), views[1].numpy(), 0.0)[:2], atol=1e-10)


def test_eckart_young_by_loops() -> None:
    a, b, c = (view.numpy() for view in _views(9, 3, 3, 3))
    together = sum(np.trace(_covariance(x, y)) for x in (a, b, c) for y in (a, b, c))
    own = sum(_covariance(x, x) for x in (a, b, c))
    expected = -2 * together + np.square(own).sum()
    assert float(eckart_young_loss([torch.from_numpy(x) for x in (a, b, c)])) == pytest.approx(expected, rel=1e-12)


def test_independent_rows_make_eckart_young_unbiased() -> None:
    views = _views(4000, 6, 6)
    whole = float(eckart_young_loss(views))
    order = torch.from_numpy(np.random.default_rng(0).permutation(4000)).reshape(-1, 2, 4)  # 4 rows in 6 dimensions
    parts = [[[view[half] for view in views] for half in rows] for rows in order]
    plain = np.array([float(eckart_young_loss(first)) for first, _ in parts])
    unbiased = np.array([float(eckart_young_loss(first, independent=second)) for first, second in parts])
    error = unbiased.std() / np.sqrt(len(parts))
    assert abs(unbiased.mean() - whole) < 4 * error
    assert plain.mean() - whole > 10 * error


def test_small_batches_train() -> None:
    """8 rows in 16 dimensions: cca_loss refuses, eckart_young_loss finds the two shared directions of 20 features."""
    views = [view.float() for view in _views(2000, 20, 20)]
    torch.manual_seed(0)
    maps = nn.ModuleList([nn.Linear(20, 16), nn.Linear(20, 16)])
    optimizer = torch.optim.Adam(maps.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(AlignmentError, match="batch of 8 rows in 16 dimensions"):
        cca_loss([one(view[:8]) for one, view in zip(maps, views)])
    for _ in range(400):
        first, second = torch.randint(2000, (2, 8), generator=generator)
        loss = eckart_young_loss([one(view[first]) for one, view in zip(maps, views)],
                                 independent=[one(view[second]) for one, view in zip(maps, views)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = _correlations(*(one(view).detach().double().numpy() for one, view in zip(maps, views)), 1e-6)[:2]
    best = _correlations(*(view.double().numpy() for view in views), 0.0)[:2]
    assert found.sum() > 0.98 * best.sum()


@pytest.mark.parametrize("rows", [2, 4, 5])
def test_as_many_rows_as_dimensions_are_refused(rows: int) -> None:
    with pytest.raises(AlignmentError, match=rf"batch of {rows} rows in 5 dimensions.*50.*eckart_young_loss"):
        cca_loss(_views(rows, 3, 5))
    assert np.isfinite(float(cca_loss(_views(6, 3, 5))))


@pytest.mark.parametrize("loss", [cca_loss, eckart_young_loss])
def test_refusals_name_what_is_wrong(loss: object) -> None:
    a, b = _views(20, 3, 3)
    for bad in (torch.nan, torch.inf, -torch.inf):
        broken = b.clone()
        broken[4, 1] = bad
        with pytest.raises(AlignmentError, match="view 1: 1 of 3 dimensions hold NaN or infinite"):
            loss([a, broken])
    with pytest.raises(AlignmentError, match=r"same rows, found \[20, 19\] rows"):
        loss([a, b[:19]])
    with pytest.raises(AlignmentError, match="at least 2 views, found 1"):
        loss([a])
    with pytest.raises(AlignmentError, match="at least 2 rows, found 1"):
        loss([a[:1], b[:1]])
    with pytest.raises(AlignmentError, match=r"view 1: expected \(batch, dims\).*found shape \(20, 3, 1\)"):
        loss([a, b[:, :, None]])
    with pytest.raises(AlignmentError, match=r"view 0: .* of torch.int64"):
        loss([a.long(), b])


def test_a_singular_covariance_without_ridge_is_refused() -> None:
    a, b = _views(20, 3, 3)
    b[:, 2] = 1.0
    with pytest.raises(AlignmentError, match=r"view 1: the covariance of its 3 dimensions over 20 rows is singular"):
        cca_loss([a, b], ridge=0.0)
    with pytest.raises(AlignmentError, match="ridge >= 0, found -1"):
        cca_loss([a, b], ridge=-1)


def test_eckart_young_needs_equal_widths() -> None:
    a, b = _views(20, 3, 4)
    with pytest.raises(AlignmentError, match=r"equal widths, found \[3, 4\]"):
        eckart_young_loss([a, b])
    with pytest.raises(AlignmentError, match="2 views: found 3 independent"):
        eckart_young_loss([a, a], independent=[a, a, a])
