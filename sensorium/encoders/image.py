"""A small residual network for pictures, trained from scratch."""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.image import ImageKind
from sensorium.encoders.base import Encoder, Tokens

LARGE_SIDE = 48
GROUP_CHANNELS = 8


class ResidualBlock(nn.Module):
    """x ↦ shortcut(x) + conv(act(norm(conv(act(norm(x)))))), each row normalised on its own.

    Args:
        num_in: channels that come in.
        num_out: channels that go out.
        stride: how far (height, width) shrink; the shortcut averages where they do.

    Source: He et al. 2016, "Identity mappings in deep residual networks", with group instead of batch norm.
    """

    def __init__(self, num_in: int, num_out: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.stride = stride
        self.norm_in = nn.GroupNorm(max(1, num_in // GROUP_CHANNELS), num_in)
        self.conv_in = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)
        self.norm_out = nn.GroupNorm(max(1, num_out // GROUP_CHANNELS), num_out)
        self.conv_out = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(num_in, num_out, 1, bias=False) if num_in != num_out else nn.Identity()

    def forward(
        self, maps: Float[Tensor, "batch channel height width_px"]
    ) -> Float[Tensor, "batch channel_out height_out width_out"]:
        hidden = self.conv_in(F.relu(self.norm_in(maps)))
        hidden = self.conv_out(F.relu(self.norm_out(hidden)))
        if self.stride != (1, 1):
            maps = F.avg_pool2d(maps, self.stride, ceil_mode=True, count_include_pad=False)
        mapped: Tensor = self.shortcut(maps) + hidden
        return mapped


class ImageResNet(Encoder):
    """Pictures → one token per cell of the last feature map.

    Pictures up to 48 pixels are halved by the stem, larger ones quartered; two more stages halve again, so 28 px give
    4 × 4 tokens and 112 px give 7 × 7.

    Args:
        height, width_px: pixels of the pictures.
        channels: 1 (grey) or 3.
        width: channels of a token.
        stages: channels of the three stages.

    Example:
        >>> encoder = ImageResNet(height=28, width_px=28, channels=1, width=64)
        >>> encoder(Inputs(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))).values.shape
        torch.Size([2, 16, 64])
    """

    def __init__(
        self, *, height: int, width_px: int, channels: int, width: int, stages: tuple[int, ...] = (32, 64, 128)
    ) -> None:
        super().__init__()
        stride = 2 if max(height, width_px) <= LARGE_SIDE else 4
        self.stem = nn.Conv2d(channels, stages[0], 2 * stride + 1, stride=stride, padding=stride, bias=False)
        blocks = [ResidualBlock(stages[0], stages[0])]
        rows, columns = _divided(height, stride), _divided(width_px, stride)
        for num_in, num_out in pairwise(stages):
            blocks.append(ResidualBlock(num_in, num_out, stride=(2, 2)))
            rows, columns = _divided(rows, 2), _divided(columns, 2)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.GroupNorm(max(1, stages[-1] // GROUP_CHANNELS), stages[-1])
        self.project = nn.Linear(stages[-1], width)
        self.place = nn.Parameter(0.02 * torch.randn(rows * columns, width))
        self.register_buffer("span", boxes(rows, columns), persistent=False)

    @classmethod
    def build(cls, kind: ImageKind, width: int) -> ImageResNet:
        """An encoder for a measured kind of picture."""
        assert kind.height is not None and kind.width is not None and kind.channels is not None
        return cls(height=kind.height, width_px=kind.width, channels=kind.channels, width=width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, channel, height, width_px) pictures in 0…255 → one token per cell, rows of cells from the top."""
        pictures = (inputs.values.to(self.place.dtype) - 127.5) / 64.0
        maps = F.relu(self.norm(self.blocks(self.stem(pictures))))
        values = self.project(rearrange(maps, "batch channel height width_px -> batch (height width_px) channel"))
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        span = self.get_buffer("span").to(values.dtype).expand(values.shape[0], -1, -1)
        return Tokens(values + self.place, mask, span)


def _divided(size: int, stride: int) -> int:
    """Cells left by a padded convolution of this stride."""
    return (size + stride - 1) // stride


def boxes(rows: int, columns: int) -> Float[Tensor, "token 4"]:
    """(left, top, right, bottom) in 0…1 of every cell, rows of cells from the top."""
    top, left = torch.meshgrid(torch.arange(rows) / rows, torch.arange(columns) / columns, indexing="ij")
    return torch.stack([left, top, left + 1 / columns, top + 1 / rows], dim=-1).flatten(0, 1)
