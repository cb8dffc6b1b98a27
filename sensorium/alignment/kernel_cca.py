"""Kernel canonical correlation analysis: exact for a few thousand rows, by finite features beyond."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from sklearn.utils import Tags, check_random_state
from sklearn.utils.metaestimators import available_if

from sensorium.alignment.blocks import Blocks, Floats, refuse_not_finite
from sensorium.alignment.canonical import least_squares
from sensorium.alignment.checks import folds_wanted
from sensorium.alignment.feature_maps import FeatureMap, exact_map, fourier_map, nystroem_map
from sensorium.alignment.fitting import refuse_constant, whiten_orthogonal
from sensorium.alignment.kernels import kernels_of
from sensorium.alignment.pair_estimator import NAMES, PairEstimator, Views
from sensorium.alignment.ridge import ridges_of
from sensorium.errors import AlignmentError, unknown_name

APPROXIMATIONS = ("nystroem", "fourier")
MOST_EXACT_ROWS = 10_000


class KernelCCA(PairEstimator):
    """CCA of φ(X) and ψ(y), where φ and ψ are the features that two kernels are inner products of.

    Without an approximation the centred (row, row) kernel matrices are decomposed: memory grows with rows², time with
    rows³. With "nystroem" (kernel values at landmarks) or "fourier" (random cosines, rbf only) φ and ψ are
    `n_features` numbers and the rest is `CCA`: one pass over blocks of rows. Definitions are `CCA`'s, the covariances
    being those of φ(X) and ψ(y); with kernel="linear" so are the results. In a space of as many features as rows
    everything correlates, so the ridge is what makes a solution say something; for an rbf kernel φ has a total
    variance of at most 1.

    Args:
        n_components: pairs of variates; None = as many as there are.
        kernel: "linear", "rbf", "poly", "precomputed" ((row, row) values, (new row, row) in `transform`), a callable
            from two arrays of rows to (row a, row b) values, or a tuple of two of these.
        gamma: of rbf and poly: a number, "scale" = 1 / (features · variance of all numbers of the view), or one for
            each view.
        degree, coef0: of poly.
        ridge: r, at least 0: one number, or one for X and one for y; "cv" = 10^−6 … 10 times the mean variance of a
            feature of φ, whichever has the largest total correlation on held-out rows.
        cv: folds of ridge="cv".
        approximation: None, "nystroem" or "fourier".
        n_features: landmarks or random features a view.
        random_state: draws landmarks and random features.

    Attributes:
        correlations_: (k,) canonical correlations, from large to small.
        x_weights_, y_weights_: (feature of φ, k).
        kernels_: the kernel of X and of y, gamma resolved. n_components_, ranks_, ridge_, ridge_search_: as in `CCA`.

    Example:
        >>> angle = np.linspace(0.0, 6.0, 200)[:, None]
        >>> circle, line = np.hstack([np.cos(angle), np.sin(angle)]), angle / 6.0
        >>> float(KernelCCA(n_components=1, ridge=1e-4).fit(circle, line).score(circle, line).__round__(2))
        1.0

    Source: Akaho (2001); Bach and Jordan (2002), with the ridge on φ's covariance; random features as in Lopez-Paz et
    al. (2014, "Randomized nonlinear component analysis").
    """

    _onto_y: tuple[Floats, Floats] | None = None

    def __init__(
        self, *, n_components: int | None = None, kernel: Any = "rbf", gamma: Any = "scale", degree: float = 3.0,
        coef0: float = 1.0, ridge: Any = 1e-3, cv: int = 5, approximation: Literal["nystroem", "fourier"] | None = None,
        n_features: int = 1000, random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.ridge = ridge
        self.cv = cv
        self.approximation = approximation
        self.n_features = n_features
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to pairs of rows.

        Args:
            X, y: (row, feature) numbers, or (row, row) kernel values; y may be (row,).

        Raises:
            AlignmentError: what `CCA.fit` refuses, a kernel that is not positive semidefinite, or more rows than an
                exact solution is for.
        """
        views = self._checked(X, y, reset=True)
        if self.approximation is None:
            self._parts = None
            ridges, folds = ridges_of(self.ridge, NAMES), folds_wanted(self.cv)
            features, means = self._exact(views)
            self._take(whiten_orthogonal(features, means, ridges, folds=folds, solve=self._weights))
        else:
            self._settle(views)
            self._fit(self._features(views))
        self._onto_y = self._regression(views)
        return self

    @available_if(lambda self: self.approximation is not None)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any) -> Self:
        """Take in more pairs of rows, with an approximation; see `CCA.partial_fit`.

        The first call settles gamma="scale" and the landmarks, so it should hold more than `n_features` rows that look
        like those to come.
        """
        first = self._parts is None
        views = self._checked(X, y, reset=first, least_rows=1)
        if first:
            self._settle(views)
        self._gather(self._features(views))
        self._onto_y = None
        return self

    def predict(self, X: Any) -> Floats:
        """y as the canonical variates of X tell it: the least-squares prediction from them.

        Returns:
            (row, feature of y), or (row,) where y was so.

        Raises:
            AlignmentError: y was given as a kernel, or to `partial_fit`, which doesn't keep y's own numbers.
        """
        variates = self.transform(X)
        if self._onto_y is None:
            raise AlignmentError("predict needs the numbers of y, but they were given as a kernel, or to partial_fit: "
                                 "use fit with another kernel of y")
        onto, mean = self._onto_y
        predicted = variates @ onto + mean
        return np.asarray(predicted[:, 0] if self._one_target else predicted)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        x_kernel = self.kernel[0] if isinstance(self.kernel, tuple | list) else self.kernel
        tags.input_tags.pairwise = isinstance(x_kernel, str) and x_kernel == "precomputed"
        return tags

    def _features(self, views: Views) -> Blocks:
        return Blocks(views, NAMES, tuple(self._maps), tuple(one.width for one in self._maps))

    def _settle(self, views: Views) -> None:
        """Draw the random features or the landmarks."""
        if self.approximation not in APPROXIMATIONS:
            raise AlignmentError(str(unknown_name("approximation", str(self.approximation), list(APPROXIMATIONS))))
        if not isinstance(self.n_features, int | np.integer) or self.n_features < 1:
            raise AlignmentError(f"expected n_features to be a whole number of at least 1, found {self.n_features!r}")
        self.kernels_ = kernels_of(self.kernel, self.gamma, self.degree, self.coef0, views, NAMES)
        draws = check_random_state(self.random_state)
        maps: list[FeatureMap] = []
        for kernel, view, name in zip(self.kernels_, views, NAMES):
            if self.approximation == "fourier":
                maps.append(fourier_map(kernel, view.shape[1], int(self.n_features), draws))
                continue
            chosen = np.sort(draws.permutation(len(view))[: self.n_features])
            maps.append(nystroem_map(kernel, _float_rows(view[chosen], name), name))
        self._maps = maps

    def _exact(self, views: Views) -> tuple[Blocks, list[Floats]]:
        """Centred features of the training rows whose columns are orthogonal, and the means they had."""
        count = len(views[0])
        if count > MOST_EXACT_ROWS:
            raise AlignmentError(f"exact kernel CCA decomposes two matrices of {count:,} rows and columns, more than "
                                 f"the {MOST_EXACT_ROWS:,} it is for: use approximation='nystroem' or 'fourier'")
        rows = [_float_rows(view, name) for view, name in zip(views, NAMES)]
        refuse_constant(NAMES, [np.ptp(part, axis=0) for part in rows], count)
        self.kernels_ = kernels_of(self.kernel, self.gamma, self.degree, self.coef0, views, NAMES)
        found = [exact_map(kernel, part, name) for kernel, part, name in zip(self.kernels_, rows, NAMES)]
        self._maps = [one for one, _, _ in found]
        return Blocks.of([features for _, _, features in found], NAMES), [mean for _, mean, _ in found]

    def _regression(self, views: Views) -> tuple[Floats, Floats] | None:
        """(k, feature) map from variates of X to centred y, and (feature,) mean of y; None for a precomputed kernel."""
        if self.kernels_[1].name == "precomputed":
            return None
        variates = self._variates(views[0], 0)
        targets = _float_rows(views[1], "y")
        mean = targets.mean(axis=0)
        targets -= mean
        return least_squares(variates.T @ variates, variates.T @ targets), mean


def _float_rows(view: Any, name: str) -> Floats:
    """A float64 copy of a view, after checking that its numbers are finite."""
    rows = np.array(view, dtype=np.float64)
    refuse_not_finite(name, rows, 0)
    return rows
