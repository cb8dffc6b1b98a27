"""Backbones for sound: Wav2Vec2, HuBERT, WavLM (waveforms); Whisper's encoder, AST (a window of log-mel)."""

from __future__ import annotations

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from sensorium.data.kinds.base import Inputs
from sensorium.encoders.base import Tokens
from sensorium.encoders.pretrained.backbone import Backbone, Loaded
from sensorium.encoders.pretrained.pooling import pool_sequence
from sensorium.encoders.pretrained.preprocessing import FRAMES_PER_SECOND, heard_seconds

SHORTEST_SECONDS = 0.03


class SoundBackbone(Backbone):
    """Waveforms, through the model's own feature extractor → a token for every stretch of time.

    Padding never changes a token. Models that hear a window of fixed length (Whisper, AST) are given all rows at once,
    and tokens behind a sound's end are masked. Models of waveforms that mask padding (feat_extract_norm: layer) are
    given all rows padded. The others (wav2vec2-base normalises over time) are given rows of equal length together.

    Args:
        loaded: the model.
        extractor: transformers' feature extractor.
        most: tokens of a sound; more are averaged over neighbours. None: all.
    """

    def __init__(self, loaded: Loaded, extractor: Any, most: int | None) -> None:
        super().__init__()
        self.model = loaded.model
        self.extractor = extractor
        self.most = most
        self.rate = int(extractor.sampling_rate)
        self.window = heard_seconds(extractor)
        settings = loaded.settings
        self.strides = list(zip(settings.get("conv_kernel") or (), settings.get("conv_stride") or (), strict=True))
        self.masks_padding = settings.get("feat_extract_norm") == "layer" and not settings.get("add_adapter", False)
        self.patches = _patches(settings)
        self.shortest = max(_field(self.strides), math.ceil(SHORTEST_SECONDS * self.rate))

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, sample) waveforms → (row, token, hidden); spans are seconds."""
        assert inputs.mask is not None
        lengths = inputs.mask.sum(dim=1)
        if self.window is not None:
            tokens = self._windowed(inputs.values, lengths)
        elif self.masks_padding:
            tokens = self._masked(inputs.values, lengths)
        else:
            tokens = self._by_length(inputs.values, lengths)
        return pool_sequence(tokens, self.most)

    def probe(self) -> Inputs:
        """A tenth of a second of noise."""
        samples = max(self.shortest, self.rate // 10)
        noise = torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
        return Inputs(0.1 * noise, torch.ones(1, samples, dtype=torch.bool))

    def _features(self, values: Tensor, lengths: list[int], **settings: Any) -> dict[str, Tensor]:
        """What the extractor makes of the real samples; sounds too short for one token get silence behind them."""
        waves = [F.pad(row[:length], (0, max(0, self.shortest - length))).float().cpu().numpy()
                 for row, length in zip(values.detach(), lengths, strict=True)]
        features = self.extractor(waves, sampling_rate=self.rate, return_tensors="pt", **settings)
        return {name: value.to(values.device, self.dtype() if value.is_floating_point() else value.dtype)
                for name, value in features.items()}

    def _windowed(self, values: Tensor, lengths: Tensor) -> Tokens:
        assert self.window is not None
        hidden = self.hidden_states(**self._features(values, lengths.tolist()))
        if self.patches is not None:
            start, end = (edge.to(hidden) for edge in self.patches)
        else:
            edge = torch.arange(hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
            edge = edge * (self.window / hidden.shape[1])
            start, end = edge[:-1], edge[1:]
        seconds = lengths.to(hidden.dtype)[:, None] / self.rate
        mask = start < seconds
        mask[:, 0] = True
        span = torch.stack([start.expand_as(mask), torch.minimum(end, seconds)], dim=-1)
        if self.patches is not None:  # real tokens first: patches of one frequency stand one behind the other
            order = torch.argsort(~mask, dim=1, stable=True)
            hidden, span = (value.gather(1, order[:, :, None].expand_as(value)) for value in (hidden, span))
            mask = mask.gather(1, order)
        longest = int(mask.sum(dim=1).max())
        return Tokens(hidden[:, :longest], mask[:, :longest], span[:, :longest])

    def _masked(self, values: Tensor, lengths: Tensor) -> Tokens:
        features = self._features(values, lengths.tolist(), padding=True, return_attention_mask=True)
        hidden = self.hidden_states(**features)
        return self._timed(hidden, _frames(lengths.clamp(min=self.shortest), self.strides), lengths)

    def _by_length(self, values: Tensor, lengths: Tensor) -> Tokens:
        parts, rows, counts = [], [], []
        for length in torch.unique(lengths).tolist():
            own = torch.nonzero(lengths == length)[:, 0]
            hidden = self.hidden_states(**self._features(values[own], [length] * len(own)))
            parts.append(hidden)
            rows.append(own)
            counts.append(torch.full_like(own, hidden.shape[1]))
        longest = max(part.shape[1] for part in parts)
        order = torch.argsort(torch.cat(rows))
        hidden = torch.cat([F.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts])[order]
        return self._timed(hidden, torch.cat(counts)[order], lengths)

    def _timed(self, hidden: Tensor, counts: Tensor, lengths: Tensor) -> Tokens:
        """Tokens whose times are even parts of each sound."""
        mask = torch.arange(hidden.shape[1], device=hidden.device) < counts[:, None]
        place = torch.arange(hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
        seconds = (lengths / self.rate)[:, None].to(hidden.dtype)
        edge = (place / counts[:, None].to(hidden.dtype)).clamp(max=1.0) * seconds
        return Tokens(hidden, mask, torch.stack([edge[:, :-1], edge[:, 1:]], dim=-1))


def _frames(samples: Tensor, strides: list[tuple[int, int]]) -> Tensor:
    """Frames that a stack of convolutions without padding makes of so many samples."""
    for kernel, stride in strides:
        samples = (samples - kernel) // stride + 1
    return samples


def _field(strides: list[tuple[int, int]]) -> int:
    """The samples that one frame needs."""
    samples = 1
    for kernel, stride in reversed(strides):
        samples = (samples - 1) * stride + kernel
    return samples


def _patches(settings: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """(token,) start and end in seconds of the tokens of a spectrogram transformer; None for other models.

    Two tokens of the whole, then patches of overlapping frames, one row of frequencies behind the other.
    """
    if "time_stride" not in settings:
        return None
    size, bands, frames = int(settings["patch_size"]), int(settings["num_mel_bins"]), int(settings["max_length"])
    down = (bands - size) // int(settings["frequency_stride"]) + 1
    across = (frames - size) // int(settings["time_stride"]) + 1
    start = torch.arange(across) * int(settings["time_stride"]) / FRAMES_PER_SECOND
    whole = torch.zeros(2), torch.full((2,), frames / FRAMES_PER_SECOND)
    rows = rearrange(torch.stack([start, start + size / FRAMES_PER_SECOND]).expand(down, 2, across),
                     "down edge across -> edge (down across)")
    return torch.cat([whole[0], rows[0]]), torch.cat([whole[1], rows[1]])
