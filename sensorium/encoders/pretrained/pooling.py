"""Fewer tokens by averaging neighbours: along a sequence, or over a grid of cells."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sensorium.encoders.base import Tokens


def pool_sequence(tokens: Tokens, most: int | None) -> Tokens:
    """At most `most` tokens a row: a row with more is cut into `most` even parts, each one averaged.

    Args:
        tokens: real ones first in every row; spans (start, end).
        most: None: nothing is averaged.
    """
    lengths = tokens.mask.sum(dim=1)
    if most is None or tokens.values.shape[1] <= most:
        return tokens
    kept = lengths.clamp(max=most)
    place = torch.arange(tokens.values.shape[1], device=lengths.device)
    parts = (place * kept[:, None]) // lengths[:, None].clamp(min=1)
    member = F.one_hot(parts.clamp(max=most - 1), most) * tokens.mask[:, :, None]
    share = (member / member.sum(dim=1, keepdim=True).clamp(min=1)).to(tokens.values.dtype)
    values = torch.einsum("btp,bth->bph", share, torch.where(tokens.mask[:, :, None], tokens.values, 0.0))
    mask = torch.arange(most, device=lengths.device) < kept[:, None]
    span = None
    if tokens.span is not None:
        inside = member.bool()
        start = torch.where(inside, tokens.span[:, :, None, 0], torch.inf).amin(dim=1)
        end = torch.where(inside, tokens.span[:, :, None, 1], -torch.inf).amax(dim=1)
        span = torch.where(mask[:, :, None], torch.stack([start, end], dim=-1), 0.0)
    return Tokens(values, mask, span)


def smaller_grid(sizes: tuple[int, ...], most: int | None) -> tuple[int, ...]:
    """The sides of a grid of at most `most` cells: the longest, of equal ones the last, loses a cell until it is so.

    Example:
        >>> smaller_grid((16, 16), 64), smaller_grid((8, 14, 14), 64), smaller_grid((4, 4), None)
        ((8, 8), (4, 4, 4), (4, 4))
    """
    sides = list(sizes)
    while most is not None and torch.Size(sides).numel() > max(1, most):
        longest = max(range(len(sides)), key=lambda k: (sides[k], k))
        sides[longest] -= 1
    return tuple(sides)


def pool_grid(
    grid: Float[Tensor, "batch hidden *cells"], sides: tuple[int, ...],
) -> Float[Tensor, "batch token hidden"]:
    """Average over a grid of 2 or 3 dimensions down to these sides, then one token a cell, the last side fastest."""
    if tuple(grid.shape[2:]) != sides:
        wanted: list[int] = list(sides)
        pool: Any = F.adaptive_avg_pool2d if len(sides) == 2 else F.adaptive_avg_pool3d
        grid = pool(grid, wanted)
    return rearrange(grid, "batch hidden ... -> batch (...) hidden")


def edges(cells: int, parts: int) -> Float[Tensor, "part 2"]:
    """(part, 2) start and end in 0…1 of the parts that adaptive averaging makes of so many cells; they may overlap."""
    part = torch.arange(parts)
    start = (part * cells) // parts
    end = -((-(part + 1) * cells) // parts)
    return torch.stack([start, end], dim=-1) / cells
