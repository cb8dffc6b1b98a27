"""Bodies, read within the limits of one request and of all together; a slow sender is given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from sensorium.serving.limits import MB, Limits
from sensorium.serving.refusal import Refusal, busy


class BodyReader:
    """Reads bodies.

    Args:
        limits: of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most = int(limits.body_mb * MB)
        self._most_together = max(self._most, int(limits.reading_mb * MB))
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body; it counts against what is held of all requests until the block ends.

        Raises:
            Refusal: 400 a wrong length, 408 too slow, 413 too large, 503 too much of others is being read.
        """
        declared = request.headers.get("content-length", "")
        if declared and not (declared.isascii() and declared.isdigit()):
            raise Refusal(400, "content-length: not a number")
        if declared and int(declared[:20]) > self._most:
            raise self._too_large()
        held = 0
        parts: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(self._limits.upload_s):
                    async for part in request.stream():
                        held += len(part)
                        self._held += len(part)
                        if held > self._most:
                            raise self._too_large()
                        if self._held > self._most_together:
                            raise busy("too much is being sent at the same time: try again in a moment")
                        parts.append(part)
            except TimeoutError as error:
                raise Refusal(408, f"the body did not arrive within {self._limits.upload_s:g} s") from error
            yield b"".join(parts)
        finally:
            self._held -= held

    def _too_large(self) -> Refusal:
        return Refusal(413, f"a body of more than {self._limits.body_mb:g} MB: this server reads no more")
