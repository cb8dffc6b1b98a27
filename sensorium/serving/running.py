"""The server as a process: it listens, answers, and on SIGTERM answers what it has accepted before it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from sensorium.serving.service import Service

LOG = logging.getLogger("sensorium.serving")
IDLE_S = 75
MOST_CONNECTIONS = 2048


def run(
    app: FastAPI, service: Service, *, host: str = "127.0.0.1", port: int = 8000, grace_s: float = 1.0,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    On the first signal the server says that it is no longer ready, and asks connections that stay open to end with
    their next answer; `grace_s` seconds later it takes no more requests, answers those it has, and returns. On the
    second signal it gives up at once.

    Args:
        app: made by `make_app`.
        service: its service.
        host, port: where to listen; port 0 is a free one.
        grace_s: seconds between the signal and the end of listening.
        started: called with the address when the server listens.
    """
    asyncio.run(_serve(app, service, host, port, grace_s, started))


async def _serve(
    app: FastAPI, service: Service, host: str, port: int, grace_s: float, started: Callable[[str], None] | None,
) -> None:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, server_header=False,
        timeout_keep_alive=IDLE_S, limit_concurrency=MOST_CONNECTIONS, backlog=MOST_CONNECTIONS,
        timeout_graceful_shutdown=int(service.limits.patience_s + service.limits.upload_s), ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if serving.done():
        await serving
        return
    _drain_on_signal(server, service, grace_s)
    where = server.servers[0].sockets[0].getsockname()
    LOG.info("ready", extra={"fields": {"host": where[0], "port": where[1], "model": service.identity.id,
                                        "version": service.identity.version}})
    if started is not None:
        started(f"http://{f'[{where[0]}]' if ':' in where[0] else where[0]}:{where[1]}")
    await serving
    LOG.info("stopped", extra={"fields": {"pending": service.pending}})


def _drain_on_signal(server: Any, service: Service, grace_s: float) -> None:
    """Replace uvicorn's handlers, which stop listening at once."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        for task in list(service.streams):
            task.cancel()
        server.should_exit = True

    def on_signal() -> None:
        if service.draining:
            end()
            server.force_exit = True
            return
        service.draining = True
        LOG.info("draining", extra={"fields": {"pending": service.pending}})
        loop.call_later(grace_s, end)

    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
