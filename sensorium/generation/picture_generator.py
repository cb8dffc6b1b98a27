"""The generator of a picture GAN: one pass from condition and noise to a picture."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.generation.film import FilmBlock, FilmNorm
from sensorium.generation.painter import Painter, halvings

STYLE_WIDTH = 128
MOST_WIDENING = 4


class PictureGenerator(Painter):
    """Condition and noise → a style; a linear map of it to 4 × 4, then blocks that double the side and see the style.

    Args:
        condition_width: numbers of a condition.
        size: pixels a side, a multiple of 8 in 16…128; where it is no power of two the first maps are not 4 × 4.
        channels: 1 (grey) or 3.
        noise_width: numbers of a row's noise.
        base: channels at the full side; they double with each halving, up to four times as many.

    Raises:
        RecipeError: another size or number of channels.

    Example:
        >>> generator = PictureGenerator(16, size=32, channels=3)
        >>> generator(torch.zeros(2, 16), torch.zeros(2, 64)).shape
        torch.Size([2, 3, 32, 32])

    Source: the residual generator of Tao et al. 2022, "DF-GAN", equations 4 to 6. Deviations: group norm before each
    modulation, noise as well as condition in all of them, one hidden layer shared by them.
    """

    def __init__(
        self, condition_width: int, *, size: int, channels: int, noise_width: int = 64, base: int = 16,
    ) -> None:
        super().__init__(condition_width, size=size, channels=channels)
        self.noise_shape = (noise_width,)
        widths = [base * min(2**level, MOST_WIDENING) for level in range(halvings(size), -1, -1)]
        self.first_side = size >> halvings(size)
        self.condition_norm = nn.LayerNorm(condition_width)
        self.to_style = nn.Linear(condition_width + noise_width, STYLE_WIDTH)
        self.to_maps = nn.Linear(STYLE_WIDTH, widths[0] * self.first_side**2)
        self.blocks = nn.ModuleList(FilmBlock(num_in, num_out, STYLE_WIDTH, doubles=True)
                                    for num_in, num_out in pairwise(widths))
        self.last_film = FilmNorm(base, STYLE_WIDTH)
        self.to_picture = nn.Conv2d(base, channels, 3, padding=1)

    def forward(
        self, condition: Float[Tensor, "batch width"], noise: Float[Tensor, "batch noise"],
    ) -> Float[Tensor, "batch channel height width_px"]:
        """Pictures in −1…1."""
        known = torch.cat([self.condition_norm(condition), noise], dim=1)
        style = F.silu(self.to_style(known))
        maps = self.to_maps(style).unflatten(1, (-1, self.first_side, self.first_side))
        maps = maps.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            maps = block(maps, style)
        return torch.tanh(self.to_picture(F.silu(self.last_film(maps, style))))

    def paint(
        self, condition: Float[Tensor, "batch width"], noise: Float[Tensor, "batch noise"], *, guidance: float = 1.0,
    ) -> Float[Tensor, "batch channel height width_px"]:
        """Paint pictures, in −1…1.

        Args:
            condition: (batch, condition_width).
            noise: (batch, noise_width), standard normal.
            guidance: what the noise is divided by, above 0: beyond 1, pictures are nearer to the most usual one of
                their condition and vary less (Brock et al. 2019 cut off the noise's tails to the same end).
        """
        painted: Tensor = self(condition, noise / guidance)
        return painted
