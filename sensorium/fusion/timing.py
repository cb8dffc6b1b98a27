"""When tokens are: what happens at the same time in two modalities attends to each other from the start."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens

STEEPEST = 64.0


@dataclass(frozen=True)
class Clock:
    """When each token is.

    Args:
        span: (batch, token, 2) start and end in seconds; 0 where not known.
        known: (batch, token) whether the token has a time.
    """

    span: Float[Tensor, "batch token 2"]
    known: Bool[Tensor, "batch token"]


def clock(tokens: Tokens, timed: bool) -> Clock:
    """The times of a modality's tokens; none is known where its spans are no seconds."""
    known = tokens.mask if timed and tokens.span is not None else torch.zeros_like(tokens.mask)
    span = torch.zeros(*known.shape, 2, device=known.device) if tokens.span is None else tokens.span[:, :, :2].float()
    return Clock(torch.where(known[:, :, None], span, 0.0), known)


def joined(clocks: list[Clock]) -> Clock:
    """Several modalities' tokens side by side."""
    return Clock(torch.cat([one.span for one in clocks], dim=1), torch.cat([one.known for one in clocks], dim=1))


def first_slopes(num_heads: int) -> nn.Parameter:
    """log s_h of half of the heads, s_h from 1 to 64 per second."""
    return nn.Parameter(torch.linspace(0.0, math.log(STEEPEST), (num_heads + 1) // 2))


def time_bias(
    log_slopes: Float[Tensor, "timed_head"], num_heads: int, queries: Clock, keys: Clock
) -> Float[Tensor, "batch head query key"]:
    """−s_h · (seconds between the spans of two tokens); 0 where one has no time and in heads without a slope.

    The bias of Press et al. 2022 ("Train short, test long") over seconds instead of positions.
    """
    start_a, end_a = (part[:, :, None] for part in queries.span.unbind(dim=-1))
    start_b, end_b = (part[:, None, :] for part in keys.span.unbind(dim=-1))
    gap = (torch.maximum(start_a, start_b) - torch.minimum(end_a, end_b)).clamp(min=0.0)
    gap = torch.where(queries.known[:, :, None] & keys.known[:, None, :], gap, 0.0)
    slopes = F.pad(log_slopes.exp(), (0, num_heads - len(log_slopes)))
    return -rearrange(slopes, "head -> 1 head 1 1") * gap[:, None]
