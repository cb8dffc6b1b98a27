"""The contract of what paints: a condition vector and noise → a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.errors import RecipeError

SMALLEST, LARGEST = 16, 128


class Painter(nn.Module, ABC):
    """A condition, which is the fused vector of any subset of modalities, and noise → a picture in −1…1.

    All that is random comes in as `noise`, standard normal, so that a picture is a function of its condition and noise
    alone and never depends on the other rows.

    Args:
        condition_width: numbers of a condition.
        size: pixels a side, a multiple of 8 in 16…128.
        channels: 1 (grey) or 3.

    Attributes:
        noise_shape: of one row's noise.

    Raises:
        RecipeError: another size or number of channels.
    """

    noise_shape: tuple[int, ...]

    def __init__(self, condition_width: int, *, size: int, channels: int) -> None:
        super().__init__()
        check_format(size, channels)
        self.condition_width = condition_width
        self.size = size
        self.channels = channels

    @abstractmethod
    def paint(
        self, condition: Float[Tensor, "batch width"], noise: Float[Tensor, "batch ..."], *, guidance: float = 1.0,
    ) -> Float[Tensor, "batch channel height width_px"]:
        """Paint pictures, in −1…1.

        Args:
            condition: (batch, condition_width).
            noise: (batch, *noise_shape), standard normal.
            guidance: 1 paints what was learned; above 1, pictures follow the condition more closely and vary less.
        """


def check_format(size: int, channels: int) -> None:
    """Refuse pictures that cannot be painted.

    Raises:
        RecipeError: the side is no multiple of 8 in 16…128, or the channels are neither 1 nor 3.
    """
    if size % 8 != 0 or not SMALLEST <= size <= LARGEST:
        raise RecipeError(f"pictures of {size} pixels a side cannot be painted: choose a multiple of 8 from {SMALLEST} "
                          f"to {LARGEST}, such as 32, 64 or 128")
    if channels not in (1, 3):
        raise RecipeError(f"pictures of {channels} channels cannot be painted: 1 (grey) or 3 (colour)")


def halvings(size: int) -> int:
    """How often a side can be halved before it is shorter than 4 or odd: 32 → 3 (to 4), 24 → 2 (to 6)."""
    return 0 if size < 8 or size % 2 else 1 + halvings(size // 2)
