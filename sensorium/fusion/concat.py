"""Concatenation fusion: a linear map of the modalities' mean tokens side by side."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor, nn

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion, pooled


class ConcatFusion(Fusion):
    """z = b(presence) + (M / |S|) · Σ_{m ∈ S} W_m p_m, with p_m the mean of modality m's tokens.

    With all modalities present this is concatenation followed by a linear map; the bias sees the presence bits.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token.
        timed: of no meaning here.
    """

    def __init__(self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset()) -> None:
        super().__init__(names, width, timed)
        self.maps = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in names)
        self.bias = nn.Linear(len(names), width)

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width); a row's absent modalities are not read."""
        bits = presence.to(self.bias.weight.dtype)
        scale = len(self.names) / bits.sum(dim=1, keepdim=True).clamp(min=1.0)
        voices = bits.new_zeros((*presence.shape, self.width))
        for place, one in self.at_hand(tokens, presence).items():
            voices[:, place] = self.volume[place] * scale * self.maps[place](pooled(one, presence[:, place]))
        return Fused(self.bias(bits) + voices.sum(dim=1), voices=voices)
