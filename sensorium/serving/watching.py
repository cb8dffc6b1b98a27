"""Around every request: its number, its line in the log, its count; and connections that end when the server drains."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence

from sensorium.serving.asgi import App, Message, Receive, Scope, Send, send_error
from sensorium.serving.service import Service

LOG = logging.getLogger("sensorium.serving")
STREAMS = ("/heartbeat", "/queue/data")


class Watch:
    """The outermost ASGI middleware.

    Args:
        app: what is behind it.
        service: counts, and knows whether the server drains.
        routes: paths that are named in logs and counts; all others are "other", since a path may be content.
    """

    def __init__(self, app: App, service: Service, routes: Sequence[str]) -> None:
        self.app = app
        self.service = service
        self.routes = frozenset(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen = Seen(self.service, receive, send)
        task = asyncio.current_task()
        streams = self.service.streams
        if task is not None and any(word in scope["path"] for word in STREAMS):
            streams.add(task)
            task.add_done_callback(streams.discard)
        try:
            await self.app(scope, seen.receive, seen.send)
        except asyncio.CancelledError:
            if task not in streams:
                raise  # else: a stream that was ended, since the server ends
        except Exception as error:
            LOG.error("failed", extra={"fields": {"id": seen.id, "error": type(error).__name__, "at": place(error)}})
            if seen.status:
                raise
            await send_error(seen.send, 500, f"the server made a mistake; in its log it is {seen.id}")
        finally:
            path = "/page" if scope["path"].startswith("/page/") else scope["path"]
            route = path if path in self.routes else "other"
            self.service.metrics.responses.labels(route, str(seen.status or 499)).inc()
            LOG.info("request", extra={"fields": {
                "id": seen.id, "method": scope["method"], "route": route, "status": seen.status or None,
                "ms": round(1000 * (time.monotonic() - seen.since), 1), "bytes_in": seen.bytes_in,
                "bytes_out": seen.bytes_out}})


class Seen:
    """What is seen of one request on its way in and out."""

    def __init__(self, service: Service, receive: Receive, send: Send) -> None:
        self.id = uuid.uuid4().hex[:16]
        self.since = time.monotonic()
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self._service = service
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """The next part of the body."""
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """The next part of the answer; the first one with the request's number."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
            if self._service.draining and not any(name.lower() == b"connection" for name, _ in headers):
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        self.bytes_out += len(message.get("body", b""))
        await self._send(message)


def place(error: BaseException) -> str:
    """Where an exception was raised; its words may be content."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
