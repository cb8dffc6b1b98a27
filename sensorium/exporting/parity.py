"""Whether an exported folder answers as the model does: raw outputs and embeddings of every subset, and answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import Answer
from sensorium.data.samples import Samples
from sensorium.errors import ExportError
from sensorium.model import Model, Subset
from sensorium.runtime import Runtime

TOLERANCE = 1e-4
EXHAUSTIVE = 5
ROWS_ALONE = 3


@dataclass(frozen=True)
class Compared:
    """Rows, decoded for both.

    Args:
        words: what they are, for the record.
        model: what the model reads.
        runtime: what the runtime reads.
    """

    words: str
    model: Samples
    runtime: Samples


@dataclass(frozen=True)
class Parity:
    """How far an exported model is off.

    Args:
        largest: |exported − torch| / max(1, |torch|), the largest of all compared numbers.
        numbers: how many were compared.
        subsets: of modalities that were compared.
        rows: what rows, in words.
    """

    largest: float
    numbers: int
    subsets: int
    rows: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"tolerance": TOLERANCE, "largest": self.largest, "numbers": self.numbers, "subsets": self.subsets,
                "rows": list(self.rows)}


def compared_subsets(names: tuple[str, ...]) -> list[Subset]:
    """All non-empty subsets of up to five modalities; of more, single ones, all but one, and all.

    Example:
        >>> [len(compared_subsets(("a", "b", "c", "d", "e", "f")[:number])) for number in (2, 5, 6)]
        [3, 31, 13]
    """
    sizes = range(1, len(names) + 1) if len(names) <= EXHAUSTIVE else (1, len(names) - 1, len(names))
    return [frozenset(some) for size in sizes for some in combinations(names, size)]


def compare(model: Model, runtime: Runtime, rows: list[Compared]) -> Parity:
    """Compare a model and what was exported of it, on every subset, in batches and row by row.

    Raises:
        ExportError: some number is more than 1e-4 off: which one, of which subset and row.
    """
    subsets = compared_subsets(model.schema.names)
    largest, numbers = 0.0, 0
    for one in rows:
        for what, row, expected, found in _pairs(model, runtime, one, subsets):
            off, count = _off(expected, found)
            numbers += count
            if not off <= TOLERANCE:
                raise ExportError(f"the exported graphs differ from torch by {off:.2g} in {what} (row {row} of "
                                  f"{one.words}), more than {TOLERANCE:g}: nothing was written")
            largest = max(largest, off)
    return Parity(largest, numbers, len(subsets), tuple(one.words for one in rows))


def _off(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> tuple[float, int]:
    """The largest difference of a row's numbers, infinite where only one of them is known; how many are known."""
    known = np.isfinite(expected)
    if (known != np.isfinite(found)).any():
        return np.inf, 0
    if not known.any():
        return 0.0, 0
    difference = np.abs(found[known] - expected[known]) / np.maximum(1.0, np.abs(expected[known]))
    return float(difference.max()), int(known.sum())


Pair = tuple[str, int, npt.NDArray[Any], npt.NDArray[Any]]


def _pairs(model: Model, runtime: Runtime, one: Compared, subsets: list[Subset]) -> Iterator[Pair]:
    """(what, row, expected, found) of everything that is compared, row by row."""
    if (one.model.presence != one.runtime.presence).any():
        row = int((one.model.presence != one.runtime.presence).any(axis=1).argmax())
        raise ExportError(f"row {row + 1} of {one.words} is read differently without torch: nothing was written")
    names = model.schema.names
    everything = frozenset(names)
    mixed = _mixed_presence(one.model.presence)
    for words, shown, wanted in (("", one.model.presence, subsets), ("rows of mixed subsets", mixed, [everything])):
        ours = replace(one.runtime, presence=one.runtime.presence & shown)
        rows = np.arange(len(one.model))
        if model.schema.targets:
            expected, vectors = model.outputs_and_vectors(one.model, rows, wanted, wanted, complete=False, shown=shown)
            found, own = runtime.outputs(ours, wanted)
            for subset in wanted:
                said = words or _said(subset, names)
                yield from _rows(f"the fused vector of {said}", vectors[subset], own[subset])
                for target in model.schema.targets:
                    yield from _rows(f"target {target.name!r} of {said}", expected[target.name][subset],
                                     found[target.name][subset])
        if not words:
            embedded = model.embeddings(one.model, rows, wanted, complete=False)
            for subset in wanted:
                yield from _rows(f"the embedding of {_said(subset, names)}", embedded[subset],
                                 runtime.embeddings(ours, modalities=subset))
    if model.schema.targets:
        answers = model.answers(one.model)
        yield from _answer_pairs("the answer", answers, runtime.answers(one.runtime))
        yield from _answer_pairs("the answer to a row alone", answers[:ROWS_ALONE],
                                 runtime.answers(one.runtime, rows_at_once=1)[:ROWS_ALONE])


def _mixed_presence(presence: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Some of what each row has, another subset from row to row."""
    kept = np.random.default_rng(0).random(presence.shape) < 0.5
    return np.asarray(presence & (kept | ~(presence & kept).any(axis=1, keepdims=True)))


def _said(subset: Subset, names: tuple[str, ...]) -> str:
    return " + ".join(name for name in names if name in subset)


def _rows(what: str, expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> Iterator[Pair]:
    for row, (one, other) in enumerate(zip(expected, found, strict=True), start=1):
        yield what, row, one, other


def _answer_pairs(
    what: str, expected: list[Mapping[str, Answer]] | list[dict[str, Answer]], found: list[dict[str, Answer]],
) -> Iterator[Pair]:
    """Probabilities, or the number and its interval in deviations of the interval's own size."""
    for row, (one, other) in enumerate(zip(expected, found, strict=True), start=1):
        for name, answer in one.items():
            yield f"{what}, target {name!r},", row, _numbers(answer), _numbers(other[name])


def _numbers(answer: Answer) -> npt.NDArray[np.float64]:
    if answer.probabilities is not None:
        return np.array(list(answer.probabilities.values()))
    return np.array([answer.value, *(answer.interval or ())], dtype=np.float64)
