"""One thread calls the model: with everything that waits for the same, up to so many rows, or so long."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Job:
    """Something that waits for the model.

    Args:
        work: what is asked, handed to the batcher's function.
        rows: rows that it has.
        key: jobs of equal keys are worked on together; None: alone.
        future: gets the result.
    """

    work: Any
    rows: int = 1
    key: Hashable | None = None
    future: Future[Any] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """Jobs in the order they came, several of one key at a time.

    A batch is closed when it has `most` rows, when its first job has waited `wait_s`, or when nobody who could join it
    is on the way.

    Args:
        run: works on the jobs of a batch; returns a result each, in order.
        most: rows of a batch.
        wait_s: seconds that a job waits for others.
        coming: how many requests may still hand in jobs.
    """

    def __init__(
        self, run: Callable[[Sequence[Any]], Sequence[Any]], *, most: int, wait_s: float,
        coming: Callable[[], int] = lambda: 0,
    ) -> None:
        self._run = run
        self._most = most
        self._wait_s = wait_s
        self._coming = coming
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    def put(self, job: Job) -> None:
        """Hand in a job."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._jobs.append(job)
            self._changed.notify_all()

    def close(self) -> None:
        """Finish what has been handed in, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Jobs that have not been started."""
        return len(self._jobs)

    def _work(self) -> None:
        while batch := self._next():
            started = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if not started:
                continue
            try:
                results = self._run([job.work for job in started])
            except BaseException as error:  # whoever waits hears of it; the thread goes on
                for job in started:
                    job.future.set_exception(error)
                continue
            for job, result in zip(started, results, strict=True):
                if isinstance(result, BaseException):
                    job.future.set_exception(result)
                else:
                    job.future.set_result(result)

    def _next(self) -> list[Job]:
        """The next batch; empty when all is done and closed."""
        with self._changed:
            while not self._jobs:
                if self._closed:
                    return []
                self._changed.wait()
            deadline = self._jobs[0].since + self._wait_s
            while (self._gathered() < self._most and self._coming() > 0 and not self._closed
                   and (left := deadline - time.monotonic()) > 0 and self._jobs[0].key is not None):
                self._changed.wait(min(left, 1e-3))
            return self._taken()

    def _gathered(self) -> int:
        """Rows that could be worked on together now."""
        return sum(job.rows for job in self._jobs if job.key == self._jobs[0].key)

    def _taken(self) -> list[Job]:
        first = self._jobs.popleft()
        if first.key is None:
            return [first]
        batch, rows, left = [first], first.rows, deque[Job]()
        for job in self._jobs:
            if job.key == first.key and rows + job.rows <= self._most:
                batch.append(job)
                rows += job.rows
            else:
                left.append(job)
        self._jobs = left
        return batch
