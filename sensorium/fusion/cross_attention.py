"""Cross-attention fusion: the tokens of each modality read those of each other present one."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion, in_places
from sensorium.fusion.block import heads_of, keys_only, mlp_of, only_real
from sensorium.fusion.reading import Readers
from sensorium.fusion.timing import clock, first_slopes, time_bias


class CrossAttentionFusion(Fusion):
    """z = Σ_{m ∈ S} read_m(MLP_m(x_m + O_m · (1 / |S∖m|) · Σ_{k ∈ S∖m} Attention(Q_m x_m, K_k x_k, V_k x_k))).

    Every pair of modalities has a softmax of its own, so that each other modality is heard, however many tokens a third
    one has. A modality that is alone attends to itself. Pre-norm, with residual connections. Where modalities share a
    clock, half of the heads prefer what happens at the same time (timing.py); other positions are in the tokens.
    There are no voices: what a modality's tokens add is for a large part what they have read in the others.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.
        timed: modalities whose spans are seconds on one clock.

    Example:
        >>> fusion = CrossAttentionFusion(("photo", "note"), 32)
        >>> tokens = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> fusion({"photo": tokens}, torch.tensor([[True, False]] * 3)).vector.shape
        torch.Size([3, 32])

    Source: Tsai et al. 2019, "Multimodal transformer for unaligned multimodal language sequences", section 3.2. Here a
    modality's keys and values are made once for all that read it, what it reads is averaged instead of concatenated
    (any subset has the same form), and learned queries take the place of the second transformer: weights grow with
    the number of modalities, not of pairs.
    """

    def __init__(self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset()) -> None:
        super().__init__(names, width, timed)
        self.num_heads = heads_of(width)
        if timed:
            self.log_slopes = first_slopes(self.num_heads)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in names)
        self.attend = nn.ModuleList(nn.Linear(width, 3 * width, bias=False) for _ in names)
        self.attended = nn.ModuleList(nn.Linear(width, width) for _ in names)
        self.mlps = nn.ModuleList(mlp_of(width) for _ in names)
        self.read = Readers(len(names), width)

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width); a row's absent modalities are not read."""
        heard = self.at_hand(tokens, presence)
        projected = {place: rearrange(self.attend[place](self.norms[place](one.values)),
                                      "batch token (part head width) -> part batch head token width",
                                      part=3, head=self.num_heads) for place, one in heard.items()}
        parts = {}
        for place, one in heard.items():
            share = self._listens(place, presence, one.values.dtype)
            read = torch.zeros_like(one.values)
            for source, other in heard.items():
                alone = source == place and len(heard) > 1  # only where a modality is alone does it read itself
                if not alone or torch.compiler.is_exporting() or bool(share[:, source].any()):
                    query, (_, key, value) = projected[place][0], projected[source]
                    mixed = F.scaled_dot_product_attention(
                        query, key, value, attn_mask=self._bias(place, one, source, other).to(query.dtype))
                    read = read + share[:, source, None, None] * rearrange(
                        mixed, "batch head token width -> batch token (head width)")
            values = one.values + self.attended[place](read)
            values = values + self.mlps[place](values)
            parts[place] = self.read.one(place, Tokens(values, one.mask))
        return Fused(in_places(parts, presence).sum(dim=1))

    def _listens(
        self, place: int, presence: Bool[Tensor, "batch modality"], dtype: torch.dtype
    ) -> Float[Tensor, "batch modality"]:
        """How much this modality listens to each: the present others alike, to itself where it is alone."""
        others = presence.clone()
        others[:, place] = False
        alone = ~others.any(dim=1)
        others[:, place] = alone
        return others.to(dtype) / others.sum(dim=1, keepdim=True)

    def _bias(self, place: int, one: Tokens, source: int, other: Tokens) -> Float[Tensor, "batch _ _ key"]:
        """What is added to the scores of the source's tokens."""
        bias = keys_only(only_real(other.mask, one.values.dtype))
        if self.names[place] in self.timed and self.names[source] in self.timed:
            bias = bias + time_bias(self.log_slopes, self.num_heads, clock(one, True), clock(other, True))
        return bias
