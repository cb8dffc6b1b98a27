"""Rows that lie in several processes, brought together; gradients find their way back to the process of each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

from sensorium.errors import AlignmentError


def num_processes() -> int:
    """How many processes share the work; 1 where torch.distributed was not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def exchanged(numbers: Sequence[int], device: torch.device) -> list[list[int]]:
    """What every process says, in the order of their ranks; all say equally many numbers."""
    own = torch.tensor(list(numbers), dtype=torch.int64, device=device)
    said = [torch.empty_like(own) for _ in range(num_processes())]
    dist.all_gather(said, own)
    return [numbers.tolist() for numbers in said]


def gathered(own: Shaped[Tensor, "row width"], counts: Sequence[int]) -> Shaped[Tensor, "batch width"]:
    """The rows of all processes, in the order of their ranks.

    The gradient of a row is the *sum* of what all processes have for it. Every process has to call this, also one
    without rows, and every process has to call backward.

    Args:
        own: this process's rows, possibly none.
        counts: how many rows each process has.
    """
    rows: Tensor = _Gather.apply(own, tuple(counts))  # type: ignore[no-untyped-call]
    return rows


class _Gather(torch.autograd.Function):
    """All-gather of shares of different sizes, padded to the largest; backward is a reduce-scatter."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, counts: tuple[int, ...]) -> Tensor:
        ctx.counts = counts
        padded = own.new_zeros(max(counts), own.shape[1])
        padded[: len(own)] = own
        shares = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(shares, padded)
        return torch.cat([share[:count] for share, count in zip(shares, counts)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        refuse_second_derivatives()
        counts = ctx.counts
        shares = [F.pad(part, (0, 0, 0, max(counts) - len(part))) for part in torch.split(gradient, counts)]
        own = torch.empty_like(shares[0])
        dist.reduce_scatter(own, shares)
        return own[: counts[dist.get_rank()]], None


def refuse_second_derivatives() -> None:
    """To be called in a backward pass, where gradients are recorded only for a second one."""
    if torch.is_grad_enabled():
        raise AlignmentError("create_graph=True: a contrastive loss in tiles or over several processes can be "
                             "differentiated once; up to 1,024 rows with tile=None and gather=False, twice")


def joined_logsumexp(largest: Float[Tensor, "batch"], sums: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """ln Σ exp over what all processes have: ln(Σ_p sums_p · exp(largest_p)), safely. No gradient.

    Args:
        largest: a finite number at least as large as each number that this process has summed.
        sums: this process's Σ exp(number − largest).
    """
    top = largest.clone()
    dist.all_reduce(top, op=dist.ReduceOp.MAX)
    total = sums * torch.exp(largest - top)
    dist.all_reduce(total)
    return top + total.log()
