"""Tokens of tiny modalities, for the closed forms."""

from __future__ import annotations

import torch

from sensorium.encoders.base import Tokens
from sensorium.fusion import Fusion

WIDTH = 32
NAMES = ("a", "b", "c")
SUBSETS = torch.tensor([[bool(bits >> m & 1) for m in range(3)] for bits in range(1, 8)])


def tokens_of(names: tuple[str, ...] = NAMES, *, num_rows: int = 7, seed: int = 1) -> dict[str, Tokens]:
    """Two to four real tokens each, without padding, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return {name: Tokens(torch.randn(num_rows, 2 + place, WIDTH, generator=generator, dtype=torch.float64),
                         torch.ones(num_rows, 2 + place, dtype=torch.bool)) for place, name in enumerate(names)}


def shaken(fusion: Fusion) -> Fusion:
    """In float64, and with nothing left as it begins."""
    fusion.double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return fusion
