"""What stands for the encoder of a modality that is only made, and never read."""

from __future__ import annotations

from typing import Any

from sensorium.data.kinds.base import Inputs
from sensorium.encoders.base import Encoder, Tokens


class Unread(Encoder):
    """No weights and no tokens: every objective of the model hides the modality."""

    @classmethod
    def build(cls, kind: Any, width: int) -> Unread:
        """The same for every kind."""
        return cls()

    def forward(self, inputs: Inputs) -> Tokens:
        """Never called."""
        raise AssertionError("a modality that is only made was encoded")
