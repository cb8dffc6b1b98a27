"""Layer-wise learning rates: what lies deeper in a pretrained model changes more slowly."""

from __future__ import annotations

from torch import nn


def layer_factors(backbone: nn.Module, factor: float, decay: float) -> dict[str, float]:
    """Parameter → factor · decay^(layers above it).

    The layers are the items of the outermost lists of modules (the blocks of a transformer, the stages of a
    convolutional network), in the order in which they are registered. What is registered before the first lies below
    all of them (embeddings); anything else outside a list counts with the layer before it (the final norm).

    Source: Howard and Ruder 2018, discriminative fine-tuning; the decay as in ELECTRA and BEiT.
    """
    layers = _layers(backbone, "")
    place: dict[str, int] = {}
    below = -1
    for name, _ in backbone.named_parameters():
        own = next((number for number, prefix in enumerate(layers) if name.startswith(prefix)), None)
        below = below if own is None else own
        place[name] = below
    top = max(len(layers) - 1, 0)
    return {name: factor * decay ** (top - number) for name, number in place.items()}


def _layers(module: nn.Module, path: str) -> list[str]:
    """Prefixes of the items of the outermost lists inside a module."""
    found: list[str] = []
    for name, child in module.named_children():
        inner = f"{path}{name}."
        if isinstance(child, nn.ModuleList):
            found += [f"{inner}{number}." for number in range(len(child))]
        else:
            found += _layers(child, inner)
    return found
