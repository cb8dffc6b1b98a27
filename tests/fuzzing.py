"""Hostile files through the guarded workers, and what became of each: decoded or refused, in which time and memory."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mutations import mutated
from seeds import FORMS

from sensorium.data.decoding.limits import DECODERS
from sensorium.data.decoding.workers import Refused, decode_guarded, decode_one
from sensorium.data.kinds.base import Kind

FORMS_OF_KINDS = [(kind, form) for kind, forms in FORMS.items() for form in forms]
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measured:
    """One file's fate inside a worker: its reason where it was refused; seconds of processor time; bytes at most."""

    reason: str | None
    seconds: float
    peak: int
    warned: str


@dataclass(frozen=True)
class MeasuredKind:
    """A kind that also says what decoding took: memory above what it was before the process's first file."""

    inner: Kind
    name: ClassVar[str] = "measured"

    def decode(self, cell: Any) -> Measured:
        """Decode the file and measure a kind on it, as a training does."""
        before = _prepared(self.inner.name)
        if self.inner.name == "text":
            cell = Path(cell)
        CLEAR.write_text("5")
        started = time.process_time()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            result = decode_one(self.inner, cell)
            decode_one(_Measure(type(self.inner)()), cell)
        seconds = time.process_time() - started
        if not isinstance(result, Refused):
            _check(result)
        return Measured(result.reason if isinstance(result, Refused) else None, seconds, _resident("VmHWM") - before,
                        "; ".join(str(one.message) for one in warned))


@dataclass(frozen=True)
class _Measure:
    """Measuring a kind on a single file, as if it were decoding."""

    inner: Kind

    def decode(self, cell: Any) -> Any:
        return self.inner.measure([cell]).name


_BEFORE: dict[str, int] = {}


def _prepared(name: str) -> int:
    """Resident bytes before the first file, the decoders imported."""
    if name not in _BEFORE:
        for module in DECODERS.get(name, ()):
            import_module(module)
        _BEFORE[name] = _resident("VmRSS")
    return _BEFORE[name]


def _resident(field_name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field_name))
    return int(line.split()[1]) << 10


def _check(result: Any) -> None:
    """What was decoded is what a kind promises: arrays without infinities, or a string."""
    parts = [getattr(result, one.name) for one in fields(result)] if is_dataclass(result) else [result]
    assert not any(isinstance(part, np.ndarray) and np.isinf(part).any() for part in parts), "infinite values"


@dataclass
class Findings:
    """What became of one form's files."""

    kind: str
    form: str
    count: int = 0
    decoded: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")
    warned: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One row of the table."""
        ended = ", ".join(f"{count} {why}" for why, count in sorted(self.ended.items())) or "-"
        return (f"{self.kind:7} {self.form:8} {self.count:6} {self.decoded:8} {self.count - self.decoded:8} "
                f"{self.slowest[0]:7.2f} s {self.largest[0] / 2**20:6.0f} MB  {ended}")


HEADING = f"{'kind':7} {'form':8} {'files':>6} {'decoded':>8} {'refused':>8} {'slowest':>9} {'memory':>9}  ended"
GUARDS = {"took more than": "by time", "needs more than": "by memory", "the decoder crashed": "crashed"}


def fuzzed(
    kind: Kind, form: str, count: int, folder: Path, *, workers: int = 2, most_bombs: int | None = None,
) -> Findings:
    """Write so many hostile files and decode them."""
    found = Findings(kind.name, form)
    names, paths = [], []
    for number, (name, data) in enumerate(mutated(kind.name, form, count, most_bombs=most_bombs)):
        path = folder / f"{number}.{form}"
        path.write_bytes(data)
        names.append(name)
        paths.append(str(path))
    for name, path, result in zip(names, paths, _results(kind, paths, workers), strict=True):
        found.count += 1
        if isinstance(result, Refused):
            guard = next((word for start, word in GUARDS.items() if result.reason.startswith(start)), "failed")
            found.ended[guard] += 1
            found.reasons[result.reason] += 1
            found.failures += [f"{name}, {path}: {result.reason}"] if guard in ("failed", "crashed") else []
            continue
        found.decoded += result.reason is None
        if result.reason is not None:
            found.reasons[result.reason] += 1
            if not result.reason or result.reason.startswith("the decoder failed") or "\n" in result.reason:
                found.failures.append(f"{name}, {path}: {result.reason}")
        found.slowest = max(found.slowest, (result.seconds, name))
        found.largest = max(found.largest, (result.peak, name))
        found.warned += [f"{name}, {path}: {result.warned}"] if result.warned else []
    return found


def _results(kind: Kind, paths: list[str], workers: int) -> Iterator[Measured | Refused]:
    return decode_guarded(MeasuredKind(kind), paths, workers)
