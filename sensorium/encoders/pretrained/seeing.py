"""Backbones for pictures and videos: ResNet, ConvNeXT, ViT, DINOv2, the image tower of CLIP; VideoMAE."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Num
from torch import Tensor, nn

from sensorium.data.kinds.base import Inputs
from sensorium.encoders.base import Tokens
from sensorium.encoders.pretrained.backbone import Backbone, Loaded
from sensorium.encoders.pretrained.pictures import PixelRule
from sensorium.encoders.pretrained.pooling import edges, pool_grid, smaller_grid


class Pixels(nn.Module):
    """Pixels 0…255 → what a pretrained model was trained on: (factor · pixel − mean) / deviation.

    Args:
        rule: of the model's image processor.
    """

    def __init__(self, rule: PixelRule) -> None:
        super().__init__()
        self.factor, self.reversed_channels = rule.factor, rule.reversed_channels
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (rule.mean, rule.deviation))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(
        self, pixels: Num[Tensor, "*batch channel height width_px"],
    ) -> Float[Tensor, "*batch channel height width_px"]:
        """The same shape, in the steps and roundings of transformers' processors: the factor in float64."""
        mean = self.get_buffer("mean")
        values = pixels.flip(-3) if self.reversed_channels else pixels
        return ((values.double() * self.factor).to(mean.dtype) - mean) / self.get_buffer("deviation")


