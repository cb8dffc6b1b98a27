"""The discriminator of a picture GAN: is this picture real, and does it go with this condition?"""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from sensorium.generation.painter import check_format, halvings

MOST_WIDENING = 4


class DownBlock(nn.Module):
    """Maps of half the side: shortcut(mean(x)) + conv(act(conv(act(x)))); no normalisation, spectral norm 1.

    Args:
        num_in: channels that come in.
        num_out: channels that go out.
    """

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.conv_in = spectral_norm(nn.Conv2d(num_in, num_out, 4, stride=2, padding=1))
        self.conv_out = spectral_norm(nn.Conv2d(num_out, num_out, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(num_in, num_out, 1)) if num_in != num_out else nn.Identity()

    def forward(
        self, maps: Float[Tensor, "batch channel height width_px"],
    ) -> Float[Tensor, "batch channel_out height_out width_out"]:
        hidden = self.conv_in(F.leaky_relu(maps, 0.2))
        hidden = self.conv_out(F.leaky_relu(hidden, 0.2))
        summed: Tensor = self.shortcut(F.avg_pool2d(maps, 2)) + hidden
        return summed


class PictureDiscriminator(nn.Module):
    """(picture, condition) → a logit: high where the picture is real and goes with the condition.

    The picture is convolved without its condition, so that one pass serves a matching and a mismatching condition:
    logit = ⟨V c, mean(h)⟩ + joint([h, W c]), h being the last feature maps.

    Args:
        condition_width: numbers of a condition.
        size: pixels a side, a multiple of 8 in 16…128.
        channels: 1 (grey) or 3.
        base: channels at the full side; they double with each halving, up to four times as many.

    Raises:
        RecipeError: another size or number of channels.

    Example:
        >>> discriminator = PictureDiscriminator(16, size=32, channels=3)
        >>> features = discriminator.features(torch.zeros(2, 3, 32, 32))
        >>> discriminator.judge(features, torch.zeros(2, 16)).shape
        torch.Size([2])

    Source: the projection of Miyato and Koyama 2018, equation 3; the joint block of Tao et al. 2022, "DF-GAN", section
    3.3; spectral norm: Miyato et al. 2018.
    """

    def __init__(self, condition_width: int, *, size: int, channels: int, base: int = 16) -> None:
        super().__init__()
        check_format(size, channels)
        widths = [base * min(2**level, MOST_WIDENING) for level in range(halvings(size) + 1)]
        last, side = widths[-1], size >> halvings(size)
        self.from_picture = spectral_norm(nn.Conv2d(channels, base, 3, padding=1))
        self.blocks = nn.Sequential(*(DownBlock(num_in, num_out) for num_in, num_out in pairwise(widths)))
        self.condition_norm = nn.LayerNorm(condition_width, elementwise_affine=False)
        self.project = spectral_norm(nn.Linear(condition_width, last, bias=False))
        self.widen = spectral_norm(nn.Linear(condition_width, last))
        self.joint = nn.Sequential(spectral_norm(nn.Conv2d(2 * last, last, 3, padding=1)), nn.LeakyReLU(0.2),
                                   spectral_norm(nn.Conv2d(last, 1, side)))

    def features(
        self, pictures: Float[Tensor, "batch channel height width_px"],
    ) -> Float[Tensor, "batch feature side side"]:
        """What is seen in the pictures, whatever their condition: 4 × 4 maps for a side that is a power of two."""
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        seen: Tensor = F.leaky_relu(self.blocks(self.from_picture(pictures)), 0.2)
        return seen

    def judge(
        self, features: Float[Tensor, "batch feature side side"], condition: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch"]:
        """The logits of pictures with these features to go with these conditions."""
        condition = self.condition_norm(condition)
        pooled = reduce(features, "batch feature height width_px -> batch feature", "mean")
        projected: Tensor = (self.project(condition) * pooled).sum(dim=1)
        wide = repeat(self.widen(condition), "batch feature -> batch feature height width_px",
                      height=features.shape[2], width_px=features.shape[3])
        joined: Tensor = rearrange(self.joint(torch.cat([features, wide], dim=1)), "batch 1 1 1 -> batch")
        return projected + joined

    def forward(
        self, pictures: Float[Tensor, "batch channel height width_px"], condition: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch"]:
        """The logits of pairs."""
        return self.judge(self.features(pictures), condition)
