"""Reading a modality: its tokens → one vector of unit mean square, chosen by learned queries."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import in_places
from sensorium.fusion.block import NEVER, heads_of


class Reader(nn.Module):
    """r = rms_norm(Σ_t a_t V x̂_t + b),  x̂ = layer_norm(x),  a = softmax_t(q · x̂_t), each head its part of the width.

    V is applied after the sum over tokens, which costs one product a row instead of one a token.

    Args:
        width: channels of a token and of the vector, a multiple of 16 or less than 32.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = heads_of(width)
        self.queries_and_values = nn.Linear(width, self.num_heads + width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(
        self, values: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch width"]:
        """(batch, width); finite, and of no meaning, in rows without a real token."""
        width = values.shape[2]
        normed = F.layer_norm(values, (width,))
        queries, maps = torch.split(self.queries_and_values.weight, [self.num_heads, width])
        attention = torch.where(mask[:, :, None], F.linear(normed, queries), NEVER).softmax(dim=1)
        read = torch.einsum("bth,btw->bhw", attention, normed)
        parts = torch.einsum("bhw,hpw->bhp", read, rearrange(maps, "(head part) width -> head part width",
                                                            head=self.num_heads))
        return F.rms_norm(rearrange(parts, "batch head part -> batch (head part)") + self.bias, (width,))


class Readers(nn.Module):
    """A reader for each modality.

    Args:
        num_modalities: how many.
        width: channels of a token.
    """

    def __init__(self, num_modalities: int, width: int) -> None:
        super().__init__()
        self.readers = nn.ModuleList(Reader(width) for _ in range(num_modalities))

    def one(self, place: int, tokens: Tokens) -> Float[Tensor, "batch width"]:
        """One modality's vector."""
        vector: Tensor = self.readers[place](tokens.values, tokens.mask)
        return vector

    def forward(
        self, heard: dict[int, Tokens], presence: Bool[Tensor, "batch modality"]
    ) -> Float[Tensor, "batch modality width"]:
        """Each modality's vector in its place, exactly 0 where it is absent."""
        return in_places({place: self.one(place, tokens) for place, tokens in heard.items()}, presence)
