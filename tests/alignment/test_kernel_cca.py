"""Kernel CCA: the linear kernel is CCA, the kernels are right, approximations approach, nonlinear ties are found."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.utils.estimator_checks import check_estimator

from sensorium.alignment import CCA, KernelCCA
from sensorium.alignment import blocks as blocks_module
from sensorium.errors import AlignmentError


def _pair(rows: int = 120, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    shared = draws.normal(size=(rows, 2))
    return (shared @ draws.normal(size=(2, 4)) + draws.normal(size=(rows, 4)),
            shared @ draws.normal(size=(2, 3)) + draws.normal(size=(rows, 3)))


def _rings(rows: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A point's angle is noise, its radius is what the other view has: no linear tie."""
    draws = np.random.default_rng(seed)
    radius, angle = draws.uniform(1, 3, size=(rows, 1)), draws.uniform(0, 2 * np.pi, size=(rows, 1))
    noisy = (radius - 2) ** 3 + 0.02 * draws.normal(size=(rows, 1))
    return np.hstack([radius * np.cos(angle), radius * np.sin(angle)]), noisy


@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_the_linear_kernel_is_cca(ridge: float) -> None:
    X, y = _pair()
    linear, kernel = CCA(ridge=ridge).fit(X, y), KernelCCA(kernel="linear", ridge=ridge).fit(X, y)
    np.testing.assert_allclose(kernel.correlations_, linear.correlations_, atol=1e-10)
    new = _pair(seed=1)
    for ours, theirs in zip(kernel.transform(*new), linear.transform(*new)):
        np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-8)
    assert kernel.score(*new) == pytest.approx(linear.score(*new))
    np.testing.assert_allclose(kernel.predict(new[0]), linear.predict(new[0]), atol=1e-8)


def test_precomputed_and_callable_kernels() -> None:
    (X, y), (X_new, _) = _pair(), _pair(seed=1)
    plain = KernelCCA(n_components=2, gamma=0.1, ridge=0.01).fit(X, y)
    given = KernelCCA(n_components=2, kernel="precomputed", ridge=0.01)
    given.fit(pairwise_kernels(X, metric="rbf", gamma=0.1), pairwise_kernels(y, metric="rbf", gamma=0.1))
    called = KernelCCA(n_components=2, kernel=("rbf", lambda a, b: pairwise_kernels(a, b, metric="rbf", gamma=0.1)),
                       gamma=0.1, ridge=0.01).fit(X, y)
    np.testing.assert_allclose(given.correlations_, plain.correlations_, atol=1e-10)
    np.testing.assert_allclose(called.correlations_, plain.correlations_, atol=1e-10)
    np.testing.assert_allclose(np.abs(given.transform(pairwise_kernels(X_new, X, metric="rbf", gamma=0.1))),
                               np.abs(plain.transform(X_new)), atol=1e-7)
    with pytest.raises(AlignmentError, match="predict needs the numbers of y, but they were given as a kernel"):
        given.predict(pairwise_kernels(X_new, X, metric="rbf", gamma=0.1))


def test_it_is_the_eigenproblem_of_kernel_matrices() -> None:
    """K_x K_y β = ρ (K_x² + (n − 1) r K_x) α and its mirror, on the range of the centred kernels."""
    X, y = _pair(40)
    found = KernelCCA(kernel="poly", degree=2, gamma=0.5, coef0=1.0, ridge=0.3).fit(X, y)
    centre = np.eye(40) - 1 / 40
    scores = []
    for view in (X, y):
        gram = pairwise_kernels(view, metric="poly", degree=2, gamma=0.5, coef0=1)
        values, vectors = np.linalg.eigh(centre @ gram @ centre)
        keep = values > 1e-9 * values[-1]
        scores.append(vectors[:, keep] * np.sqrt(values[keep]))
    p = scores[0].shape[1]
    S = np.cov(np.hstack(scores).T)
    across, within = S.copy(), S + 0.3 * np.eye(len(S))
    across[:p, :p] = across[p:, p:] = 0
    within[:p, p:] = within[p:, :p] = 0
    naive = eigh(across, within, eigvals_only=True)[::-1][: len(found.correlations_)]
    np.testing.assert_allclose(found.correlations_, naive, atol=1e-9)


@pytest.mark.parametrize("kernel", ["rbf", "poly", "linear"])
def test_kernels_are_scikit_learn_s(kernel: str) -> None:
    X, y = _pair()
    found = KernelCCA(kernel=kernel).fit(X, y).kernels_[0]
    settings = {"gamma": found.gamma, "degree": 3, "coef0": 1}
    np.testing.assert_allclose(found(X[:5] + 2.0**20, X + 2.0**20) if kernel == "rbf" else found(X[:5], X),
                               pairwise_kernels(X[:5], X, metric=kernel, filter_params=True, **settings), atol=1e-9)
    if kernel != "linear":
        assert found.gamma == pytest.approx(1 / (4 * X.var()))


def test_nystroem_with_all_rows_is_exact() -> None:
    X, y = _pair()
    exact = KernelCCA(n_components=3, ridge=0.01).fit(X, y)
    near = KernelCCA(n_components=3, ridge=0.01, approximation="nystroem", n_features=120).fit(X, y)
    np.testing.assert_allclose(near.correlations_, exact.correlations_, atol=1e-7)
    np.testing.assert_allclose(np.abs(near.transform(X)), np.abs(exact.transform(X)), atol=1e-5)
    np.testing.assert_allclose(near.predict(X), exact.predict(X), atol=1e-5)


