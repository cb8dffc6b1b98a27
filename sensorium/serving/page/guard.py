"""What of gradio's server is reachable: what the page needs, and nothing that fetches a URL or reads another file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sensorium.serving.asgi import App, Message, Receive, Scope, Send, send_error
from sensorium.serving.page.given import is_inside

READ = ("", "/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/queue/data", "/gradio_api/upload_progress",
        "/gradio_api/startup-events", "/gradio_api/app_id", "/gradio_api/heartbeat/", "/assets/", "/static/",
        "/svelte/", "/media/")
UPLOADED = "/gradio_api/file="
JOIN, UPLOAD, CANCEL = "/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/cancel"
KEPT_BODIES = 8
MOST_FILES = 4096


class Guard:
    """An ASGI middleware in front of the page's paths; others pass.

    Args:
        app: what is behind it.
        path: where the page is.
        folder: where uploads lie.
        most_bytes: of one body.
        most_kept: bytes of all uploads that are kept at the same time.
    """

    def __init__(self, app: App, path: str, folder: Path, most_bytes: int, most_kept: int | None = None) -> None:
        self.app = app
        self.path = path
        self.folder = folder
        self.most_bytes = most_bytes
        self.most_kept = KEPT_BODIES * most_bytes if most_kept is None else most_kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = str(scope.get("path", ""))
        own = path.removeprefix(self.path) if f"{path}/".startswith(f"{self.path}/") else None
        method = scope.get("method", "")
        others = scope["type"] not in ("http", "websocket") or own is None
        if others or (method in ("GET", "HEAD") and self._readable(own)):
            await self.app(scope, receive, send)
        elif method == "POST" and own in (JOIN, UPLOAD, CANCEL):
            await self._posted(own, scope, receive, send)
        elif scope["type"] == "http":
            await send_error(send, 404, "the page has nothing here")
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _readable(self, own: str | None) -> bool:
        if own is None:
            return False
        if own.startswith(UPLOADED):
            return is_inside(own.removeprefix(UPLOADED), self.folder)
        return own in READ or any(own.startswith(start) for start in READ if len(start) > 1 and start.endswith("/"))

    def _is_full(self) -> bool:
        """Whether there is no room for another upload."""
        kept = [file.stat().st_size for file in self.folder.rglob("*") if file.is_file()]
        return sum(kept) > self.most_kept or len(kept) > MOST_FILES

    async def _posted(self, own: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        if own == UPLOAD:
            if self._is_full():
                await send_error(send, 503, "the server keeps as many uploads as it has room for: try again later")
            else:
                await self.app(scope, Counted(receive, self.most_bytes), send)
            return
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.most_bytes:
                await send_error(send, 413, f"more than {self.most_bytes >> 20} MB: this server reads no more")
                return
            if not message.get("more_body"):
                break
        body = b"".join(parts)
        if own == JOIN and not self.allowed(body):
            await send_error(send, 422, "only files that were uploaded here are read")
            return
        await self.app(scope, Repeated(body, receive), send)

    def allowed(self, body: bytes) -> bool:
        """Whether every file that a call of the page names was uploaded here."""
        try:
            return all(is_inside(path, self.folder) for path in _paths(json.loads(body)))
        except (ValueError, RecursionError):
            return False


def _paths(value: Any) -> list[str]:
    """Every path in a call, wherever it stands."""
    if isinstance(value, dict):
        own = [str(value["path"])] if value.get("path") is not None else []
        return own + [path for part in value.values() for path in _paths(part)]
    return [path for part in value for path in _paths(part)] if isinstance(value, list) else []


class Counted:
    """A body that ends the connection where it becomes too long."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.receive = receive
        self.left = most

    async def __call__(self) -> Message:
        """The next part."""
        message = await self.receive()
        self.left -= len(message.get("body", b""))
        return message if self.left >= 0 else {"type": "http.disconnect"}


class Repeated:
    """A body that was read, once more."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.body: bytes | None = body
        self.receive = receive

    async def __call__(self) -> Message:
        """The body, then whatever comes."""
        if self.body is None:
            return await self.receive()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}
