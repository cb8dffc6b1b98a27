"""WaveNet as an encoder: raw waveforms through causal dilated convolutions with gated residual units."""

from __future__ import annotations

import math
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.audio import AudioKind
from sensorium.data.kinds.base import Inputs
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.dilated import DilatedConv
from sensorium.encoders.time import TimeEncoding, window_means, window_spans, windows

HOP_SECONDS, FILTER_SECONDS, TRAIL_SECONDS = 0.008, 0.032, 0.512
LOWEST_HERTZ = 60.0
TOKEN_SECONDS, MAX_TOKENS = 0.05, 32
MU = 255.0
FLOOR = 1e-5
FRONT_FACTOR = 0.1


def mu_law(waveforms: Float[Tensor, "batch sample"]) -> Float[Tensor, "batch sample"]:
    """sign(x) ln(1 + μ|x|) / ln(1 + μ), μ = 255: quiet samples get more of the range −1…1. Source: ITU-T G.711."""
    return waveforms.sign() * torch.log1p(MU * waveforms.abs()) / math.log1p(MU)


def gabor_filters(num_filters: int, size: int, rate: int) -> Float[Tensor, "channel 1 sample"]:
    """Cosine and sine filters of unit energy at mel-spaced pitches, each as long as its band is narrow.

    Args:
        num_filters: pitches; cosines come first, then the sines of the same pitches.
        size: taps.
        rate: samples per second.
    """
    low, high = (2595.0 * math.log10(1.0 + hertz / 700.0) for hertz in (LOWEST_HERTZ, 0.48 * rate))
    pitches = 700.0 * (10.0 ** (torch.linspace(low, high, num_filters + 2) / 2595.0) - 1.0)
    spacing = (pitches[2:] - pitches[:-2]) / 2.0
    pitch = pitches[1:-1, None]
    time = (torch.arange(size) - (size - 1) / 2.0) / rate
    length = (2.0 / spacing[:, None]).clamp(min=8.0 / rate, max=size / rate)
    window = torch.where(time.abs() < length / 2.0, torch.cos(torch.pi * time / length).square(), 0.0)
    angle = 2.0 * torch.pi * pitch * time
    filters = F.normalize(torch.cat([window * angle.cos(), window * angle.sin()]), dim=1)
    return rearrange(filters, "channel sample -> channel 1 sample")


class CausalFilters(nn.Module):
    """The strided front: learned filters in pairs, the log of each pair's energy every `hop` samples.

    y_k(t) = (log(Σ_{pair} (w_k ∗ x)²(t) + floor) + 6) / 3, from the `size` samples that end with step t's last one.

    Filters start as Gabor pairs on the mel scale (as in LEAF, Zeghidour et al. 2021) and are trained, slowly; a pair's
    energy does not depend on the phase, so that one step may stand for many samples.

    Args:
        num_filters: pairs.
        size: taps; at least `hop`.
        hop: samples a step.
        rate: samples per second.
    """

    def __init__(self, num_filters: int, *, size: int, hop: int, rate: int) -> None:
        super().__init__()
        assert size >= hop
        self.size, self.hop = size, hop
        self.weight = nn.Parameter(gabor_filters(num_filters, size, rate))

    def forward(self, waveforms: Float[Tensor, "batch sample"]) -> Float[Tensor, "batch step channel"]:
        """A whole number of steps of samples → that many steps."""
        padded = rearrange(F.pad(waveforms, (self.size - self.hop, 0)), "batch sample -> batch 1 sample")
        filtered = F.conv1d(padded, self.weight, stride=self.hop).to(waveforms.dtype)
        energy = rearrange(filtered.square(), "batch (pair filter) step -> batch step filter pair", pair=2).sum(dim=-1)
        return (torch.log(energy + FLOOR) + 6.0) / 3.0


def trailing_mean(
    values: Float[Tensor, "batch step channel"], size: int
) -> Float[Tensor, "batch step channel"]:
    """y(t) = the mean of x over the last `size` steps up to t, or over as many as there are."""
    sums = values.cumsum(dim=1)
    before = F.pad(sums, (0, 0, size, 0))[:, : sums.shape[1]]
    counts = torch.arange(1, sums.shape[1] + 1, device=sums.device, dtype=sums.dtype).clamp(max=size)
    return (sums - before) / counts[:, None]


