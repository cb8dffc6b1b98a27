"""Generalised CCA against golden values, naive references and its invariants."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from mfeat import mfeat
from sklearn.base import clone

from sensorium.alignment import CCA, GeneralizedCCA
from sensorium.errors import AlignmentError


def _views(rows: int = 300, *, seed: int = 0) -> list[np.ndarray]:
    """Views of 5, 4 and 6 columns that share 2 directions; the last has a constant and a duplicate column."""
    draws = np.random.default_rng(seed)
    shared = draws.normal(size=(rows, 2))
    views = [shared @ draws.normal(size=(2, width)) + draws.normal(size=(rows, width)) for width in (5, 4, 4)]
    return [views[0] * 10 - 3, views[1], np.hstack([views[2], np.ones((rows, 1)), views[2][:, :1]])]


def _projection(view: np.ndarray, ridge: float = 0.0) -> np.ndarray:
    X = view - view.mean(axis=0)
    return X @ np.linalg.pinv(X.T @ X + (len(X) - 1) * ridge * np.eye(X.shape[1]), hermitian=True, rcond=1e-12) @ X.T


def _naive(views: list[np.ndarray], ridges: tuple[float, ...] = (0.0,) * 3) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of the sum of (row, row) projections."""
    values, vectors = np.linalg.eigh(sum(_projection(view, ridge) for view, ridge in zip(views, ridges)))
    return values[::-1], vectors[:, ::-1]


def test_golden_values() -> None:
    views = [mfeat(name) for name in ("fou", "fac", "kar")]
    gcca = GeneralizedCCA(n_components=3).fit(views)
    np.testing.assert_allclose(gcca.eigenvalues_, [2.900953, 2.864597, 2.776745], atol=1e-6)
    assert gcca.ranks_ == (76, 213, 64)
    streamed = GeneralizedCCA(n_components=3)
    for start in range(0, 2000, 600):
        streamed.partial_fit([view[start : start + 600] for view in views])
    np.testing.assert_allclose(streamed.eigenvalues_, gcca.eigenvalues_, atol=1e-9)
    np.testing.assert_allclose(streamed.transform(views), gcca.transform(views), atol=1e-7)


def test_two_views_are_cca() -> None:
    X, y, _ = _views()
    cca, gcca = CCA().fit(X, y), GeneralizedCCA().fit([X, y])
    np.testing.assert_allclose(gcca.eigenvalues_, 1 + cca.correlations_, atol=1e-12)
    for ours, theirs in zip(gcca.weights_, (cca.x_weights_, cca.y_weights_)):
        np.testing.assert_allclose(ours, theirs * np.sqrt(2 / (1 + cca.correlations_)), atol=1e-9)
    assert gcca.score([X, y]) == pytest.approx(cca.score(X, y))


@pytest.mark.parametrize("ridges", [(0.0, 0.0, 0.0), (1.0, 0.1, 2.0)])
@pytest.mark.parametrize("rows", [300, 12])
def test_it_is_the_eigenproblem_of_summed_projections(ridges: tuple[float, ...], rows: int) -> None:
    """Through Gram matrices, and (12 rows of 15 columns) through the stacked bases."""
    views = _views(rows)
    gcca = GeneralizedCCA(n_components=3, ridge=ridges).fit(views)
    values, vectors = _naive(views, ridges)
    np.testing.assert_allclose(gcca.eigenvalues_, values[:3], atol=1e-9)
    shared = gcca.transform(views)
    np.testing.assert_allclose(np.cov(shared.T), np.eye(3), atol=1e-9)
    if rows == 300:
        np.testing.assert_allclose(np.abs(shared.T @ vectors[:, :3]) / np.sqrt(rows - 1), np.eye(3), atol=1e-9)
    for view, ridge, loadings in zip(views, ridges, gcca.loadings_):
        alone = [view if other is view else None for other in views]
        estimate = gcca.transform(alone) * gcca.eigenvalues_ / 3
        np.testing.assert_allclose(estimate, _projection(view, ridge) @ shared, atol=1e-8)
        with np.errstate(invalid="ignore"):
            correlations = np.nan_to_num(np.corrcoef(view.T, shared.T)[: view.shape[1], view.shape[1] :])
        np.testing.assert_allclose(loadings, correlations, atol=1e-9)
    assert (gcca.loadings_[0][np.abs(gcca.loadings_[0]).argmax(axis=0), range(3)] > 0).all()


def test_absent_views_are_left_out_of_the_mean() -> None:
    views = _views()
    gcca = GeneralizedCCA(n_components=2).fit(views)
    each = [(view - mean) @ weights for view, mean, weights in zip(views, gcca.means_, gcca.weights_)]
    np.testing.assert_allclose(gcca.transform([views[0], None, views[2]]), (each[0] + each[2]) / 2, atol=1e-10)
    truth = gcca.transform(views)
    errors = [((gcca.transform([views[0], *others]) - truth) ** 2).sum()
              for others in ([None, None], [views[1], None], views[1:])]
    assert errors[0] > errors[1] > errors[2] == 0


