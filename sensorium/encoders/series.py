"""Two encoders of readings over time: a transformer over patches, and a temporal convolutional network."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.series import SeriesKind
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.dilated import DilatedConv
from sensorium.encoders.image import GROUP_CHANNELS
from sensorium.encoders.time import TimeEncoding, window_means, window_peaks, window_spans, windows
from sensorium.encoders.transformer import TransformerBlock

MAX_TOKENS = 48
LEAST_STEPS = 4
TCN_STEPS = 512


class SeriesPatches(Encoder):
    """Overlapping patches of all channels, readings beside where there are any → tokens, mixed by a transformer.

    Patch k covers `stride` steps from k·stride and half as many on either side. When it was is known from its span
    alone, through the time encoding.

    Args:
        num_channels: channels of the recording; inputs have twice as many columns, the indicators last.
        max_steps: the longest recording, which sets the stride: 4 steps, more where that would be over 48 tokens.
        width: of a token.
        depth: transformer blocks.

    Example:
        >>> encoder = SeriesPatches(num_channels=3, max_steps=200, width=48)
        >>> seconds = torch.arange(200)[:, None] * 0.02 + torch.tensor([0.0, 0.02])
        >>> recordings = Inputs(torch.ones(2, 200, 6), torch.ones(2, 200, dtype=torch.bool), seconds.expand(2, 200, 2))
        >>> encoder(recordings).values.shape
        torch.Size([2, 40, 48])

    Source: Nie et al. 2023, "A time series is worth 64 words" (PatchTST). Deviations: channels share a token instead of
    being read one by one, missing readings are told, and time is seconds.
    """

    def __init__(self, *, num_channels: int, max_steps: int, width: int, depth: int = 2) -> None:
        super().__init__()
        self.stride = max(LEAST_STEPS, -(-max_steps // MAX_TOKENS))
        self.patch = 2 * self.stride
        size = 2 * num_channels * self.patch
        self.embed = nn.Linear(size, width)
        self.shape = nn.Sequential(nn.Linear(size, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.time = TimeEncoding(width)
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    @classmethod
    def build(cls, kind: SeriesKind, width: int) -> SeriesPatches:
        """An encoder for a measured kind of recording."""
        assert kind.max_steps is not None
        return cls(num_channels=len(kind.channels), max_steps=kind.max_steps, width=width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, step, readings and indicators) → (row, token, width), each token's span in seconds."""
        assert inputs.mask is not None and inputs.span is not None
        real = _readings(inputs.values, inputs.mask).to(self.embed.weight.dtype)
        before, missing = (self.patch - self.stride) // 2, -real.shape[1] % self.stride
        padded = F.pad(real, (0, 0, before, missing + self.patch - self.stride - before))
        patches = rearrange(padded.unfold(1, self.patch, self.stride),
                            "row token column step -> row token (step column)")
        mask, span = windows(inputs.mask, self.stride), window_spans(inputs.span, inputs.mask, self.stride)
        values = self.embed(patches) + self.shape(patches) + self.time(span, mask)
        values = torch.where(mask[:, :, None], values, 0.0)
        for block in self.blocks:
            values = block(values, mask)
        return Tokens(self.norm(values), mask, span)


class RecordingNorm(nn.Module):
    """y = γ (x − mean) / √(var + ε) + β, mean and variance over a recording's real steps and the channels of a group.

    Over all steps together, not each for itself: a quiet step stays quiet beside a loud one. Masked steps become 0.

    Args:
        channels: of x.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_groups = max(1, channels // GROUP_CHANNELS)
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(
        self, values: Float[Tensor, "batch step channel"], mask: Bool[Tensor, "batch step"]
    ) -> Float[Tensor, "batch step channel"]:
        """The steps of each recording, normalised."""
        real = rearrange(mask, "batch step -> batch step 1").to(self.weight.dtype)  # masked steps are finite here
        count = real.sum(dim=1, keepdim=True).clamp(min=1.0)
        centred = (values - self._shared((values * real).sum(dim=1, keepdim=True) / count)) * real
        variance = self._shared(centred.square().sum(dim=1, keepdim=True) / count)
        return centred * ((variance + 1e-5).rsqrt() * self.weight) + self.bias * real

    def _shared(self, numbers: Float[Tensor, "batch 1 channel"]) -> Float[Tensor, "batch 1 channel"]:
        """The mean over each group's channels, given to each of them."""
        groups = rearrange(numbers, "batch 1 (group channel) -> batch group channel", group=self.num_groups)
        shared = groups.mean(dim=2, keepdim=True).expand_as(groups)
        return rearrange(shared, "batch group channel -> batch 1 (group channel)")