class GatedUnit(nn.Module):
    """z = tanh(W_f ∗ n) ⊙ σ(W_g ∗ n), n = norm(x); x ↦ x + W_r z, and W_s z to the skip sum.

    Args:
        channels: of x and of the skip sum.
        kernel, dilation: of the causal convolution.
        last: whether x ends here, so that only the skip part is made.

    Source: van den Oord et al. 2016, "WaveNet", equation 2 and figure 4. Deviation: each step is normalised over its
    channels first (LayerNorm), which looks at no other step.
    """

    def __init__(self, channels: int, *, kernel: int, dilation: int, last: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.norm = nn.LayerNorm(channels)
        self.conv = DilatedConv(channels, 2 * channels, kernel=kernel, dilation=dilation)
        self.out = nn.Linear(channels, channels if last else 2 * channels)

    def forward(
        self, values: Float[Tensor, "batch step channel"]
    ) -> tuple[Float[Tensor, "batch step channel"], Float[Tensor, "batch step channel"]]:
        """(x, the part for the skip sum); behind the last unit x is the same as it came."""
        wave, gate = self.conv(self.norm(values)).chunk(2, dim=-1)
        out = self.out(torch.tanh(wave) * torch.sigmoid(gate))
        if out.shape[-1] == self.channels:
            return values, out
        residual, skip = out.chunk(2, dim=-1)
        return values + residual, skip


class WaveNet(Encoder):
    """Waveforms → skip outputs of a causal dilated network, averaged over windows of fixed length.

    Up to that average a step depends on nothing later than itself. The network sees by how much each filter's energy
    differs from its mean over the last half second: a gain, a room and much of what tells speakers apart are not in
    that, but for the onset (spoken digits of new speakers: .73 right with it, .54 without). Tokens carry their window's
    seconds, as span and as a time encoding.

    Args:
        rate: samples per second.
        max_seconds: the longest sound, which sets the window: 50 ms, longer where that would be over 32 tokens.
        width: channels of a token.
        num_filters: pairs of the strided front (`CausalFilters`, a step of 8 ms).
        channels: of the residual and skip paths.
        kernel: taps of a dilated convolution.
        dilations: of the units, in order.
        companding: of the waveform: plain, or mu-law.

    Example:
        >>> encoder = WaveNet(rate=8000, max_seconds=1.0, width=64)
        >>> encoder(Inputs(torch.randn(2, 8000), torch.ones(2, 8000, dtype=torch.bool))).values.shape
        torch.Size([2, 21, 64])
        >>> encoder.receptive_field / encoder.rate
        1.552

    Source: van den Oord et al. 2016, "WaveNet: a generative model for raw audio". Deviations: the strided front with
    its trailing mean, and tokens instead of the next sample.
    """

    def __init__(
        self, *, rate: int, max_seconds: float, width: int, num_filters: int = 40, channels: int = 32, kernel: int = 2,
        dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64), companding: Literal["plain", "mu-law"] = "plain",
    ) -> None:
        super().__init__()
        self.rate, self.companding = rate, companding
        self.hop = max(1, round(HOP_SECONDS * rate))
        self.window = max(1, round(max(TOKEN_SECONDS, max_seconds / MAX_TOKENS) * rate / self.hop))
        self.trail = max(1, round(TRAIL_SECONDS * rate / self.hop))
        size = max(self.hop, round(FILTER_SECONDS * rate))
        self.front = CausalFilters(num_filters, size=size, hop=self.hop, rate=rate)
        self.enter = nn.Linear(num_filters, channels)
        self.units = nn.ModuleList(GatedUnit(channels, kernel=kernel, dilation=dilation, last=number == len(dilations))
                                   for number, dilation in enumerate(dilations, start=1))
        self.reach = (kernel - 1) * sum(dilations)
        self.head = nn.Sequential(nn.LayerNorm(channels), nn.ReLU(), nn.Linear(channels, 2 * channels), nn.ReLU())
        self.project = nn.Linear(2 * channels, width)
        self.time = TimeEncoding(width)

    @classmethod
    def build(cls, kind: AudioKind, width: int) -> WaveNet:
        """An encoder for a measured kind of sound."""
        assert kind.rate is not None and kind.max_seconds is not None
        return cls(rate=kind.rate, max_seconds=kind.max_seconds, width=width)

    @property
    def receptive_field(self) -> int:
        """Samples that a step depends on, its own included: filter + hop · (trail − 1 + Σ (kernel − 1) · dilation)."""
        return self.front.size + self.hop * (self.trail - 1 + self.reach)

    def learning_rates(self) -> dict[str, float]:
        """Filters move slowly: at the full rate they learn the training speakers by heart."""
        return {"front.": FRONT_FACTOR}

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, sample) waveforms → (row, token, width), each token's span in seconds."""
        assert inputs.mask is not None
        steps = self.steps(self.energies(inputs.values, inputs.mask))
        mask = windows(inputs.mask, self.hop)
        real = windows(mask, self.window)
        span = self._spans(inputs.mask.sum(dim=1, keepdim=True).to(steps.dtype) / self.rate, mask)
        return Tokens(self.project(window_means(steps, mask, self.window)) + self.time(span, real), real, span)

    def energies(
        self, waveforms: Float[Tensor, "batch sample"], mask: Bool[Tensor, "batch sample"]
    ) -> Float[Tensor, "batch step channel"]:
        """What the front gives, a step for every begun `hop` samples."""
        real = F.pad(torch.where(mask, waveforms, 0.0), (0, -waveforms.shape[1] % self.hop))
        real = real.to(self.project.weight.dtype)
        energies: Tensor = self.front(mu_law(real) if self.companding == "mu-law" else real)
        return energies

    def steps(self, energies: Float[Tensor, "batch step channel"]) -> Float[Tensor, "batch step channel_out"]:
        """The causal network: one vector per step."""
        values = self.enter(1.5 * (energies - trailing_mean(energies, self.trail)))
        skips = []
        for unit in self.units:
            values, skip = unit(values)
            skips.append(skip)
        seen: Tensor = self.head(torch.stack(skips).sum(dim=0))
        return seen

    def _spans(
        self, seconds: Float[Tensor, "batch 1"], mask: Bool[Tensor, "batch step"]
    ) -> Float[Tensor, "batch token 2"]:
        """(start, end) of every window in seconds, up to the sound's end."""
        place = torch.arange(mask.shape[1] + 1, device=seconds.device, dtype=seconds.dtype) * (self.hop / self.rate)
        start, end = torch.minimum(place[:-1], seconds), torch.minimum(place[1:], seconds)
        return window_spans(torch.stack([start, end], dim=-1), mask, self.window)
