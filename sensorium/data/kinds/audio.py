"""Sound: files, sound tracks of videos, bytes or (waveform, rate) pairs → mono float waveforms of one rate."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sensorium.data.decoding.media import is_container, track_header, track_samples
from sensorium.data.kinds.base import Cell, Html, Inputs, Padded, existing_file, first_line
from sensorium.data.mel import mel_filters
from sensorium.errors import BadCell

if TYPE_CHECKING:
    from soundfile import SoundFile
    from torch import Tensor

    from sensorium.keyed import Draws

Waveform = npt.NDArray[np.float32]
DESCRIBED_FRAMES = 24
FILTER_TAPS, FILTER_WAVES = 32, 4
DESCRIBED_BANDS = 32
MOST_CHANNELS = 8
FORMATS = frozenset({"AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX"})
"""What libsndfile may read; other containers are PyAV's."""
PIECE = 1 << 18
MOST_SAMPLES = 1 << 25
UNKNOWN_SECONDS = 10.0


class AudioKind(BaseModel):
    """Mono sound of one sampling rate. Files are read by libsndfile; what it cannot read (mp4, m4a, webm …) by PyAV.

    Args:
        rate: samples per second; None until measured: the median of the training files, at most 16,000.
        max_seconds: longer sounds are cut to their first so many seconds; None until measured: a quarter more than the
            longest of the training sample, at most 10 s.
        augmentation: how far training sounds are varied, 0 = not at all.
        keep_time: whether a varied sound keeps its clock: neither speed nor ends change. None until measured: where
            another modality of the sample has seconds too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "audio"
    kind: Literal["audio"] = "audio"
    rate: int | None = Field(default=None, ge=1000)
    max_seconds: float | None = Field(default=None, gt=0)
    augmentation: float = Field(default=1.0, ge=0.0)
    keep_time: bool | None = None

    def measure(self, cells: Sequence[Cell]) -> AudioKind:
        """Rate and length from the headers of a sample of cells."""
        rates: list[float] = []
        seconds: list[float] = []
        for cell in cells:
            try:
                rate, length = _header(cell)
            except BadCell:
                continue
            rates.append(rate)
            seconds.append(length / rate)
        return self.model_copy(update={
            "rate": self.rate or (min(16000, int(np.median(rates))) if rates else 16000),
            "max_seconds": self.max_seconds or (min(10.0, 1.25 * max(seconds)) if seconds else 10.0),
        })

    def decode(self, cell: Cell) -> Waveform:
        """(sample,) float32, about −1…1."""
        assert self.rate is not None and self.max_seconds is not None
        waveform, rate = _samples(cell, self.max_seconds)
        if waveform.ndim == 2:
            with np.errstate(invalid="ignore", over="ignore"):
                waveform = waveform.mean(axis=1)
        if not np.isfinite(waveform).all():
            raise BadCell("sound with values that are not finite")
        if rate != self.rate:
            import soxr

            waveform = soxr.resample(waveform, rate, self.rate, quality="HQ")
        waveform = waveform[: max(1, round(self.max_seconds * self.rate))]
        if len(waveform) == 0:
            raise BadCell("sound without samples")
        return np.ascontiguousarray(waveform, dtype=np.float32)

    def length(self, array: Waveform) -> int:
        """Samples."""
        return len(array)

    def pad(self, arrays: Sequence[Waveform]) -> Padded:
        """(row, sample) float32 waveforms, zero-padded; mask (row, sample)."""
        lengths = np.array([len(array) for array in arrays])
        values = np.zeros((len(arrays), int(lengths.max())), dtype=np.float32)
        for row, array in enumerate(arrays):
            values[row, : len(array)] = array
        mask = np.arange(values.shape[1])[None, :] < lengths[:, None]
        return Padded(values, mask)

    def collate(self, arrays: Sequence[Waveform]) -> Inputs:
        """The same as tensors."""
        return self.pad(arrays).inputs()

    def augment(self, inputs: Inputs, draws: Draws) -> Inputs:
        """Spoken by somebody else: another speed and pitch, unevenly, other ends, filter, noise; some of it silenced.

        At augmentation 1: speed and pitch by up to 20 %, which wander by up to 15 %; up to 6 % of either end cut or
        added as silence; a random smooth filter of about 6 dB; white noise 0 to 45 dB below the sound; up to 20 %
        silenced; gain by 6 dB. Amounts above 2 count as 2. A quarter of the sounds stay as they are, so that clean ones
        are known too.
        """
        if self.augmentation == 0:
            return inputs
        import torch

        assert inputs.mask is not None
        amount = min(self.augmentation, 2.0)
        loudness = _loudness(inputs.values, inputs.mask)
        sounds, mask = (inputs.values, inputs.mask) if self.keep_time else _replayed(
            inputs.values, inputs.mask, draws, amount)
        lengths = mask.sum(dim=1, keepdim=True)
        hole, level = (torch.from_numpy(draws.uniform(f"audio/{purpose}", 2)).float() for purpose in ("hole", "level"))
        sounds = torch.where(mask, sounds, 0.0)
        waves = torch.from_numpy(draws.normal("audio/filter", FILTER_WAVES)).float()
        filtered = _filtered(sounds, 4.0 * amount * waves)
        place = torch.arange(sounds.shape[1])
        first = (hole[:, :1] * lengths).long()
        last = first + (0.2 * amount * hole[:, 1:] * lengths).long()
        filtered.masked_fill_((place >= first) & (place < last), 0.0)
        filtered.addcmul_(_noise(draws, sounds.shape[1]), loudness * 10.0 ** (2.25 * amount * level[:, :1] - 2.25))
        filtered *= 10.0 ** (0.6 * amount * (level[:, 1:] - 0.5))
        untouched = torch.from_numpy(draws.uniform("audio/untouched") < 0.25)
        return _chosen(untouched, inputs, Inputs(filtered.masked_fill_(~mask, 0.0), mask, inputs.span))

    def corrupt(self, inputs: Inputs, severity: float, draws: Draws) -> Inputs:
        """White noise of the sound's loudness mixed in: amplitude √(1 − s) of the sound, √s of the noise.

        The signal-to-noise ratio is 10 log10((1 − s) / s) dB: 20 dB at .01, 0 dB at .5, noise alone at 1.
        """
        if severity == 0:
            return inputs
        import torch

        assert inputs.mask is not None
        sounds = torch.where(inputs.mask, inputs.values, 0.0)
        noise = _noise(draws, sounds.shape[1]) * _loudness(sounds, inputs.mask)
        mixed = (1.0 - severity) ** 0.5 * sounds + severity ** 0.5 * noise
        return Inputs(torch.where(inputs.mask, mixed, 0.0), inputs.mask, inputs.span)

    def show(self, array: Waveform) -> Html:
        """A player and the waveform's outline."""
        import soundfile

        assert self.rate is not None
        buffer = io.BytesIO()
        soundfile.write(buffer, array, self.rate, format="WAV", subtype="PCM_16")
        data = base64.b64encode(buffer.getvalue()).decode()
        columns = np.array_split(np.abs(array), min(120, len(array)))
        peak = max(float(np.abs(array).max()), 1e-9)
        heights = [max(1.0, 28 * float(part.max()) / peak) for part in columns]
        bars = "".join(f'<rect x="{i}" y="{15 - h / 2:.1f}" width="1" height="{h:.1f}"/>'
                       for i, h in enumerate(heights))
        return (f'<svg class="wave" viewBox="0 0 {len(heights)} 30" preserveAspectRatio="none" role="img" '
                f'aria-label="sound of {len(array) / self.rate:.2f} seconds">{bars}</svg>'
                f'<audio controls preload="none" src="data:audio/wav;base64,{data}"></audio>')

    def describe(self, array: Waveform) -> npt.NDArray[np.float32]:
        """24 time-normalised log-mel frames of 32 bands, each band's mean removed."""
        assert self.rate is not None
        size = 1 << max(6, int(0.032 * self.rate - 1).bit_length())
        hop = max(1, int(0.010 * self.rate))
        padded = np.pad(array, (0, max(0, size - len(array))))
        frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size)
        power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
        mel = np.log(power @ mel_filters(DESCRIBED_BANDS, size, self.rate).T + 1e-6)
        where = np.linspace(0, len(mel) - 1, DESCRIBED_FRAMES)
        low = np.floor(where).astype(int)
        high = np.minimum(low + 1, len(mel) - 1)
        share = (where - low)[:, None]
        stretched = mel[low] * (1 - share) + mel[high] * share
        return np.asarray(stretched - stretched.mean(axis=0), dtype=np.float32).ravel()


