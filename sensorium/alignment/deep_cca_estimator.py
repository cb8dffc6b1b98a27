"""Deep CCA as an estimator: encoders trained so that their outputs correlate, then linear CCA of the outputs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Self, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sensorium.alignment.cca import CCA
from sensorium.alignment.deep_cca import cca_loss, eckart_young_of_halves
from sensorium.alignment.deep_cca_training import (
    CorrelationLoss,
    DeepPlan,
    outputs_of,
    paired_correlations,
    perceptron,
    train_encoders,
)
from sensorium.alignment.deep_cca_views import Floats, View, check_finite, views_of
from sensorium.alignment.generalized_cca import GeneralizedCCA
from sensorium.errors import AlignmentError, unknown_name
from sensorium.keyed import Draws

LOSSES = ("cca", "cca_squared", "eckart_young")
VALIDATION_ROWS = 10_000


class DeepCCA(BaseEstimator):  # type: ignore[misc]
    """Nonlinear maps of two or more views whose outputs correlate as much as possible.

    max Σ_k corr(a_kᵀ f(x), b_kᵀ g(y)): the encoders f and g are trained by gradient descent on a loss of their outputs'
    covariances; closed-form CCA of the training rows' outputs then gives the canonical variates, ordered and with unit
    variance. For three views or more it is generalised CCA, and a view's variates are its estimate of the shared ones.

    Args:
        n_components: canonical variates to keep, and the outputs of the default encoders; 1 … rows − 1.
        encoders: one module a view, each mapping a batch of its view to (batch, dims) with dims >= n_components; they
            are copied, not changed. None: a perceptron a view; views are (row, feature) numbers, whose features are
            centred and scaled together, so standardise features of different units first.
        hidden: widths of the perceptrons' hidden layers.
        loss: "cca", the correlations' sum, or "cca_squared", their squares' (see `cca_loss`), for batches of many more
            rows than outputs; "eckart_young" for any batch. Try both of the former with `validation`.
        ridge: added to the outputs' variances, in the losses but "eckart_young" and in the closed form.
        epochs: passes over the training rows.
        batch_size: rows of a step; all rows where there are fewer.
        learning_rate: AdamW's peak, reached after a tenth of the steps, then falling to 0 as a cosine.
        weight_decay: AdamW's, on matrices and kernels only.
        seed: of weights, order and dropout; equal seeds give equal results on one machine. Global generators are not
            touched.
        device: where to train, such as "cuda"; the fitted encoders stay there.

    Attributes:
        encoders_: the trained modules, in eval mode.
        weights_: one (dims, n_components) a view, from centred outputs to variates; fewer columns where outputs that
            are constant or depend on others leave fewer variates.
        means_: one (dims,) a view, the outputs' means over the training rows.
        correlations_: (n_components,) of the variates on the training rows, averaged over pairs of views.
        history_: an entry an epoch: its number, mean loss, and the total correlation of the validation rows.
        best_epoch_: the epoch whose weights were kept.

    Raises:
        AlignmentError: too few rows, lengths that differ, numbers that are not finite, too many components.

    Example:
        >>> angle = np.linspace(0, 40, 400)
        >>> X, Y = np.stack([np.cos(angle), np.sin(angle)], 1), np.stack([np.cos(2 * angle), angle % 1], 1)
        >>> deep = DeepCCA(1, hidden=(32,), epochs=40, batch_size=200, learning_rate=1e-2).fit(X, Y)
        >>> deep.score(X, Y) > 0.95  # cos 2x is no linear function of cos x and sin x
        True

    Source: Andrew, Arora, Bilmes, Livescu 2013, "Deep canonical correlation analysis"; large batches instead of
    full-batch L-BFGS as in Wang, Arora, Livescu, Bilmes 2015, "On deep multi-view representation learning".
    """

    def __init__(
        self, n_components: int = 50, *, encoders: Sequence[nn.Module] | None = None,
        hidden: Sequence[int] = (1024, 1024), loss: str = "cca", ridge: float = 1e-4, epochs: int = 20,
        batch_size: int = 3000, learning_rate: float = 3e-3, weight_decay: float = 0.01, seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.n_components = n_components
        self.encoders = encoders
        self.hidden = hidden
        self.loss = loss
        self.ridge = ridge
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.seed = seed
        self.device = device

    def fit(
        self, X: View | Sequence[View], Y: View | None = None, *, validation: Sequence[View] | None = None,
    ) -> Self:
        """Train on aligned rows.

        Args:
            X: the first view, or a list of all views; arrays or tensors, rows first; (row, feature) without `encoders`.
            Y: the second view where X is the first.
            validation: the same views of other rows. After each epoch their total correlation is measured, and the
                weights of the best epoch are kept; None: those of the last.
        """
        views = views_of(X, Y)
        check_finite(views)
        self._check(views)
        device = torch.device(self.device)
        plan = DeepPlan(self.epochs, self.batch_size, self.learning_rate, self.weight_decay, self.seed)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            _seed(self.seed, device)
            encoders = nn.ModuleList(
                [perceptron(view, self.hidden, self.n_components) for view in views] if self.encoders is None
                else [copy.deepcopy(encoder) for encoder in self.encoders],
            ).to(device)
            self.encoders_ = list(encoders)
            validate = None
            if validation is not None:
                held = views_of(validation, None)
                self._check_like(held, len(views))
                check_finite(held)
                rows = np.arange(len(views[0]), dtype=np.int64)
                some = np.sort(rows[Draws(self.seed, 0, rows).order("validation")][:VALIDATION_ROWS])
                validate = partial(self._validate, [view[some] for view in views], held)
            progress = train_encoders(encoders, views, self._loss(), plan, device=device, validate=validate)
        self.history_, self.best_epoch_ = progress.history, progress.best_epoch
        self._close([outputs_of(encoder, view, device) for encoder, view in zip(encoders, views)])
        return self

    def transform(self, X: View | Sequence[View | None], Y: View | None = None) -> Floats | list[Floats | None]:
        """Canonical variates of new rows.

        Args:
            X: the first view, or a list of all views, None standing for one that is absent.
            Y: the second view where X is the first.

        Returns:
            (row, n_components) for a single array; else a list of them, None where the view is None.
        """
        check_is_fitted(self, "encoders_")
        views: list[View | None]
        if Y is not None:
            views = [cast(View, X), Y]
        elif isinstance(X, list | tuple):
            views = list(X)
        else:
            first = cast(View, X)
            self._check_like([first, *[None] * (len(self.encoders_) - 1)], len(self.encoders_))
            return self._variates(0, first)
        self._check_like(views, len(self.encoders_))
        return [None if view is None else self._variates(place, view) for place, view in enumerate(views)]

    def score(self, X: View | Sequence[View], Y: View | None = None) -> float:
        """Total correlation of other rows: Σ_k of the correlation between k-th variates, averaged over pairs of views.

        The maps are those of the training rows; nothing is fitted to the given rows but their means and variances.
        """
        check_is_fitted(self, "encoders_")
        views = views_of(X, Y)
        self._check_like(views, len(self.encoders_))
        return float(paired_correlations([self._variates(place, view) for place, view in enumerate(views)]).sum())

    def _variates(self, place: int, view: View) -> Floats:
        if not len(view):
            raise AlignmentError(f"view {place} has no rows")
        check_finite([view], first=place)
        outputs = outputs_of(self.encoders_[place], view, torch.device(self.device))
        return np.asarray((outputs - self.means_[place]) @ self.weights_[place])

    def _validate(self, training: list[View], held: list[View]) -> float:
        """Total correlation of held-out rows under the closed form of some training rows."""
        device = torch.device(self.device)
        self._close([outputs_of(encoder, view, device) for encoder, view in zip(self.encoders_, training)])
        return self.score(held)

    def _close(self, outputs: list[Floats]) -> None:
        """The closed form on outputs: weights, means and correlations."""
        narrowest = min(view.shape[1] for view in outputs)
        if narrowest < self.n_components:
            raise AlignmentError(f"n_components={self.n_components} of encoders, of which one has {narrowest} outputs")
        if len(outputs) == 2:
            pair = CCA(ridge=self.ridge).fit(*outputs)
            weights, self.means_ = [pair.x_weights_, pair.y_weights_], [pair.x_mean_, pair.y_mean_]
        else:
            several = GeneralizedCCA(ridge=self.ridge).fit(outputs)
            weights, self.means_ = list(several.weights_), list(several.means_)
        self.weights_ = [each[:, : self.n_components] for each in weights]
        variates = [(view - mean) @ weights for view, mean, weights in zip(outputs, self.means_, self.weights_)]
        self.correlations_ = paired_correlations(variates)

    def _loss(self) -> CorrelationLoss:
        if self.loss not in LOSSES:
            raise AlignmentError(str(unknown_name("loss of deep CCA", self.loss, list(LOSSES))))
        if self.loss == "eckart_young":
            return eckart_young_of_halves
        return partial(cca_loss, ridge=self.ridge, squared=self.loss == "cca_squared")

    def _check(self, views: list[View]) -> None:
        for name in ("n_components", "epochs", "batch_size"):
            number = getattr(self, name)
            if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 1:
                raise AlignmentError(f"deep CCA: expected {name} to be a whole number of at least 1, found {number!r}")
        self._loss()
        for place, view in enumerate(views):
            flat = view if isinstance(view, torch.Tensor) else torch.as_tensor(np.asarray(view))
            if bool((flat == flat[:1]).all()):
                raise AlignmentError(f"view {place} of shape {tuple(view.shape)} is constant: nothing correlates with "
                                     f"it")
        if len(views[0]) <= self.n_components:
            raise AlignmentError(f"deep CCA: n_components={self.n_components} of {len(views[0])} rows, expected fewer "
                                 "components than rows")
        dims = max([self.n_components] if self.encoders is None else [1])
        if self.loss != "eckart_young" and min(self.batch_size, len(views[0])) <= dims:
            raise AlignmentError(f"deep CCA: batches of {min(self.batch_size, len(views[0]))} rows cannot correlate "
                                 f"{dims} components: take a larger batch_size, or loss='eckart_young'")
        if self.encoders is not None:
            if len(self.encoders) != len(views):
                raise AlignmentError(f"deep CCA of {len(views)} views: found {len(self.encoders)} encoders")
            return
        for place, view in enumerate(views):
            if view.ndim != 2:
                raise AlignmentError(f"view {place} has shape {tuple(view.shape)}: the default encoder reads "
                                     "(row, feature); give encoders= for anything else")
        self._num_features = [view.shape[1] for view in views]

    def _check_like(self, views: Sequence[View | None], expected: int) -> None:
        """The number of views, and the widths where the encoders are perceptrons."""
        if len(views) != expected:
            raise AlignmentError(f"deep CCA was fitted on {expected} views, found {len(views)}")
        if self.encoders is not None:
            return
        for place, (view, features) in enumerate(zip(views, self._num_features)):
            if view is not None and tuple(view.shape[1:]) != (features,):
                raise AlignmentError(f"view {place}: expected (row, {features}), found shape {tuple(view.shape)}")


def _seed(seed: int, device: torch.device) -> None:
    """Seed the forked generators, and no other."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
