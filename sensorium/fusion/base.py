"""The contract of fusions: the tokens of any subset of modalities → one representation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.encoders.base import Tokens


@dataclass(frozen=True)
class Fused:
    """What every fusion returns.

    Args:
        vector: (batch, width) the representation of each row's subset.
        tokens: fused tokens, where the method makes some.
        weights: (batch, modality) how much each modality was listened to; non-negative, rows sum to 1 over the
            present modalities and are 0 elsewhere. None where the method has no such weights.
        voices: (batch, modality, width) what each modality adds to the vector, 0 where it is absent, where the method
            adds them up: vector = (something of the presence alone) + Σ_m voices_m.
    """

    vector: Float[Tensor, "batch width"]
    tokens: Tokens | None = None
    weights: Float[Tensor, "batch modality"] | None = None
    voices: Float[Tensor, "batch modality width"] | None = None


class Fusion(nn.Module, ABC):
    """Any subset of modalities → one vector. Absent modalities' values are never read.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token.
        timed: modalities whose spans are seconds on the sample's clock, where there are at least two; else none.

    Attributes:
        volume: (modality,) 1 in training; what a modality adds to the vector is multiplied by it. Held-out rows may
            turn down a modality that misleads (training/volume.py).
    """

    volume: Tensor

    def __init__(self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.names = names
        self.width = width
        self.timed = timed
        self.register_buffer("volume", torch.ones(len(names)))

    @abstractmethod
    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """Fuse.

        Args:
            tokens: by modality name; a name may be left out only where its presence is False in every row.
            presence: (batch, modality) in the order of `names`; every row has at least one True.
        """


def pooled(tokens: Tokens, present: Bool[Tensor, "batch"]) -> Float[Tensor, "batch width"]:
    """The mean of a modality's real tokens; exactly 0, and without gradient, for absent rows (`where`d away)."""
    mask = (tokens.mask & present[:, None])[:, :, None]
    values = torch.where(mask, tokens.values, 0.0)
    return values.sum(dim=1) / mask.sum(dim=1).clamp(min=1)
