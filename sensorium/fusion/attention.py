"""Attention fusion: the tokens of all present modalities read each other, then learned queries read them."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion

HEAD_WIDTH = 16
NEVER = -1e9
STEEPEST = 64.0


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
        self.num_heads = max(1, width // HEAD_WIDTH)
        if timed:
            self.log_slopes = nn.Parameter(torch.linspace(0.0, math.log(STEEPEST), (self.num_heads + 1) // 2))
        self.modality = nn.Parameter(0.02 * torch.randn(len(names), width))
        self.norm_attend = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(),
                                 nn.Linear(2 * width, width))
        self.norm_query = nn.LayerNorm(width, elementwise_affine=False)
        self.query = nn.Linear(width, self.num_heads, bias=False)
        self.values = nn.ModuleList(nn.Linear(width, width) for _ in names)

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width) and each modality's share; a row's absent modalities are not read."""
        places = [place for place, name in enumerate(self.names) if name in tokens]
        masks = [tokens[self.names[place]].mask & presence[:, place, None] for place in places]
        values = [torch.where(mask[:, :, None], tokens[self.names[place]].values + self.modality[place], 0.0)
                  for place, mask in zip(places, masks, strict=True)]
        bias = torch.cat([_per_modality(mask, values[0].dtype) for mask in masks], dim=1)
        scores = rearrange(bias, "batch token -> batch 1 1 token")
        if self.timed:
            scores = scores + self._apart([tokens[self.names[place]] for place in places], places, masks)
        parts = torch.split(self._mix(torch.cat(values, dim=1), scores), [mask.shape[1] for mask in masks], dim=1)
        voices = values[0].new_zeros((*presence.shape, self.width))
        for place, part, mask in zip(places, parts, masks, strict=True):
            voice = self.volume[place] * self._read(place, part, mask)
            voices[:, place] = torch.where(presence[:, place, None], voice, 0.0)
        vector = voices.sum(dim=1)
        carried = torch.einsum("bmw,bw->bm", voices.detach(), vector.detach())
        carried = torch.where(presence, carried.clamp(min=1e-6), 0.0)
        return Fused(vector, weights=carried / carried.sum(dim=1, keepdim=True), voices=voices)

    def _apart(
        self, tokens: list[Tokens], places: list[int], masks: list[Bool[Tensor, "batch token"]]
    ) -> Float[Tensor, "batch head token token"]:
        """Minus slope times the seconds between two tokens, 0 where one has none and in heads without a slope."""
        spans, known = [], []
        for one, place, mask in zip(tokens, places, masks, strict=True):
            there = mask if self.names[place] in self.timed and one.span is not None else torch.zeros_like(mask)
            span = torch.zeros(*mask.shape, 2, device=mask.device) if one.span is None else one.span[:, :, :2]
            spans.append(torch.where(there[:, :, None], span.float(), 0.0))
            known.append(there)
        start, end = torch.cat(spans, dim=1).unbind(dim=-1)
        both = torch.cat(known, dim=1)
        latest = torch.maximum(start[:, :, None], start[:, None, :])
        gap = (latest - torch.minimum(end[:, :, None], end[:, None, :])).clamp(min=0.0)
        gap = torch.where(both[:, :, None] & both[:, None, :], gap, 0.0)
        slopes = F.pad(self.log_slopes.exp(), (0, self.num_heads - len(self.log_slopes)))
        return -rearrange(slopes, "head -> 1 head 1 1") * gap[:, None]

    def _mix(
        self, values: Float[Tensor, "batch token width"], bias: Float[Tensor, "batch _ _ token"]
    ) -> Float[Tensor, "batch token width"]:
        """One pre-norm transformer block over all present tokens; the bias is added to the scores of the keys."""
        query, key, value = rearrange(self.attend(self.norm_attend(values)),
                                      "batch token (part head width) -> part batch head token width",
                                      part=3, head=self.num_heads)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        values = values + self.attended(rearrange(read, "batch head token width -> batch token (head width)"))
        mixed: Tensor = values + self.mlp(values)
        return mixed

    def _read(
        self, place: int, tokens: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch width"]:
        """v_m of one modality, each head its own part of the width."""
        scores = torch.where(mask[:, :, None], self.query(self.norm_query(tokens)), NEVER)
        values = rearrange(self.values[place](tokens), "batch token (head width) -> batch token head width",
                           head=self.num_heads)
        read = (scores.softmax(dim=1)[:, :, :, None] * values).sum(dim=1)
        return F.rms_norm(rearrange(read, "batch head width -> batch (head width)"), (self.width,))


def _per_modality(mask: Bool[Tensor, "batch token"], dtype: torch.dtype) -> Float[Tensor, "batch token"]:
    """−log n for a row's n real tokens, practically −∞ elsewhere."""
    count = mask.sum(dim=1, keepdim=True).clamp(min=1).to(dtype)
    return torch.where(mask, -torch.log(count), NEVER)
