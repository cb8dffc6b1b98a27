"""Regress: a number."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.data.schema import Target
from sensorium.fusion.base import Fused
from sensorium.objectives.base import Predictor


def regression_losses(predicted: Float[Tensor, "batch"], truth: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """Half the squared error of standardised numbers, linear beyond two deviations (Huber 1964)."""
    return torch.nn.functional.huber_loss(predicted, truth, delta=2.0, reduction="none")


class Regress(Predictor):
    """A linear head on the standardised target.

    Args:
        target: with the mean and deviation of its training rows.
        width: of the fused vector.
    """

    def __init__(self, target: Target, width: int) -> None:
        super().__init__(target.name, target.weight)
        self.mean = target.mean
        self.std = target.std
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.bias)

    def outputs(self, fused: Fused) -> Float[Tensor, "batch 1"]:
        """Standardised numbers: multiply by the target's deviation and add its mean for original units."""
        numbers: Tensor = self.head(fused.vector)
        return numbers

    def losses(self, outputs: Float[Tensor, "batch 1"], truth: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Loss of each row; the truth is in original units."""
        standardised = (truth.double() - self.mean) / self.std
        return regression_losses(outputs[:, 0], standardised.float())
