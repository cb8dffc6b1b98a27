"""What one request, and all of them together, may ask of a server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sensorium.errors import RecipeError

MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds of a server. What is beyond them is refused in one line; nothing of it is read further.

    Args:
        body_mb: megabytes of one request's body.
        reading_mb: megabytes of all bodies that are being read at the same time.
        rows: rows of one request.
        explained: rows of one request whose answers are explained token by token.
        cells: pictures, sounds, texts … of one request; a list counts each of its items.
        characters: of one text.
        pixels: of one picture, and of one frame of a video, by its header.
        seconds: of one sound or video, by its header; longer ones are refused, not cut.
        decoded_mb: megabytes that the media of one request may take once decoded; four times that of all that wait.
        decoding_s: seconds that decoding one request may take.
        made: pictures or texts that one request may have made.
        hits: results of one search.
        queue: requests that are accepted and not yet answered; more are told to come back later.
        decoding: requests that are decoded at the same time, and processes that do it.
        batch: rows that the model reads together.
        wait_ms: how long a request waits for others to be read together with it.
        patience_s: seconds until a request that is not answered yet is given up.
        upload_s: seconds that a client may take to send a body.
    """

    body_mb: float = 32.0
    reading_mb: float = 256.0
    rows: int = 256
    explained: int = 8
    cells: int = 1024
    characters: int = 100_000
    pixels: int = 40_000_000
    seconds: float = 600.0
    decoded_mb: float = 256.0
    decoding_s: float = 20.0
    made: int = 16
    hits: int = 1000
    queue: int = 256
    decoding: int = 4
    batch: int = 64
    wait_ms: float = 5.0
    patience_s: float = 60.0
    upload_s: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0 and not (field.name == "wait_ms" and value == 0):
                raise RecipeError(f"limits: {field.name} must be above 0, found {value}")
