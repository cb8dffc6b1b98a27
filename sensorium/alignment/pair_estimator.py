"""What the two-view estimators have in common: checked input, variates, the solution by its parts."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import RegressorTags, Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sensorium.alignment.blocks import Array, Blocks, Floats
from sensorium.alignment.canonical import Canonical, canonical_weights, solve_pair
from sensorium.alignment.checks import (
    as_alignment_errors,
    components_of,
    refuse_other_width,
    refuse_unpaired,
    view_of,
)
from sensorium.alignment.project import projected, variates_correlation
from sensorium.alignment.solving import ClosedForm
from sensorium.alignment.whitening import Whitened
from sensorium.errors import AlignmentError

NAMES = ("X", "y")
Views = tuple[Array, Array]


class PairEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClosedForm[Canonical]):  # type: ignore[misc]
    """Canonical correlation analysis of features of two views; which features, the estimators say."""

    n_components: int | None

    @abstractmethod
    def _features(self, views: Views) -> Blocks:
        """The features of both views, in blocks."""

    def transform(self, X: Any, y: Any = None) -> Any:
        """Canonical variates.

        Returns:
            (row, k) variates of X, or those of X and those of y where y is given.
        """
        x_variates = self._variates(self._checked_x(X), 0)
        return x_variates if y is None else (x_variates, self._variates(self._checked_y(y), 1))

    def score(self, X: Any, y: Any) -> float:
        """Total correlation on these rows: Σ over pairs of the correlation of their variates, from −k to k.

        It is not the R² of scikit-learn's regressors: the pairs are what is fitted. A variate that is constant on these
        rows correlates by 0.
        """
        solution = self._solved()
        views = self._checked_x(X, least_rows=2), self._checked_y(y, least_rows=2)
        refuse_unpaired(views, NAMES)
        return variates_correlation(self._features(views), solution.means, solution.weights)

    @property
    def correlations_(self) -> Floats:
        return self._solved().correlations

    @property
    def x_weights_(self) -> Floats:
        return self._solved().weights[0]

    @property
    def y_weights_(self) -> Floats:
        return self._solved().weights[1]

    @property
    def x_mean_(self) -> Floats:
        return self._solved().means[0]

    @property
    def y_mean_(self) -> Floats:
        return self._solved().means[1]

    @property
    def n_components_(self) -> int:
        return len(self._solved().correlations)

    @property
    def ranks_(self) -> tuple[int, int]:
        return self._solved().ranks

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor"
        tags.regressor_tags = RegressorTags(poor_score=True)
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags

    def _variates(self, view: Array, i: int) -> Floats:
        solution = self._solved()
        return projected(self._features((view, view)).only(i), solution.means[i], solution.weights[i])

    def _weights(self, whitened: Whitened) -> tuple[Floats, Floats]:
        return canonical_weights(whitened, components_of(self.n_components))[1]

    def _solve(self, whitened: Whitened) -> Canonical:
        return solve_pair(whitened, components_of(self.n_components))

    def _checked(self, X: Any, y: Any, *, reset: bool, least_rows: int = 2) -> Views:
        """Both views as (row, feature) arrays; `reset` learns their numbers of columns, else these must be the same."""
        if y is None:
            raise AlignmentError("this estimator requires y to be passed, but the target y is None: it is a view")
        components_of(self.n_components)
        x_view = self._checked_x(X, reset=reset, least_rows=least_rows)
        y_view = view_of(y, "y", least_rows=least_rows, one_column=True)
        one_target, y_view = y_view.ndim == 1, y_view.reshape(len(y_view), -1)
        refuse_unpaired((x_view, y_view), NAMES)
        if reset:
            self._y_width, self._one_target = y_view.shape[1], one_target
        refuse_other_width(y_view, "y", self._y_width)
        return x_view, y_view

    def _checked_x(self, X: Any, *, reset: bool = False, least_rows: int = 1) -> Array:
        if not reset:
            check_is_fitted(self)
        with as_alignment_errors():
            view: Array = validate_data(self, X, reset=reset, dtype="numeric", ensure_all_finite=False,
                                        ensure_min_samples=least_rows)
        return view

    def _checked_y(self, y: Any, *, least_rows: int = 1) -> Array:
        view = view_of(y, "y", least_rows=least_rows, one_column=True)
        view = view.reshape(len(view), -1)
        refuse_other_width(view, "y", self._y_width)
        return view
