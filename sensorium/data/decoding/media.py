"""Films and sound tracks by PyAV: opened safely, their headers, the frames at chosen times, the sound."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sensorium.data.decoding.files import existing_file, first_line
from sensorium.errors import BadCell

if TYPE_CHECKING:
    from av import VideoFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from sensorium.data.kinds.base import Cell

Pixels = npt.NDArray[np.uint8]
FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,asf,flv,mpegts,mpeg,aac,ac3,amr,caf,mp3,ogg,wav,aiff,"
           "flac,au")
"""The containers that are opened. Play lists are none: they would name other files."""
MOV_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"})
MOST_PIXELS = 4096 * 2304
MOST_RATE = 768_000
FASTEST = 240.0
LATE = 1e-3
SILENCE = 1e-3


@dataclass(frozen=True)
class FilmHeader:
    """What a film says about itself: frames per second and seconds, 0 where it does not say."""

    fps: float
    seconds: float


@contextmanager
def opened(cell: Cell, what: str) -> Iterator[InputContainer]:
    """The container of a file or of bytes; whatever goes wrong while it is read is a BadCell."""
    try:
        import av
    except ModuleNotFoundError as error:
        raise BadCell(f"a {what} that PyAV reads, which is not installed: pip install av") from error

    source = io.BytesIO(cell) if isinstance(cell, bytes) else str(existing_file(cell).absolute())
    options = {"format_whitelist": FORMATS, "max_pixels": str(MOST_PIXELS), "threads": "1"}
    try:
        with av.open(source, "r", options=options, metadata_errors="ignore") as container:
            yield container
    except BadCell:
        raise
    except av.FFmpegError as error:
        raise BadCell(f"broken {what} ({error.strerror})") from error
    except Exception as error:  # PyAV raises ValueError, OverflowError, MemoryError … on broken files
        raise BadCell(f"broken {what} ({first_line(error)})") from error


def film_stream(container: InputContainer) -> VideoStream:
    """The first stream of moving pictures, ready to decode in this thread; a song's cover is none."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise BadCell("a video whose pictures are in an unknown coding")
        _refuse_giant(stream.width, stream.height)
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        return stream
    raise BadCell("a file without a video stream")


def film_header(cell: Cell) -> FilmHeader:
    """Frames per second and length, without decoding."""
    with opened(cell, "video") as container:
        stream = film_stream(container)
        return FilmHeader(*_pace(container, stream))


def _pace(container: InputContainer, stream: VideoStream) -> tuple[float, float]:
    """(frames per second, seconds), 0 where unknown."""
    fps = float(stream.average_rate or stream.guessed_rate or 0.0)
    seconds = 0.0
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / 1e6
    return min(max(fps, 0.0), FASTEST), max(seconds, 0.0)


def film_frames(
    cell: Cell, *, rate: float, most: int, convert: Callable[[Pixels], Pixels],
) -> tuple[list[Pixels], float]:
    """The frames that a player would show at start + k / rate, k = 0 … most − 1, as far as the film goes.

    Args:
        cell: a path or bytes.
        rate: frames per second to take; above the film's own rate frames repeat.
        most: the most frames to take; nothing behind the last of them is decoded.
        convert: called once for every different frame, with (height, width, 3) uint8 RGB, turned as the film says.

    Returns: the converted frames; and when the first one is shown, in seconds on the file's clock.
    """
    kept: list[Pixels] = []
    with opened(cell, "video") as container:
        stream = film_stream(container)
        shown: VideoFrame | None = None
        start = moment = 0.0
        last = _pace(container, stream)[0]
        lasts = 1.0 / last if last > 0 else 1.0 / rate
        for number, (frame, time) in enumerate(_timed(container, stream, lasts)):
            start = time if number == 0 else start
            if shown is not None:
                _repeat(kept, shown, convert, min(most, _num_until(time, start, rate)))
            shown, moment = frame, time
            if len(kept) >= most or number > FASTEST * (most / rate + 1.0):
                break
        if shown is not None:
            duration = float(shown.duration * shown.time_base) if shown.duration and shown.time_base else lasts
            until = _num_until(moment + min(duration, most / rate), start, rate)
            _repeat(kept, shown, convert, min(most, max(until, 1)))
        offset = start - (container.start_time or 0) / 1e6
    if not kept:
        raise BadCell("a video without frames")
    return kept, max(0.0, offset) if np.isfinite(offset) else 0.0


def _num_until(time: float, start: float, rate: float) -> int:
    """How many of the times start + k / rate come before this one, with a millisecond's tolerance for rounding."""
    return int(np.ceil(np.clip((time - LATE - start) * rate, 0.0, 1e9)))


