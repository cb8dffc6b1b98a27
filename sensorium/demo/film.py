"""The scene as a film: the shape of the picture, on its way across."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from sensorium.demo.render import COLOUR_VALUES, PICTURE_SIDE, coverage, details
from sensorium.demo.scene import HIDDEN, Scenes

FILM_FRAMES = 12
FILM_RATE = 8
"""Frames per second."""
BLINK_FRAMES = 2
"""A blinking shape is there and gone for so many frames in turn."""


def films(scenes: Scenes) -> npt.NDArray[np.uint8]:
    """(row, frame, height, width_px, 3) uint8: one shape that moves on a pale ground, light noise in every frame.

    Slot direction: from the left to the right (0), from the right to the left (1), on the spot where hidden. Slot
    blink: always there (0), there and gone in turn (1), at half strength where hidden.
    """
    side, draws, detail = PICTURE_SIDE, scenes.draws, details(scenes)
    radius = 0.2 * draws.uniform("video/radius", low=0.9, high=1.1) * side
    turn = draws.uniform("video/turn", high=2 * np.pi)
    start = draws.uniform("video/start", low=0.2, high=0.32) * side
    stop = draws.uniform("video/stop", low=0.68, high=0.8) * side
    height = (0.5 + 0.2 * detail.centre[:, 1]) * side
    direction, blink = (scenes.shown["video", slot] for slot in ("direction", "blink"))
    phase = draws.integers("video/phase", high=2 * BLINK_FRAMES)
    ground = draws.uniform("video/ground", 1, 1, 3, low=0.82, high=0.97)
    paint = COLOUR_VALUES[3 * draws.integers("video/warm", high=2) + detail.shade][:, None, None, :]
    frames = []
    for number in range(FILM_FRAMES):
        share = number / (FILM_FRAMES - 1)
        across = np.choose(direction, (start + share * (stop - start), stop - share * (stop - start),
                                       0.5 * (start + stop)))
        there = ((number + phase) // BLINK_FRAMES) % 2 == 0
        strength = np.where(blink == HIDDEN, 0.5, np.where((blink == 1) & ~there, 0.0, 1.0))
        cover = coverage(detail.shape, radius, np.stack([across, height], axis=1), turn)[..., None]
        cover = cover * strength[:, None, None, None]
        noise = draws.uniform(f"video/noise/{number}", side, side, 1, low=-0.03, high=0.03)
        frames.append(ground * (1 - cover) + paint * cover + noise)
    return np.asarray(np.rint(255.0 * np.clip(np.stack(frames, axis=1), 0.0, 1.0)), dtype=np.uint8)


def mp4(frames: npt.NDArray[np.uint8]) -> bytes:
    """An MP4 file (MPEG-4 part 2) of (frame, height, width_px, 3) frames at FILM_RATE; equal for equal frames."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", container_options={"fflags": "bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=Fraction(FILM_RATE), options={"flags": "bitexact+qscale"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.bit_rate = 400_000
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()
