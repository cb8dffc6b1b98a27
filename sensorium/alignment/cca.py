"""Canonical correlation analysis: the directions of two views that agree most, in closed form."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from sensorium.alignment.blocks import Blocks, Floats
from sensorium.alignment.pair_estimator import NAMES, PairEstimator, Views
from sensorium.alignment.project import projected


class CCA(PairEstimator):
    """Weights a, b that maximise corr(X a, y b), pair after pair, each uncorrelated with those before.

    With S the covariance matrices (divisor: rows − 1) of the centred views and r the ridge, correlations are the
    singular values of (S_xx + rₓ1)^−½ S_xy (S_yy + r_y1)^−½, and the weights its singular vectors in the coordinates
    of the features: aᵀ(S_xx + rₓ1)a = 1, so without a ridge variates have variance 1 on the training rows. A
    variate's sign makes the largest loading of X positive.

    Rows are read in blocks, as float64: memory maps of any real dtype are never copied whole. Where a view is
    ill-conditioned, the Gram matrix is left for a QR factorisation of the rows. Columns that are constant or depend on
    others are handled: there are as many pairs as the smaller rank.

    Args:
        n_components: pairs of variates; None = as many as there are.
        ridge: r, at least 0: one number, or one for X and one for y; "cv" = 10^−6 … 10 times each view's mean variance,
            whichever has the largest total correlation on held-out rows.
        cv: folds of ridge="cv".

    Attributes:
        correlations_: (k,) canonical correlations, from large to small (with a ridge: the regularised ones).
        x_weights_, y_weights_: (feature, k): variates are (X − x_mean_) @ x_weights_.
        x_mean_, y_mean_: (feature,).
        x_loadings_, y_loadings_: (feature, k) correlation of each column with the variates of its own view.
        n_components_: k. ranks_: the ranks of X and y. ridge_: r of X and of y.
        ridge_search_: with ridge="cv", "ridge" (candidate, 2) and "score" (candidate,); else None.

    Example:
        >>> draws = np.random.default_rng(0)
        >>> shared = draws.normal(size=(500, 1))
        >>> X, y = (np.hstack([shared + draws.normal(size=(500, 1)), draws.normal(size=(500, 3))]) for _ in range(2))
        >>> cca = CCA(n_components=1).fit(X, y)
        >>> cca.correlations_.round(1).tolist(), cca.transform(X).shape
        ([0.5], (500, 1))

    Source: Hotelling (1936); the ridge is Vinod's (1976). scikit-learn's class of this name solves the same problem by
    NIPALS, pair after pair; its `scale` is not needed here, since without a ridge nothing depends on units.
    """

    def __init__(self, *, n_components: int | None = None, ridge: Any = 0.0, cv: int = 5) -> None:
        self.n_components = n_components
        self.ridge = ridge
        self.cv = cv

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to pairs of rows.

        Args:
            X, y: (row, feature) numbers; y may be (row,).

        Raises:
            AlignmentError: fewer than 2 rows, different numbers of rows, NaN or inf, a constant view, or more
                components than the smaller rank.
        """
        self._fit(self._features(self._checked(X, y, reset=True)))
        return self

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Take in more pairs of rows; memory depends on the numbers of columns only.

        The solution is computed when it is first asked for, from the moments of all rows since the first call (or since
        `fit`, which keeps none). It equals `fit`'s to rounding where the views' condition numbers are below 30,000;
        beyond, columns of which others leave less than 10^−12 of the variance count as depending on them.

        Args:
            X, y: as in `fit`; a single row will do.
        """
        self._gather(self._features(self._checked(X, y, reset=self._parts is None, least_rows=1)))
        return self

    def fit_transform(self, X: Any, y: Any) -> tuple[Floats, Floats]:
        """`fit`, then the variates of X and those of y."""
        x_variates, y_variates = self.fit(X, y).transform(X, y)
        return x_variates, y_variates

    def predict(self, X: Any) -> Floats:
        """y as the canonical variates of X tell it: the least-squares prediction from them.

        With all pairs and no ridge it is ordinary least squares of y on X.

        Returns:
            (row, feature of y), or (row,) where y was so.
        """
        predicted = self._predicted(Blocks.of((self._checked_x(X),), ("X",)), 0)
        return predicted[:, 0] if self._one_target else predicted

    def predict_x(self, y: Any) -> Floats:
        """(row, feature of X): X as the canonical variates of y tell it."""
        self._solved()
        return self._predicted(Blocks.of((self._checked_y(y),), ("y",)), 1)

    @property
    def x_loadings_(self) -> Floats:
        return self._solved().loadings[0]

    @property
    def y_loadings_(self) -> Floats:
        return self._solved().loadings[1]

    def _features(self, views: Views) -> Blocks:
        return Blocks.of(views, NAMES)

    def _predicted(self, view: Blocks, i: int) -> Floats:
        solution = self._solved()
        onto = solution.weights[i] @ solution.onto_other[i]
        return np.asarray(projected(view, solution.means[i], onto) + solution.means[1 - i])
