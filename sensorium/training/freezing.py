"""Which parts of a model are not trained, and until which epoch: a function of the epoch alone, so that runs resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from sensorium.errors import RecipeError, unknown_name
from sensorium.model import Model

PARTS = ("all", "fusion", "encoders")
"""The widest first."""


def frozen_parts(names: Sequence[str], freeze: Mapping[str, int | None]) -> dict[str, int | None]:
    """Modality, or fusion → the epochs in which it is not trained; None: it never is.

    Args:
        names: the modalities.
        freeze: a modality, encoders, fusion or all (of these; the heads are left) → first epochs, or None. What is
            named twice is frozen for as long as the narrower name says.

    Raises:
        RecipeError: an unknown part.
    """
    found: dict[str, int | None] = {}
    widest_first = [part for part in PARTS if part in freeze and part not in names]
    for part in [*widest_first, *(one for one in freeze if one not in widest_first)]:
        if part not in (*names, *PARTS):
            raise RecipeError(f"transfer.freeze: {unknown_name('part', part, [*names, *PARTS])}")
        if part in names:
            found[part] = freeze[part]
            continue
        found |= {} if part == "fusion" else dict.fromkeys(names, freeze[part])
        found |= {} if part == "encoders" or "fusion" in names else {"fusion": freeze[part]}
    return found


def frozen_modules(model: Model) -> dict[str, tuple[nn.Module, int | None]]:
    """The modules of `frozen_parts` of a model's recipe, each with its epochs."""
    names = model.schema.names
    return {part: (model.encoders[names.index(part)] if part in names else model.fusion, epochs)
            for part, epochs in frozen_parts(names, model.recipe.transfer.freeze).items()}


@dataclass(frozen=True)
class _Held:
    """A module, the parameters of it that would be trained, and for how many epochs they are not."""

    module: nn.Module
    parameters: tuple[nn.Parameter, ...]
    epochs: int | None


class Freezing:
    """Holds parts of a model still for their epochs. What is held has no gradient, no moments, no weight decay, and is
    in evaluation mode.

    Args:
        model: what is never trained is held from now on, so that an optimiser made afterwards does not know of it.
        shared: whether several processes share a step. They agree on what has a gradient once and for all, so that
            gradients of what is held for some epochs are dropped instead of not computed.
    """

    def __init__(self, model: Model, *, shared: bool = False) -> None:
        self._shared = shared
        self._held = [
            _Held(module, tuple(p for p in module.parameters() if p.requires_grad), epochs)
            for module, epochs in frozen_modules(model).values()]
        for one in self._held:
            if one.epochs is None:
                for parameter in one.parameters:
                    parameter.requires_grad_(False)

    def before(self, epoch: int) -> None:
        """Before a step's forward pass, after `model.train()`."""
        for one in self._held:
            still = one.epochs is None or epoch < one.epochs
            one.module.train(not still)
            if one.epochs is not None and not self._shared:
                for parameter in one.parameters:
                    parameter.requires_grad_(not still)

    def after(self, epoch: int) -> None:
        """After the backward pass, before anything reads gradients."""
        for one in self._held:
            if self._shared and one.epochs is not None and epoch < one.epochs:
                for parameter in one.parameters:
                    parameter.grad = None

    def release(self) -> None:
        """At the end of the training: what would be trained can be trained again."""
        for one in self._held:
            for parameter in one.parameters:
                parameter.requires_grad_(True)
