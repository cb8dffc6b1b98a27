"""A pre-norm transformer block over tokens with masks, shared by the fusions in which tokens attend to tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_WIDTH = 16
NEVER = -1e9


class Block(nn.Module):
    """x + Attention(LN(x)), then x + MLP(LN(x)); no dropout: all randomness is keyed by row.

    Args:
        width: of the tokens.
        expansion: the MLP's hidden width over `width`.
    """

    def __init__(self, width: int, *, expansion: int = 2) -> None:
        super().__init__()
        self.num_heads = heads_of(width)
        self.norm = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width)
        self.mlp = mlp_of(width, expansion)

    def forward(
        self, values: Float[Tensor, "batch token width"], bias: Float[Tensor, "batch _ _ token"], *,
        first: int | None = None,
    ) -> Float[Tensor, "batch read width"]:
        """Mix the tokens.

        Args:
            values: finite, also where nothing may be read.
            bias: added to the scores of the keys; `NEVER` where a key may not be read. A row in which nothing may be
                read stays finite.
            first: compute only so many of the first tokens; all where None.
        """
        query, *keys_values = self.project(values)
        return self.mix(values[:, :first], query[:, :, :first], keys_values, bias)

    def project(self, values: Float[Tensor, "batch token width"]) -> Float[Tensor, "part batch head token own_width"]:
        """Each token's query, key and value."""
        projected: Tensor = rearrange(self.attend(self.norm(values)), part=3, head=self.num_heads,
                                      pattern="batch token (part head width) -> part batch head token width")
        return projected

    def mix(
        self, values: Float[Tensor, "batch read width"], query: Float[Tensor, "batch head read own_width"],
        keys_values: Sequence[Float[Tensor, "batch head token own_width"]], bias: Float[Tensor, "batch _ _ token"],
    ) -> Float[Tensor, "batch read width"]:
        """What tokens become that ask these keys; where not all that is projected is asked."""
        key, value = keys_values
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        mixed: Tensor = values + self.attended(rearrange(read, "batch head token w -> batch token (head w)"))
        changed: Tensor = self.mlp(mixed)
        return mixed + changed


def heads_of(width: int) -> int:
    """Attention heads of about 16 channels."""
    return max(1, width // HEAD_WIDTH)


def mlp_of(width: int, expansion: int = 2) -> nn.Sequential:
    """A layer norm and a perceptron with one hidden layer."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, expansion * width), nn.GELU(),
                         nn.Linear(expansion * width, width))


def only_real(mask: Bool[Tensor, "batch token"], dtype: torch.dtype) -> Float[Tensor, "batch token"]:
    """0 for real tokens, practically −∞ elsewhere."""
    return torch.where(mask, torch.zeros((), dtype=dtype, device=mask.device), NEVER)


def per_modality(mask: Bool[Tensor, "batch token"], dtype: torch.dtype) -> Float[Tensor, "batch token"]:
    """−log n for a row's n real tokens, practically −∞ elsewhere: many tokens do not drown few."""
    count = mask.sum(dim=1, keepdim=True).clamp(min=1).to(dtype)
    return torch.where(mask, -torch.log(count), NEVER)


def keys_only(bias: Float[Tensor, "batch token"]) -> Float[Tensor, "batch 1 1 token"]:
    """The same for every head and query."""
    return rearrange(bias, "batch token -> batch 1 1 token")
