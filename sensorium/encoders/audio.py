"""Log-mel spectrograms, stretched to one length, quiet ends hurried over, read by a small residual network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
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
QUIET = 0.08
HURRY = 0.05


@dataclass(frozen=True)
class Frames:
    """What a sound is before the network.

    Args:
        values: (batch, frame, band) log energies, each band's mean over the sound removed; 0 behind the last real one.
        means: (batch, band) the means that were removed.
        pace: (batch, frame) how long each frame counts: 1, less at quiet ends, 0 behind the last real one.
    """

    values: Float[Tensor, "batch frame band"]
    means: Float[Tensor, "batch band"]
    pace: Float[Tensor, "batch frame"]


class LogMel(nn.Module):
    """Waveforms → log-mel frames of unit loudness, each band's mean over the sound removed.

    y(t, b) = log(Σ_f mel(b, f) |STFT(x / rms)(t, f)|² + floor), minus its mean over t, each counting as its pace.

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

    def forward(self, waveforms: Float[Tensor, "batch sample"], mask: Bool[Tensor, "batch sample"]) -> Frames:
        """(batch, sample) waveforms, read where the mask says so."""
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
        pace = hurried(2.0 / self.size * power_by_bin.sum(dim=1), num_frames)
        means = (pace[:, :, None] * logs).sum(dim=1, keepdim=True) / pace.sum(dim=1)[:, None, None]
        return Frames(torch.where(pace[:, :, None] > 0, logs - means, 0.0), means[:, 0], pace)


def hurried(power: Float[Tensor, "batch frame"], lengths: Int[Tensor, "batch"]) -> Float[Tensor, "batch frame"]:
    """The pace of every frame: `HURRY` before the first and behind the last one that sounds, 1 between, 0 at padding.

    How much silence lies around a sound is the recording's affair. A frame sounds where its power is above `QUIET`
    (11 dB below the sound's mean); where none does, all count.

    Args:
        power: (batch, frame) of each frame, the mean over the sound being about 1.
        lengths: (batch,) real frames.
    """
    real = torch.arange(power.shape[1], device=power.device) < lengths[:, None]
    sounds = (power > QUIET) & real
    begun, unended = sounds.cumsum(dim=1) > 0, sounds.flip(1).cumsum(dim=1).flip(1) > 0
    inside = (begun & unended) | ~sounds.any(dim=1, keepdim=True)
    pace = torch.where(inside, 1.0, HURRY).to(power.dtype)
    return torch.where(real, pace, 0.0)


def stretch(
    frames: Float[Tensor, "batch frame band"], pace: Float[Tensor, "batch frame"], num_out: int
) -> Float[Tensor, "batch frame_out band"]:
    """Every row's real frames resized to the same number: linear interpolation, averaging where it shrinks.

    out(k) = Σ_t w(k, t) frames(t) / Σ_t w(k, t),  w(k, t) = pace(t) max(0, 1 − |p_t − c_k| / max(1, n / K)), where p_t
    is the middle of frame t when each takes its pace, n their sum.

    Args:
        frames: (batch, frame, band).
        pace: (batch, frame) how long each frame counts, at most 1; 0 for those that are not real, which come last.
        num_out: frames K that come out.
    """
    ends = pace.cumsum(dim=1)
    place = ends - 0.5 * pace
    ratio = ends[:, -1:, None] / num_out
    centre = (torch.arange(num_out, device=frames.device, dtype=frames.dtype)[None, :, None] + 0.5) * ratio
    last = torch.where(pace > 0, place, 0.0).amax(dim=1)[:, None, None]
    centre = torch.minimum(torch.maximum(centre, place[:, :1, None]), last)
    weights = (1.0 - (place[:, None, :] - centre).abs() / ratio.clamp(min=1.0)).clamp(min=0.0) * pace[:, None, :]
    return (weights / weights.sum(dim=2, keepdim=True)) @ frames


class LogMelEncoder(Encoder):
    """Sounds → tokens equally spaced over each sound, whatever its length.

    The log-mel frames of every sound are stretched to one number of frames, so that a word said slowly looks like the
    same word said quickly; quiet ends are passed twenty times as fast (`hurried`). How long it sounds is told to the
    tokens beside. The bands' means, which the frames have lost, are a token of their own: of a steady sound they are
    all there is. Nothing behind a sound's end is read.

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
        frames = self.logmel(inputs.values, inputs.mask)
        stretched = stretch(frames.values, frames.pace, self.num_frames) / 2.0  # log energies deviate by about 2
        pictures = rearrange(stretched, "batch frame band -> batch 1 band frame")
        maps = F.relu(self.norm(self.blocks(self.stem(pictures))))
        values = self.project(rearrange(maps, "batch channel band frame -> batch frame (channel band)"))
        sounding = frames.pace.sum(dim=1, keepdim=True) * (self.logmel.hop / self.rate)
        values = values + self.place + self.length(torch.log(sounding))[:, None, :]
        timbre = self.timbre((frames.means - frames.means.mean(dim=1, keepdim=True)) / 2.0)
        values = torch.cat([values, timbre[:, None, :]], dim=1)
        mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        return Tokens(values, mask, self._spans(frames, inputs.mask.sum(dim=1).to(values.dtype) / self.rate))

    def _spans(self, frames: Frames, seconds: Float[Tensor, "batch"]) -> Float[Tensor, "batch token 2"]:
        """(start, end) of every token in seconds: equal parts of the stretched sound; the whole for the timbre."""
        num_tokens, hop = len(self.place), self.logmel.hop / self.rate
        ends = frames.pace.cumsum(dim=1)
        starts = torch.arange(frames.pace.shape[1], device=seconds.device, dtype=seconds.dtype) * hop
        lasting = (seconds[:, None] - starts).clamp(0.0, hop)
        part = torch.arange(1, num_tokens, device=seconds.device, dtype=seconds.dtype) / num_tokens
        edges = part[:, None] * ends[:, -1:, None]
        passed = ((edges - (ends - frames.pace)[:, None, :]) / frames.pace.clamp(min=HURRY)[:, None, :]).clamp(0.0, 1.0)
        inner = (passed * lasting[:, None, :]).sum(dim=2)
        zero, whole = torch.zeros_like(seconds)[:, None], seconds[:, None]
        return torch.stack([torch.cat([zero, inner, zero], dim=1), torch.cat([inner, whole, whole], dim=1)], dim=2)
