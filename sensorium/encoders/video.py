"""Two video encoders from scratch: pictures mixed by attention over time, and factorised (2+1)D convolutions."""

from __future__ import annotations

from itertools import pairwise

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.video import VideoKind
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.image import GROUP_CHANNELS, LARGE_SIDE, ResidualBlock
from sensorium.encoders.time import TimeEncoding, window_spans, windows
from sensorium.encoders.transformer import TransformerBlock


class VideoFrames(Encoder):
    """One token per frame: a residual network sees each picture, a transformer mixes them over time.

    When a frame was is known from its span alone, through the time encoding. Only real frames are computed.

    Args:
        height, width_px: pixels of a frame.
        channels: 1 (grey) or 3.
        width: channels of a token.
        stages: channels of the picture network's three stages.
        depth: transformer blocks.

    Example:
        >>> encoder = VideoFrames(height=36, width_px=64, channels=3, width=48)
        >>> seconds = torch.arange(5)[:, None] * 0.08 + torch.tensor([0.0, 0.08])
        >>> clips = Inputs(torch.zeros(2, 5, 3, 36, 64), torch.ones(2, 5, dtype=torch.bool), seconds.expand(2, 5, 2))
        >>> encoder(clips).values.shape
        torch.Size([2, 5, 48])
    """

    def __init__(
        self, *, height: int, width_px: int, channels: int, width: int, stages: tuple[int, ...] = (16, 32, 64),
        depth: int = 2,
    ) -> None:
        super().__init__()
        stride = _stem_stride(height, width_px)
        self.stem = nn.Conv2d(channels, stages[0], 2 * stride + 1, stride=stride, padding=stride, bias=False)
        blocks = [ResidualBlock(stages[0], stages[0])]
        blocks += [ResidualBlock(num_in, num_out, stride=(2, 2)) for num_in, num_out in pairwise(stages)]
        self.pictures = nn.Sequential(*blocks)
        self.picture_norm = nn.GroupNorm(max(1, stages[-1] // GROUP_CHANNELS), stages[-1])
        self.project = nn.Linear(stages[-1] * _num_cells(height, width_px, stride * 2 ** (len(stages) - 1)), width)
        self.time = TimeEncoding(width)
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    @classmethod
    def build(cls, kind: VideoKind, width: int) -> VideoFrames:
        """An encoder for a measured kind of video."""
        assert kind.height is not None and kind.width is not None and kind.channels is not None
        return cls(height=kind.height, width_px=kind.width, channels=kind.channels, width=width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, frame, channel, height, width_px) pictures in 0…255 → one token per frame, with its seconds."""
        assert inputs.mask is not None and inputs.span is not None
        mask = inputs.mask
        seen = self._seen(inputs.values[mask])
        values = seen.new_zeros(*mask.shape, seen.shape[-1])
        values[mask] = seen
        values = torch.where(mask[:, :, None], values + self.time(inputs.span, mask), 0.0)
        for block in self.blocks:
            values = block(values, mask)
        return Tokens(self.norm(values), mask, torch.where(mask[:, :, None], inputs.span, 0.0))

    def _seen(self, pictures: Tensor) -> Float[Tensor, "frame width"]:
        """(frame, channel, height, width_px) → a vector per picture, which still knows what was where in it."""
        scaled = (pictures.contiguous(memory_format=torch.channels_last) - 127.5) / 64.0
        maps = self.pictures(self.stem(scaled.to(self.project.weight.dtype)))
        maps = F.relu(self.picture_norm(maps))
        seen: Tensor = self.project(rearrange(maps, "frame channel height width_px -> frame (height width_px channel)"))
        return seen


class ClipNorm(nn.Module):
    """Group normalisation of each clip over its real frames; masked frames come out as 0 and count for nothing.

    y = γ (x − mean) / √(var + ε) + β, mean and variance over real frames, places and the channels of a group.

    Args:
        channels: that come in.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(max(1, channels // GROUP_CHANNELS), channels)

    def forward(
        self, maps: Float[Tensor, "batch channel frame height width_px"], mask: Bool[Tensor, "batch frame"] | None
    ) -> Float[Tensor, "batch channel frame height width_px"]:
        """The maps of each clip, normalised; no mask where all frames are real, which is three times quicker."""
        if mask is None:
            normed: Tensor = self.norm(maps)
            return normed
        real = rearrange(mask, "batch frame -> batch 1 frame 1 1")
        size = mask.sum(dim=1)[:, None].clamp(min=1) * (maps.shape[-1] * maps.shape[-2])
        maps = torch.where(real, maps, 0.0)
        mean = self._shared(maps.sum(dim=(2, 3, 4)) / size)
        centred = torch.where(real, maps - mean, 0.0)
        variance = self._shared(centred.square().sum(dim=(2, 3, 4)) / size)
        weight, bias = (rearrange(p, "channel -> channel 1 1 1") for p in (self.norm.weight, self.norm.bias))
        return torch.where(real, centred * (variance + self.norm.eps).rsqrt() * weight + bias, 0.0)

    def _shared(self, numbers: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel 1 1 1"]:
        """The mean over each group's channels, given to each of them."""
        groups = reduce(numbers, "batch (group channel) -> batch group", "mean", group=self.norm.num_groups)
        share = numbers.shape[1] // self.norm.num_groups
        return repeat(groups, "batch group -> batch (group channel) 1 1 1", channel=share)


class FactorisedBlock(nn.Module):
    """x ↦ shortcut(x) + temporal(act(norm(spatial(act(norm(x)))))): a convolution in each frame, then one over frames.

    Args:
        num_in, num_out: channels.
        stride: how far (frames, height and width) shrink; the shortcut averages where they do.

    Source: Tran et al. 2018, "A closer look at spatiotemporal convolutions", with group norm before each convolution.
    """

    def __init__(self, num_in: int, num_out: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        time, space = self.stride = stride
        self.norm_space, self.norm_time = ClipNorm(num_in), ClipNorm(num_out)
        self.space = nn.Conv3d(num_in, num_out, (1, 3, 3), stride=(1, space, space), padding=(0, 1, 1), bias=False)
        self.time = nn.Conv3d(num_out, num_out, (3, 1, 1), stride=(time, 1, 1), padding=(1, 0, 0), bias=False)
        self.shortcut = nn.Conv3d(num_in, num_out, 1, bias=False) if num_in != num_out else nn.Identity()

    def forward(
        self, maps: Float[Tensor, "batch channel frame height width_px"], mask: Bool[Tensor, "batch frame"] | None
    ) -> tuple[
        Float[Tensor, "batch channel_out frame_out height_out width_out"], Bool[Tensor, "batch frame_out"] | None
    ]:
        """Maps that are 0 at masked frames → maps of the frames that are left, 0 at the masked ones, and their mask."""
        time, space = self.stride
        hidden = self.space(F.relu(self.norm_space(maps, mask)))
        hidden = self.time(F.relu(self.norm_time(hidden, mask)))
        if space > 1:
            maps = F.avg_pool3d(maps, (1, space, space), ceil_mode=True, count_include_pad=False)
        if time > 1:
            maps, mask = _frame_means(maps, mask, time), None if mask is None else windows(mask, time)
        return _only_real(self.shortcut(maps) + hidden, mask), mask


class VideoR2Plus1D(Encoder):
    """Factorised convolutions over space and time → one token per two frames.

    Sees motion from the first block on, where `VideoFrames` has to compare whole pictures; expects frames at one rate.

    Args:
        height, width_px: pixels of a frame.
        channels: 1 (grey) or 3.
        width: channels of a token.
        stages: channels of the three stages.

    Example:
        >>> encoder = VideoR2Plus1D(height=36, width_px=64, channels=3, width=48)
        >>> seconds = torch.arange(5)[:, None] * 0.08 + torch.tensor([0.0, 0.08])
        >>> clips = Inputs(torch.zeros(2, 5, 3, 36, 64), torch.ones(2, 5, dtype=torch.bool), seconds.expand(2, 5, 2))
        >>> encoder(clips).span[0, :, 1]
        tensor([0.1600, 0.3200, 0.4000])
    """

    def __init__(
        self, *, height: int, width_px: int, channels: int, width: int, stages: tuple[int, int, int] = (16, 32, 64)
    ) -> None:
        super().__init__()
        stride = _stem_stride(height, width_px)
        first, second, third = stages
        self.stem = nn.Conv3d(channels, first, (1, 2 * stride + 1, 2 * stride + 1), stride=(1, stride, stride),
                              padding=(0, stride, stride), bias=False)
        self.blocks = nn.ModuleList([
            FactorisedBlock(first, first), FactorisedBlock(first, second, stride=(1, 2)),
            FactorisedBlock(second, second), FactorisedBlock(second, third, stride=(2, 2)),
            FactorisedBlock(third, third),
        ])
        self.clip_norm = ClipNorm(third)
        self.project = nn.Linear(third * _num_cells(height, width_px, 4 * stride), width)
        self.time = TimeEncoding(width)

    @classmethod
    def build(cls, kind: VideoKind, width: int) -> VideoR2Plus1D:
        """An encoder for a measured kind of video."""
        assert kind.height is not None and kind.width is not None and kind.channels is not None
        return cls(height=kind.height, width_px=kind.width, channels=kind.channels, width=width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, frame, channel, height, width_px) pictures in 0…255 → a token per two frames, with its seconds."""
        assert inputs.mask is not None and inputs.span is not None
        mask = inputs.mask
        clips = rearrange(inputs.values, "batch frame channel height width_px -> batch channel frame height width_px")
        scaled = (clips.contiguous(memory_format=torch.channels_last_3d) - 127.5) / 64.0
        real = None if not torch.compiler.is_exporting() and bool(mask.all()) else mask
        maps = self.stem(_only_real(scaled.to(self.project.weight.dtype), real))
        for block in self.blocks:
            maps, real = block(maps, real)
        maps = F.relu(self.clip_norm(maps, real))
        values = self.project(rearrange(maps, "batch channel frame height width_px -> "
                                              "batch frame (height width_px channel)"))
        span, mask = window_spans(inputs.span, mask, 2), windows(mask, 2)
        return Tokens(values + self.time(span, mask), mask, span)


def _only_real(
    maps: Float[Tensor, "batch channel frame height width_px"], mask: Bool[Tensor, "batch frame"] | None
) -> Float[Tensor, "batch channel frame height width_px"]:
    """The maps with 0 at masked frames."""
    return maps if mask is None else torch.where(rearrange(mask, "batch frame -> batch 1 frame 1 1"), maps, 0.0)


def _frame_means(
    maps: Float[Tensor, "batch channel frame height width_px"], mask: Bool[Tensor, "batch frame"] | None, size: int
) -> Float[Tensor, "batch channel frame_out height width_px"]:
    """The mean over the real ones of every `size` frames; masked frames are 0 already."""
    missing = -maps.shape[2] % size
    if mask is None:
        mask = torch.ones(maps.shape[0], maps.shape[2], dtype=torch.bool, device=maps.device)
    sums = reduce(F.pad(maps, (0, 0, 0, 0, 0, missing)),
                  "batch channel (frame size) height width_px -> batch channel frame height width_px", "sum", size=size)
    real = F.pad(mask, (0, missing)).to(maps.dtype)
    counts = reduce(real, "batch (frame size) -> batch 1 frame 1 1", "sum", size=size)
    return sums / counts.clamp(min=1.0)


def _stem_stride(height: int, width_px: int) -> int:
    """How far the stem shrinks a picture: to a half up to 48 pixels, else to a quarter."""
    return 2 if max(height, width_px) <= LARGE_SIDE else 4


def _num_cells(height: int, width_px: int, reduction: int) -> int:
    """Cells of a map that padded, strided convolutions have made so many times smaller."""
    return -(-height // reduction) * -(-width_px // reduction)
