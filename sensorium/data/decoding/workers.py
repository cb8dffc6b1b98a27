"""Decoding in guarded processes: a cell that crashes, hangs or swallows memory costs itself and nothing else."""

from __future__ import annotations

import heapq
import os
import pickle
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from sensorium.data.decoding.decoder import MARKED, Fault, Refused, Settings, decode_one, serve
from sensorium.data.decoding.limits import MEMORY_BYTES, SECONDS, allowed_seconds, is_overdue, is_overtime
from sensorium.data.kinds.base import Array, Cell, Kind

__all__ = ["Refused", "decode_guarded", "decode_one"]

CHUNK = 128
CHUNK_BYTES = 8 << 20
CHUNKS_AHEAD = 4
MOST_FALSE_STARTS = 3
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "MALLOC_ARENA_MAX": "2",
               "ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONWARNINGS": "ignore", "PYTHONSAFEPATH": "1"}


@dataclass(frozen=True, order=True)
class _Job:
    """Cells `first` … `stop − 1`; `again` where a process has already crashed over the only one."""

    first: int
    stop: int
    again: bool = False


def default_workers() -> int:
    """Processes that decode: one per core this process may use, at most 8."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def decode_guarded(
    kind: Kind, sources: Sequence[Cell], workers: int, *, seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES,
) -> Iterator[Array | Refused]:
    """Decode cells in worker processes, results in the order of the sources.

    The processes import no torch and never run the caller's script again. Each cell has a limit of processor time,
    and each process one of memory; a process that a cell has ended is replaced, the cell refused with the reason. A
    crash counts only when it happens twice. Idle processes are used again by the next call, and end after 30 s.

    Args:
        kind: a measured kind.
        sources: absolute paths, or anything that pickles.
        workers: processes, at least 1.
        seconds: see `allowed_seconds`.
        memory_bytes: above what the imported decoders take.

    Raises:
        RuntimeError: no process can be started, or the kind itself is broken.
    """
    assert workers >= 1
    pool = _Crew(Settings(kind, seconds, memory_bytes), sources, workers)
    try:
        yield from pool.results()
    finally:
        pool.dismiss()


class _Crew:
    """The workers of one call, and what each still has to do."""

    def __init__(self, settings: Settings, sources: Sequence[Cell], size: int) -> None:
        self.settings = settings
        self.sources = sources
        self.size = size
        self.jobs = _jobs(sources, size)
        self.free: list[_Worker] = []
        self.busy: dict[Connection, _Worker] = {}
        self.done: dict[int, Array | Refused] = {}
        self.false_starts = 0

    def results(self) -> Iterator[Array | Refused]:
        """Every cell's result, in order."""
        upcoming = 0
        while upcoming < len(self.sources):
            self._hand_out(upcoming + CHUNKS_AHEAD * self.size * CHUNK)
            for connection in wait(list(self.busy)):
                self._take(self.busy[connection])  # type: ignore[index]
            while upcoming in self.done:
                yield self.done.pop(upcoming)
                upcoming += 1

    def _hand_out(self, horizon: int) -> None:
        """Give the next jobs to whoever is free, no further ahead than the horizon."""
        while self.jobs and self.jobs[0].first < horizon and len(self.busy) < self.size:
            worker = self.free.pop() if self.free else _Worker.hired()
            job = heapq.heappop(self.jobs)
            self.busy[worker.connection] = worker
            try:
                worker.give(self.settings, job, self.sources)
            except OSError:  # it ended while it was idle
                self._bury(worker)

    def _take(self, worker: _Worker) -> None:
        """What a worker has sent."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if isinstance(message, Fault):
            raise RuntimeError(f"decoding {self.settings.kind.name} cells failed: {message.error}")
        worker.proven = True
        for result in message:
            self.done[worker.taken] = result
            worker.taken += 1
        if worker.taken == worker.job.stop:
            worker.num_started()
            self.free.append(self.busy.pop(worker.connection))

    def _bury(self, worker: _Worker) -> None:
        """A worker is dead: the cell it was at is to blame, the others are somebody else's job."""
        del self.busy[worker.connection]
        started, code = worker.num_started(), worker.end()
        job, taken = worker.job, worker.taken
        if started == 0 or code == 0:
            heapq.heappush(self.jobs, job)
            self.false_starts += not worker.proven
            if self.false_starts > MOST_FALSE_STARTS:
                raise RuntimeError(f"decoding processes end as soon as they are started (exit code {code})")
            return
        culprit = job.first + started - 1
        if culprit >= taken:
            if job.again or is_overtime(code):
                self.done[culprit] = Refused(self._verdict(culprit, code))
            else:
                heapq.heappush(self.jobs, _Job(culprit, culprit + 1, True))
        for first, stop in ((taken, culprit), (max(culprit + 1, taken), job.stop)):
            if first < stop:
                heapq.heappush(self.jobs, _Job(first, stop))

    def _verdict(self, culprit: int, code: int | None) -> str:
        """Why a cell's process ended."""
        if is_overtime(code) or is_overdue(code):
            return f"took more than {allowed_seconds(self.sources[culprit], self.settings.seconds):g} s to decode"
        return f"the decoder crashed ({'signal' if code is not None and code < 0 else 'exit code'} {abs(code or 0)})"

    def dismiss(self) -> None:
        """Whoever is free waits for the next call; whoever is still at work is ended."""
        for worker in self.busy.values():
            worker.end(at_once=True)
        with _LOCK:
            _IDLE.setdefault(os.getpid(), []).extend(self.free)
            surplus = _IDLE[os.getpid()][: -self.size]
            del _IDLE[os.getpid()][: -self.size]
        for worker in surplus:
            worker.end()


