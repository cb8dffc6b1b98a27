"""Which parts of a model are not trained, and until which epoch: a function of the epoch alone, so that runs resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from sensorium.errors import RecipeError, unknown_name
from sensorium.model import Model

PARTS = ("encoders", "fusion", "all")


def frozen_modules(model: Model, freeze: Mapping[str, int | None]) -> list[tuple[nn.Module, int | None]]:
    """The modules of some parts, each with the epochs in which it is not trained; None: it never is.

    Args:
        model: its modalities name the encoders.
        freeze: a modality, encoders, fusion or all (of these; the heads are left) → first epochs, or None. A module
            that is named twice is frozen for as long as the part that names it more narrowly says.

    Raises:
        RecipeError: an unknown part.
    """
    names = model.schema.names
    found: dict[str, int | None] = {}
    for part in sorted(freeze, key=lambda one: PARTS[::-1].index(one) if one in PARTS and one not in names else 3):
        if part in names:
            found[part] = freeze[part]
            continue
        if part not in PARTS:
            raise RecipeError(f"transfer.freeze: {unknown_name('part', part, [*names, *PARTS])}")
        if part != "fusion":
            found |= dict.fromkeys(names, freeze[part])
        if part != "encoders":
            found["fusion"] = freeze[part]
    modules: list[tuple[nn.Module, int | None]] = []
    for place, name in enumerate(names):
        if name in found:
            modules.append((model.encoders[place], found[name]))
    if "fusion" in found and "fusion" not in names:
        modules.append((model.fusion, found["fusion"]))
    return modules


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
            for module, epochs in frozen_modules(model, model.recipe.transfer.freeze)]
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
