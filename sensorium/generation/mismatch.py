"""Another row's condition for a picture, and never one that would be true of it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def mismatches(keys: Int[Tensor, "batch key"], draws: Float[Tensor, "batch"]) -> Int[Tensor, "batch"]:
    """For each row, another row that shares nothing with it, drawn uniformly among those there are.

    Shifting the batch by one would make one of C mismatches a true match where there are C captions.

    Args:
        keys: rows with an equal number ≥ 0 in the same column (the same text, file or class) are not different things.
            Below 0: no key.
        draws: uniform in 0…1.

    Returns:
        (batch,) int64 positions in the batch, −1 where no row differs.

    Example:
        >>> mismatches(torch.tensor([[4, 0], [4, 1], [5, 1]]), torch.tensor([0.3, 0.3, 0.3])).tolist()
        [2, -1, 0]
    """
    alike = torch.eye(len(keys), dtype=torch.bool, device=keys.device)
    for column in keys.unbind(dim=1):
        alike = alike | ((column[:, None] == column[None, :]) & (column >= 0)[:, None])
    counts = (~alike).sum(dim=1)
    wanted = torch.minimum((draws * counts).long(), counts - 1)
    places = (~alike).cumsum(dim=1) - 1
    chosen = ((places == wanted[:, None]) & ~alike).long().argmax(dim=1)
    return torch.where(counts > 0, chosen, -1)
