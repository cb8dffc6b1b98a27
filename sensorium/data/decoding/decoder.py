"""One decoding process: it takes orders, decodes cell after cell within its limits, and sends results."""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from sensorium.data.decoding.files import first_line
from sensorium.data.decoding.limits import (
    MEMORY_BYTES,
    allowed_seconds,
    limit_memory,
    memory_in_use,
    retire_from_terminal,
    start_clock,
    stop_clock,
)
from sensorium.data.kinds.base import Array, Cell, Kind
from sensorium.errors import BadCell

IDLE_SECONDS = 30.0
SEND_SECONDS, SEND_BYTES = 0.02, 1 << 18
CELL_BYTES = 1 << 12
MOST_REASON = 280
MARKED = sys.platform != "win32"  # elsewhere every result is sent at once, which is slower and says as much


@dataclass(frozen=True)
class Refused:
    """A cell that could not be decoded.

    Args:
        reason: why, in words for the user.
    """

    reason: str


@dataclass(frozen=True)
class Settings:
    """What a worker needs to know before its first cell of a call."""

    kind: Kind
    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Fault:
    """Not a bad cell but a mistake in a program: the caller hears of it."""

    error: str


def decode_one(kind: Kind, source: Cell, memory_bytes: int = MEMORY_BYTES) -> Array | Refused:
    """One cell in this process: its array, or why there is none."""
    try:
        return kind.decode(source)
    except (BadCell, MemoryError) as error:
        if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
            return _hunger(memory_bytes)
        return Refused(_shortened(str(error)))
    except AssertionError:
        raise
    except Exception as error:  # whatever a hostile file makes a decoder raise: no other cell suffers for it
        return Refused(f"the decoder failed ({type(error).__name__}: {first_line(error)})")


def _hunger(memory_bytes: int) -> Refused:
    return Refused(f"needs more than {memory_bytes >> 20} MB of memory to decode")


def _shortened(reason: str) -> str:
    """A reason in one line of a bearable length: files choose the names that are quoted in it."""
    line = " ".join(reason.split())
    return line if len(line) <= MOST_REASON else f"{line[: MOST_REASON - 60]} … {line[-50:]}"


def serve(connection: Connection, marks: Connection) -> None:
    """A worker's life: jobs until nobody is there any more, or none has come for a while."""
    retire_from_terminal()
    settings: Settings | None = None
    fresh, before = True, 0
    try:
        while connection.poll(IDLE_SECONDS):
            given, again, sources = pickle.loads(connection.recv_bytes())
            if again and not fresh:
                return  # a cell's second try is somebody's first
            if given is not None:
                settings = given
                before = limit_memory(settings.kind.name, settings.memory_bytes)
            assert settings is not None
            for results in _decoded(settings, sources, marks, fresh):
                connection.send_bytes(pickle.dumps(results, protocol=5))
            fresh = False
            if before and memory_in_use() > before + settings.memory_bytes // 2:
                return  # cells have left too much behind: somebody fresh shall go on
    except (EOFError, OSError, KeyboardInterrupt):
        return
    except MemoryError:
        os._exit(1)
    except Exception as error:
        connection.send_bytes(pickle.dumps(Fault(f"{type(error).__name__}: {first_line(error)}")))


def _decoded(
    settings: Settings, sources: Sequence[Cell], marks: Connection, fresh: bool,
) -> Iterator[list[Array | Refused]]:
    """The results of a job, a few at a time: what has taken long or is large is sent at once.

    A cell that lacks memory where others were before it ends the process, and has its second try in a fresh one.
    """
    results: list[Array | Refused] = []
    sent, size = time.monotonic(), 0
    mark = marks.fileno()
    for number, source in enumerate(sources):
        if MARKED:
            os.write(mark, b".")
        start_clock(allowed_seconds(source, settings.seconds))
        result = decode_one(settings.kind, source, settings.memory_bytes)
        hungry = isinstance(result, Refused) and result == _hunger(settings.memory_bytes)
        if hungry and not (fresh and number == 0):
            stop_clock()
            yield results
            os._exit(1)
        results.append(result)
        size += result.nbytes if isinstance(result, np.ndarray) else CELL_BYTES
        if size >= SEND_BYTES or time.monotonic() - sent >= SEND_SECONDS or not MARKED:
            stop_clock()
            yield results
            results, sent, size = [], time.monotonic(), 0
    stop_clock()
    if results:
        yield results
