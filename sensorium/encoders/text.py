"""Text from scratch: a small transformer over byte-level BPE tokens."""

from __future__ import annotations

import torch
from torch import nn

from sensorium.data.kinds import Inputs, TextKind
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.transformer import TransformerBlock


class TextTransformer(Encoder):
    """Token and position embeddings, then pre-norm transformer blocks (Vaswani et al. 2017).

    Args:
        vocabulary: token numbers are below this.
        max_tokens: the longest text.
        width: of the returned tokens.
        depth: blocks.
    """

    def __init__(self, vocabulary: int, max_tokens: int, width: int, *, depth: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(max_tokens, width) * 0.1)
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=0.3)

    @classmethod
    def build(cls, kind: TextKind, width: int) -> TextTransformer:
        """For a measured kind."""
        assert kind.max_tokens is not None
        return cls(kind.num_tokens(), kind.max_tokens, width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, token) token numbers → (row, token, width); spans are character offsets."""
        assert inputs.mask is not None
        values = self.embedding(inputs.values) + self.position[: inputs.values.shape[1]]
        values = torch.where(inputs.mask[:, :, None], values, 0.0)
        for block in self.blocks:
            values = block(values, inputs.mask)
        return Tokens(self.norm(values), inputs.mask, inputs.span)
