"""A sound in the page, played by the browser."""

from __future__ import annotations

import base64

from markupsafe import Markup

TYPES = {b"RIFF": "audio/wav", b"OggS": "audio/ogg", b"fLaC": "audio/flac", b"ID3": "audio/mpeg",
         b"\x1aE\xdf\xa3": "audio/webm"}
MOST_BYTES = 2_000_000


def player(sound: bytes) -> Markup:
    """A player that holds the sound, where it is not too long for that."""
    if len(sound) > MOST_BYTES:
        return Markup("<em>a long sound</em>")
    kind = next((name for start, name in TYPES.items() if sound.startswith(start)), "audio/mp4")
    return Markup('<audio controls preload="none" aria-label="the question" src="data:{};base64,{}"></audio>').format(
        kind, base64.b64encode(sound).decode())
