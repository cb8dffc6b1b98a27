"""Contrastive losses without the matrix of all pairs: tiles of logits, made, used for both directions and forgotten.

With N rows of width d, the losses need the N × N matrix of logits scale · a_i·b_j only through sums over its rows and
columns. One pass over tiles gives the sums; a second one (backward) makes each tile again and multiplies its gradient
with the embeddings at once: four matrix products in place of three, and no memory beyond the embeddings and their
gradients (16 N d bytes in float32), two sums a row and two tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.alignment.gather import joined_logsumexp, refuse_second_derivatives

LOWEST = -1e30
NO_KEY = -2


@dataclass(frozen=True)
class Layout:
    """Which pairs there are: this process's rows are `offset`, `offset` + 1, … of all rows.

    Args:
        num_rows: rows of all processes.
        side: rows and columns of a tile.
        offset: the own column of row 0: pairs (i, offset + i) are the positives.
        processes: among which the rows are divided; 1: all rows are here.
        keys: (batch, key) of all rows: those that share a number ≥ 0 in a column are no negatives of each other. None:
            every other row is a negative.
    """

    num_rows: int
    side: int
    offset: int = 0
    processes: int = 1
    keys: Int[Tensor, "batch key"] | None = None

    def no_negatives(self, rows: slice, columns: slice) -> Tensor | None:
        """Which pairs of a tile are no negatives because they share a key; the positives are not among them."""
        if self.keys is None or self.keys.shape[1] == 0:
            return None
        own = self.keys[self.offset + rows.start : self.offset + rows.stop]
        others = self.keys[columns]
        others = others.masked_fill(others < 0, NO_KEY)
        same = own[:, :1] == others[:, 0]
        for column in range(1, own.shape[1]):
            same |= own[:, column, None] == others[:, column]
        same.diagonal(self.offset + rows.start - columns.start).fill_(False)
        return same


@dataclass(frozen=True)
class Tile:
    """A part of the logits; overwritten by the next tile.

    Args:
        logits: scale · a_i·b_j, −inf where a pair is no negative.
        rows, columns: where it lies.
        spare: memory of the same shape.
        positives: the logits of the positive pairs, a view; often none.
        positive_rows: which rows these are.
    """

    logits: Float[Tensor, "row column"]
    rows: slice
    columns: slice
    spare: Float[Tensor, "row column"]
    positives: Float[Tensor, "positive"]
    positive_rows: slice


def _tiles(a: Tensor, b: Tensor, scale: Tensor, layout: Layout) -> Iterator[Tile]:
    """All tiles, one row of tiles after the other."""
    side = layout.side
    memory = a.new_empty(2, min(side, len(a)), min(side, len(b)))
    for top in range(0, len(a), side):
        rows = slice(top, min(top + side, len(a)))
        scaled = a[rows] * scale
        for left in range(0, len(b), side):
            columns = slice(left, min(left + side, len(b)))
            logits, spare = memory[:, : rows.stop - top, : columns.stop - left].unbind()
            torch.mm(scaled, b[columns].T, out=logits)
            aside = layout.no_negatives(rows, columns)
            if aside is not None:
                logits.masked_fill_(aside, -torch.inf)
            distance = layout.offset + top - left
            positives = logits.diagonal(distance)
            first = top + max(0, -distance)
            yield Tile(logits, rows, columns, spare, positives, slice(first, first + len(positives)))


class _LogSumExp:
    """ln Σ exp of numbers that arrive in parts: the largest number so far, and Σ exp(number − largest)."""

    def __init__(self, like: Tensor) -> None:
        self.largest = like.new_full((len(like),), LOWEST)
        self.sums = like.new_zeros(len(like))

    def add(self, where: slice, logits: Tensor, dim: int, memory: Tensor) -> None:
        """Take in a tile; `memory` is overwritten and may be the tile itself."""
        before = self.largest[where]
        largest = torch.maximum(before, logits.amax(dim))
        torch.sub(logits, largest.unsqueeze(dim), out=memory).exp_()
        self.sums[where] = self.sums[where] * (before - largest).exp() + memory.sum(dim)
        self.largest[where] = largest


def _gradients(
    ctx: Any, weigh: Callable[[Tile], None], factor: Tensor,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients by a, b and scale, from the gradient by the logits.

    Args:
        ctx: with `layout`, the saved a, b and scale, and what is needed.
        weigh: replaces a tile's logits by their gradient, up to a factor.
        factor: this factor.
    """
    a, b, scale = ctx.saved_tensors[:3]
    for_a, for_b, for_scale = ctx.needs_input_grad[:3]
    by_a = torch.zeros_like(a) if for_a or for_scale else None
    by_b = torch.zeros_like(b) if for_b else None
    for tile in _tiles(a, b, scale, ctx.layout):
        weigh(tile)
        if by_a is not None:
            by_a[tile.rows].addmm_(tile.logits, b[tile.columns])
        if by_b is not None:
            by_b[tile.columns].addmm_(tile.logits.T, a[tile.rows])
    by_scale = None
    if by_a is not None:
        by_scale = torch.linalg.vecdot(a, by_a).sum() * factor
        by_a.mul_(scale * factor)
    if by_b is not None:
        by_b.mul_(scale * factor)
    return by_a, by_b, by_scale


