"""Moving pictures: files, bytes or arrays of frames → uint8 frames of one size at one rate, with their seconds."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sensorium.data.decoding.media import MOST_PIXELS, film_frames, film_header
from sensorium.data.kinds.base import Cell, Html, Inputs, Padded
from sensorium.data.kinds.image import Pixels, fitted, moved, uniform_noise
from sensorium.errors import BadCell

if TYPE_CHECKING:

    from sensorium.keyed import Draws

MOST_SECONDS = 10.0
GREY_CELLS = 8
GREY_SPREAD = 12
DESCRIBED_TIMES = 8
DESCRIBED_PIXELS = 80
SHOWN_FRAMES = 8
UNTIMED_FPS = 25.0


@dataclass(frozen=True)
class Clip:
    """A decoded video.

    Args:
        frames: (frame, height, width_px, channel) uint8.
        times: (frame, 2) float32: from when until when each frame is shown, in seconds on the file's clock.
    """

    frames: Pixels
    times: npt.NDArray[np.float32]


class VideoKind(BaseModel):
    """Moving pictures of one size and one rate; at each time the frame that a player would show.

    The rotation that a phone wrote beside the pictures is applied; what is transparent is white; a frame is scaled to
    cover (height, width) and its centre is cut out. An array of frames without its rate has `rate` frames a second
    where that is set, else 25.

    Args:
        height, width: pixels; None until measured: the median shape of the training videos, at most `max_side`.
        channels: 1 (all looked at are grey) or 3; None until measured.
        max_side: the longest side that `measure` may choose.
        rate: frames per second; None until measured: the median of the training videos, or less, so that the longest
            of them has no more than `max_frames`.
        max_seconds: longer videos are cut to their first so many seconds; None until measured: a quarter more than the
            longest of the training sample, at most 10 s.
        augmentation: how far training videos are varied, 0 = not at all.
        flip: whether a mirrored video means the same.
        max_frames: the most frames that `measure` lets the longest of the training videos have.
        fit, scaled, resample: how a frame gets its size, as of a picture; set by pretrained models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "video"
    kind: Literal["video"] = "video"
    height: int | None = Field(default=None, ge=4)
    width: int | None = Field(default=None, ge=4)
    channels: Literal[1, 3] | None = None
    max_side: int = Field(default=64, ge=8)
    rate: float | None = Field(default=None, gt=0, le=240)
    max_seconds: float | None = Field(default=None, gt=0)
    augmentation: float = Field(default=1.0, ge=0.0)
    flip: bool = False
    max_frames: int = Field(default=48, ge=1)
    fit: Literal["cover", "squash", "crop"] = "cover"
    scaled: int | None = Field(default=None, ge=4)
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"

    def measure(self, cells: Sequence[Cell]) -> VideoKind:
        """Size, rate and length from a sample of cells: the median shape and rate, 1 channel where all are grey."""
        rates: list[float] = []
        seconds: list[float] = []
        shapes: list[tuple[int, ...]] = []
        grey = True
        for cell in cells:
            try:
                fps, length, first = _looked_at(cell, self.rate or UNTIMED_FPS)
                if grey and len(shapes) < GREY_CELLS and self.channels is None:
                    grey = all(map(_is_grey, _some_frames(cell)))
            except BadCell:
                continue
            rates.append(fps)
            seconds.append(length)
            shapes.append(first.shape[:2])
        if not shapes:
            return self.model_copy(update={
                "height": self.height or self.max_side, "width": self.width or self.max_side,
                "channels": self.channels or 3, "rate": self.rate or 8.0,
                "max_seconds": self.max_seconds or MOST_SECONDS})
        height, width = np.median(np.array(shapes), axis=0)
        shrink = min(1.0, self.max_side / max(height, width))
        most = self.max_seconds or min(MOST_SECONDS, max(0.1, 1.25 * max(seconds)))
        longest = max(0.1, min(most, max(seconds)))
        return self.model_copy(update={
            "height": self.height or max(8, round(height * shrink)),
            "width": self.width or max(8, round(width * shrink)),
            "channels": self.channels or (1 if grey else 3),
            "rate": self.rate or round(min(float(np.median(rates)), self.max_frames / longest), 6),
            "max_seconds": most,
        })

    def decode(self, cell: Cell) -> Clip:
        """Frames (frame, height, width_px, channel) uint8 and their seconds; no more is decoded than is kept."""
        assert self.rate is not None and self.max_seconds is not None
        most = max(1, math.floor(self.max_seconds * self.rate + 1e-6))
        if isinstance(cell, np.ndarray | tuple):
            given, fps = _given(cell, self.rate)
            source = np.arange(most) * (fps / self.rate) + 1e-3
            places = np.floor(source[source < len(given)]).astype(np.int64)
            each = {place: self._sized(given[place]) for place in np.unique(places).tolist()}
            frames, start = [each[place] for place in places.tolist()], 0.0
        else:
            frames, start = film_frames(cell, rate=self.rate, most=most, convert=self._sized)
        edges = start + np.arange(len(frames) + 1) / self.rate
        return Clip(np.stack(frames), np.stack([edges[:-1], edges[1:]], axis=1).astype(np.float32))

    def _sized(self, pixels: Pixels) -> Pixels:
        """One frame as all are: (height, width_px, channel)."""
        from PIL import Image

        assert self.height is not None and self.width is not None and self.channels is not None
        picture = Image.fromarray(pixels).convert("L" if self.channels == 1 else "RGB")
        picture = fitted(picture, (self.width, self.height), fit=self.fit, scaled=self.scaled,
                         resample=self.resample)
        return np.array(picture, dtype=np.uint8).reshape(self.height, self.width, self.channels)

    def length(self, array: Clip) -> int:
        """Frames."""
        return len(array.frames)

    def pad(self, arrays: Sequence[Clip]) -> Padded:
        """(row, frame, channel, height, width_px) uint8, padded with 0; mask (row, frame); span in seconds."""
        lengths = np.array([len(array.frames) for array in arrays])
        longest = int(lengths.max())
        height, width, channels = arrays[0].frames.shape[1:]
        values = np.zeros((len(arrays), longest, channels, height, width), dtype=np.uint8)
        span = np.zeros((len(arrays), longest, 2), dtype=np.float32)
        for row, array in enumerate(arrays):
            values[row, : lengths[row]] = array.frames.transpose(0, 3, 1, 2)
            span[row, : lengths[row]] = array.times
        mask = np.arange(longest)[None, :] < lengths[:, None]
        return Padded(values, mask, span)

    def collate(self, arrays: Sequence[Clip]) -> Inputs:
        """The same as tensors."""
        return self.pad(arrays).inputs()

    def augment(self, inputs: Inputs, draws: Draws) -> Inputs:
        """As a picture is varied, all frames of a video alike, with noise of their own; some of its ends cut off.

        At augmentation 1: up to 10 degrees, 10 % zoom, 8 % of the side, contrast by 20 %, light by 25 levels, uniform
        noise of up to 40 levels; up to 8 % of the frames at either end are cut, at most a third (the others keep their
        seconds); mirrored in half of the cases if `flip`. Amounts above 3 count as 3 for light and noise.
        """
        if self.augmentation == 0:
            return inputs
        import torch

        inputs = _cut(inputs, draws, self.augmentation)
        assert inputs.mask is not None
        rows, frames, channels, height, width = inputs.values.shape
        flat = inputs.values.float().reshape(rows, frames * channels, height, width)
        clips = moved(flat, draws, self.augmentation, flip=self.flip).reshape(inputs.values.shape)
        light = torch.from_numpy(draws.uniform("video/light", 3, low=-1.0, high=1.0)).float()
        light = light[:, :, None, None, None, None]
        amount = min(self.augmentation, 3.0)
        real = inputs.mask[:, :, None, None, None]
        pixels = channels * height * width * real.sum(dim=1, keepdim=True)
        means = (clips * real).sum(dim=(1, 2, 3, 4), keepdim=True) / pixels.clamp(min=1)
        clips = means.lerp(clips, torch.exp2(0.3 * amount * light[:, 0])).add_(25.0 * amount * light[:, 1])
        clips.addcmul_(uniform_noise(draws, clips.shape[1:], purpose="video/noise"), 40.0 * amount * light[:, 2].abs())
        return Inputs(clips.clamp_(0.0, 255.0).masked_fill_(~real, 0.0), inputs.mask, inputs.span)

    def corrupt(self, inputs: Inputs, severity: float, draws: Draws) -> Inputs:
        """(1 − severity) · video + severity · uniform noise over the whole range; float unless untouched."""
        if severity == 0:
            return inputs
        assert inputs.mask is not None
        noise = 127.5 + 127.5 * uniform_noise(draws, inputs.values.shape[1:], purpose="video/noise")
        mixed = (1.0 - severity) * inputs.values.float() + severity * noise
        return Inputs(mixed.masked_fill_(~inputs.mask[:, :, None, None, None], 0.0), inputs.mask, inputs.span)

    def show(self, array: Clip) -> Html:
        """A strip of at most eight frames, evenly spaced, with their seconds."""
        from PIL import Image

        places = np.unique(np.linspace(0, len(array.frames) - 1, SHOWN_FRAMES).round().astype(int))
        strip = np.concatenate(list(np.pad(array.frames[places], ((0, 0), (0, 0), (0, 1), (0, 0)))), axis=1)
        buffer = io.BytesIO()
        Image.fromarray(strip[:, :, 0] if strip.shape[2] == 1 else strip).save(buffer, format="PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        times = " · ".join(f"{array.times[place, 0]:.2f}" for place in places)
        return (f'<figure class="film"><img class="strip" alt="video of {len(array.frames)} frames" '
                f'src="data:image/png;base64,{data}"><figcaption>{times} s</figcaption></figure>')

    def describe(self, array: Clip) -> npt.NDArray[np.float32]:
        """Thumbnails in 0…1: the mean picture, eight time-normalised ones without it, and what moves in each eighth."""
        thumbs = _thumbnails(array.frames)
        where = np.linspace(0, len(thumbs) - 1, DESCRIBED_TIMES)
        low = np.floor(where).astype(int)
        high = np.minimum(low + 1, len(thumbs) - 1)
        share = (where - low)[:, None, None]
        mean = thumbs.mean(axis=0)
        stretched = thumbs[low] * (1 - share) + thumbs[high] * share - mean
        motion = np.abs(np.diff(thumbs, axis=0)) if len(thumbs) > 1 else np.zeros_like(thumbs)
        parts = (np.arange(len(motion)) * DESCRIBED_TIMES) // len(motion)
        moving = np.stack([motion[parts == part].mean(axis=0) if (parts == part).any() else
                           motion[min(part * len(motion) // DESCRIBED_TIMES, len(motion) - 1)]
                           for part in range(DESCRIBED_TIMES)])
        return np.concatenate([mean.ravel(), stretched.ravel(), moving.ravel()]).astype(np.float32)


def _looked_at(cell: Cell, untimed: float) -> tuple[float, float, Pixels]:
    """(frames per second, seconds, the first frame) without decoding more than that frame."""
    if isinstance(cell, np.ndarray | tuple):
        given, fps = _given(cell, untimed)
        return fps, len(given) / fps, given[0]
    header = film_header(cell)
    frames, _ = film_frames(cell, rate=1.0, most=1, convert=np.asarray)
    return header.fps or UNTIMED_FPS, header.seconds or MOST_SECONDS, frames[0]


def _some_frames(cell: Cell) -> list[Pixels]:
    """At most twelve frames, half a second apart."""
    if isinstance(cell, np.ndarray | tuple):
        given, _ = _given(cell, UNTIMED_FPS)
        return list(given[:: max(1, len(given) // 12)])
    return film_frames(cell, rate=2.0, most=12, convert=np.asarray)[0]


def _is_grey(pixels: Pixels) -> bool:
    """Whether the colours of a frame are equal but for what a codec rounds."""
    return pixels.ndim == 2 or int(np.ptp(pixels.astype(np.int16), axis=2).max()) <= GREY_SPREAD


def _given(cell: Any, untimed: float) -> tuple[Pixels, float]:
    """(frame, height, width_px[, 3]) uint8 and frames per second of an array or an (array, fps) pair."""
    frames, fps = cell if isinstance(cell, tuple) and len(cell) == 2 else (cell, untimed)
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8:
        found = frames.dtype if isinstance(frames, np.ndarray) else type(frames).__name__
        raise BadCell(f"a video in memory as {found}: expected an array of whole numbers 0…255 (uint8), or such an "
                      f"array and its frames per second")
    if frames.ndim == 4 and frames.shape[3] == 1:
        frames = frames[..., 0]
    if frames.size == 0 or not (frames.ndim == 3 or (frames.ndim == 4 and frames.shape[3] == 3)):
        raise BadCell(f"a video in memory of shape {frames.shape}: expected (frame, height, width) or (frame, height, "
                      f"width, 3)")
    if not isinstance(fps, int | float | np.number) or not 0 < float(fps) <= 1e6:
        raise BadCell(f"a video in memory at {fps!r} frames a second: expected a number above 0")
    if frames.shape[1] * frames.shape[2] > MOST_PIXELS:
        raise BadCell(f"a video of {frames.shape[2]} by {frames.shape[1]} pixels: at most {MOST_PIXELS:,} are read")
    return frames, float(fps)


def _cut(inputs: Inputs, draws: Draws, amount: float) -> Inputs:
    """Some frames cut off either end; the others move to the front with their seconds."""
    import torch

    assert inputs.mask is not None and inputs.span is not None
    lengths = inputs.mask.sum(dim=1)
    shares = torch.from_numpy(draws.uniform("video/cut", 2)) * min(0.09 * amount, 1 / 3)
    first, last = (lengths[:, None] * shares).long().unbind(dim=1)
    new = lengths - first - last
    place = torch.arange(int(new.max()))
    mask = place < new[:, None]
    source = torch.where(mask, first[:, None] + place, 0)
    rows = torch.arange(len(source))[:, None]
    values = inputs.values[rows, source].masked_fill_(~mask[:, :, None, None, None], 0)
    return Inputs(values, mask, inputs.span[rows, source].masked_fill_(~mask[:, :, None], 0.0))


def _thumbnails(frames: Pixels) -> npt.NDArray[np.float64]:
    """(frame, height, width_px) grey in 0…1, at most 80 pixels each."""
    from PIL import Image

    height, width = frames.shape[1:3]
    shrink = min(1.0, (DESCRIBED_PIXELS / (height * width)) ** 0.5)
    size = (max(1, int(width * shrink)), max(1, int(height * shrink)))
    grey = np.rint(frames.mean(axis=3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in grey]) / 255.0
