"""Clients under load, on the wire: they ask as fast as they are answered, or at a rate; and a server process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

CLIENTS = 50


@dataclass(frozen=True)
class Run:
    """What clients saw: requests per second, seconds of each answer, statuses, answers that never came."""

    rate: float
    seconds: np.ndarray
    statuses: Counter[int]
    lost: int

    def quantile(self, share: float) -> float:
        """Milliseconds below which this share of the answers came."""
        return 1000 * float(np.quantile(self.seconds, share))


class Server:
    """A server process and its address."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "sensorium.cli.main", "serve", str(folder), "--port", "0", "--no-page"]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[-1]
        self.port = int(self.address.rsplit(":", 1)[1])

    def rss(self) -> float:
        """Megabytes of the process without its decoders."""
        return psutil.Process(self.process.pid).memory_info().rss / 2**20

    def terminate(self) -> None:
        """Send SIGTERM, and do not wait."""
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        """End it by SIGTERM; its exit status."""
        self.terminate()
        return self.process.wait(60)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Server]:
    """A server, ended afterwards."""
    server = Server(folder, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end()
        assert server.process.stdout is not None
        server.process.stdout.close()


def request(body: bytes, content_type: str) -> bytes:
    """A request to `/predict` as it goes over the wire."""
    return (f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode() + body


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> tuple[int, bool]:
    """The status of one answer, and whether the connection stays open."""
    writer.write(sent)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head[9:12]), b"connection: close" not in head


async def closed_loop(port: int, requests: Sequence[bytes], total: int, clients: int = CLIENTS) -> Run:
    """Clients that each ask, wait for the answer, and ask again."""
    numbers = iter(range(total))
    seconds: list[float] = []
    statuses: Counter[int] = Counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            started = time.perf_counter()
            status, _ = await ask(reader, writer, requests[number % len(requests)])
            seconds.append(time.perf_counter() - started)
            statuses[status] += 1
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Run(total / (time.perf_counter() - started), np.array(seconds), statuses, 0)


async def open_loop(port: int, requests: Sequence[bytes], rate: float, total: int, clients: int = CLIENTS) -> Run:
    """Requests at random moments, so many a second on average; waiting for a free connection counts."""
    moments = np.cumsum(np.random.default_rng(0).exponential(1.0 / rate, total))
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(clients):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    started = time.perf_counter()

    async def one(number: int) -> None:
        await asyncio.sleep(max(0.0, moments[number] - (time.perf_counter() - started)))
        connection = await free.get()
        status, _ = await ask(*connection, requests[number % len(requests)])
        seconds.append(time.perf_counter() - started - moments[number])
        statuses[status] += 1
        free.put_nowait(connection)

    await asyncio.gather(*(one(number) for number in range(total)))
    return Run(total / (time.perf_counter() - started), np.array(seconds), statuses, 0)


async def until_the_end(port: int, requests: Sequence[bytes], stop: Callable[[], None], after_s: float) -> Run:
    """Clients that ask until the server takes no more connections, which `stop` brings about.

    Lost is a request that was sent whole on a connection the server had taken, and got no answer.
    """
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    lost = 0

    async def client(number: int) -> None:
        nonlocal lost
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return  # it takes no more
            open_ = True
            while open_:
                started = time.perf_counter()
                try:
                    status, open_ = await ask(reader, writer, requests[number % len(requests)])
                except (asyncio.IncompleteReadError, ConnectionError):
                    lost += 1
                    break
                number += CLIENTS
                seconds.append(time.perf_counter() - started)
                statuses[status] += 1
            writer.close()

    started = time.perf_counter()
    clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
    await asyncio.sleep(after_s)
    stop()
    await asyncio.gather(*clients)
    return Run(len(seconds) / (time.perf_counter() - started), np.array(seconds), statuses, lost)
