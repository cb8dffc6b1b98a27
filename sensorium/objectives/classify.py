"""Classify: which of some classes a row is of."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.schema import Target
from sensorium.fusion.base import Fused
from sensorium.objectives.base import Predictor


def classification_losses(
    logits: Float[Tensor, "batch class_"], truth: Int[Tensor, "batch"], *, label_smoothing: float = 0.0,
    log_prior: Float[Tensor, "class_"] | None = None,
) -> Float[Tensor, "batch"]:
    """Cross-entropy of each row, in nats.

    With `log_prior` the logits are adjusted, logits + log p(class), while training: what they then learn is the
    evidence for a class apart from how frequent it is, so that without the adjustment all classes count alike (Menon et
    al. 2021, "Long-tail learning via logit adjustment").

    Args:
        logits: any real numbers.
        truth: class numbers; rows below 0 give 0.
        label_smoothing: in 0…1, spread over all classes.
        log_prior: natural logarithms of class frequencies.
    """
    adjusted = logits if log_prior is None else logits + log_prior
    losses = F.cross_entropy(adjusted, truth.clamp(min=0), label_smoothing=label_smoothing, reduction="none")
    return torch.where(truth >= 0, losses, 0.0)


class Classify(Predictor):
    """A linear head and cross-entropy.

    Args:
        target: with its classes and their frequencies.
        width: of the fused vector.
        label_smoothing: in 0…1.
        balance: whether rare classes count as much as frequent ones.
    """

    log_prior: Tensor

    def __init__(self, target: Target, width: int, *, label_smoothing: float = 0.0, balance: bool = False) -> None:
        super().__init__(target.name, target.weight)
        self.label_smoothing = label_smoothing
        self.balance = balance
        self.head = nn.Linear(width, len(target.classes))
        nn.init.zeros_(self.head.bias)
        prior = torch.tensor(target.prior or [1.0] * len(target.classes), dtype=torch.float64)
        self.register_buffer("log_prior", torch.log(prior / prior.sum()).float(), persistent=False)

    def outputs(self, fused: Fused) -> Float[Tensor, "batch class_"]:
        """Logits."""
        logits: Tensor = self.head(fused.vector)
        return logits

    def losses(self, outputs: Float[Tensor, "batch class_"], truth: Int[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Cross-entropy of each row."""
        return classification_losses(outputs, truth, label_smoothing=self.label_smoothing,
                                     log_prior=self.log_prior if self.balance else None)