class DilatedResidual(nn.Module):
    """x ↦ x + conv(act(norm(conv(act(norm(x)))))), both convolutions centred, with the same gaps between their taps.

    Args:
        channels: of x.
        kernel, dilation: of the convolutions.
    """

    def __init__(self, channels: int, *, kernel: int, dilation: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = RecordingNorm(channels), RecordingNorm(channels)
        self.conv_in, self.conv_out = (DilatedConv(channels, channels, kernel=kernel, dilation=dilation, causal=False)
                                       for _ in range(2))

    def forward(
        self, values: Float[Tensor, "batch step channel"], mask: Bool[Tensor, "batch step"]
    ) -> Float[Tensor, "batch step channel"]:
        """Masked steps read as 0 and stay 0."""
        hidden = self.conv_in(F.relu(self.norm_in(values, mask)))
        hidden = self.conv_out(F.relu(self.norm_out(hidden, mask)))
        mapped: Tensor = (values + hidden) * rearrange(mask, "batch step -> batch step 1")
        return mapped


class SeriesTCN(Encoder):
    """Dilated residual blocks over the steps, averaged over windows → tokens.

    Args:
        num_channels: channels of the recording; inputs have twice as many columns, the indicators last.
        max_steps: the longest recording. Above 512 steps a strided convolution shortens it first; windows are at least
            4 steps, more where that would be over 48 tokens.
        width: of a token.
        channels: of the residual path.
        kernel: taps of a dilated convolution.
        dilations: of the blocks, in order.

    Example:
        >>> encoder = SeriesTCN(num_channels=3, max_steps=200, width=48)
        >>> seconds = torch.arange(200)[:, None] * 0.02 + torch.tensor([0.0, 0.02])
        >>> recordings = Inputs(torch.ones(2, 200, 6), torch.ones(2, 200, dtype=torch.bool), seconds.expand(2, 200, 2))
        >>> encoder(recordings).values.shape
        torch.Size([2, 40, 48])

    Source: Bai et al. 2018, "An empirical evaluation of generic convolutional and recurrent networks". Deviations:
    centred instead of causal, since the whole recording is there; a norm over each recording instead of weight norm; no
    dropout.
    """

    def __init__(
        self, *, num_channels: int, max_steps: int, width: int, channels: int = 48, kernel: int = 3,
        dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32),
    ) -> None:
        super().__init__()
        self.stride = -(-max_steps // TCN_STEPS)
        self.window = max(LEAST_STEPS, -(-max_steps // (self.stride * MAX_TOKENS)))
        self.stem = nn.Linear(2 * num_channels * 3 * self.stride, channels)
        self.blocks = nn.ModuleList(DilatedResidual(channels, kernel=kernel, dilation=gap) for gap in dilations)
        self.norm = RecordingNorm(channels)
        self.project = nn.Linear(2 * channels, width)
        self.time = TimeEncoding(width)

    @classmethod
    def build(cls, kind: SeriesKind, width: int) -> SeriesTCN:
        """An encoder for a measured kind of recording."""
        assert kind.max_steps is not None
        return cls(num_channels=len(kind.channels), max_steps=kind.max_steps, width=width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, step, readings and indicators) → (row, token, width), each token's span in seconds."""
        assert inputs.mask is not None and inputs.span is not None
        real = _readings(inputs.values, inputs.mask).to(self.project.weight.dtype)
        missing = -real.shape[1] % self.stride
        padded = F.pad(real, (0, 0, self.stride, missing + self.stride)).unfold(1, 3 * self.stride, self.stride)
        mask, span = windows(inputs.mask, self.stride), window_spans(inputs.span, inputs.mask, self.stride)
        values = self.stem(rearrange(padded, "row token column step -> row token (step column)"))
        values = torch.where(mask[:, :, None], values, 0.0)
        for block in self.blocks:
            values = block(values, mask)
        values = F.relu(self.norm(values, mask))
        pooled = torch.cat([window_means(values, mask, self.window), window_peaks(values, mask, self.window)], dim=-1)
        mask, span = windows(mask, self.window), window_spans(span, mask, self.window)
        return Tokens(self.project(pooled) + self.time(span, mask), mask, span)


def _readings(
    values: Float[Tensor, "row step column"], mask: Bool[Tensor, "row step"]
) -> Float[Tensor, "row step column"]:
    """Readings beside indicators; 0 where the mask is False or the indicator says that there is no reading."""
    there = torch.where(mask[:, :, None], values.chunk(2, dim=-1)[1], 0.0)
    readings = torch.where(there > 0, values.chunk(2, dim=-1)[0], 0.0)
    return torch.cat([readings, there], dim=-1)
