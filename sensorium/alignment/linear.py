"""One linear projection per modality into a shared space: set by CCA in closed form, or trained, or both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.errors import AlignmentError

Floats = npt.NDArray[np.float64]
LEAST_LENGTH = 1e-18


class LinearAlignment(nn.Module):
    """Modalities of different widths → unit-length embeddings in one space, where a sample's modalities lie close.

    e_m = p_m / |p_m|  with  p_m = W_m x_m + b_m;  a subset S is embedded as the unit-length mean of e_m over m in S.

    Dot products of embeddings are cosines. At first the projections are random, as any linear layer's; `initialise`
    sets them by canonical correlation analysis, `train_alignment` trains them.

    Args:
        widths: modality → its number of features; two modalities or more.
        width: of the shared space.

    Attributes:
        fitted: whether the projections have met features: by `initialise`, or in training.

    Raises:
        AlignmentError: fewer than two modalities, or a width that is no whole number of at least 1.

    Example:
        >>> alignment = LinearAlignment({"text": 3, "image": 5}, width=2)
        >>> both = alignment.embed({"text": torch.ones(4, 3), "image": torch.ones(4, 5)})
        >>> tuple(both.shape), bool(torch.allclose(both.norm(dim=1), torch.ones(4)))
        ((4, 2), True)
    """

    fitted: Tensor

    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__()
        if len(widths) < 2:
            raise AlignmentError(f"an alignment needs two modalities or more, found {list(widths)}")
        for name, number in {**widths, "the shared space": width}.items():
            if not isinstance(number, int | np.integer) or number < 1:
                raise AlignmentError(f"expected a width of at least 1, found {number} for {name!r}")
        self.widths, self.width = dict(widths), width
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self.projections = nn.ModuleList([nn.Linear(own, width) for own in widths.values()])  # names may hold dots

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities, in order."""
        return tuple(self.widths)

    def layers(self) -> list[nn.Linear]:
        """The projections, in the modalities' order."""
        return [layer for layer in self.projections if isinstance(layer, nn.Linear)]

    def project(self, name: str, values: Float[Tensor, "batch features"]) -> Float[Tensor, "batch width"]:
        """W x + b of one modality, its length not changed: after `initialise`, canonical variates.

        Raises:
            AlignmentError: there is no such modality, or it has another number of features.
        """
        self._check_names([name])
        if values.ndim != 2 or values.shape[1] != self.widths[name]:
            raise AlignmentError(f"{name!r}: expected (row, {self.widths[name]}) features, found "
                                 f"shape {tuple(values.shape)}")
        layer = self.layers()[self.names.index(name)]
        projected: Tensor = layer(values.to(layer.weight.dtype))
        return projected

    def forward(self, views: Mapping[str, Float[Tensor, "batch _"]]) -> dict[str, Float[Tensor, "batch width"]]:
        """The unit-length embedding of each given modality, alone; a projection of zeros stays one."""
        return {name: _unit(self.project(name, values)) for name, values in views.items()}

    def embed(self, views: Mapping[str, Float[Tensor, "batch _"]]) -> Float[Tensor, "batch width"]:
        """One unit-length embedding a row, from the modalities that are given: any subset, the same for all rows.

        Raises:
            AlignmentError: none is given, or they have different numbers of rows.
        """
        if not views:
            raise AlignmentError(f"nothing to embed: give at least one of {', '.join(self.names)}")
        _check_rows(views)
        return _unit(torch.stack(list(self(views).values())).mean(dim=0))

    @torch.no_grad()
    def initialise(self, views: Mapping[str, Any], *, ridge: Any = 0.0, power: float = 0.0) -> Floats:
        """Set all projections in closed form: CCA for two modalities, generalised CCA for more.

        Component k of the projections is the kth canonical variate times ρ_k^power. Canonical variates all have the
        same variance, however little the modalities agree in them; power 1 lets each speak as loudly as it correlates,
        which as a rule retrieves better.

        Args:
            views: modality → (row, features) numbers, row i of each the same sample.
            ridge: as `CCA` has it: a number, one for each modality in order, or "cv".
            power: 0: the estimators' own `transform`, exactly.

        Returns:
            ρ, (width,) from large to small: canonical correlations; for more than two modalities, from the
            eigenvalues λ of generalised CCA, (λ − 1) / (number − 1), in 0…1.

        Raises:
            AlignmentError: a modality is missing or has another width, numbers are not finite, rows differ, or there
                are fewer components than the shared space is wide.

        Example:
            >>> shared = np.random.default_rng(0).normal(size=(100, 3))
            >>> views = {"text": shared, "image": shared[:, :2] @ np.ones((2, 4)) + shared[:, 1:2] * np.arange(4)}
            >>> LinearAlignment({"text": 3, "image": 4}, width=2).initialise(views).round(3).tolist()
            [1.0, 1.0]
        """
        arrays = [_numbers(name, values) for name, values in self._all(views).items()]
        correlations, weights, means = _closed_form(arrays, self.width, ridge)
        loudness = correlations**power
        self.fitted.fill_(True)
        for layer, own, mean in zip(self.layers(), weights, means, strict=True):
            scaled = own * loudness
            layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(scaled.T)))
            layer.bias.copy_(torch.from_numpy(-mean @ scaled))
        return correlations

    def _all(self, views: Mapping[str, Any]) -> dict[str, Any]:
        """All modalities in order."""
        self._check_names(views)
        lacking = [name for name in self.names if name not in views]
        if lacking:
            raise AlignmentError(f"expected all of {', '.join(self.names)}, found {', '.join(views)}")
        for name, values in views.items():
            shape = np.shape(values)
            if shape[1:] != (self.widths[name],):
                raise AlignmentError(f"{name!r}: expected (row, {self.widths[name]}) features, found shape {shape}")
        _check_rows(views)
        return {name: views[name] for name in self.names}

    def _check_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.widths:
                raise AlignmentError(f"no modality {name!r} in this alignment: it has {', '.join(self.names)}")


def _unit(rows: Tensor) -> Tensor:
    """Rows of length 1, however short they were; zeros stay zeros."""
    return F.normalize(rows, dim=1, eps=LEAST_LENGTH)


def _closed_form(views: list[Floats], width: int, ridge: Any) -> tuple[Floats, list[Floats], list[Floats]]:
    """Correlations (width,), and per view weights (feature, width) and mean (feature,)."""
    from sensorium.alignment.cca import CCA
    from sensorium.alignment.generalized_cca import GeneralizedCCA

    if len(views) == 2:
        pair = CCA(n_components=width, ridge=ridge).fit(*views)
        return pair.correlations_, [pair.x_weights_, pair.y_weights_], [pair.x_mean_, pair.y_mean_]
    several = GeneralizedCCA(n_components=width, ridge=ridge).fit(views)
    correlations = np.clip((several.eigenvalues_ - 1) / (len(views) - 1), 0.0, 1.0)
    return correlations, list(several.weights_), list(several.means_)


def _numbers(name: str, values: Any) -> Floats:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    array = array.astype(np.float64, copy=False)
    bad = array.size - int(np.isfinite(array).sum())
    if bad:
        raise AlignmentError(f"{name!r}: {bad} of {array.size} numbers are NaN or infinite")
    return array


def _check_rows(views: Mapping[str, Any]) -> None:
    lengths = {name: len(values) for name, values in views.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise AlignmentError(f"row i of every modality must be the same sample, but their rows differ: {counts}")