def _noise(draws: Draws, num_samples: int) -> Tensor:
    """(row, sample) uniform white noise of power 1; a sample's value does not depend on how many are asked for."""
    import torch

    bits = draws.bits("audio/noise", -(-num_samples // 4)).astype("<u8", copy=False).view("<i2")[:, :num_samples]
    return torch.from_numpy(bits.astype(np.float32)).mul_(3.0**0.5 / 32768.0)


def _loudness(sounds: Tensor, mask: Tensor) -> Tensor:
    """(row, 1) root mean square over the real samples; tiny for silence, never 0."""
    import torch

    energy = torch.where(mask, sounds, 0.0).square().sum(dim=1, keepdim=True)
    return (energy / mask.sum(dim=1, keepdim=True).clamp(min=1) + 1e-10).sqrt()


def _filtered(sounds: Tensor, waves: Tensor) -> Tensor:
    """Each row through its own filter, whose gain in decibels is Σ_k waves_k cos(π k f / f_max), k from 1."""
    import torch
    from torch.nn import functional as F

    bins = torch.arange(FILTER_TAPS // 2 + 1) / (FILTER_TAPS // 2)
    basis = torch.cos(torch.pi * bins * torch.arange(1, waves.shape[1] + 1)[:, None])
    gains = 10.0 ** (waves @ basis / 20.0)
    taps = torch.fft.irfft(gains, n=FILTER_TAPS).roll(FILTER_TAPS // 2, dims=1) * torch.hann_window(FILTER_TAPS)
    padded = F.pad(sounds, (FILTER_TAPS // 2 - 1, FILTER_TAPS // 2))
    return F.conv1d(padded[None], taps.flip(1)[:, None], groups=len(sounds))[0]


def _chosen(first: Tensor, inputs: Inputs, others: Inputs) -> Inputs:
    """Rows of one where `first` says so, else of the other, no longer than the longest of them."""
    import torch
    from torch.nn import functional as F

    assert inputs.mask is not None and others.mask is not None
    width = max(inputs.values.shape[1], others.values.shape[1])
    values, mask = (torch.where(first[:, None], F.pad(a, (0, width - a.shape[1])), F.pad(b, (0, width - b.shape[1])))
                    for a, b in ((inputs.values, others.values), (inputs.mask, others.mask)))
    longest = int(mask.sum(dim=1).max())
    return Inputs(values[:, :longest], mask[:, :longest], inputs.span)


def _replayed(sounds: Tensor, mask: Tensor, draws: Draws, amount: float) -> tuple[Tensor, Tensor]:
    """Every sound played from another start to another end at another, uneven speed (linear interpolation)."""
    import torch
    from torch.nn import functional as F

    unit = torch.from_numpy(draws.uniform("audio/replay", 5, low=-1.0, high=1.0)).float()
    lengths = mask.sum(dim=1, keepdim=True).float()
    start, stop = 0.06 * amount * unit[:, 0:1] * lengths, (1.0 + 0.06 * amount * unit[:, 1:2]) * lengths
    speed = torch.exp2(0.26 * amount * unit[:, 2:3])
    new_lengths = ((stop - start) / speed).round().clamp(min=1.0)
    place = torch.arange(int(new_lengths.max()))
    part = place * (torch.pi / new_lengths)
    sine = torch.sin(part)
    wander = sine * (torch.cos(part).mul_(unit[:, 4:5]).add_(unit[:, 3:4]))
    source = part.add_(wander.mul_(0.15 * amount)).mul_((stop - start) / torch.pi).add_(start)
    real = F.pad(torch.where(mask, sounds, 0.0), (1, 2))  # silence before the first and behind the last sample
    source.add_(1.0).clamp_(0.0, float(sounds.shape[1] + 1))
    low = source.long()
    replayed = torch.lerp(real.gather(1, low), real.gather(1, low + 1), source.sub_(low))
    return replayed, place < new_lengths


def _header(cell: Cell) -> tuple[int, int]:
    """(rate, number of samples) without decoding."""
    import soundfile

    try:
        if isinstance(cell, tuple):
            waveform, rate = _given(*cell)
            return rate, len(waveform)
        info = soundfile.info(io.BytesIO(cell) if isinstance(cell, bytes) else str(existing_file(cell)))
    except BadCell:
        raise
    except soundfile.LibsndfileError as error:
        if is_container(cell):
            rate, seconds = track_header(cell)
            return rate, round((seconds or UNKNOWN_SECONDS) * rate)
        raise BadCell(f"broken sound ({error.error_string.splitlines()[0]})") from error
    except Exception as error:
        raise BadCell(f"broken sound ({first_line(error)})") from error
    if info.samplerate <= 0 or info.frames <= 0:
        raise BadCell("sound without samples")
    return int(info.samplerate), int(info.frames)


def _given(waveform: Any, rate: float) -> tuple[npt.NDArray[Any], int]:
    """A (waveform, rate) as files are read: whole numbers become −1…1, channels stand last."""
    array = np.asarray(waveform)
    if array.ndim not in (1, 2) or not rate >= 1:
        raise BadCell(f"a waveform of shape {array.shape} at {rate:g} Hz: expected (sample,) or (sample, channel), and "
                      f"a rate above 0")
    if array.ndim == 2 and array.shape[0] <= MOST_CHANNELS < array.shape[1]:
        array = array.T
    if array.dtype.kind == "u":
        return array.astype(np.float32) / (np.iinfo(array.dtype).max / 2.0) - 1.0, int(rate)
    scale = float(np.iinfo(array.dtype).max) if array.dtype.kind == "i" else 1.0
    return (array / scale).astype(np.float32), int(rate)


def _samples(cell: Cell, max_seconds: float) -> tuple[npt.NDArray[Any], int]:
    """(sample,) or (sample, channel) float32 and the rate, no more than max_seconds of it."""
    import soundfile

    try:
        if isinstance(cell, tuple):
            return _given(*cell)
        with soundfile.SoundFile(io.BytesIO(cell) if isinstance(cell, bytes) else str(existing_file(cell))) as file:
            if file.format not in FORMATS:
                raise BadCell(f"a sound file of the form {file.format}, which is not read")
            return _mono(file, int(max_seconds * file.samplerate) + 1), file.samplerate
    except BadCell:
        raise
    except soundfile.LibsndfileError as error:
        if is_container(cell):
            return track_samples(cell, max_seconds)
        raise BadCell(f"broken sound ({error.error_string.splitlines()[0]})") from error
    except Exception as error:  # libsndfile raises its own errors, RuntimeError and OSError on broken files
        raise BadCell(f"broken sound ({first_line(error)})") from error


def _mono(file: SoundFile, wanted: int) -> Waveform:
    """(sample,) the mean of the channels, read piece by piece: what a header declares is not yet there."""
    pieces: list[Waveform] = []
    count = 0
    while count < wanted:
        piece = file.read(min(wanted - count, max(1, PIECE // file.channels)), dtype="float32", always_2d=True)
        if len(piece) == 0:
            break
        with np.errstate(invalid="ignore", over="ignore"):
            pieces.append(piece.mean(axis=1) if piece.shape[1] > 1 else piece[:, 0])
        count += len(piece)
        if count > MOST_SAMPLES:
            raise BadCell(f"over {MOST_SAMPLES:,} samples in the first seconds of a sound, at {file.samplerate:,} Hz")
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