def test_predicting_a_view_from_any_others_is_least_squares() -> None:
    views = _views()
    gcca = GeneralizedCCA(n_components=2).fit(views)
    for given in ((0,), (2,), (0, 2)):
        some = [view if i in given else None for i, view in enumerate(views)]
        variates = [(views[i] - gcca.means_[i]) @ gcca.weights_[i] for i in given]
        design = np.hstack([*variates, np.ones((300, 1))])
        np.testing.assert_allclose(gcca.predict(some, view=1), design @ np.linalg.lstsq(design, views[1])[0], atol=1e-9)
    np.testing.assert_array_equal(gcca.predict([views[0], views[1] * np.nan, None], view=1),
                                  gcca.predict([views[0], None, None], view=1))
    full = GeneralizedCCA(n_components=4).fit(views[:2])
    design = np.hstack([views[0], np.ones((300, 1))])
    expected = design @ np.linalg.lstsq(design, views[1])[0]
    np.testing.assert_allclose(full.predict([views[0], None], view=1), expected, atol=1e-9)


def test_affine_invariance_and_row_order() -> None:
    views, draws = _views(), np.random.default_rng(1)
    turned = [view @ draws.normal(size=(view.shape[1],) * 2) + 7 for view in views]
    order = draws.permutation(300)
    first, second = GeneralizedCCA(n_components=3).fit(views), GeneralizedCCA(n_components=3)
    second.fit([view[order] for view in turned])
    np.testing.assert_allclose(second.eigenvalues_, first.eigenvalues_, atol=1e-9)
    np.testing.assert_allclose(np.abs(second.transform(turned)), np.abs(first.transform(views)), atol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, (0.1, 0.2, 0.3), "cv"])
def test_partial_fit_equals_fit(ridge: object) -> None:
    views = _views()
    whole, parts = GeneralizedCCA(n_components=2, ridge=ridge).fit(views), GeneralizedCCA(n_components=2, ridge=ridge)
    for start, stop in [(0, 1), (1, 100), (100, 300)]:
        parts.partial_fit([view[start:stop] for view in views])
    np.testing.assert_allclose(parts.eigenvalues_, whole.eigenvalues_, atol=1e-10)
    np.testing.assert_allclose(parts.transform(views), whole.transform(views), atol=1e-9)
    some = [views[0], None, None]
    np.testing.assert_allclose(parts.predict(some, view=2), whole.predict(some, view=2), atol=1e-9)
    np.testing.assert_allclose(parts.ridge_, whole.ridge_, rtol=1e-12)


def test_a_nearly_dependent_column_goes_through_rows() -> None:
    views = _views()
    hidden = np.random.default_rng(4).normal(size=(300, 1))
    views[0], views[1] = np.hstack([views[0], views[0][:, :1] + 1e-7 * hidden]), np.hstack([views[1], hidden])
    gcca = GeneralizedCCA(n_components=3).fit(views)
    assert gcca.ranks_ == (6, 5, 4)
    expected = _naive([np.hstack([views[0][:, :5], hidden]), *views[1:]])[0][:3]
    np.testing.assert_allclose(gcca.eigenvalues_, expected, atol=1e-6)


def test_bad_input_is_refused() -> None:
    views = _views()
    gcca = GeneralizedCCA(n_components=2).fit(views)
    with pytest.raises(AlignmentError, match=r"n_components is 14, but the views span 13 dimensions together: views"):
        GeneralizedCCA(n_components=14).fit(views)
    with pytest.raises(AlignmentError, match="expected a list of 2 views or more, found 1"):
        GeneralizedCCA().fit(views[:1])
    with pytest.raises(AlignmentError, match=r"views\[0\] has 300, views\[1\] has 299, views\[2\] has 300"):
        GeneralizedCCA().fit([views[0], views[1][1:], views[2]])
    spoilt = views[1].copy()
    spoilt[3, 2] = np.nan
    with pytest.raises(AlignmentError, match=r"Input views\[1\] contains NaN: row 3, column 2"):
        GeneralizedCCA().fit([views[0], spoilt, views[2]])
    with pytest.raises(AlignmentError, match=r"view views\[2\] is constant: none of its 2 columns"):
        GeneralizedCCA().fit([views[0], views[1], np.ones((300, 2))])
    with pytest.raises(AlignmentError, match="all 3 views are absent"):
        gcca.transform([None, None, None])
    with pytest.raises(AlignmentError, match="all 3 views are absent"):
        gcca.predict([None, views[1], None], view=1)
    with pytest.raises(AlignmentError, match="expected 3 views, None for absent ones, found 2"):
        gcca.transform(views[:2])
    with pytest.raises(AlignmentError, match=r"view views\[1\] has 3 columns, but had 4"):
        gcca.transform([None, views[1][:, :3], None])
    with pytest.raises(AlignmentError, match="expected view to be a number in 0 … 2, found 3"):
        gcca.predict(views, view=3)


def test_clone_and_pickle() -> None:
    views = _views()
    gcca = GeneralizedCCA(n_components=2, ridge=0.1).fit(views)
    assert clone(gcca).get_params() == {"n_components": 2, "ridge": 0.1, "cv": 5}
    assert (pickle.loads(pickle.dumps(gcca)).transform(views) == gcca.transform(views)).all()
    assert (gcca.n_views_, gcca.n_components_) == (3, 2)
    assert (GeneralizedCCA(n_components=2, ridge=0.1).fit_transform(views) == gcca.transform(views)).all()
