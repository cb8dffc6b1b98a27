"""Generalised canonical correlation analysis (MAXVAR): what any number of views share, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils import Tags

from sensorium.alignment.blocks import Array, Blocks, Floats
from sensorium.alignment.checks import components_of, refuse_other_width, refuse_unpaired, view_of
from sensorium.alignment.maxvar import Shared, shared_weights, solve_shared
from sensorium.alignment.project import projected, variates_correlation
from sensorium.alignment.solving import ClosedForm
from sensorium.alignment.whitening import Whitened
from sensorium.errors import AlignmentError


class GeneralizedCCA(TransformerMixin, ClosedForm[Shared]):  # type: ignore[misc]
    """Shared variates g that the views' projections P = X(XᵀX)⁻¹Xᵀ explain best: the top eigenvectors of Σ Pⱼ.

    The eigenvalue of g is Σ over views of the share of g's variance that the view explains, 0 … number of views; for
    two views it is 1 + ρ with CCA's ρ. With a ridge r, P = X(XᵀX + (rows − 1)·r·1)⁻¹Xᵀ. Each view has weights with
    which it alone estimates g; the mean of the estimates over all views is g, with variance 1 on the training rows,
    and over some of them it is what these say. The sign of g makes the largest loading of the first view positive.

    Rows are read in blocks, as float64, and (row, row) matrices are never formed. Columns that are constant or depend
    on others are handled.

    Args:
        n_components: shared variates; None = as many as the second largest rank of the views.
        ridge: r, at least 0: one number, or one for each view; "cv" = 10^−6 … 10 times each view's mean variance,
            whichever has the largest total correlation on held-out rows.
        cv: folds of ridge="cv".

    Attributes:
        eigenvalues_: (k,) from large to small.
        weights_: per view (feature, k): its estimate of the shared variates is (view − mean) @ weights.
        means_: per view (feature,).
        loadings_: per view (feature, k) correlation of each column with the shared variates.
        n_components_: k. n_views_: how many. ranks_, ridge_: per view.
        ridge_search_: with ridge="cv", "ridge" (candidate, view) and "score" (candidate,); else None.

    Example:
        >>> draws = np.random.default_rng(0)
        >>> shared = draws.normal(size=(500, 1))
        >>> views = [np.hstack([shared + draws.normal(size=(500, 1)), draws.normal(size=(500, 3))]) for _ in range(3)]
        >>> gcca = GeneralizedCCA(n_components=1).fit(views)
        >>> gcca.eigenvalues_.round(0).tolist(), gcca.transform([views[0], None, None]).shape
        ([2.0], (500, 1))

    Source: MAXVAR (Horst 1961; Kettenring 1971; with regularisation Rastogi, Van Durme, Arora 2015).
    """

    def __init__(self, *, n_components: int | None = None, ridge: Any = 0.0, cv: int = 5) -> None:
        self.n_components = n_components
        self.ridge = ridge
        self.cv = cv

    def fit(self, views: Sequence[Any], y: Any = None) -> Self:
        """Fit to rows that all views have.

        Args:
            views: two or more (row, feature) arrays of numbers.
            y: ignored, there for scikit-learn's conventions.

        Raises:
            AlignmentError: fewer than 2 views or rows, different numbers of rows, NaN or inf, a constant view, or more
                components than the views span together.
        """
        self._fit(self._blocks(views, reset=True))
        return self

    def partial_fit(self, views: Sequence[Any], y: Any = None) -> Self:
        """Take in more rows; memory depends on the numbers of columns only. See `CCA.partial_fit`."""
        self._gather(self._blocks(views, reset=self._parts is None, least_rows=1))
        return self

    def transform(self, views: Sequence[Any]) -> Floats:
        """(row, k) shared variates: the mean of the given views' estimates.

        Args:
            views: in the order of `fit`, None for an absent one; at least one is given.
        """
        solution = self._solved()
        given = self._given(views)
        total = sum(projected(_one(view, i), solution.means[i], solution.weights[i]) for i, view in given.items())
        return np.asarray(total / len(given))

    def predict(self, views: Sequence[Any], *, view: int) -> Floats:
        """(row, feature) of one view, as the variates of the given other views tell it: the least-squares prediction.

        Args:
            views: in the order of `fit`, None for an absent one; what is given for the predicted view is not read.
            view: the number of the view to predict, from 0.
        """
        solution = self._solved()
        num_views = len(solution.means)
        if not isinstance(view, int | np.integer) or not 0 <= view < num_views:
            raise AlignmentError(f"expected view to be a number in 0 … {num_views - 1}, found {view!r}")
        given = self._given([None if i == view else one for i, one in enumerate(views)])
        maps = np.split(solution.onto(list(given), int(view)), len(given))
        parts = [projected(_one(one, i), solution.means[i], solution.weights[i] @ onto)
                 for (i, one), onto in zip(given.items(), maps)]
        return np.asarray(sum(parts) + solution.means[view])

    def score(self, views: Sequence[Any], y: Any = None) -> float:
        """Total correlation on these rows: Σ over components of the estimates' correlation, averaged over pairs."""
        solution = self._solved()
        blocks = self._blocks(views, reset=False)
        return variates_correlation(blocks, solution.means, solution.weights)

    @property
    def eigenvalues_(self) -> Floats:
        return self._solved().eigenvalues

    @property
    def weights_(self) -> list[Floats]:
        return list(self._solved().weights)

    @property
    def means_(self) -> list[Floats]:
        return list(self._solved().means)

    @property
    def loadings_(self) -> list[Floats]:
        return list(self._solved().loadings)

    @property
    def n_components_(self) -> int:
        return len(self._solved().eigenvalues)

    @property
    def n_views_(self) -> int:
        return len(self._solved().means)

    @property
    def ranks_(self) -> tuple[int, ...]:
        return self._solved().ranks

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    def _weights(self, whitened: Whitened) -> tuple[Floats, ...]:
        return shared_weights(whitened, components_of(self.n_components))[1]

    def _solve(self, whitened: Whitened) -> Shared:
        return solve_shared(whitened, components_of(self.n_components))

    def _blocks(self, views: Sequence[Any], *, reset: bool, least_rows: int = 2) -> Blocks:
        if not isinstance(views, list | tuple):
            raise AlignmentError(f"give the views as a list, fit([X, Y, Z]), found one {type(views).__name__}")
        if len(views) < 2:
            raise AlignmentError(f"expected a list of 2 views or more, found {len(views)}")
        absent = [i for i, view in enumerate(views) if view is None]
        if absent:
            raise AlignmentError(f"view {absent[0]} is None: rows are fitted and scored where all views are there; "
                                 f"only transform and predict take absent ones")
        names = [_name(i) for i in range(len(views))]
        arrays = [view_of(view, name, least_rows=least_rows) for view, name in zip(views, names)]
        refuse_unpaired(arrays, names)
        components_of(self.n_components)
        if reset:
            self._widths = tuple(view.shape[1] for view in arrays)
        self._refuse_other(arrays)
        return Blocks.of(arrays, names)

    def _given(self, views: Sequence[Any]) -> dict[int, Array]:
        arrays = [None if view is None else view_of(view, _name(i)) for i, view in enumerate(views)]
        self._refuse_other(arrays)
        refuse_unpaired(arrays, [_name(i) for i in range(len(arrays))])
        given = {i: view for i, view in enumerate(arrays) if view is not None}
        if not given:
            raise AlignmentError(f"all {len(arrays)} views are absent: at least one is needed")
        return given

    def _refuse_other(self, views: Sequence[Array | None]) -> None:
        if len(views) != len(self._widths):
            raise AlignmentError(f"expected {len(self._widths)} views, None for absent ones, found {len(views)}")
        for i, (view, width) in enumerate(zip(views, self._widths)):
            if view is not None:
                refuse_other_width(view, _name(i), width)


def _name(i: int) -> str:
    return f"views[{i}]"


def _one(view: Array, i: int) -> Blocks:
    return Blocks.of((view,), (_name(i),))
