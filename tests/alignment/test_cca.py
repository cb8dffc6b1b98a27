"""CCA against golden values, naive references and its invariants."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from mfeat import mfeat
from scipy.linalg import eigh, sqrtm
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from sensorium.alignment import CCA
from sensorium.alignment import blocks as blocks_module
from sensorium.errors import AlignmentError


def _pair(rows: int = 300, *, seed: int = 0, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Two views, of 6 and 4 columns, that share `width` directions."""
    draws = np.random.default_rng(seed)
    shared = draws.normal(size=(rows, width))
    X = shared @ draws.normal(size=(width, 6)) + draws.normal(size=(rows, 6))
    y = shared @ draws.normal(size=(width, 4)) + draws.normal(size=(rows, 4))
    return X + 3.0, y * [1.0, 10.0, 0.1, 1.0]


def _naive(X: np.ndarray, y: np.ndarray, ridge: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Correlations by the generalised symmetric eigenproblem S_xy b = ρ (S_xx + r) a, S_yx a = ρ (S_yy + r) b."""
    p = X.shape[1]
    S = np.cov(np.hstack([X, y]).T)
    across, within = S.copy(), S + np.diag(np.repeat(ridge, [p, y.shape[1]]))
    across[:p, :p] = across[p:, p:] = 0
    within[:p, p:] = within[p:, :p] = 0
    return eigh(across, within, eigvals_only=True)[::-1][: min(p, y.shape[1])]


def _exact(rho: list[float], rows: int = 200, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Views whose sample canonical correlations are exactly `rho`: orthonormal variates, mixed."""
    draws = np.random.default_rng(seed)
    k = len(rho)
    basis = draws.normal(size=(rows, 2 * k))
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    a, rest = basis[:, :k], basis[:, k:]
    b = a * rho + rest * np.sqrt(1 - np.square(rho))
    return a @ draws.normal(size=(k, k)), b @ draws.normal(size=(k, k))


@pytest.mark.parametrize(("first", "second", "top", "total"), [
    ("fou", "fac", [0.971348, 0.959056, 0.909723, 0.879547, 0.852208], 8.394592),
    ("fac", "kar", [0.996751, 0.992860, 0.992488, 0.990054, 0.986397], 9.809693),
])
def test_golden_values(first: str, second: str, top: list[float], total: float) -> None:
    X, y = mfeat(first), mfeat(second)
    cca = CCA(n_components=10).fit(X, y)
    np.testing.assert_allclose(cca.correlations_[:5], top, atol=1e-6)
    assert cca.correlations_.sum() == pytest.approx(total, abs=1e-6)
    assert cca.ranks_[0 if first == "fac" else 1] == 213
    assert cca.score(X, y) == pytest.approx(total, abs=1e-6)
    swapped = CCA(n_components=10).fit(y, X)
    np.testing.assert_allclose(swapped.correlations_, cca.correlations_, atol=1e-9)
    streamed = CCA(n_components=10)
    for start in range(0, len(X), 300):
        streamed.partial_fit(X[start : start + 300], y[start : start + 300])
    np.testing.assert_allclose(streamed.correlations_, cca.correlations_, atol=1e-8)


def test_known_correlations_and_the_naive_eigenproblem() -> None:
    rho = [0.95, 0.7, 0.4, 0.0]
    cca = CCA().fit(*_exact(rho))
    np.testing.assert_allclose(cca.correlations_, rho, atol=1e-12)
    X, y = _pair()
    np.testing.assert_allclose(CCA().fit(X, y).correlations_, _naive(X, y), atol=1e-12)


def test_variates_are_white_and_paired() -> None:
    X, y = _pair()
    cca = CCA()
    a, b = cca.fit_transform(X, y)
    assert a.shape == b.shape == (300, 4)
    np.testing.assert_allclose(np.cov(a.T), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(np.cov(b.T), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(np.cov(a.T, b.T)[:4, 4:], np.diag(cca.correlations_), atol=1e-12)
    np.testing.assert_allclose((X - cca.x_mean_) @ cca.x_weights_, a, atol=1e-12)
    np.testing.assert_allclose((y - cca.y_mean_) @ cca.y_weights_, b, atol=1e-12)
    np.testing.assert_allclose(cca.x_loadings_, np.corrcoef(X.T, a.T)[:6, 6:], atol=1e-12)
    np.testing.assert_allclose(cca.y_loadings_, np.corrcoef(y.T, b.T)[:4, 4:], atol=1e-12)
    assert (cca.x_loadings_[np.abs(cca.x_loadings_).argmax(axis=0), range(4)] > 0).all()


def test_affine_invariance() -> None:
    X, y = _pair()
    draws = np.random.default_rng(1)
    a, b = CCA().fit_transform(X, y)
    cca = CCA()
    a2, b2 = cca.fit_transform(X @ draws.normal(size=(6, 6)) + 100.0, y @ draws.normal(size=(4, 4)) - 5.0)
    np.testing.assert_allclose(np.abs((a.T @ a2) / 299), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(np.abs((b.T @ b2) / 299), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(cca.correlations_, _naive(X, y), atol=1e-9)
    scaled = CCA().fit(X * np.logspace(-150, 100, 6), y)
    np.testing.assert_allclose(scaled.correlations_, _naive(X, y), atol=1e-9)


def test_row_order_does_not_matter() -> None:
    X, y = _pair()
    order = np.random.default_rng(2).permutation(len(X))
    np.testing.assert_allclose(CCA().fit(X[order], y[order]).x_weights_, CCA().fit(X, y).x_weights_, atol=1e-10)


@pytest.mark.parametrize("ridge", [0.5, (0.5, 2.0), (0.0, 3.0)])
def test_the_ridge_is_added_to_the_covariances(ridge: float | tuple[float, float]) -> None:
    X, y = _pair()
    pair = ridge if isinstance(ridge, tuple) else (ridge, ridge)
    cca = CCA(ridge=ridge).fit(X, y)
    np.testing.assert_allclose(cca.correlations_, _naive(X, y, pair), atol=1e-12)
    Sx = np.cov(X.T) + pair[0] * np.eye(6)
    np.testing.assert_allclose(cca.x_weights_.T @ Sx @ cca.x_weights_, np.eye(4), atol=1e-12)
    root = np.linalg.inv(sqrtm(Sx)) @ np.cov(X.T, y.T)[:6, 6:] @ np.linalg.inv(sqrtm(np.cov(y.T) + pair[1] * np.eye(4)))
    np.testing.assert_allclose(cca.correlations_, np.linalg.svd(root, compute_uv=False), atol=1e-12)
    assert cca.ridge_ == pair and cca.ridge_search_ is None


@pytest.mark.parametrize("ridge", [0.0, 0.3, "cv"])
def test_partial_fit_equals_fit(ridge: float | str) -> None:
    X, y = _pair()
    whole, parts = CCA(ridge=ridge).fit(X, y), CCA(ridge=ridge)
    for start, stop in [(0, 1), (1, 2), (2, 150), (150, 151), (151, 300)]:
        parts.partial_fit(X[start:stop], y[start:stop])
    np.testing.assert_allclose(parts.correlations_, whole.correlations_, atol=1e-12)
    np.testing.assert_allclose(parts.x_weights_, whole.x_weights_, atol=1e-10)
    np.testing.assert_allclose(parts.y_mean_, whole.y_mean_, atol=1e-12)
    np.testing.assert_allclose(parts.ridge_, whole.ridge_, rtol=1e-12)
    before = parts.correlations_
    parts.partial_fit(X[:50], y[:50])
    np.testing.assert_allclose(parts.correlations_, CCA(ridge=parts.ridge_).fit(
        np.vstack([X, X[:50]]), np.vstack([y, y[:50]])).correlations_, atol=1e-12)
    assert not np.allclose(parts.correlations_, before)
    np.testing.assert_allclose(parts.fit(X, y).correlations_, whole.correlations_, atol=1e-12)
    np.testing.assert_allclose(parts.partial_fit(X[:99], y[:99]).x_mean_, X[:99].mean(axis=0))


@pytest.mark.parametrize("values", [10, 700, 10**6])
@pytest.mark.parametrize("condition", [1.0, 3e-6, 1e-9])
def test_blocks_do_not_matter(values: int, condition: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for Gram matrices nor for the QR factorisation of an ill-conditioned view."""
    X, y = _pair()
    X = X @ np.diag([1, 1, 1, 1, 1, condition]) @ np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
    monkeypatch.setattr(blocks_module, "BLOCK_VALUES", values)
    monkeypatch.setattr(blocks_module, "LEAST_ROWS", 1)
    found = CCA().fit(X, y)
    atol = {1.0: 1e-12, 3e-6: 1e-10, 1e-9: 1e-6}[condition]
    np.testing.assert_allclose(found.correlations_, _naive(*_pair()), atol=atol)
    np.testing.assert_allclose(found.transform(X), (X - X.mean(axis=0)) @ found.x_weights_, atol=1e-5)
    assert found.score(X, y) == pytest.approx(found.correlations_.sum(), abs=atol * 4)


def test_constant_duplicate_and_dependent_columns() -> None:
    X, y = _pair()
    constant, total = np.full((300, 1), 0.1), X.sum(axis=1, keepdims=True)
    more = np.hstack([X[:, :2], constant, X[:, 2:], X[:, :1], -X[:, 1:2] * 3, total])
    cca = CCA().fit(more, np.hstack([y, y]))
    assert cca.ranks_ == (6, 4) and cca.n_components_ == 4
    np.testing.assert_allclose(cca.correlations_, _naive(X, y), atol=1e-10)
    assert (cca.x_weights_[2] == 0).all() and (cca.x_loadings_[2] == 0).all()
    parts = CCA().partial_fit(more[:100], np.hstack([y, y])[:100]).partial_fit(more[100:], np.hstack([y, y])[100:])
    np.testing.assert_allclose(parts.transform(more), cca.transform(more), atol=1e-9)


def test_a_column_that_nearly_depends_on_another_is_kept() -> None:
    """What sets it apart, one part in 10⁷, is what the other view has: no Gram matrix in float64 shows it."""
    X, y = _pair()
    hidden = np.random.default_rng(4).normal(size=(300, 1))
    X, y = np.hstack([X, X[:, :1] + 1e-7 * hidden]), np.hstack([y, hidden])
    cca = CCA(n_components=1).fit(X, y)
    assert cca.ranks_ == (7, 5)
    assert cca.correlations_[0] == pytest.approx(1.0, abs=1e-6)


def test_a_large_mean_costs_no_digits() -> None:
    X, y = _pair()
    np.testing.assert_allclose(CCA().fit(X + 1e6, y - 1e6).correlations_, _naive(X, y), atol=1e-8)


def test_more_columns_than_rows() -> None:
    draws = np.random.default_rng(0)
    X, y = draws.normal(size=(30, 100)), draws.normal(size=(30, 5))
    free = CCA().fit(X, y)
    assert free.ranks_ == (29, 5)
    np.testing.assert_allclose(free.correlations_, 1.0, atol=1e-12)
    ridge = CCA(ridge=(2.0, 0.0)).fit(X, y)
    np.testing.assert_allclose(ridge.correlations_, _naive(X, y, (2.0, 0.0)), atol=1e-10)
    Sx = np.cov(X.T) + 2.0 * np.eye(100)
    np.testing.assert_allclose(ridge.x_weights_.T @ Sx @ ridge.x_weights_, np.eye(5), atol=1e-10)
    streamed = CCA(ridge=(2.0, 0.0)).partial_fit(X, y)
    np.testing.assert_allclose(streamed.x_weights_, ridge.x_weights_, atol=1e-10)


def test_a_memory_map_is_never_copied_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "BLOCK_VALUES", 20_000)
    X, y = _pair(rows=100_000)
    both = []
    for name, view in (("x", X), ("y", y)):
        view.astype(np.float32).tofile(tmp_path / name)
        both.append(np.memmap(tmp_path / name, dtype=np.float32, mode="r", shape=view.shape))
    CCA().fit(both[0][:100], both[1][:100])
    tracemalloc.start()
    cca = CCA().fit(*both)
    score = cca.score(*both)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.25 * 100_000 * 10 * 4
    np.testing.assert_allclose(cca.correlations_, _naive(*(np.array(view, dtype=float) for view in both)), atol=1e-9)
    assert score == pytest.approx(cca.correlations_.sum())


def test_prediction_is_least_squares() -> None:
    X, y = _pair()
    cca = CCA().fit(X, y)
    design = np.hstack([X, np.ones((300, 1))])
    np.testing.assert_allclose(cca.predict(X), design @ np.linalg.lstsq(design, y)[0], atol=1e-9)
    top = CCA(n_components=2).fit(X, y)
    variates = np.hstack([top.transform(X, y)[1], np.ones((300, 1))])
    np.testing.assert_allclose(top.predict_x(y), variates @ np.linalg.lstsq(variates, X)[0], atol=1e-9)
    ridge = CCA(n_components=2, ridge=1.0).fit(X, y)
    variates = np.hstack([ridge.transform(X), np.ones((300, 1))])
    np.testing.assert_allclose(ridge.predict(X), variates @ np.linalg.lstsq(variates, y)[0], atol=1e-9)
    assert CCA().fit(X, y[:, 0]).predict(X).shape == (300,)


def test_score_is_the_total_correlation_of_new_rows() -> None:
    X, y = _pair()
    cca = CCA().fit(X[:200], y[:200])
    a, b = cca.transform(X[200:], y[200:])
    assert cca.score(X[200:], y[200:]) == pytest.approx(sum(np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(4)))


def test_the_ridge_of_cross_validation() -> None:
    """The chosen one is the best of a naive loop over folds; on views of noise it beats no ridge on new rows."""
    from sensorium.alignment.moments import folds_of

    draws = np.random.default_rng(0)
    shared = draws.normal(size=(2100, 1))
    X, y = (shared * 0.5 + draws.normal(size=(2100, 20)) for _ in range(2))
    X, y, X_new, y_new = X[:100], y[:100], X[100:], y[100:]
    cca = CCA(n_components=2, ridge="cv", cv=4).fit(X, y)
    folds = folds_of(0, 100, 4)
    assert cca.ridge_search_ is not None
    for ridge, score in zip(cca.ridge_search_["ridge"], cca.ridge_search_["score"]):
        naive = [CCA(n_components=2, ridge=tuple(ridge)).fit(X[~held], y[~held]).score(X[held], y[held])
                 for held in (folds == k for k in range(4))]
        assert score == pytest.approx(np.mean(naive), abs=1e-9)
    assert cca.ridge_ == tuple(cca.ridge_search_["ridge"][cca.ridge_search_["score"].argmax()])
    np.testing.assert_allclose(cca.ridge_search_["ridge"][-1], [10 * X.var(axis=0, ddof=1).mean(),
                                                                10 * y.var(axis=0, ddof=1).mean()])
    assert cca.score(X_new, y_new) > CCA(n_components=2).fit(X, y).score(X_new, y_new) + 0.05


def test_the_ridge_of_cross_validation_with_more_columns_than_rows() -> None:
    draws = np.random.default_rng(0)
    shared = draws.normal(size=(60, 1))
    X, y = (shared + draws.normal(size=(60, 80)) for _ in range(2))
    wide, streamed = CCA(n_components=1, ridge="cv").fit(X, y), CCA(n_components=1, ridge="cv").partial_fit(X, y)
    np.testing.assert_allclose(wide.ridge_, streamed.ridge_)
    np.testing.assert_allclose(wide.ridge_search_["score"][1:], streamed.ridge_search_["score"][1:], atol=1e-6)


@pytest.mark.parametrize(("change", "words"), [
    (lambda X, y: (X[:299], y), "other numbers of rows: X has 299, y has 300"),
    (lambda X, y: (X, np.where(np.arange(4) == 2, np.nan, y)), "y contains NaN: row 0, column 2 is nan; 300 of 1,200"),
    (lambda X, y: (np.where(np.arange(300)[:, None] == 7, -np.inf, X), y), r"X contains infinity \(inf\): row 7, col"),
    (lambda X, y: (np.full_like(X, 0.1), y), "view X is constant: none of its 6 columns varies over 300 rows"),
    (lambda X, y: (X, np.ones(300)), "view y is constant: none of its 1 columns"),
    (lambda X, y: (X[:1], y[:1]), "1 sample"),
    (lambda X, y: (X * 1e160, y), "Input X is too large to be squared in float64"),
    (lambda X, y: (X, None), "requires y to be passed, but the target y is None"),
    (lambda X, y: (X, y[:, :0]), r"0 feature|expected view y"),
    (lambda X, y: (X + 1j, y), "Complex data not supported"),
])
def test_bad_views_are_refused(change: object, words: str) -> None:
    with pytest.raises(AlignmentError, match=words):
        CCA().fit(*change(*_pair()))


def test_bad_settings_are_refused() -> None:
    X, y = _pair()
    with pytest.raises(AlignmentError, match=r"n_components is 5, but there are 4 pairs .* X has rank 6 \(6 columns\), "
                                             r"view y rank 4 \(4 columns\); 300 rows"):
        CCA(n_components=5).fit(X, y)
    for wrong in (0, -1, 2.0, True, "two"):
        with pytest.raises(AlignmentError, match=f"at least 1, or None for all there are; found {wrong!r}"):
            CCA(n_components=wrong).fit(X, y)
    for ridge in (-1.0, np.nan, np.inf, "auto", (1.0, 2.0, 3.0), None, True):
        with pytest.raises(AlignmentError, match="expected ridge to be a number of at least 0, 2 of them"):
            CCA(ridge=ridge).fit(X, y)
    for cv in (1, 2.5):
        with pytest.raises(AlignmentError, match="at least 2; found"):
            CCA(ridge="cv", cv=cv).fit(X, y)
    with pytest.raises(AlignmentError, match="over 5 folds needs at least 10 rows, found 9"):
        CCA(ridge="cv").fit(X[:9, :2], y[:9, :2])
    with pytest.raises(AlignmentError, match="need at least 2 rows, partial_fit has seen 1"):
        _ = CCA().partial_fit(X[:1], y[:1]).correlations_
    with pytest.raises(AlignmentError, match="view y has 3 columns, but had 4 when it was fitted"):
        CCA().fit(X, y).transform(X, y[:, :3])
    with pytest.raises(NotFittedError):
        _ = CCA().correlations_


@pytest.mark.parametrize("cca", [CCA(), CCA(n_components=1), CCA(ridge=0.1)])
def test_scikit_learn_s_contract(cca: CCA) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        check_estimator(cca)


def test_clone_pickle_names_and_grid_search() -> None:
    X, y = _pair()
    cca = CCA(n_components=2, ridge=0.1).fit(X, y)
    assert clone(cca).get_params() == {"n_components": 2, "ridge": 0.1, "cv": 5}
    again = pickle.loads(pickle.dumps(cca))
    assert (again.transform(X) == cca.transform(X)).all()
    assert cca.get_feature_names_out().tolist() == ["cca0", "cca1"]
    assert len(pickle.dumps(cca)) < 10_000
    search = GridSearchCV(CCA(), {"n_components": [1, 3]}).fit(X, y)
    assert search.best_params_ == {"n_components": 3}


def test_rows_that_are_refused_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "BLOCK_VALUES", 700)
    X, y = _pair()
    cca = CCA().partial_fit(X, y)
    spoilt = X.copy()
    spoilt[290, 1] = np.nan
    with pytest.raises(AlignmentError, match="Input X contains NaN: row 290, column 1"):
        cca.partial_fit(spoilt, y)
    np.testing.assert_allclose(cca.correlations_, _naive(X, y), atol=1e-12)
