"""The words of ASGI, and an error as JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def header(scope: Scope, name: bytes) -> str:
    """A header of the request; "" where it is not there."""
    for own, value in scope["headers"]:
        if own == name:
            return str(value.decode("latin-1"))
    return ""


def error_body(what: str) -> bytes:
    """An error as JSON: one line."""
    return json.dumps({"error": {"what": " ".join(what.split())}}, ensure_ascii=False).encode("utf-8", "replace")


async def send_error(send: Send, status: int, what: str, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Answer with an error, and close the connection: there may be a body that nobody read."""
    body = error_body(what)
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"), *headers]})
    await send({"type": "http.response.body", "body": body})
