"""The training of a linear alignment, every step written out: frozen features, projections, a loss, AdamW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.alignment.contrastive import info_nce
from sensorium.alignment.deep_cca import cca_loss
from sensorium.alignment.deep_cca_training import rate
from sensorium.alignment.linear import LinearAlignment
from sensorium.alignment.temperature import Temperature
from sensorium.errors import AlignmentError
from sensorium.keyed import Draws

Objective = Literal["contrast", "correlate"]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class AlignmentPlan:
    """How to train.

    Args:
        epochs: passes over the rows.
        batch_size: rows of a step; all rows where there are fewer. "correlate" needs more rows than the space is wide.
        learning_rate: AdamW's peak, reached after a tenth of the steps, then falling to 0 as a cosine.
        weight_decay: AdamW's, on the projections' matrices.
        hide: share of the features that a step does not see, 0 … below 1, others for every row and epoch; one number,
            or modality → its own. Frozen encoders give thousands of features, which are learned by heart otherwise.
        temperature: of "contrast" to begin with, in .01…1; it is learned.
        seed: of the order of rows and of whatever is drawn; equal seeds give equal results.
    """

    epochs: int = 10
    batch_size: int = 256
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    hide: float | Mapping[str, float] = 0.5
    temperature: float = 0.07
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            number = getattr(self, name)
            if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 1:
                raise AlignmentError(f"training an alignment: expected {name} to be a whole number of at least 1, "
                                     f"found {number!r}")
        if not 0.0 <= self.learning_rate < float("inf") or not 0.0 <= self.weight_decay < float("inf"):
            raise AlignmentError(f"training an alignment: expected learning_rate and weight_decay of at least 0, "
                                 f"found {self.learning_rate!r} and {self.weight_decay!r}")
        for share in self.hide.values() if isinstance(self.hide, Mapping) else [self.hide]:
            if not 0.0 <= share < 1.0:
                raise AlignmentError(f"training an alignment: expected hide in 0 … below 1, found {share!r}")

    def hidden(self, names: Sequence[str]) -> dict[str, float]:
        """Modality → the share of its features to hide.

        Raises:
            AlignmentError: `hide` names other modalities than these.
        """
        if not isinstance(self.hide, Mapping):
            return dict.fromkeys(names, self.hide)
        if set(self.hide) != set(names):
            raise AlignmentError(f"hide: expected a share for each of {', '.join(names)}, found {', '.join(self.hide)}")
        return dict(self.hide)


@dataclass(frozen=True)
class _Features:
    """One modality's standardised features: (row, variant, features) values = (given − mean) / scale."""

    values: Tensor
    mean: Tensor
    scale: Tensor


def train_alignment(
    alignment: LinearAlignment, views: Mapping[str, Any], *, objective: Objective = "contrast",
    keys: npt.NDArray[np.integer] | None = None, plan: AlignmentPlan | None = None,
) -> list[float]:
    """Train the projections in place: from the closed form where `initialise` came first, else from random ones.

    "contrast" is InfoNCE of the unit-length embeddings, averaged over pairs of modalities, with a learned temperature.
    "correlate" is minus the total canonical correlation of the projections, which are at last turned into canonical
    variates of the rows. Steps are taken on features of mean 0 and mean variance 1, whatever units the views have.

    Args:
        alignment: trained in place; works on the device that it is on.
        views: modality → (row, features) numbers, or (row, variant, features): several readings of one cell (a name,
            the name with its tags; a picture, the picture turned), of which every step draws one for each row.
        objective: what to learn.
        keys: (row,) or (row, key) numbers: rows with an equal number >= 0 are not contrasted with each other.
        plan: how to train; the defaults of AlignmentPlan where None.

    Returns:
        The mean loss of every epoch.

    Raises:
        AlignmentError: a modality is missing or has another width, rows differ, numbers are not finite, or the batches
            are too small for the objective.

    Example:
        >>> points = np.random.default_rng(0).normal(size=(64, 3))
        >>> alignment = LinearAlignment({"text": 3, "image": 3}, width=2)
        >>> plan = AlignmentPlan(epochs=30, hide=0.0)
        >>> losses = train_alignment(alignment, {"text": points, "image": -points}, plan=plan)
        >>> losses[-1] < losses[0]
        True
    """
    if objective not in ("contrast", "correlate"):
        raise AlignmentError(f"unknown objective {objective!r}: choose 'contrast' or 'correlate'")
    plan = AlignmentPlan() if plan is None else plan
    device = alignment.layers()[0].weight.device
    features = _features(alignment, views, device)
    count = len(next(iter(features.values())).values)
    if objective == "contrast" and min(plan.batch_size, count) < 2:
        raise AlignmentError(f"contrast needs at least 2 rows a step, found {count} rows and batch_size="
                             f"{plan.batch_size}")
    places = None if keys is None else _keys(keys, count).to(device)
    temperature = Temperature(plan.temperature).to(device)
    fitted = bool(alignment.fitted)
    if fitted:
        _absorb(alignment, features)  # else they are random, and random they are for standardised features
    try:
        losses = _epochs(alignment, features, objective, places, temperature, plan)
    except AlignmentError:  # refused: as it was
        if fitted:
            _release(alignment, features)
        raise
    except BaseException:  # interrupted: as far as it got
        _release(alignment, features)
        raise
    _release(alignment, features)
    alignment.fitted.fill_(True)
    if objective == "correlate":
        _into_variates(alignment, features)
    return losses


