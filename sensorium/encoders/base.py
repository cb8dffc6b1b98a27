"""The contract of encoders: one modality's inputs → tokens in a common width."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.data.kinds.base import Inputs


@dataclass(frozen=True)
class Tokens:
    """What every encoder returns.

    Args:
        values: (batch, token, width).
        mask: (batch, token), True = real. Values under a False are never read.
        span: (batch, token, 2 or 4) where or when each token is: seconds, character offsets, a box in 0…1, a column.
    """

    values: Float[Tensor, "batch token width"]
    mask: Bool[Tensor, "batch token"]
    span: Float[Tensor, "batch token place"] | None = None


class Encoder(nn.Module, ABC):
    """One modality → tokens. Called on present rows only; an output never depends on the other rows."""

    @classmethod
    @abstractmethod
    def build(cls, kind: Any, width: int) -> Encoder:
        """An encoder for a kind's measured settings that returns tokens of this width."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tokens:
        """(row, …) inputs → (row, token, width) tokens."""