class TiledInfoNCE(torch.autograd.Function):
    """The sum of both directions' cross-entropies of this process's rows, times processes / (2 · all rows)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: Tensor, layout: Layout) -> Tensor:
        over_row, over_column = _LogSumExp(a), _LogSumExp(b)
        positives = a.new_empty(len(a))
        with torch.autocast(a.device.type, enabled=False):
            for tile in _tiles(a, b, scale, layout):
                positives[tile.positive_rows] = tile.positives
                over_row.add(tile.rows, tile.logits, 1, tile.spare)
                over_column.add(tile.columns, tile.logits, 0, tile.logits)
        rows = over_row.largest + over_row.sums.log()
        if layout.processes == 1:
            columns = over_column.largest + over_column.sums.log()
        else:
            columns = joined_logsumexp(over_column.largest, over_column.sums)
        ctx.layout, ctx.factor = layout, layout.processes / (2 * max(1, layout.num_rows))
        ctx.save_for_backward(a, b, scale, rows, columns)
        own = columns[layout.offset : layout.offset + len(a)]
        loss: Tensor = ((rows - positives) + (own - positives)).sum() * ctx.factor
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        rows, columns = ctx.saved_tensors[3:]

        def weigh(tile: Tile) -> None:
            torch.sub(tile.logits, rows[tile.rows, None], out=tile.spare).exp_()
            tile.logits.sub_(columns[tile.columns]).exp_().add_(tile.spare)
            tile.positives.sub_(2.0)

        with torch.autocast(gradient.device.type, enabled=False):
            return *_gradients(ctx, weigh, gradient * ctx.factor), None


class TiledSigLIP(torch.autograd.Function):
    """The sum of −ln sigmoid(± logit) over this process's rows and all columns, times processes / all rows."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, layout: Layout) -> Tensor:
        sums = [a.new_zeros(())]
        with torch.autocast(a.device.type, enabled=False):
            for tile in _tiles(a, b, scale, layout):
                tile.logits.add_(bias)
                tile.positives.neg_()
                torch.abs(tile.logits, out=tile.spare).neg_().exp_().log1p_()
                sums.append(tile.spare.sum() + tile.logits.clamp_(min=0.0).sum())  # ln(1 + exp z), in place
        ctx.layout, ctx.factor = layout, layout.processes / max(1, layout.num_rows)
        ctx.save_for_backward(a, b, scale, bias)
        loss: Tensor = torch.stack(sums).sum() * ctx.factor
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivatives()
        bias, by_bias = ctx.saved_tensors[3], []

        def weigh(tile: Tile) -> None:
            tile.logits.add_(bias)
            tile.positives.neg_()
            tile.logits.sigmoid_()
            tile.positives.neg_()
            by_bias.append(tile.logits.sum())

        with torch.autocast(gradient.device.type, enabled=False):
            factor = gradient * ctx.factor
            by_a, by_b, by_scale = _gradients(ctx, weigh, factor)
        return by_a, by_b, by_scale, torch.stack([bias.new_zeros(()), *by_bias]).sum() * factor, None
