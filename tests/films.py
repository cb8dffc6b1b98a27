"""Small films made in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np


def film(
    frames: Any, rate: float = 10.0, *, container: str = "mp4", codec: str = "mpeg4", pix_fmt: str = "yuv420p",
    times: Sequence[float] | None = None, rotation: int = 0, sound: Any = None, sound_rate: int = 8000,
    sound_codec: str = "aac", sound_start: float = 0.0,
) -> bytes:
    """The bytes of a film of (frame, height, width, 3) uint8 frames; none for a sound track alone.

    Args:
        times: seconds at which each frame is shown; None: `rate` frames a second.
        rotation: degrees, counterclockwise, that a player turns the frames by.
        sound: (sample,) −1…1, which starts at `sound_start` seconds.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        if len(frames):
            picture = output.add_stream(codec, rate=Fraction(rate).limit_denominator(1000))
            picture.width, picture.height, picture.pix_fmt = frames.shape[2], frames.shape[1], pix_fmt
            tick = 1 / Fraction(rate).limit_denominator(1000) if container == "avi" else Fraction(1, 1000)
            picture.codec_context.time_base = tick
            picture.codec_context.thread_count = 1
            if rotation:
                picture.set_display_rotation(rotation)
        if sound is not None:
            track = output.add_stream(sound_codec, rate=sound_rate, layout="mono")
        for place, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.time_base = tick
            frame.pts = round((place / rate if times is None else times[place]) / tick)
            output.mux(picture.encode(frame))
        if len(frames):
            output.mux(picture.encode(None))
        if sound is not None:
            block = av.AudioFrame.from_ndarray(np.asarray(sound, dtype=np.float32)[None], format="fltp", layout="mono")
            block.sample_rate, block.time_base = sound_rate, Fraction(1, sound_rate)
            block.pts = round(sound_start * sound_rate)
            output.mux(track.encode(block))
            output.mux(track.encode(None))
    return buffer.getvalue()


def moving_square(num_frames: int, size: tuple[int, int] = (24, 32), *, coloured: bool = True) -> Any:
    """(frame, height, width, 3) uint8: a bright square that goes from the left to the right on a dark ground."""
    frames = np.full((num_frames, *size, 3), 20, dtype=np.uint8)
    for place in range(num_frames):
        left = round(place * (size[1] - 8) / max(1, num_frames - 1))
        frames[place, 8:16, left : left + 8] = (220, 40, 60) if coloured else (220, 220, 220)
    return frames