def test_fourier_features_approach_the_kernel() -> None:
    from sensorium.alignment.feature_maps import fourier_map
    from sensorium.alignment.kernels import Kernel

    X, _ = _pair()
    kernel = Kernel("rbf", gamma=0.2)
    errors = [np.abs(f @ f.T - kernel(X, X)).max() for f in
              (fourier_map(kernel, 4, size, np.random.RandomState(0))(X.copy()) for size in (500, 50_000))]
    assert errors[1] < 0.03 and errors[1] < errors[0] / 4


@pytest.mark.parametrize("approximation", [None, "nystroem", "fourier"])
def test_nonlinear_ties_are_found(approximation: str | None) -> None:
    train, new = _rings(400), _rings(300, seed=1)
    kernel = KernelCCA(n_components=1, ridge=1e-4, gamma=0.5, approximation=approximation, n_features=200).fit(*train)
    assert kernel.score(*new) > 0.97
    assert abs(CCA(n_components=1).fit(*train).score(*new)) < 0.3
    residual = kernel.predict(new[0]) - new[1]
    assert residual.var() < 0.1 * new[1].var()


@pytest.mark.parametrize("approximation", ["nystroem", "fourier"])
@pytest.mark.parametrize("ridge", [0.01, "cv"])
def test_partial_fit_equals_fit_and_blocks_do_not_matter(
    approximation: str, ridge: object, monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = _pair(150)
    new = KernelCCA(n_components=2, gamma=0.1, ridge=ridge, approximation=approximation, n_features=30)
    whole = clone(new).fit(X, y)
    monkeypatch.setattr(blocks_module, "BLOCK_VALUES", 1)
    blocked = clone(new).fit(X, y)
    np.testing.assert_allclose(blocked.transform(X), whole.transform(X), atol=1e-7)
    parts = clone(new).fit(X, y).partial_fit(X, y).partial_fit(X[:60], y[:60])
    twice = np.vstack([X, X[:60]]), np.vstack([y, y[:60]])
    if approximation == "fourier":
        np.testing.assert_allclose(parts.transform(X), clone(new).fit(*twice).transform(X), atol=1e-7)
    with pytest.raises(AlignmentError, match="or to partial_fit"):
        parts.predict(X)


def test_the_ridge_of_cross_validation() -> None:
    X, y = _rings(200)
    kernel = KernelCCA(n_components=1, ridge="cv").fit(X, y)
    assert kernel.ridge_search_ is not None and len(kernel.ridge_search_["score"]) == 8
    new = _rings(300, seed=1)
    assert kernel.score(*new) > 0.95 > KernelCCA(n_components=1, ridge=0.0).fit(X, y).score(*new)


def test_bad_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.alignment import kernel_cca

    X, y = _pair()
    for settings, words in [
        ({"kernel": "rbff"}, "unknown kernel 'rbff'.* Did you mean 'rbf'"),
        ({"kernel": ("rbf",)}, "expected one kernel and one gamma, or 2"),
        ({"gamma": -1.0}, "expected gamma to be a number above 0 or 'scale', found -1.0"),
        ({"approximation": "fourrier"}, "unknown approximation 'fourrier'"),
        ({"approximation": "fourier", "kernel": "poly"}, "'fourier' is for the rbf kernel, found 'poly'"),
        ({"approximation": "fourier", "n_features": 0}, "expected n_features to be a whole number of at least 1"),
        ({"kernel": "precomputed"}, r"a precomputed kernel is a square matrix .* X is \(120, 4\)"),
        ({"kernel": lambda a, b: np.ones(3)}, r"an array of shape \(3,\) for arrays of 120 and 120 rows"),
        ({"kernel": lambda a, b: -a @ b.T}, "not positive semidefinite"),
        ({"kernel": lambda a, b: np.triu(a @ b.T)}, "not symmetric"),
        ({"kernel": lambda a, b: a @ b.T * np.nan}, "not finite"),
        ({"n_components": 500}, "n_components is 500, but there are"),
    ]:
        with pytest.raises(AlignmentError, match=words):
            KernelCCA(**settings).fit(X, y)
    with pytest.raises(AlignmentError, match="view X is constant"):
        KernelCCA().fit(np.ones((120, 2)), y)
    with pytest.raises(AttributeError):
        _ = KernelCCA().partial_fit
    monkeypatch.setattr(kernel_cca, "MOST_EXACT_ROWS", 100)
    with pytest.raises(AlignmentError, match="two matrices of 120 rows and columns, more than the 100 it is for"):
        KernelCCA().fit(X, y)


@pytest.mark.parametrize("kernel", [
    KernelCCA(), KernelCCA(kernel="linear", ridge=0.0), KernelCCA(approximation="nystroem", n_features=20),
    KernelCCA(approximation="fourier", n_features=50),
])
def test_scikit_learn_s_contract(kernel: KernelCCA) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        check_estimator(kernel)


def test_pickle() -> None:
    X, y = _pair()
    for approximation in (None, "nystroem", "fourier"):
        kernel = KernelCCA(n_components=2, approximation=approximation, n_features=20).fit(X, y)
        assert (pickle.loads(pickle.dumps(kernel)).transform(X) == kernel.transform(X)).all()
