"""A pre-norm transformer block, shared by the encoders of sequences and of table columns."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_WIDTH = 24


class TransformerBlock(nn.Module):
    """x + Attention(LN(x)), then x + MLP(LN(x)) (Xiong et al. 2020); no dropout: all randomness is keyed by row.

    Args:
        width: of the tokens.
        expansion: the MLP's hidden width over `width`.
    """

    def __init__(self, width: int, *, expansion: int = 3) -> None:
        super().__init__()
        self.num_heads = max(h for h in range(1, max(1, width // HEAD_WIDTH) + 1) if width % h == 0)
        self.attention_norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, expansion * width), nn.GELU(),
                                 nn.Linear(expansion * width, width))

    def forward(
        self, values: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token width"]:
        """Mix the real tokens; what stands at padded places is never read by real ones."""
        query, key, value = rearrange(self.to_qkv(self.attention_norm(values)),
                                      "batch token (three head depth) -> three batch head token depth",
                                      three=3, head=self.num_heads)
        keys = rearrange(mask, "batch token -> batch 1 1 token")
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=keys)
        values = values + self.to_out(rearrange(mixed, "batch head token depth -> batch token (head depth)"))
        values = values + self.mlp(values)
        return torch.where(mask[:, :, None], values, 0.0)
