"""The contract of encoders: one modality's inputs → tokens in a common width."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
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
        span: (batch, token, 2 or 4) where or when each token is: seconds, character offsets, a box in 0…1, a column,
            x and y in a cloud.
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

    def learning_rates(self) -> dict[str, float]:
        """Parameter-name prefix → factor of the learning rate; what no prefix names is trained at the rate itself."""
        return {}


class StagedEncoder(Encoder):
    """An encoder in two stages, features and a projection. Where the features are fixed they can be stored once."""

    @property
    @abstractmethod
    def cacheable(self) -> bool:
        """Whether the features of a cell are always the same: nothing in them is trained or random."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of whatever the features depend on besides the cell; another one where any of it changes."""

    @abstractmethod
    def save_config(self, folder: Path) -> None:
        """Write what is needed, beside the weights, to make the encoder again without its source, if anything."""

    @abstractmethod
    def features(self, inputs: Inputs) -> Tokens:
        """(row, …) inputs → (row, token, features)."""

    @abstractmethod
    def project(self, features: Tokens) -> Tokens:
        """(row, token, features) → (row, token, width)."""

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, …) inputs → (row, token, width) tokens."""
        return self.project(self.features(inputs))