class _Worker:
    """One decoding process and the pipes to it: orders and results, and a mark for every cell it starts with."""

    def __init__(self) -> None:
        from loky.backend import get_context  # unlike multiprocessing, never runs the caller's script again

        context: Any = get_context("loky")
        self.connection, theirs = context.Pipe()
        self.marks, their_marks = context.Pipe(duplex=False)
        self.process = context.Process(target=serve, args=(theirs, their_marks), daemon=True, env=ENVIRONMENT)
        self.process.start()
        theirs.close()
        their_marks.close()
        if MARKED:
            os.set_blocking(self.marks.fileno(), False)
        self.settings: Settings | None = None
        self.job = _Job(0, 0)
        self.taken = 0
        self.proven = False

    @staticmethod
    def hired() -> _Worker:
        """An idle worker of an earlier call, or a new one."""
        with _LOCK:
            for pid in [pid for pid in _IDLE if pid != os.getpid()]:
                del _IDLE[pid]  # a forked process leaves its parent's workers alone
            waiting = _IDLE.get(os.getpid(), [])
            while waiting:
                worker = waiting.pop()
                if worker.process.is_alive():
                    return worker
                worker.end()
        return _Worker()

    def give(self, settings: Settings, job: _Job, sources: Sequence[Cell]) -> None:
        """A job, and what the worker has to know for it."""
        self.job, self.taken = job, job.first
        news = settings if self.settings is not settings else None
        order = (news, job.again, list(sources[job.first : job.stop]))
        self.connection.send_bytes(pickle.dumps(order, protocol=5))
        self.settings = settings

    def num_started(self) -> int:
        """How many cells of the job the worker has started with, to be asked once a job."""
        if not MARKED:
            return self.taken - self.job.first + 1
        try:
            return len(os.read(self.marks.fileno(), 1 << 16))
        except BlockingIOError:
            return 0

    def end(self, *, at_once: bool = False) -> int | None:
        """End the process, if it has not ended by itself. Returns its exit code."""
        if at_once:
            self.process.terminate()
        self.connection.close()
        self.marks.close()
        self.process.join(timeout=10.0)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join()
        code: int | None = self.process.exitcode
        return code


_IDLE: dict[int, list[_Worker]] = {}
_LOCK = threading.Lock()


def _jobs(sources: Sequence[Cell], workers: int) -> list[_Job]:
    """Some cells each: few enough that all workers have work, and not too many bytes."""
    most = max(1, min(CHUNK, -(-len(sources) // (4 * workers))))
    jobs: list[_Job] = []
    first, size = 0, 0
    for number, source in enumerate(sources):
        length = len(source) if isinstance(source, bytes) else 0
        if number > first and (number - first == most or size + length > CHUNK_BYTES):
            jobs.append(_Job(first, number))
            first, size = number, 0
        size += length
    return [*jobs, _Job(first, len(sources))] if len(sources) else []
