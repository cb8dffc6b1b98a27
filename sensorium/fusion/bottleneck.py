"""Bottleneck fusion: modalities tell each other things through a few shared tokens only."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion, in_places, shares
from sensorium.fusion.block import Block, keys_only, per_modality
from sensorium.fusion.reading import Readers


class BottleneckFusion(Fusion):
    """z = (1 / |S|) · Σ_{m ∈ S} read_m(x_m),  in each layer  b ← mean_{m ∈ S} Block(b | x_m),  x_m ← Block(x_m | b).

    b are a few learned bottleneck tokens. In each layer they first ask every modality's tokens, each modality on its
    own, and the answers of the present modalities are averaged, the absent ones skipped; then every modality's tokens
    attend to one another and to the bottleneck, never to another modality. What matters gets through, at the cost of
    attention within modalities. A modality's tokens and the bottleneck count alike, however many tokens there are
    (−log n is added to the scores of n keys).

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.
        timed: of no meaning here: tokens of two modalities never meet.
        depth: layers; information crosses once in each.
        num_bottlenecks: bottleneck tokens.

    Example:
        >>> fusion = BottleneckFusion(("photo", "note"), 32)
        >>> tokens = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> fusion({"photo": tokens}, torch.tensor([[True, False]] * 3)).vector.shape
        torch.Size([3, 32])

    Source: Nagrani et al. 2021, "Attention bottlenecks for multimodal fusion", equations 8 and 9. There, b and x_m
    change in one step, so that what a modality is told is one layer old and the last answers are lost; with two layers,
    that took twice the steps to the XOR of two modalities (docs/fusion.md). The modalities share each layer's weights,
    told apart by an embedding, and are read by learned queries instead of a class token.
    """

    def __init__(
        self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset(), *, depth: int = 2,
        num_bottlenecks: int = 4,
    ) -> None:
        super().__init__(names, width, timed)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.modality = nn.Parameter(0.02 * torch.randn(len(names), width))
        self.bottleneck = nn.Parameter(0.02 * torch.randn(num_bottlenecks, width))
        self.read = Readers(len(names), width)

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width), each modality's share and voice; a row's absent modalities are not read."""
        heard = self.at_hand(tokens, presence)
        size, count = len(self.bottleneck), presence.sum(dim=1)
        values = {place: one.values + self.modality[place] for place, one in heard.items()}
        biases = {place: keys_only(torch.cat([
            per_modality(torch.ones_like(one.mask[:, :1]).expand(-1, size), one.values.dtype),
            per_modality(one.mask, one.values.dtype)], dim=1)) for place, one in heard.items()}
        shared = self.bottleneck.expand(presence.shape[0], -1, -1)
        for block in self.blocks:
            assert isinstance(block, Block)
            own = {place: block.project(x) for place, x in values.items()}
            asks = block.project(shared)
            told = [torch.where(presence[:, place, None, None], block.mix(
                shared, asks[0], _beside(asks[1:], own[place][1:]), biases[place]), 0.0) for place in values]
            shared = torch.stack(told).sum(dim=0) / count[:, None, None]
            says = block.project(shared)[1:]
            values = {place: block.mix(x, own[place][0], _beside(says, own[place][1:]), biases[place])
                      for place, x in values.items()}
        voices = in_places({place: self.volume[place] * self.read.one(place, Tokens(values[place], one.mask))
                            / count[:, None] for place, one in heard.items()}, presence)
        vector = voices.sum(dim=1)
        return Fused(vector, weights=shares(voices, vector, presence), voices=voices)


def _beside(
    one: Float[Tensor, "part batch head _ own_width"], other: Float[Tensor, "part batch head _ own_width"]
) -> list[Tensor]:
    """Keys and values of both side by side."""
    return list(torch.cat([one, other], dim=3))
