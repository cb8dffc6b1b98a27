"""Transformer fusion: one transformer over all tokens of all modalities, read by a class token: the strong baseline."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion
from sensorium.fusion.block import Block, keys_only, only_real
from sensorium.fusion.timing import clock, first_slopes, joined, time_bias


class TransformerFusion(Fusion):
    """z = LN(c'),  [c', x'] = Block ∘ … ∘ Block([c, {x_mt + e_m : m ∈ S}]).

    c is a learned class token and e_m a modality's embedding; every token attends to every other, in every block.
    Tokens of absent modalities are not there. Of the last block only the class token is computed, for nothing else is
    read. Where modalities share a clock, half of the heads prefer what happens at the same time (timing.py).

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.
        timed: modalities whose spans are seconds on one clock.
        depth: blocks.

    Example:
        >>> fusion = TransformerFusion(("photo", "note"), 32)
        >>> tokens = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> fusion({"photo": tokens}, torch.tensor([[True, False]] * 3)).vector.shape
        torch.Size([3, 32])

    Source: Vaswani et al. 2017, "Attention is all you need", with the class token of Devlin et al. 2019 (BERT) and the
    modality embeddings of Kim et al. 2021 (ViLT).
    """

    def __init__(
        self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset(), *, depth: int = 2
    ) -> None:
        super().__init__(names, width, timed)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.modality = nn.Parameter(0.02 * torch.randn(len(names), width))
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.norm = nn.LayerNorm(width)
        if timed:
            self.log_slopes = first_slopes(self.num_heads)

    @property
    def num_heads(self) -> int:
        """Attention heads of a block."""
        block = self.blocks[0]
        assert isinstance(block, Block)
        return block.num_heads

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width); a row's absent modalities are not read."""
        heard = self.at_hand(tokens, presence)
        values = torch.cat([self.class_token.expand(presence.shape[0], 1, -1),
                            *(one.values + self.modality[place] for place, one in heard.items())], dim=1)
        mask = F.pad(torch.cat([one.mask for one in heard.values()], dim=1), (1, 0), value=True)
        bias = keys_only(only_real(mask, values.dtype))
        if self.timed:
            times = joined([clock(one, self.names[place] in self.timed) for place, one in heard.items()])
            apart = time_bias(self.log_slopes, self.num_heads, times, times)
            bias = bias + F.pad(apart, (1, 0, 1, 0))
        for number, block in enumerate(self.blocks):
            last = number == len(self.blocks) - 1
            values = block(values, bias[:, :, :1] if last else bias, first=1 if last else None)
        vector: Tensor = self.norm(values[:, 0])
        return Fused(vector)
