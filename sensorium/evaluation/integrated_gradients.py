"""Integrated gradients of tokens along straight paths, by quadrature that divides a path until every piece adds up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

NODES = 8
SMALLEST = 2.0**-12
TOKENS_AT_ONCE = 1 << 15
Function = Callable[[dict[str, Tensor], Tensor], Tensor]
"""(name → (point, token, width) tokens, (point,) int64 the row that each point's path is of) → (point,) float64."""


@dataclass(frozen=True)
class Integrals:
    """Integrated gradients of some rows.

    Args:
        tokens: name → (row, token) float64.
        start, end: (row,) f at the two ends of each path.
        points: (row,) points of the path that were looked at.
    """

    tokens: dict[str, Tensor]
    start: Tensor
    end: Tensor
    points: Tensor


def integrated(
    function: Function, starts: Mapping[str, Tensor], ends: Mapping[str, Tensor],
    *, steps: int = 16, tolerance: float = 1e-3,
) -> Integrals:
    """Integrated gradients of every token, summed over its channels.

    a_t = Σ_channel (x_t − b_t) · ∫₀¹ ∂f(b + α (x − b)) / ∂x_t dα,        Σ_t a_t = f(x) − f(b)

    The path of each row is cut into pieces. On each, Gauss–Lobatto quadrature of 8 points (exact to degree 13) gives
    the integral and, since its outer points are the piece's ends, the difference that it must add up to. A piece that
    does not is halved: flat stretches cost little, and kinks and sharp turns are found.

    Args:
        function: f; a row's value depends on that row's tokens alone.
        starts, ends: name → (row, token, width) b and x.
        steps: points of a path to begin with, rounded up to pieces of 8.
        tolerance: of the sum over all tokens, relative where the difference is above 1.

    Source: Sundararajan et al. 2017, "Axiomatic attribution for deep networks", equation 1.
    """
    nodes, weights = gauss_lobatto(NODES)
    example = next(iter(ends.values()))
    device, num_rows = example.device, len(example)
    sums = {name: torch.zeros(one.shape[:2], dtype=torch.float64, device=device) for name, one in ends.items()}
    steps_of = {name: ends[name] - starts[name] for name in ends}
    at_ends = torch.zeros(2, num_rows, dtype=torch.float64, device=device)
    used = torch.zeros(num_rows, dtype=torch.long)
    pieces = -(-steps // NODES)
    row = torch.arange(num_rows, device=device).repeat_interleave(pieces)
    low = (torch.arange(pieces, dtype=torch.float64, device=device) / pieces).repeat(num_rows)
    high = low + 1.0 / pieces
    at_once = max(1, TOKENS_AT_ONCE // (NODES * sum(one.shape[1] for one in ends.values())))
    while len(row):
        again = []
        for start in range(0, len(row), at_once):
            own, a, b = (value[start : start + at_once] for value in (row, low, high))
            values, added = _on_pieces(function, starts, steps_of, own, a, b, nodes.to(device), weights.to(device))
            used += torch.bincount(own.cpu(), minlength=num_rows) * NODES
            gap = values[:, -1] - values[:, 0]
            first, last = a == 0.0, b == 1.0
            at_ends[0, own[first]], at_ends[1, own[last]] = values[first, 0], values[last, -1]
            told = torch.stack([one.sum(dim=1) for one in added.values()]).sum(dim=0)
            allowed = 0.25 * tolerance * gap.abs().clamp(min=1.0) * (b - a).clamp(min=1.0 / 32.0)
            done = ((told - gap).abs() <= allowed) | (b - a <= SMALLEST)
            for name, one in added.items():
                sums[name].index_add_(0, own[done], one[done])
            again.append((own[~done], a[~done], b[~done]))
        row, low, high = (torch.cat(parts) for parts in zip(*again, strict=True))
        middle = (low + high) / 2.0
        row, low, high = torch.cat([row, row]), torch.cat([low, middle]), torch.cat([middle, high])
    return Integrals(sums, at_ends[0], at_ends[1], used)


def _on_pieces(
    function: Function, starts: Mapping[str, Tensor], steps: Mapping[str, Tensor],
    row: Tensor, low: Tensor, high: Tensor, nodes: Tensor, weights: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """f at the nodes of some pieces (piece, node), and the integrals over them: name → (piece, token) float64."""
    alpha = (low[:, None] + (high - low)[:, None] * nodes).reshape(-1, 1, 1)
    index = row.repeat_interleave(len(nodes))
    points = {name: (starts[name][index] + alpha.to(step.dtype) * step[index]).requires_grad_()
              for name, step in steps.items()}
    values = function(points, index)
    gradients = torch.autograd.grad(values.sum(), list(points.values()), allow_unused=True)
    added = {}
    for (name, step), gradient in zip(steps.items(), gradients, strict=True):
        slope = torch.zeros_like(points[name]) if gradient is None else gradient
        slopes = rearrange((slope.double() * step[index].double()).sum(dim=2), "(piece node) token -> piece node token",
                           node=len(nodes))
        added[name] = torch.einsum("pnt,n->pt", slopes, weights) * (high - low)[:, None]
    return rearrange(values.detach(), "(piece node) -> piece node", node=len(nodes)), added


def gauss_lobatto(count: int) -> tuple[Tensor, Tensor]:
    """Nodes in 0…1, both ends among them, and weights that add up to 1: exact for polynomials to degree 2·count − 3.

    Example:
        >>> nodes, weights = gauss_lobatto(3)  # Simpson's rule
        >>> [round(float(one), 4) for one in (*nodes, *weights)]
        [0.0, 0.5, 1.0, 0.1667, 0.6667, 0.1667]
    """
    legendre = np.polynomial.legendre.Legendre.basis(count - 1)
    inner = np.sort(np.real(legendre.deriv().roots()))
    nodes = np.concatenate([[-1.0], inner, [1.0]])
    weights = 1.0 / (count * (count - 1) * legendre(nodes) ** 2)
    return torch.from_numpy((nodes + 1.0) / 2.0), torch.from_numpy(weights)
