"""Group norm whose scale and shift are read from a vector, and a residual block of convolutions with it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

GROUP_CHANNELS = 8


class FilmNorm(nn.Module):
    """h ↦ (1 + a(s)) · norm(h) + b(s), a and b linear in the style s; each row is normalised on its own.

    Args:
        channels: of the feature maps.
        style_width: numbers of a style.

    Source: Perez et al. 2018, "FiLM: Visual reasoning with a general conditioning layer".
    """

    def __init__(self, channels: int, style_width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(max(1, channels // GROUP_CHANNELS), channels, affine=False)
        self.to_film = nn.Linear(style_width, 2 * channels)

    def forward(
        self, maps: Float[Tensor, "batch channel height width_px"], style: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch channel height width_px"]:
        scale, shift = self.to_film(style)[:, :, None, None].chunk(2, dim=1)
        modulated: Tensor = self.norm(maps) * (1.0 + scale) + shift
        return modulated


class FilmBlock(nn.Module):
    """x ↦ shortcut(x) + conv(act(film(conv(act(film(x)))))), both films reading the style.

    Args:
        num_in: channels that come in.
        num_out: channels that go out.
        style_width: numbers of a style.
        doubles: whether maps of twice the side go out, each pixel that comes in being four of them.
    """

    def __init__(self, num_in: int, num_out: int, style_width: int, *, doubles: bool = False) -> None:
        super().__init__()
        self.doubles = doubles
        self.film_in = FilmNorm(num_in, style_width)
        self.conv_in = nn.Conv2d(num_in, num_out, 3, padding=1, bias=False)
        self.film_out = FilmNorm(num_out, style_width)
        self.conv_out = nn.Conv2d(num_out, num_out, 3, padding=1)
        self.shortcut = nn.Conv2d(num_in, num_out, 1, bias=False) if num_in != num_out else nn.Identity()

    def forward(
        self, maps: Float[Tensor, "batch channel height width_px"], style: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch channel_out height_out width_out"]:
        hidden = F.silu(self.film_in(maps, style))
        hidden = self.conv_in(doubled(hidden) if self.doubles else hidden)
        hidden = self.conv_out(F.silu(self.film_out(hidden, style)))
        shortcut: Tensor = self.shortcut(maps)
        summed: Tensor = (doubled(shortcut) if self.doubles else shortcut) + hidden
        return summed


def doubled(maps: Float[Tensor, "batch channel height width_px"]) -> Float[Tensor, "batch channel height2 width2"]:
    """Each pixel four times."""
    return F.interpolate(maps, scale_factor=2.0, mode="nearest")
