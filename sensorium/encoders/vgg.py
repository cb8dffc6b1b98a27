"""VGG: plain stacks of 3 × 3 convolutions, from scratch with group norm; torchvision's layout for checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import nn

from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.image import ImageKind
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.image import GROUP_CHANNELS, LARGE_SIDE, boxes
from sensorium.recipe import EncoderOptions

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth → convolutions of each stage: configurations A, B, D and E of the paper, without their linear layers."""
CHANNELS = (64, 128, 256, 512, 512)
SMALL_CHANNELS, LARGE_CHANNELS = (32, 64, 96, 96, 96), (16, 32, 64, 96, 128)
LAST_SIDE = 6


def vgg_layers(
    depth: int, channels_in: int, *, channels: tuple[int, ...] = CHANNELS,
    norm: Callable[[int], nn.Module] | None = None, pools: int = len(CHANNELS), ceil_mode: bool = False,
) -> nn.Sequential:
    """Convolutions, norms, ReLUs and pools in one sequence, numbered as torchvision numbers its `features`.

    Args:
        depth: 11, 13, 16 or 19.
        channels_in: of the pictures.
        channels: of the five stages.
        norm: channels → a norm behind each convolution; None for none.
        pools: how many stages, from the first, end in a maximum over 2 × 2.
        ceil_mode: whether a pool keeps the odd row and column.

    Source: Simonyan and Zisserman 2015, table 1.
    """
    layers: list[nn.Module] = []
    for stage, (number, num_out) in enumerate(zip(STAGES[depth], channels, strict=True)):
        for _ in range(number):
            layers.append(nn.Conv2d(channels_in, num_out, 3, padding=1))
            layers += [] if norm is None else [norm(num_out)]
            layers.append(nn.ReLU())
            channels_in = num_out
        if stage < pools:
            layers.append(nn.MaxPool2d(2, ceil_mode=ceil_mode))
    return nn.Sequential(*layers)


def group_norm(channels: int) -> nn.Module:
    """Each row normalised on its own, 8 channels together."""
    return nn.GroupNorm(max(1, channels // GROUP_CHANNELS), channels)


class VGG(Encoder):
    """Pictures → one token per cell of the last feature map, trained from scratch.

    Narrower than the paper's, and fitted to the picture, which is halved until its longer side has at most 6 cells: 28,
    64 and 112 px give 4 × 4 tokens, 96 px 6 × 6.

    Args:
        height, width_px: pixels of the pictures.
        channels: 1 (grey) or 3.
        width: channels of a token.
        depth: 11, 13, 16 or 19.
        norm: whether each convolution is followed by group norm; without it deep ones hardly train.

    Example:
        >>> encoder = VGG(height=28, width_px=28, channels=1, width=64)
        >>> encoder(Inputs(torch.zeros(2, 1, 28, 28, dtype=torch.uint8))).values.shape
        torch.Size([2, 16, 64])

    Source: Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition".
    Deviations: group norm, fewer channels and pools, a token per cell in place of the linear layers.
    """

    def __init__(
        self, *, height: int, width_px: int, channels: int, width: int, depth: int = 11, norm: bool = True
    ) -> None:
        super().__init__()
        longest = max(height, width_px)
        sizes = SMALL_CHANNELS if longest <= LARGE_SIDE else LARGE_CHANNELS
        pools = min(len(sizes), max(0, math.ceil(math.log2(longest / LAST_SIDE))))
        self.features = vgg_layers(depth, channels, channels=sizes, norm=group_norm if norm else None, pools=pools,
                                   ceil_mode=True)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        rows, columns = (-(-side // 2**pools) for side in (height, width_px))
        self.project = nn.Linear(sizes[-1], width)
        self.place = nn.Parameter(0.02 * torch.randn(rows * columns, width))
        self.register_buffer("span", boxes(rows, columns), persistent=False)

    @classmethod
    def build(cls, kind: ImageKind, width: int) -> VGG:
        """An encoder for a measured kind of picture."""
        assert kind.height is not None and kind.width is not None and kind.channels is not None
        return cls(height=kind.height, width_px=kind.width, channels=kind.channels, width=width)

    @staticmethod
    def from_checkpoint(
        path: str | Path, kind: Any, width: int, options: EncoderOptions | None = None, *, saved: Path | None = None
    ) -> Encoder:
        """An encoder with torchvision's layers and a checkpoint's weights (`sensorium.encoders.vgg_checkpoint`).

        Args:
            path: a .safetensors or .pth file.
            kind: measured.
            width: channels of a token.
            options: how it is tuned; None: frozen.
            saved: a folder in which `save_config` has described it, for weights that are loaded afterwards: the
                checkpoint is not read.
        """
        from sensorium.encoders.vgg_checkpoint import VGGFromCheckpoint, VGGLayout, read_checkpoint

        options = EncoderOptions(name="vgg") if options is None else options
        if saved is not None:
            return VGGFromCheckpoint(VGGLayout.from_saved(saved), kind, width, options)
        layout, state, ignored = read_checkpoint(path)
        encoder = VGGFromCheckpoint(layout, kind, width, options)
        encoder.features_of_checkpoint(state, ignored)
        return encoder

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, channel, height, width_px) pictures in 0…255 → one token per cell, rows of cells from the top."""
        pictures = (inputs.values.contiguous(memory_format=torch.channels_last) - 127.5) / 64.0
        maps = self.features(pictures.to(self.place.dtype))
        values = self.project(rearrange(maps, "batch channel height width_px -> batch (height width_px) channel"))
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        span = self.get_buffer("span").to(values.dtype).expand(values.shape[0], -1, -1)
        return Tokens(values + self.place, mask, span)
