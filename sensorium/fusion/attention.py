"""Attention fusion: the tokens of all present modalities read each other, then learned queries read them."""

from __future__ import annotations

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion

HEAD_WIDTH = 16
NEVER = -1e9


class AttentionFusion(Fusion):
    """u = |S| · Σ_t a_t V_m(t) x_t, a = softmax_t(q · x_t − log n_m(t)); z = u + mlp(u), a head at a time.

    x are the tokens of the present modalities after one block of attention among them all; the sum runs over the
    real ones. The factor |S| lets the evidence of independent modalities add up, as log-likelihoods do. Subtracting
    log n_m, a modality's number of tokens, lets modalities compete as one each, so that 49 picture cells do not drown
    one table row. The weights are a modality's share of a, the mean over heads.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.

    Example:
        >>> fusion = AttentionFusion(("photo", "note"), 32)
        >>> tokens = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> fusion({"photo": tokens}, torch.tensor([[True, False]] * 3)).vector.shape
        torch.Size([3, 32])
    """

    def __init__(self, names: tuple[str, ...], width: int) -> None:
        super().__init__(names, width)
        self.num_heads = max(1, width // HEAD_WIDTH)
        self.modality = nn.Parameter(0.02 * torch.randn(len(names), width))
        self.norm_attend = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width)
        self.mlp = _mlp(width)
        self.norm_query = nn.LayerNorm(width, elementwise_affine=False)
        self.query = nn.Linear(width, self.num_heads, bias=False)
        self.values = nn.ModuleList(nn.Linear(width, width) for _ in names)
        self.after = _mlp(width)

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width) and each modality's share; a row's absent modalities are not read."""
        places = [place for place, name in enumerate(self.names) if name in tokens]
        masks = [tokens[self.names[place]].mask & presence[:, place, None] for place in places]
        values = [torch.where(mask[:, :, None], tokens[self.names[place]].values + self.modality[place], 0.0)
                  for place, mask in zip(places, masks, strict=True)]
        bias = torch.cat([_per_modality(mask, values[0].dtype) for mask in masks], dim=1)
        read = self._mix(torch.cat(values, dim=1), bias)
        scores = self.query(self.norm_query(read)) + bias[:, :, None]
        sizes = [mask.shape[1] for mask in masks]
        shares, parts = torch.split(scores.softmax(dim=1), sizes, dim=1), torch.split(read, sizes, dim=1)
        total = sum(self._read(share, self.values[place](part))
                    for place, share, part in zip(places, shares, parts, strict=True))
        total = total * presence.sum(dim=1, keepdim=True)
        return Fused(total + self.after(total), weights=self._weights(places, shares))

    def _mix(self, values: Float[Tensor, "batch token width"], bias: Float[Tensor, "batch token"]) -> Tensor:
        """One pre-norm transformer block over all present tokens."""
        query, key, value = rearrange(self.attend(self.norm_attend(values)),
                                      "batch token (part head width) -> part batch head token width",
                                      part=3, head=self.num_heads)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=bias[:, None, None, :])
        values = values + self.attended(rearrange(read, "batch head token width -> batch token (head width)"))
        mixed: Tensor = values + self.mlp(values)
        return mixed

    def _read(self, share: Float[Tensor, "batch token head"], values: Float[Tensor, "batch token width"]) -> Tensor:
        """Σ_t a_t v_t of one modality, each head its own part of the width."""
        by_head = rearrange(values, "batch token (head width) -> batch token head width", head=self.num_heads)
        return rearrange((share[:, :, :, None] * by_head).sum(dim=1), "batch head width -> batch (head width)")

    def _weights(self, places: list[int], shares: tuple[Tensor, ...]) -> Float[Tensor, "batch modality"]:
        """Each modality's share of the attention, the mean over heads."""
        columns = [shares[0].new_zeros(len(shares[0])) for _ in self.names]
        for place, share in zip(places, shares, strict=True):
            columns[place] = reduce(share, "batch token head -> batch", "sum") / self.num_heads
        return torch.stack(columns, dim=1)


def _per_modality(mask: Bool[Tensor, "batch token"], dtype: torch.dtype) -> Float[Tensor, "batch token"]:
    """−log n for a row's n real tokens, practically −∞ elsewhere."""
    count = mask.sum(dim=1, keepdim=True).clamp(min=1).to(dtype)
    return torch.where(mask, -torch.log(count), NEVER)


def _mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
