"""Log-mel spectrograms, stretched to one length, read by a small residual network."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.audio import AudioKind
from sensorium.data.kinds.base import Inputs
from sensorium.data.mel import mel_filters
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.image import GROUP_CHANNELS, ResidualBlock

WINDOW_SECONDS = 0.032
HOP_SECONDS = 0.010
STEP_SECONDS = 0.025
REDUCTION = 8
FLOOR = 1e-3


class LogMel(nn.Module):
    """Waveforms → log-mel frames of unit loudness, each band's mean over the sound removed.

    y(t, b) = log(Σ_f mel(b, f) |STFT(x / rms)(t, f)|² + floor), minus its mean over the real frames t.

    A constant gain or a fixed filter (a microphone, a room, much of what tells speakers apart) is thereby removed.

    Args:
        rate: samples per second.
        num_bands: mel bands.
    """

    def __init__(self, rate: int, num_bands: int) -> None:
        super().__init__()
        self.size = 1 << max(5, round(WINDOW_SECONDS * rate - 1).bit_length())
        self.hop = max(1, round(HOP_SECONDS * rate))
        self.register_buffer("window", torch.hann_window(self.size) / (self.size * 0.375) ** 0.5)
        self.register_buffer("filters", torch.from_numpy(mel_filters(num_bands, self.size, rate)))

    def forward(
        self, waveforms: Float[Tensor, "batch sample"], mask: Bool[Tensor, "batch sample"]
    ) -> tuple[Float[Tensor, "batch frame band"], Float[Tensor, "batch band"], Int[Tensor, "batch"]]:
        """(frames, the means taken from them, number of real frames); frames behind the last real one are 0."""
        real = torch.where(mask, waveforms, 0.0)
        lengths = mask.sum(dim=1)
        power = real.square().sum(dim=1) / lengths.clamp(min=1)
        real = real * torch.rsqrt(power + 1e-8)[:, None]
        padded = F.pad(real, (self.size // 2, self.size // 2))
        spectrum = torch.stft(padded, self.size, self.hop, window=self.get_buffer("window"), center=False,
                              return_complex=True)
        power_by_bin = spectrum.real.square() + spectrum.imag.square()
        energy = torch.einsum("zf,bft->btz", self.get_buffer("filters"), power_by_bin)
        logs = torch.log(energy + FLOOR)
        num_frames = torch.div(lengths - 1, self.hop, rounding_mode="floor") + 1
        is_real = (torch.arange(logs.shape[1], device=logs.device) < num_frames[:, None])[:, :, None]
        means = torch.where(is_real, logs, 0.0).sum(dim=1, keepdim=True) / num_frames[:, None, None]
        return torch.where(is_real, logs - means, 0.0), means[:, 0], num_frames


def stretch(
    frames: Float[Tensor, "batch frame band"], num_frames: Int[Tensor, "batch"], num_out: int
) -> Float[Tensor, "batch frame_out band"]:
    """Every row's real frames resized to the same number: linear interpolation, averaging where it shrinks.

    out(k) = Σ_t w(k, t) frames(t) / Σ_t w(k, t),  w(k, t) = max(0, 1 − |t − c_k| / max(1, n / K)).

    Args:
        frames: (batch, frame, band); frames from `num_frames` on are not read.
        num_frames: (batch,) real frames n of each row.
        num_out: frames K that come out.
    """
    ratio = num_frames.to(frames.dtype)[:, None, None] / num_out
    place = torch.arange(frames.shape[1], device=frames.device, dtype=frames.dtype)
    centre = (torch.arange(num_out, device=frames.device, dtype=frames.dtype)[None, :, None] + 0.5) * ratio - 0.5
    centre = torch.minimum(centre.clamp(min=0.0), num_frames[:, None, None] - 1.0)
    weights = (1.0 - (place - centre).abs() / ratio.clamp(min=1.0)).clamp(min=0.0)
    weights = torch.where(place < num_frames[:, None, None], weights, 0.0)
    return (weights / weights.sum(dim=2, keepdim=True)) @ frames


class LogMelEncoder(Encoder):
    """Sounds → tokens equally spaced over each sound, whatever its length.

    The log-mel frames of every sound are stretched to one number of frames, so that a word said slowly looks like the
    same word said quickly; the sound's true length is told to the tokens beside. The bands' means, which the frames
    have lost, are a token of their own: of a steady sound they are all there is. Nothing behind a sound's end is read.

    Args:
        rate: samples per second.
        max_seconds: the longest sound, which sets the number of frames: one per 25 ms, 48 to 400.
        width: channels of a token.
        num_bands: mel bands.
        stages: channels of the three stages.

    Example:
        >>> encoder = LogMelEncoder(rate=8000, max_seconds=1.5, width=64)
        >>> encoder(Inputs(torch.randn(2, 8000), torch.ones(2, 8000, dtype=torch.bool))).values.shape
        torch.Size([2, 9, 64])
    """

    def __init__(
        self, *, rate: int, max_seconds: float, width: int, num_bands: int = 40,
        stages: tuple[int, int, int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        self.rate = rate
        self.num_frames = REDUCTION * round(min(max(max_seconds / STEP_SECONDS, 48), 400) / REDUCTION)
        self.logmel = LogMel(rate, num_bands)
        self.stem = nn.Conv2d(1, stages[0], 5, stride=2, padding=2, bias=False)
        self.blocks = nn.Sequential(
            ResidualBlock(stages[0], stages[1], stride=(2, 2)),
            ResidualBlock(stages[1], stages[2], stride=(2, 2)),
        )
        self.norm = nn.GroupNorm(max(1, stages[2] // GROUP_CHANNELS), stages[2])
        self.project = nn.Linear(stages[2] * (-(-num_bands // REDUCTION)), width)
        self.length = nn.Linear(1, width)
        self.timbre = nn.Sequential(nn.Linear(num_bands, width), nn.GELU(), nn.Linear(width, width))
        self.place = nn.Parameter(0.02 * torch.randn(self.num_frames // REDUCTION, width))

    @classmethod
    def build(cls, kind: AudioKind, width: int) -> LogMelEncoder:
        """An encoder for a measured kind of sound."""
        assert kind.rate is not None and kind.max_seconds is not None
        return cls(rate=kind.rate, max_seconds=kind.max_seconds, width=width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, sample) waveforms → (row, token, width), each token's span in seconds; the last token is the timbre."""
        assert inputs.mask is not None
        frames, means, num_frames = self.logmel(inputs.values, inputs.mask)
        stretched = stretch(frames, num_frames, self.num_frames) / 2.0  # log energies deviate by about 2
        pictures = rearrange(stretched, "batch frame band -> batch 1 band frame")
        maps = F.relu(self.norm(self.blocks(self.stem(pictures))))
        values = self.project(rearrange(maps, "batch channel band frame -> batch frame (channel band)"))
        seconds = inputs.mask.sum(dim=1)[:, None].to(values.dtype) / self.rate
        values = values + self.place + self.length(torch.log(seconds))[:, None, :]
        timbre = self.timbre((means - means.mean(dim=1, keepdim=True)) / 2.0)
        values = torch.cat([values, timbre[:, None, :]], dim=1)
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        return Tokens(values, mask, self._spans(seconds))

    def _spans(self, seconds: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch token 2"]:
        """(start, end) of every token in seconds: equal parts of each sound, and the whole of it for the timbre."""
        num_tokens = len(self.place)
        edges = torch.arange(num_tokens + 1, device=seconds.device, dtype=seconds.dtype) / num_tokens
        parts = torch.stack([torch.cat([edges[:-1], edges[:1]]), torch.cat([edges[1:], edges[-1:]])], dim=1)
        return repeat(parts, "token side -> batch token side", batch=len(seconds)) * seconds[:, :, None]