def _repeat(kept: list[Pixels], frame: VideoFrame, convert: Callable[[Pixels], Pixels], count: int) -> None:
    """Add the frame until there are so many."""
    if len(kept) < count:
        kept.extend([convert(_pixels(frame))] * (count - len(kept)))


def _timed(container: InputContainer, stream: VideoStream, lasts: float) -> Iterator[tuple[VideoFrame, float]]:
    """Every sound frame with its time in seconds, never decreasing; one without a time follows the one before."""
    time = -np.inf
    for frame in container.decode(stream):
        if frame.is_corrupt:
            continue
        _refuse_giant(frame.width, frame.height)
        if frame.pts is not None and frame.time_base is not None:
            time = max(time, float(frame.pts * frame.time_base))
        else:
            time = time + lasts if np.isfinite(time) else 0.0
        yield frame, time


def _refuse_giant(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise BadCell(f"a video of {width} by {height} pixels: at most {MOST_PIXELS:,} in a frame are read")


def _pixels(frame: VideoFrame) -> Pixels:
    """(height, width, 3) uint8 RGB, turned upright; what is transparent is white."""
    if frame.format.has_palette or len(frame.format.components) in (2, 4):
        layers = frame.to_ndarray(format="rgba").astype(np.uint16)
        opaque = layers[..., 3:]
        pixels = ((layers[..., :3] * opaque + 255 * (255 - opaque) + 127) // 255).astype(np.uint8)
    else:
        pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def is_container(cell: Cell) -> bool:
    """Whether a path or bytes begin like a container that PyAV reads and libsndfile does not."""
    if isinstance(cell, bytes):
        start = cell[:16]
    else:
        with existing_file(cell).open("rb") as file:
            start = file.read(16)
    return len(start) == 16 and (
            start[4:8] in MOV_BOXES or start[8:12] == b"AVI " or start[0] == 0x47
            or start.startswith((b"\x1aE\xdf\xa3", b"0&\xb2u", b"FLV", b"\0\0\1\xba", b"#!AMR", b"\x0bw", b"OggS"))
            or (start[0] == 0xFF and start[1] & 0xF6 == 0xF0))


def has_sound(cell: Cell) -> bool:
    """Whether a media file has a sound track; False where it cannot be opened."""
    try:
        with opened(cell, "sound") as container:
            return any(stream.codec_context is not None for stream in container.streams.audio)
    except BadCell:
        return False


def track_header(cell: Cell) -> tuple[int, float]:
    """(samples per second, seconds) of the sound track; 0 seconds where the file does not say."""
    with opened(cell, "sound") as container:
        stream = _track(container)
        seconds = 0.0
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1e6
        return stream.rate, max(seconds, 0.0)


def track_samples(cell: Cell, max_seconds: float) -> tuple[npt.NDArray[np.float32], int]:
    """(sample, channel) float32 and the rate of the sound track, no more than max_seconds of it.

    A track that starts later than the file's pictures has silence before it: both are on one clock.
    """
    from av.audio.resampler import AudioResampler

    parts: list[npt.NDArray[Any]] = []
    with opened(cell, "sound") as container:
        stream = _track(container)
        rate, channels = stream.rate, stream.layout.nb_channels
        wanted = int(max_seconds * rate) + 1
        resampler = AudioResampler(format="fltp", layout=stream.layout, rate=rate)
        count = 0
        for frame in container.decode(stream):
            if not parts and frame.time is not None:
                late = frame.time - (container.start_time or 0) / 1e6
                silence = min(wanted, round(late * rate)) if late > SILENCE else 0
                parts.append(np.zeros((channels, silence), dtype=np.float32))
                count = silence
            pieces = [piece.to_ndarray() for piece in resampler.resample(frame)]
            parts.extend(pieces)
            count += sum(piece.shape[1] for piece in pieces)
            if count >= wanted:
                break
    if not parts:
        raise BadCell("a sound track without samples")
    return np.concatenate(parts, axis=1)[:, :wanted].T.astype(np.float32), rate


def _track(container: InputContainer) -> AudioStream:
    """The first sound track. Raises BadCell where there is none."""
    for stream in container.streams.audio:
        if stream.codec_context is None:
            raise BadCell("a sound track in an unknown coding")
        if not 0 < stream.rate <= MOST_RATE:
            raise BadCell(f"a sound track of {stream.rate} samples a second")
        return stream
    raise BadCell("a file without a sound track")