class PictureBackbone(Backbone):
    """Pictures → a token for every cell of the last feature map, or for every patch behind those of the whole picture.

    Args:
        loaded: the model.
        rule: its arithmetic on pixels.
        size: (height, width) of the pictures; another one than the model's own needs interpolated positions.
        channels: of the pictures.
        most: tokens of a picture (those of the whole picture beside); more are averaged over the grid. None: all.
    """

    def __init__(
        self, loaded: Loaded, rule: PixelRule, *, size: tuple[int, int], channels: int, most: int | None,
    ) -> None:
        super().__init__()
        self.model = loaded.model
        self.pixels = Pixels(rule)
        self.size, self.channels, self.most = size, channels, most
        self.patch = _pair(loaded.settings.get("patch_size"))
        known = inspect.signature(loaded.model.forward).parameters
        self.extra = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in known else {}

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, channel, height, width_px) in 0…255 → (row, token, hidden); spans are boxes."""
        hidden = self.hidden_states(pixel_values=self.pixels(inputs.values), **self.extra)
        if hidden.ndim == 4:
            grid, whole = hidden, hidden.new_zeros(hidden.shape[0], 0, hidden.shape[1])
        else:
            rows, columns = _grid(hidden.shape[1], self.size, self.patch)
            whole = hidden[:, : hidden.shape[1] - rows * columns]
            grid = rearrange(hidden[:, whole.shape[1] :], "row (down across) hidden -> row hidden down across",
                             down=rows)
        cells = (grid.shape[2], grid.shape[3])
        sides = smaller_grid(cells, self.most)
        boxes = torch.cat([torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(whole.shape[1], 4),
                           boxes_of(edges(cells[0], sides[0]), edges(cells[1], sides[1]))])
        values = torch.cat([whole, pool_grid(grid, sides)], dim=1)
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device),
                      boxes.to(values).expand(values.shape[0], -1, -1))

    def probe(self) -> Inputs:
        """A picture of noise."""
        generator = torch.Generator().manual_seed(0)
        return Inputs(255 * torch.rand(1, self.channels, *self.size, generator=generator))


class VideoBackbone(Backbone):
    """Videos → a token for every tube of patches.

    A video's n frames are resampled evenly to the N that the model was trained on: frame ⌊(k + ½) n / N⌋ for the kth.

    Args:
        loaded: the model.
        rule: its arithmetic on pixels.
        size: (height, width) of the frames.
        channels: of the frames.
        most: tokens of a video; more are averaged over the grid of tubes. None: all.
    """

    def __init__(
        self, loaded: Loaded, rule: PixelRule, *, size: tuple[int, int], channels: int, most: int | None,
    ) -> None:
        super().__init__()
        self.model = loaded.model
        self.pixels = Pixels(rule)
        self.size, self.channels, self.most = size, channels, most
        settings = loaded.settings
        self.num_frames = int(settings["num_frames"])
        self.patch = _pair(settings["patch_size"])
        self.tube = _tube(settings.get("tubelet_size", 1))
        self.frames_last = settings["model_type"] == "timesformer"

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, frame, channel, height, width_px) in 0…255 → (row, token, hidden); spans are seconds."""
        assert inputs.mask is not None and inputs.span is not None
        lengths = inputs.mask.sum(dim=1, keepdim=True)
        wanted = torch.arange(self.num_frames, device=lengths.device)
        chosen = ((2 * wanted + 1) * lengths) // (2 * self.num_frames)
        row = torch.arange(lengths.shape[0], device=lengths.device)[:, None]
        hidden = self.hidden_states(pixel_values=self.pixels(inputs.values[row, chosen]))
        times = inputs.span[row, chosen]
        steps, down, across = self.num_frames // self.tube, self.size[0] // self.patch[0], self.size[1] // self.patch[1]
        prefix = hidden.shape[1] - steps * down * across
        cells = (down, across, steps) if self.frames_last else (steps, down, across)
        grid = rearrange(hidden[:, prefix:], "row (first second third) hidden -> row hidden first second third",
                         first=cells[0], second=cells[1])
        sides = smaller_grid(cells, self.most)
        values = torch.cat([hidden[:, :prefix], pool_grid(grid, sides)], dim=1)
        kept = sides[-1] if self.frames_last else sides[0]
        tubes = (edges(steps, kept) * steps * self.tube).round().long().to(times.device)
        span = torch.stack([times[:, tubes[:, 0], 0], times[:, tubes[:, 1] - 1, 1]], dim=-1)
        patches = sides[0] * sides[1] if self.frames_last else sides[1] * sides[2]
        span = span.repeat(1, patches, 1) if self.frames_last else span.repeat_interleave(patches, dim=1)
        whole = torch.stack([times[:, 0, 0], times[:, -1, 1]], dim=-1)[:, None].expand(-1, prefix, -1)
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device),
                      torch.cat([whole, span], dim=1).to(values.dtype))

    def probe(self) -> Inputs:
        """Frames of noise."""
        generator = torch.Generator().manual_seed(0)
        shape = (1, self.num_frames, self.channels, *self.size)
        time = torch.arange(self.num_frames, dtype=torch.float32)
        return Inputs(255 * torch.rand(shape, generator=generator), torch.ones(shape[:2], dtype=torch.bool),
                      torch.stack([time, time + 1], dim=-1)[None])


def boxes_of(down: Float[Tensor, "row 2"], across: Float[Tensor, "column 2"]) -> Float[Tensor, "token 4"]:
    """(left, top, right, bottom) of every cell of a grid, rows of cells from the top."""
    top = down[:, None].expand(-1, len(across), 2)
    left = across[None].expand(len(down), -1, 2)
    return torch.stack([left[..., 0], top[..., 0], left[..., 1], top[..., 1]], dim=-1).flatten(0, 1)


def _pair(size: Any) -> tuple[int, int]:
    """A patch's (height, width); (1, 1) where a model states none."""
    if size is None:
        return (1, 1)
    return (int(size), int(size)) if isinstance(size, int) else (int(size[-2]), int(size[-1]))


def _tube(size: Any) -> int:
    """A tube's frames: a number, or the first of (frames, height, width)."""
    return int(size) if isinstance(size, int) else int(size[0])


def _grid(tokens: int, size: tuple[int, int], patch: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of patches among so many tokens: one a patch, or a power of two coarser (Swin merges patches)."""
    down, across = size[0] // patch[0], size[1] // patch[1]
    while down * across > tokens and min(down, across) > 1:
        down, across = -(-down // 2), -(-across // 2)
    return (down, across) if down * across <= tokens else (1, tokens)
