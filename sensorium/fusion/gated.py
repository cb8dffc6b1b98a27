"""Gated fusion: for every channel, a gate that has seen all present modalities divides attention among them."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion, in_places
from sensorium.fusion.block import NEVER
from sensorium.fusion.reading import Readers


class GatedFusion(Fusion):
    """z = Σ_{m ∈ S} g_m ⊙ h_m,  h_m = tanh(W_m r_m + b_m),  g = softmax over m ∈ S of Σ_{k ∈ S} U_mk r_k, by channel.

    r_m is what learned queries read from modality m's tokens. With two modalities this is the gated multimodal unit:
    g_1 = σ((U_1 − U_2) [r_1, r_2]), g_2 = 1 − g_1. Gates are renormalised over the present modalities, an absent one is
    not seen by the others' gates, and at first all gates are equal. The weights are a modality's mean gate.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.
        timed: of no meaning here.

    Example:
        >>> fusion = GatedFusion(("photo", "note"), 32)
        >>> tokens = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> fusion({"photo": tokens, "note": tokens}, torch.ones(3, 2, dtype=torch.bool)).weights[0].tolist()
        [0.5, 0.5]

    Source: Arevalo et al. 2017, "Gated multimodal units for information fusion", equations of section 3.1; softmax over
    any number of modalities where they have a sigmoid for two.
    """

    def __init__(self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset()) -> None:
        super().__init__(names, width, timed)
        self.read = Readers(len(names), width)
        self.maps = nn.ModuleList(nn.Linear(width, width) for _ in names)
        for linear in self.maps.parameters():
            nn.init.zeros_(linear) if linear.ndim == 1 else nn.init.xavier_normal_(linear)
        self.gates = nn.Parameter(torch.zeros(len(names), len(names), width, width))

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width), each modality's mean gate and voice; a row's absent modalities are not read."""
        read = self.read(self.at_hand(tokens, presence), presence)
        scores = torch.einsum("bki,mkoi->bmo", read, self.gates)
        gates = torch.where(presence[:, :, None], scores, NEVER).softmax(dim=1)
        hidden = {place: torch.tanh(linear(read[:, place])) for place, linear in enumerate(self.maps)}
        voices = self.volume[:, None] * gates * in_places(hidden, presence)
        return Fused(voices.sum(dim=1), weights=gates.detach().mean(dim=2), voices=voices)