def _keys(keys: npt.NDArray[np.integer], count: int) -> Tensor:
    """(row, key) int64."""
    if np.asarray(keys).dtype.kind not in "iu":
        raise AlignmentError(f"keys must be whole numbers, found {np.asarray(keys).dtype}: number them, "
                             f"np.unique(keys, return_inverse=True)[1]")
    if len(keys) != count:
        raise AlignmentError(f"the modalities have {count} rows, but keys for {len(keys)} were given")
    return torch.from_numpy(np.asarray(keys).reshape(count, -1).astype(np.int64))


def _epochs(
    alignment: LinearAlignment, features: Mapping[str, _Features], objective: Objective, keys: Tensor | None,
    temperature: Temperature, plan: AlignmentPlan,
) -> list[float]:
    rows = np.arange(len(next(iter(features.values())).values), dtype=np.int64)
    hide = plan.hidden(alignment.names)
    steps_per_epoch = max(1, len(rows) // plan.batch_size)
    matrices = [p for p in alignment.parameters() if p.ndim >= 2]
    others = [p for p in [*alignment.parameters(), *temperature.parameters()] if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": plan.weight_decay},
                                   {"params": others, "weight_decay": 0.0}], foreach=True)
    means, step = [], 0
    for epoch in range(plan.epochs):
        losses = []
        for batch in np.array_split(rows[Draws(plan.seed, epoch, rows).order("order")], steps_per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * rate((step + 0.5) / (plan.epochs * steps_per_epoch))
            seen = {name: _seen(own, name, batch, Draws(plan.seed, epoch, batch), hide[name])
                    for name, own in features.items()}
            if objective == "contrast":
                chosen = None if keys is None else keys[torch.from_numpy(batch).to(keys.device)]
                pairs = list(combinations(alignment(seen).values(), 2))
                loss = torch.stack([info_nce(a, b, scale=temperature(), keys=chosen) for a, b in pairs]).mean()
            else:
                loss = cca_loss([alignment.project(name, values) for name, values in seen.items()])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            temperature.clamp_()
            losses.append(loss.detach())
            step += 1
        means.append(float(torch.stack(losses).mean()))
    return means


def _seen(features: _Features, name: str, batch: Int64s, draws: Draws, hide: float) -> Tensor:
    """(row, features) one variant of each row, a share of its features hidden, never all, and the others enlarged."""
    _, variants, width = features.values.shape
    device = features.values.device
    chosen = torch.from_numpy(draws.integers(f"variant/{name}", high=variants)).to(device)
    values = features.values[torch.from_numpy(batch).to(device), chosen]
    if hide == 0.0:
        return values
    kept = torch.from_numpy(draws.uniform(f"hide/{name}", width) >= hide).to(device)
    some = kept.any(dim=1, keepdim=True)
    return torch.where(some, torch.where(kept, values / (1.0 - hide), 0.0), values)


def _features(alignment: LinearAlignment, views: Mapping[str, Any], device: torch.device) -> dict[str, _Features]:
    """All modalities in the alignment's order, checked and standardised."""
    unknown, lacking = set(views) - set(alignment.names), set(alignment.names) - set(views)
    if unknown or lacking:
        raise AlignmentError(f"expected the modalities {', '.join(alignment.names)}, found {', '.join(views)}")
    lengths = [len(values) for values in views.values()]
    if len(set(lengths)) > 1:
        raise AlignmentError(f"row i of every modality must be the same sample, found {lengths} rows")
    dtype = alignment.layers()[0].weight.dtype
    features = {}
    for name in alignment.names:
        values = torch.as_tensor(views[name]).detach().double()
        if values.ndim not in (2, 3) or values.shape[-1] != alignment.widths[name] or 0 in values.shape:
            raise AlignmentError(f"{name!r}: expected (row, {alignment.widths[name]}) or (row, variant, "
                                 f"{alignment.widths[name]}) features, found {tuple(values.shape)}")
        if not bool(torch.isfinite(values).all()):
            raise AlignmentError(f"{name!r}: {int((~torch.isfinite(values)).sum())} numbers are NaN or infinite")
        values = values[:, None] if values.ndim == 2 else values
        mean = values.mean(dim=(0, 1))
        scale = (values - mean).square().mean().sqrt()
        if float(scale) == 0.0:
            raise AlignmentError(f"{name!r} is constant over {len(values)} rows: nothing can be aligned with it")
        features[name] = _Features(((values - mean) / scale).to(device, dtype), mean.to(device, dtype),
                                   scale.to(device, dtype))
    return features


@torch.no_grad()
def _absorb(alignment: LinearAlignment, features: Mapping[str, _Features]) -> None:
    """Turn the projections of the views into those of the standardised features that answer the same."""
    for layer, own in zip(alignment.layers(), features.values(), strict=True):
        layer.bias.add_(layer.weight @ own.mean)
        layer.weight.mul_(own.scale)


@torch.no_grad()
def _release(alignment: LinearAlignment, features: Mapping[str, _Features]) -> None:
    """The inverse of `_absorb`."""
    for layer, own in zip(alignment.layers(), features.values(), strict=True):
        layer.weight.div_(own.scale)
        layer.bias.sub_(layer.weight @ own.mean)


@torch.no_grad()
def _into_variates(alignment: LinearAlignment, features: Mapping[str, _Features]) -> None:
    """Follow the projections by the closed form of what they give for the rows (the mean of a row's variants)."""
    given = {name: own.values.mean(dim=1) * own.scale + own.mean for name, own in features.items()}
    projected = {name: alignment.project(name, values) for name, values in given.items()}
    closing = LinearAlignment(dict.fromkeys(alignment.names, alignment.width), alignment.width)
    closing.to(alignment.layers()[0].weight).initialise(projected)
    for layer, last in zip(alignment.layers(), closing.layers(), strict=True):
        layer.weight.copy_(last.weight @ layer.weight)
        layer.bias.copy_(last.weight @ layer.bias + last.bias)
