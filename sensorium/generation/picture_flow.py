"""A small U-Net that paints by flow matching: many passes from noise to a picture."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.generation.film import FilmBlock, FilmNorm, doubled
from sensorium.generation.flow import flow_sample
from sensorium.generation.painter import Painter

STYLE_WIDTH = 128
TIME_WIDTH = 64
FASTEST = 1000.0
HEAD_WIDTH = 32
PATCH = 2
SPREAD = 0.5
LOWEST_SIDE = 8
MOST_WIDENING = 2
STEPS = 12


class PixelAttention(nn.Module):
    """x + Attention(film(x)) over all places of the maps.

    Args:
        channels: of the feature maps.
        style_width: numbers of a style.
    """

    def __init__(self, channels: int, style_width: int) -> None:
        super().__init__()
        self.num_heads = max(1, channels // HEAD_WIDTH)
        self.film = FilmNorm(channels, style_width)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.to_out = nn.Conv2d(channels, channels, 1)

    def forward(
        self, maps: Float[Tensor, "batch channel height width_px"], style: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch channel height width_px"]:
        query, key, value = rearrange(
            self.to_qkv(self.film(maps, style)),
            "batch (three head depth) height width_px -> three batch head (height width_px) depth",
            three=3, head=self.num_heads)
        mixed = rearrange(F.scaled_dot_product_attention(query, key, value),
                          "batch head (height width_px) depth -> batch (head depth) height width_px",
                          height=maps.shape[2])
        summed: Tensor = maps + self.to_out(mixed)
        return summed


class PictureFlow(Painter):
    """(x_t, t, condition) → velocity: blocks that halve the side and blocks that double it, with sums across.

    Were pixels independent, of mean 0 and deviation σ = 0.5, then with r² = t² σ² + (1 − t)² the best guess of the
    velocity would be x_t (t σ² − (1 − t)) / r², and its error would have the deviation σ / r. The network adds
    σ / r · F(x_t / r, t, c): what comes in and what has to come out is about as large at all times.

    Patches of 2 × 2 pixels are one place. Sides are halved down to 8 or less, where all places attend to each other.

    Args:
        condition_width: numbers of a condition.
        size: pixels a side, a multiple of 8 in 16…128.
        channels: 1 (grey) or 3.
        base: channels at half the side; twice as many below.
        steps: of Heun's method when painting.

    Raises:
        RecipeError: another size or number of channels.

    Example:
        >>> flow = PictureFlow(16, size=32, channels=3)
        >>> flow.paint(torch.zeros(2, 16), torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 3, 32, 32])

    Source: the U-Net of Ho et al. 2020, much smaller; the scales of Karras et al. 2022, table 1, for straight lines.
    """

    def __init__(
        self, condition_width: int, *, size: int, channels: int, base: int = 48, steps: int = STEPS,
    ) -> None:
        super().__init__(condition_width, size=size, channels=channels)
        self.noise_shape = (channels, size, size)
        self.steps = steps
        side, levels = size // PATCH, 1
        while side > LOWEST_SIDE and side % 2 == 0:
            side, levels = side // 2, levels + 1
        widths = [base * min(2**level, MOST_WIDENING) for level in range(levels)]
        self.nothing = nn.Parameter(torch.randn(condition_width))
        self.condition_norm = nn.LayerNorm(condition_width)
        self.from_condition = nn.Linear(condition_width, STYLE_WIDTH)
        self.from_time = nn.Sequential(nn.Linear(TIME_WIDTH, STYLE_WIDTH), nn.SiLU(),
                                       nn.Linear(STYLE_WIDTH, STYLE_WIDTH))
        self.from_picture = nn.Conv2d(channels * PATCH**2, base, 3, padding=1)
        self.down = nn.ModuleList(FilmBlock(widths[max(0, level - 1)], width, STYLE_WIDTH)
                                  for level, width in enumerate(widths))
        self.attention = PixelAttention(widths[-1], STYLE_WIDTH)
        self.middle = FilmBlock(widths[-1], widths[-1], STYLE_WIDTH)
        self.up = nn.ModuleList(FilmBlock(width, widths[max(0, level - 1)], STYLE_WIDTH)
                                for level, width in reversed(list(enumerate(widths))))
        self.last_film = FilmNorm(base, STYLE_WIDTH)
        self.to_picture = nn.Conv2d(base, channels * PATCH**2, 3, padding=1)

    def forward(
        self, noisy: Float[Tensor, "batch channel height width_px"], time: Float[Tensor, "batch"],
        condition: Float[Tensor, "batch width"], dropped: Bool[Tensor, "batch"],
    ) -> Float[Tensor, "batch channel height width_px"]:
        """The velocity at x_t.

        Args:
            noisy: x_t.
            time: t in 0…1.
            condition: what is painted; not read where dropped.
            dropped: True: a learned vector stands for the condition.
        """
        known = torch.where(dropped[:, None], self.nothing, condition)
        style = F.silu(self.from_condition(self.condition_norm(known)) + self.from_time(_waves(time)))
        at = rearrange(time, "batch -> batch 1 1 1")
        squared = (at * SPREAD) ** 2 + (1.0 - at) ** 2
        guess = noisy * (at * SPREAD**2 - (1.0 - at)) / squared
        maps = F.pixel_unshuffle(noisy * squared.rsqrt(), PATCH).contiguous(memory_format=torch.channels_last)
        maps = self.from_picture(maps)
        across = []
        for level, block in enumerate(self.down):
            maps = block(F.avg_pool2d(maps, 2) if level else maps, style)
            across.append(maps)
        maps = self.middle(self.attention(maps, style), style)
        for level, block in enumerate(self.up):
            maps = block((doubled(maps) if level else maps) + across.pop(), style)
        rest = F.pixel_shuffle(self.to_picture(F.silu(self.last_film(maps, style))), PATCH)
        return guess + SPREAD * squared.rsqrt() * rest

    def paint(
        self, condition: Float[Tensor, "batch width"], noise: Float[Tensor, "batch channel height width_px"], *,
        guidance: float = 1.0,
    ) -> Float[Tensor, "batch channel height width_px"]:
        """Paint pictures, in −1…1; see `flow_sample` for guidance."""
        return flow_sample(self, condition, noise, steps=self.steps, guidance=guidance)


def _waves(time: Float[Tensor, "batch"]) -> Float[Tensor, "batch wave"]:
    """Sines and cosines of the time, from 1 to 1000 radians."""
    rates = torch.exp(torch.linspace(0.0, math.log(FASTEST), TIME_WIDTH // 2, device=time.device, dtype=time.dtype))
    angles = time[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
