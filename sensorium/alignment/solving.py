"""What the estimators in closed form have in common: moments of rows so far, the solution when it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Generic, TypeVar

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sensorium.alignment.blocks import Blocks, Floats
from sensorium.alignment.checks import folds_wanted
from sensorium.alignment.fitting import Fitted, whiten_parts, whiten_views
from sensorium.alignment.moments import Moments, gather
from sensorium.alignment.ridge import ridges_of
from sensorium.alignment.whitening import Whitened
from sensorium.errors import AlignmentError

Solution = TypeVar("Solution")


class ClosedForm(BaseEstimator, Generic[Solution]):  # type: ignore[misc]
    """An estimator whose solution is a function of its views' whitened moments."""

    ridge: Any
    cv: int
    _solution: Solution | None = None
    _parts: list[Moments] | None = None

    @abstractmethod
    def _solve(self, whitened: Whitened) -> Solution:
        """The solution from whitened views."""

    @abstractmethod
    def _weights(self, whitened: Whitened) -> tuple[Floats, ...]:
        """Its weights alone, for the cross-validation of the ridge."""

    @property
    def ridge_(self) -> tuple[float, ...]:
        self._solved()
        return self._ridges

    @property
    def ridge_search_(self) -> dict[str, Floats] | None:
        self._solved()
        return self._tried

    def __sklearn_is_fitted__(self) -> bool:
        return self._solution is not None or self._parts is not None

    def _fit(self, features: Blocks) -> None:
        """Fit to views that can be read again."""
        self._parts = None
        ridges = ridges_of(self.ridge, features.names)
        self._take(whiten_views(features, ridges, folds=folds_wanted(self.cv), solve=self._weights))

    def _gather(self, features: Blocks) -> None:
        """Add rows to the moments of those before; the solution is computed when it is next asked for."""
        num_folds = folds_wanted(self.cv) if ridges_of(self.ridge, features.names) is None else 1
        self._parts = gather(features, num_folds, after=self._parts or ())
        self._view_names, self._feature_widths, self._solution = features.names, features.widths, None

    def _take(self, fitted: Fitted) -> Solution:
        solution = self._solve(fitted.whitened)
        self._ridges, self._tried, self._solution = fitted.ridges, fitted.tried, solution
        return solution

    def _solved(self) -> Solution:
        check_is_fitted(self)
        if self._solution is not None:
            return self._solution
        assert self._parts is not None
        count = sum(part.count for part in self._parts)
        if count < 2:
            raise AlignmentError(f"canonical correlations need at least 2 rows, partial_fit has seen {count}")
        ridges = ridges_of(self.ridge, self._view_names)
        return self._take(
            whiten_parts(self._parts, self._view_names, self._feature_widths, ridges, solve=self._weights))
