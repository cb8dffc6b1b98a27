"""Group norm whose scale and shift are read from a vector, and how feature maps double."""

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


def doubled(maps: Float[Tensor, "batch channel height width_px"]) -> Float[Tensor, "batch channel height2 width2"]:
    """Each pixel four times."""
    return F.interpolate(maps, scale_factor=2.0, mode="nearest")
