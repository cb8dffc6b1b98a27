"""A kind that looks at a file's header first, in the process that decodes: what declares too much is refused."""

from __future__ import annotations

import io
from dataclasses import dataclass

from sensorium.data.kinds.base import Array, Cell, Kind
from sensorium.errors import BadCell


@dataclass(frozen=True)
class Limited:
    """A kind that looks at the header of a cell before it decodes it: what declares too much is refused.

    Args:
        kind: what decodes.
        pixels: of a picture or a frame, at most.
        seconds: of a sound or a video, at most.
    """

    kind: Kind
    pixels: int
    seconds: float

    @property
    def name(self) -> str:
        """The kind's name, by which a decoding process knows what to import."""
        return self.kind.name

    def length(self, array: Array) -> int:
        """The kind's own."""
        return self.kind.length(array)

    def decode(self, cell: Cell) -> Array:
        """The kind's own, of a cell that is not too large."""
        if isinstance(cell, bytes):
            self._refuse_large(cell)
        return self.kind.decode(cell)

    def _refuse_large(self, cell: bytes) -> None:
        if self.name == "image":
            width, height = _picture_size(cell)
            if width * height > self.pixels:
                raise BadCell(f"a picture of {width} by {height} pixels: this server reads at most {self.pixels:,}")
        elif self.name in ("audio", "video"):
            seconds = _seconds(cell, self.name)
            if seconds > self.seconds:
                raise BadCell(f"{seconds:,.0f} seconds of {self.name}: this server reads at most {self.seconds:g}")


def _picture_size(cell: bytes) -> tuple[int, int]:
    """(width, height) as the header says; (0, 0) where it cannot be read, which decoding will tell."""
    from PIL import Image

    from sensorium.data.decoding.quiet import without_warnings
    from sensorium.data.kinds.image import FORMATS

    try:
        with without_warnings("PIL"):
            return Image.open(io.BytesIO(cell), formats=FORMATS).size
    except Exception:  # a broken picture says so when it is decoded
        return 0, 0


def _seconds(cell: bytes, name: str) -> float:
    """Length as the header says; 0 where it does not, or cannot be read."""
    from sensorium.data.decoding.media import film_header, track_header

    try:
        if name == "video":
            return film_header(cell).seconds
        import soundfile

        try:
            info = soundfile.info(io.BytesIO(cell))
            return float(info.frames / info.samplerate)
        except soundfile.LibsndfileError:
            return float(track_header(cell)[1] or 0.0)
    except Exception:  # a broken file says so when it is decoded
        return 0.0
