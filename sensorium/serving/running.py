"""The server as a process: it listens, answers, and on SIGTERM answers what it has accepted before it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI

from sensorium.errors import RecipeError
from sensorium.serving.service import Service

LOG = logging.getLogger("sensorium.serving")
IDLE_S = 75
QUIET_S = 0.5
MOST_CONNECTIONS = 2048


def run(
    app: FastAPI, service: Service, *, host: str = "127.0.0.1", port: int = 8000, grace_s: float = 1.0,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    On the first signal the server says that it is no longer ready, and asks connections that stay open to end with
    their next answer; `grace_s` seconds later it takes no more connections, answers what still comes on those it has,
    and returns when nothing has for half a second. On the second signal it gives up at once.

    Args:
        app: made by `make_app`.
        service: its service.
        host, port: where to listen; port 0 is a free one.
        grace_s: seconds between the signal and the end of listening.
        started: called with the address when the server listens.

    Raises:
        RecipeError: it cannot listen there.
    """
    with _listening(host, port) as listening:
        asyncio.run(_serve(app, service, listening, grace_s, started))


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                                                flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
        if sys.platform != "win32":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise RecipeError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error
    return listening


async def _serve(
    app: FastAPI, service: Service, listening: socket.socket, grace_s: float, started: Callable[[str], None] | None,
) -> None:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False,
        timeout_keep_alive=IDLE_S, limit_concurrency=MOST_CONNECTIONS, backlog=MOST_CONNECTIONS,
        timeout_graceful_shutdown=int(service.limits.patience_s + service.limits.upload_s), ws="none"))
    serving = asyncio.create_task(server.serve([listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if serving.done():
        await serving
        return
    _drain_on_signal(server, service, listening, grace_s)
    gc.collect()
    gc.freeze()  # else every full collection looks at all of the libraries' objects, and everybody waits 200 ms
    where = listening.getsockname()
    LOG.info("ready", extra={"fields": {"host": where[0], "port": where[1], "model": service.identity.id,
                                        "version": service.identity.version}})
    if started is not None:
        started(f"http://{f'[{where[0]}]' if ':' in where[0] else where[0]}:{where[1]}")
    await serving
    LOG.info("stopped", extra={"fields": {"pending": service.pending}})


def _drain_on_signal(server: Any, service: Service, listening: socket.socket, grace_s: float) -> None:
    """Replace uvicorn's handlers, which close connections whose next request is on its way."""
    loop = asyncio.get_running_loop()
    draining: list[asyncio.Task[None]] = []

    def on_signal() -> None:
        if draining:
            server.should_exit = server.force_exit = True
        else:
            draining.append(loop.create_task(_drain(server, service, listening, grace_s)))

    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)


def _waiting(listening: socket.socket) -> Iterator[socket.socket]:
    """Connections that the system has taken and the server not yet; they would be cut off where it stops listening."""
    while True:
        try:
            one, _ = listening.accept()
        except OSError:
            return
        one.setblocking(False)
        yield one


async def _drain(server: Any, service: Service, listening: socket.socket, grace_s: float) -> None:
    """Tell everybody to go, take no more connections, answer what comes on those there are, then end."""
    service.draining = True
    LOG.info("draining", extra={"fields": {"pending": service.pending}})
    await asyncio.sleep(grace_s)
    last_ones = list(_waiting(listening))
    for listener in server.servers:
        listener.close()
    for one in last_ones:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: server.config.http_protocol_class(
            config=server.config, server_state=server.server_state, app_state=server.lifespan.state), one)
    for task in list(service.streams):
        task.cancel()
    last = time.monotonic()
    while time.monotonic() - last < QUIET_S:
        await asyncio.sleep(0.05)
        if server.server_state.tasks:
            last = time.monotonic()
    server.should_exit = True
