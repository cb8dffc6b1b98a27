"""How much each objective counts in the joint loss, where that is learned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

MOST = 4.0


class UncertaintyWeighting(nn.Module):
    """Weights each loss by how uncertain its target is: exp(−s) · L + s / 2, with s = log σ² learned.

    L is a cross-entropy or half a squared error; for the latter the sum is the negative log-likelihood of a normal law
    with variance σ². A loss that stays large gets a large s and counts less: at the optimum exp(−s) = 1 / (2 L). s is
    kept within ±4, so that a loss which goes to 0 cannot take over. Where a step has no labelled row for an objective,
    its s is left alone.

    Args:
        names: of the objectives.

    Source: Kendall, Gal and Cipolla 2018, equation 10 (one form for classes and numbers; theirs halves the squared
    error in the weight, here it is halved in the loss).
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.log_variances = nn.Parameter(torch.zeros(len(self.names)))

    def forward(self, name: str, loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """The weighed loss of one objective."""
        s = self.log_variances[self.names.index(name)].clamp(-MOST, MOST)
        learns = (loss.detach() != 0).to(s.dtype)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(learns, op=torch.distributed.ReduceOp.MAX)
        return torch.exp(-s) * loss + learns * s / 2.0

    def weights(self) -> dict[str, float]:
        """Objective → exp(−s), what its loss is multiplied by."""
        found = torch.exp(-self.log_variances.detach().clamp(-MOST, MOST)).tolist()
        return dict(zip(self.names, found, strict=True))
