"""One thread calls the model: batches by size, deadline and key; errors and cancelled calls stay their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import row_of

from sensorium.serving.batching import Batcher, Job
from sensorium.serving.engine import ModelEngine
from sensorium.serving.guarded import RowDecoder
from sensorium.serving.joining import joined
from sensorium.serving.limits import Limits
from sensorium.serving.refusal import Refusal
from sensorium.serving.service import Service


class Doubling:
    """Doubles numbers, remembers its batches, and does not begin before it may."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may = threading.Event()

    def __call__(self, works: Sequence[int]) -> list[Any]:
        self.may.wait(5)
        self.batches.append(list(works))
        if 13 in works:
            raise ValueError("unlucky")
        return [ValueError("odd") if work == 7 else 2 * work for work in works]


def test_what_waits_for_the_same_is_worked_on_together_in_order() -> None:
    run = Doubling()
    batcher = Batcher(run, most=3, wait_s=0.0)
    jobs = [Job(number, key=key) for number, key in [(0, "a"), (1, "a"), (2, "b"), (3, "a"), (4, "a"), (5, None)]]
    for job in jobs:
        batcher.put(job)
        time.sleep(0.02 if job is jobs[0] else 0.0)  # the first is begun with alone
    run.may.set()
    assert [job.future.result(5) for job in jobs] == [0, 2, 4, 6, 8, 10]
    batcher.close()
    assert run.batches == [[0], [1, 3, 4], [2], [5]]


def test_rows_are_counted_and_a_large_job_is_never_left_out() -> None:
    run = Doubling()
    batcher = Batcher(run, most=4, wait_s=0.0)
    jobs = [Job(number, rows=rows, key="a") for number, rows in [(0, 1), (1, 3), (2, 2), (3, 1), (4, 9)]]
    for job in jobs:
        batcher.put(job)
        time.sleep(0.02 if job is jobs[0] else 0.0)
    run.may.set()
    batcher.close()
    assert run.batches == [[0], [1, 3], [2], [4]]


def test_a_batch_waits_for_who_is_on_the_way_no_longer_than_its_deadline() -> None:
    run = Doubling()
    run.may.set()
    coming = [1]
    batcher = Batcher(run, most=8, wait_s=0.2, coming=lambda: coming[0])
    first = Job(1, key="a")
    batcher.put(first)
    time.sleep(0.05)
    assert not first.future.done()
    batcher.put(Job(2, key="a"))
    assert first.future.result(5) == 2
    assert 0.15 < time.monotonic() - first.since < 2.0
    coming[0] = 0
    alone = Job(3, key="a")
    batcher.put(alone)
    alone.future.result(5)
    assert time.monotonic() - alone.since < 0.15
    batcher.close()
    assert run.batches == [[1, 2], [3]]


def test_errors_stay_their_own_and_the_thread_goes_on() -> None:
    run = Doubling()
    run.may.set()
    batcher = Batcher(run, most=1, wait_s=0.0)
    jobs = [Job(number) for number in (13, 7, 3)]
    for job in jobs:
        batcher.put(job)
    with pytest.raises(ValueError, match="unlucky"):
        jobs[0].future.result(5)
    with pytest.raises(ValueError, match="odd"):
        jobs[1].future.result(5)
    assert jobs[2].future.result(5) == 6
    batcher.close()


def test_cancelled_calls_are_not_worked_on_and_closing_finishes_the_rest() -> None:
    run = Doubling()
    batcher = Batcher(run, most=1, wait_s=0.0)
    jobs = [Job(number) for number in (1, 2, 3)]
    for job in jobs:
        batcher.put(job)
    time.sleep(0.02)
    assert jobs[1].future.cancel()
    run.may.set()
    batcher.close()
    assert run.batches == [[1], [3]]
    with pytest.raises(CancelledError):
        jobs[1].future.result(0)
    with pytest.raises(RuntimeError, match="closed"):
        batcher.put(Job(4))


def test_joined_rows_are_answered_as_each_alone(engine: ModelEngine, folder: Path) -> None:
    decoder = RowDecoder(engine.schema, Limits())
    picture = (folder / "1.png").read_bytes()
    calls = [[row_of(folder)], [{"note": "blue"}, {"image": [picture, b"broken"], "sound": b"none"}],
             [{"hr": 71, "image": [picture, picture]}], [row_of(folder, 2), row_of(folder)]]
    parts = [decoder.decode(rows) for rows in calls]
    whole = joined(parts)
    together = engine.predict(whole, explain=True)
    alone = [answers for part in parts for answers in engine.predict(part, explain=True)]
    assert len(together) == 6
    for one, other in zip(together, alone, strict=True):
        for name in ("kind", "size"):
            assert (one[name].modalities, one[name].unreadable) == (other[name].modalities, other[name].unreadable)
            assert one[name].contributions == pytest.approx(other[name].contributions, abs=1e-4)
        assert one["kind"].probabilities == pytest.approx(other["kind"].probabilities, abs=1e-5)
    assert len(together[2]["kind"].unreadable) == 2
    np.testing.assert_allclose(engine.embed(whole), np.concatenate([engine.embed(part) for part in parts]), atol=1e-5)


class Slow:
    """An engine that answers when it may."""

    def __init__(self, engine: ModelEngine) -> None:
        self.engine = engine
        self.may = threading.Event()
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def predict(self, samples: Any, **options: Any) -> Any:
        self.may.wait(5)
        self.sizes.append(len(samples))
        return self.engine.predict(samples, **options)


def test_a_full_queue_is_told_to_come_back_and_the_accepted_are_answered(engine: ModelEngine, folder: Path) -> None:
    slow: Any = Slow(engine)
    service = Service(slow, limits=Limits(queue=5, patience_s=0.2))
    from sensorium.serving.calls import Predict

    accepted = [service.start(Predict([{"note": "red"}])) for _ in range(5)]
    with pytest.raises(Refusal, match="too many requests") as busy:
        service.start(Predict([{"note": "red"}]))
    assert (busy.value.status, busy.value.retry_s) == (503, 1)
    slow.may.set()
    assert {future.result(5)[0]["kind"].value for future in accepted} == {
        engine.model.predict({"note": "red"})["kind"].value}
    assert sum(slow.sizes) == 5
    assert len(slow.sizes) < 5  # those that waited were read together
    slow.may.clear()
    with pytest.raises(Refusal, match=r"no answer within 0\.2 s"):
        service.predict([{"note": "red"}])
    slow.may.set()
    service.close()
    assert service.pending == 0
