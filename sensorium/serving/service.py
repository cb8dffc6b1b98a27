"""The service: checks limits, decodes in the guarded processes, batches, counts; behind the HTTP API and the page."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Overdue
from typing import TYPE_CHECKING, Any, cast

from sensorium.answers import Answer
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import SensoriumError
from sensorium.serving.batching import Batcher, Job
from sensorium.serving.calls import (
    Ask,
    Call,
    Embed,
    Embedded,
    Explain,
    Explained,
    Found,
    Generate,
    Made,
    Predict,
    Row,
    Search,
    verb_of,
)
from sensorium.serving.engine import Engine, Identity, Names
from sensorium.serving.guarded import RowDecoder, check_rows
from sensorium.serving.limits import MB, Limits
from sensorium.serving.metrics import Metrics
from sensorium.serving.performing import Performer, Work, checked
from sensorium.serving.refusal import Refusal, busy

if TYPE_CHECKING:
    from sensorium.retrieval.index import Index



SEARCHES = 2


class Service:
    """A model that many ask at the same time.

    Every method may be called from any thread, and waits for its answer; `start` does not wait. One thread predicts and
    embeds, a batch at a time; another explains, makes and answers questions, one call at a time, so that what takes
    seconds keeps nobody waiting who asks for milliseconds.

    Args:
        engine: the model.
        index: what is searched; None: nothing.
        limits: what may be asked.

    Attributes:
        metrics: what is counted.
        draining: whether the server is being stopped.
        streams: tasks of answers that never end by themselves, to be ended when the server is stopped.

    Example: Service(open_engine("runs/x")).predict([{"note": "dry cough"}])
    """

    def __init__(self, engine: Engine, index: Index | None = None, limits: Limits | None = None) -> None:
        self.engine = engine
        self.index = index
        self.limits = limits or Limits()
        self.metrics = Metrics(lambda: self._pending)
        self.draining = False
        self.streams: set[asyncio.Task[Any]] = set()
        self._decoder = RowDecoder(engine.schema, self.limits)
        self._pool = ThreadPoolExecutor(self.limits.decoding, thread_name_prefix="decode")
        self._coming = 0
        self._pending = 0
        self._held = 0
        self._lock = threading.Lock()
        self._performer = Performer(engine)
        self._searches = ThreadPoolExecutor(SEARCHES, thread_name_prefix="search")
        self._batcher = Batcher(self._perform, most=self.limits.batch, wait_s=self.limits.wait_ms / 1000,
                                coming=lambda: self._coming)
        self._patient = Batcher(self._perform, most=1, wait_s=0.0)

    @property
    def schema(self) -> Schema:
        """The model's."""
        return self.engine.schema

    @property
    def identity(self) -> Identity:
        """Which model answers."""
        return self.engine.identity

    @property
    def abilities(self) -> Names:
        """What can be asked: some of predict, explain, embed, search, generate and ask."""
        return self.engine.abilities | (frozenset() if self.index is None else {"search"})

    @property
    def pending(self) -> int:
        """Calls that are accepted and not yet answered."""
        return self._pending

    def start(self, call: Call | Callable[[], Call]) -> Future[Any]:
        """Accept a call, or refuse it because too many are waiting.

        Args:
            call: what is asked; or a function that reads it, called in a thread that may take its time.

        Returns:
            A future of what the verb answers. Its errors are SensoriumErrors. A call whose future is cancelled before
            the model begins with it is not worked on.

        Raises:
            Refusal: 503.
        """
        with self._lock:
            if self._pending >= self.limits.queue:
                self.metrics.calls.labels("unread", "busy").inc()
                raise busy()
            self._pending += 1
            self._coming += 1
        done: Future[Any] = Future()
        done.add_done_callback(self._answered)
        self._pool.submit(self._prepare, call, done)
        return done

    def wait(self, call: Call) -> Any:
        """Accept a call and wait for its answer."""
        future = self.start(call)
        try:
            return future.result(self.limits.patience_s)
        except Overdue:
            future.cancel()
            raise busy(f"no answer within {self.limits.patience_s:g} s: try again later") from None

    def read(self, rows: Sequence[Row]) -> Samples:
        """The rows decoded, in this thread: what `predict` may be asked about more than once."""
        check_rows(rows, self.schema, self.limits)
        return self._decoder.decode(rows)

    def predict(
        self, rows: Sequence[Row] | Samples, *, modalities: Collection[str] | None = None, explain: bool = False,
    ) -> list[dict[str, Answer]]:
        """Target → Answer for every row; media are bytes, or the paths of files that the caller trusts."""
        return cast("list[dict[str, Answer]]", self.wait(Predict(rows, _tuple(modalities), explain)))

    def explain(
        self, rows: Sequence[Row], *, target: str | None = None, class_: str | None = None,
        modalities: Collection[str] | None = None,
    ) -> Explained:
        """Answers with contributions, and how much each token moved the answer of one target."""
        return cast(Explained, self.wait(Explain(rows, target, class_, _tuple(modalities))))

    def embed(self, rows: Sequence[Row], *, modalities: Collection[str] | None = None) -> Embedded:
        """Unit-length vectors."""
        return cast(Embedded, self.wait(Embed(rows, _tuple(modalities))))

    def search(
        self, given: Row, *, k: int = 10, where: str | None = None, to: str | None = None,
        modalities: Collection[str] | None = None,
    ) -> Found:
        """What in the index is nearest."""
        return cast(Found, self.wait(Search(given, k, where, to, _tuple(modalities))))

    def generate(
        self, given: Row, *, to: str | None = None, n: int = 1, seed: int = 0, guidance: float | None = None,
        beams: int = 4, modalities: Collection[str] | None = None,
    ) -> Made:
        """Pictures (PIL) or texts."""
        return cast(Made, self.wait(Generate(given, to, n, seed, guidance, beams, _tuple(modalities))))

    def ask(
        self, question: str | bytes, given: Row, *, target: str | None = None, explain: bool = True,
        modalities: Collection[str] | None = None,
    ) -> Answer:
        """The answer to a question: a text, or a sound file's bytes."""
        return cast(Answer, self.wait(Ask(question, given, target, explain, _tuple(modalities))))

    def close(self) -> None:
        """Answer what was accepted, then end the threads."""
        self.draining = True
        self._pool.shutdown(wait=True)
        self._batcher.close()
        self._patient.close()
        self._searches.shutdown(wait=True)

    def _answered(self, _: Future[Any]) -> None:
        with self._lock:
            self._pending -= 1

    def _prepare(self, call: Call | Callable[[], Call], done: Future[Any]) -> None:
        """Read, check and decode a call, then let it wait for the model."""
        verb, since = "unread", time.monotonic()
        try:
            if done.cancelled():
                return
            known = call() if callable(call) else call
            verb = verb_of(known)
            done.add_done_callback(lambda future: self._count(verb, since, future))
            known = checked(known, self.engine, self.abilities, self.limits)
            samples = known.rows if isinstance(known.rows, Samples) else self._decoded(known.rows, done)
            self.metrics.unreadable.inc(len(samples.unreadable))
            if isinstance(known, Search):
                self._embed_to_search(known, samples, done)
            else:
                batcher = self._batcher if isinstance(known, Predict | Embed) else self._patient
                batcher.put(Job(Work(known, samples), len(samples), known.key, done))
        except BaseException as error:
            if done.set_running_or_notify_cancel():
                done.set_exception(error)
            if verb == "unread":
                self.metrics.calls.labels(verb, outcome_of(error)).inc()
        finally:
            with self._lock:
                self._coming -= 1

    def _decoded(self, rows: Sequence[Row], done: Future[Any]) -> Samples:
        """Decode the rows of a call; what they become counts until the call is answered."""
        size, most = self._decoder.num_bytes(rows), int(self.limits.decoded_mb * MB)
        if size > most:
            raise Refusal(413, f"the files take {size / MB:.0f} MB once decoded: this server reads at most "
                               f"{self.limits.decoded_mb:g} in one request")
        with self._lock:
            if self._held + size > 4 * most:
                raise busy()
            self._held += size
        done.add_done_callback(lambda _: self._release(size))
        return self._decoder.decode(rows)

    def _release(self, size: int) -> None:
        with self._lock:
            self._held -= size

    def _embed_to_search(self, call: Search, samples: Samples, done: Future[Any]) -> None:
        """Let the model embed what is searched with; the search itself keeps no model waiting."""
        def search(future: Future[Embedded]) -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(self._found(call, future.result()))
            except BaseException as error:
                done.set_exception(error)

        embed = Embed(call.rows, call.modalities)
        job = Job(Work(embed, samples), 1, embed.key)
        job.future.add_done_callback(lambda future: self._searches.submit(search, future))
        self._batcher.put(job)

    def _found(self, call: Search, embedded: Embedded) -> Found:
        from sensorium.retrieval.search import refuse_unaligned

        assert self.index is not None
        self.index.refresh()
        refuse_unaligned(self.index, embedded.used[0], call.to)
        hits = self.index.search(embedded.vectors, call.k, call.where, call.to)[0]
        return Found(hits, embedded.used[0], embedded.unreadable[0])

    def _perform(self, batch: Sequence[Work]) -> list[Any]:
        """One batch in the model."""
        since = time.monotonic()
        found = self._performer(batch)
        self.metrics.model_seconds.labels(verb_of(batch[0].call)).observe(time.monotonic() - since)
        self.metrics.batch_rows.observe(sum(len(work.samples) for work in batch))
        return found

    def _count(self, verb: str, since: float, future: Future[Any]) -> None:
        error = CancelledError() if future.cancelled() else future.exception()
        self.metrics.calls.labels(verb, outcome_of(error)).inc()
        self.metrics.seconds.labels(verb).observe(time.monotonic() - since)


def outcome_of(error: BaseException | None) -> str:
    """In one word how a call ended."""
    if error is None:
        return "answered"
    return ("given up" if isinstance(error, CancelledError) else "refused" if isinstance(error, SensoriumError)
            else "failed")


def _tuple(names: Collection[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
