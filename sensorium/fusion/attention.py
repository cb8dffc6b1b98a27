"""Attention fusion: the tokens of all present modalities read each other, then learned queries read them."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion, in_places, shares
from sensorium.fusion.block import NEVER, Block, keys_only, per_modality
from sensorium.fusion.timing import clock, first_slopes, joined, time_bias


class AttentionFusion(Fusion):
    """z = Σ_{m ∈ S} v_m, v_m = rms_norm(Σ_t a_mt V_m x_mt).

    x are the tokens of the present modalities after one block of attention among them all; a_m is what learned
    queries, one a head, read from modality m's tokens. Summing lets the evidence of independent modalities add up, as
    log-likelihoods do. Every v_m has the same length: a modality that is certain of everything it has seen in training
    cannot shout down one that knows when it is unsure (with free or even bounded learned weights, sounds of unseen
    speakers overruled clear pictures). In the block, log n_m is subtracted from the n_m tokens of a modality, so that
    49 picture cells do not drown one table row. The weights say how much of z each voice carries, ⟨v_m, z⟩ / |z|²: they
    sum to 1; the rare negative ones are set to 0.

    Where several modalities share a clock, half of the heads prefer what happens at the same time: s_h · (seconds
    between the spans of two tokens) is subtracted from their score, with slopes s_h from 1 to 64 per second at first
    (the bias of Press et al. 2022, "Train short, test long", over seconds instead of positions).

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.
        timed: modalities whose spans are seconds on one clock.

    Example:
        >>> fusion = AttentionFusion(("photo", "note"), 32)
        >>> tokens = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> fusion({"photo": tokens}, torch.tensor([[True, False]] * 3)).vector.shape
        torch.Size([3, 32])
    """

    def __init__(self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset()) -> None:
        super().__init__(names, width, timed)
        self.modality = nn.Parameter(0.02 * torch.randn(len(names), width))
        self.block = Block(width)
        if timed:
            self.log_slopes = first_slopes(self.block.num_heads)
        self.norm_query = nn.LayerNorm(width, elementwise_affine=False)
        self.query = nn.Linear(width, self.block.num_heads, bias=False)
        self.values = nn.ModuleList(nn.Linear(width, width) for _ in names)

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width) and each modality's share; a row's absent modalities are not read."""
        heard = self.at_hand(tokens, presence)
        masks = [one.mask for one in heard.values()]
        values = torch.cat([torch.where(one.mask[:, :, None], one.values + self.modality[place], 0.0)
                            for place, one in heard.items()], dim=1)
        bias = keys_only(torch.cat([per_modality(mask, values.dtype) for mask in masks], dim=1))
        if self.timed:
            times = joined([clock(one, self.names[place] in self.timed) for place, one in heard.items()])
            bias = bias + time_bias(self.log_slopes, self.block.num_heads, times, times)
        parts = torch.split(self.block(values, bias), [mask.shape[1] for mask in masks], dim=1)
        voices = in_places({place: self.volume[place] * self._read(place, part, mask)
                            for place, part, mask in zip(heard, parts, masks, strict=True)}, presence)
        vector = voices.sum(dim=1)
        return Fused(vector, weights=shares(voices, vector, presence), voices=voices)

    def _read(
        self, place: int, tokens: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch width"]:
        """v_m of one modality, each head its own part of the width."""
        scores = torch.where(mask[:, :, None], self.query(self.norm_query(tokens)), NEVER)
        values = rearrange(self.values[place](tokens), "batch token (head width) -> batch token head width",
                           head=self.block.num_heads)
        read = (scores.softmax(dim=1)[:, :, :, None] * values).sum(dim=1)
        return F.rms_norm(rearrange(read, "batch head width -> batch (head width)"), (self.width,))
