"""Exact search: the inner products of every vector, a block at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import SensoriumError

Vectors = npt.NDArray[np.float32]
Stored = npt.NDArray[np.float32] | npt.NDArray[np.float16]
Places = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
BLOCK = 32_768


def require_faiss() -> Any:
    """The module faiss. Raises SensoriumError where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise SensoriumError("an index needs faiss and duckdb: pip install 'sensorium[search]'") from error
    return faiss


def nearest_of(
    queries: Vectors, parts: Sequence[Stored], k: int, kept: Bools | None = None, *, start: int = 0,
) -> tuple[Vectors, Places]:
    """The k vectors with the largest inner products.

    Args:
        queries: (query, width).
        parts: arrays (vector, width), which may be mapped files; vectors are numbered through all of them.
        k: at least 1.
        kept: (vector,) which may be found; None: all.
        start: vectors before this one are not searched.

    Returns:
        (query, k) scores, falling, and the vectors' numbers; −inf and −1 where there are fewer.
    """
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    found = np.full((len(queries), k), -1, dtype=np.int64)
    base = 0
    for part in parts:
        for first in range(max(0, start - base), len(part), BLOCK):
            last = min(len(part), first + BLOCK)
            numbers = None
            if kept is not None:
                numbers = np.flatnonzero(kept[base + first : base + last])
                if not len(numbers):
                    continue
                if len(numbers) == last - first:
                    numbers = None
            block = np.asarray(part[first:last] if numbers is None else part[first:last][numbers], dtype=np.float32)
            scores, places = _nearest(queries, block, min(k, len(block)))
            places = (places if numbers is None else numbers[places]) + base + first
            best, found = merged(best, found, scores, places)
        base += len(part)
    return best, found


def merged(
    scores_a: Vectors, places_a: Places, scores_b: Vectors, places_b: Places,
) -> tuple[Vectors, Places]:
    """The best of two answers to the same queries, as many as the first has; of equal ones the first's go before."""
    scores, places = np.concatenate([scores_a, scores_b], axis=1), np.concatenate([places_a, places_b], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, : scores_a.shape[1]]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(places, order, axis=1)


def _nearest(queries: Vectors, block: Vectors, k: int) -> tuple[Vectors, Places]:
    faiss = require_faiss()
    scores, places = faiss.knn(np.ascontiguousarray(queries, dtype=np.float32), np.ascontiguousarray(block), k,
                               metric=faiss.METRIC_INNER_PRODUCT)
    return scores, places


def rescored(queries: Vectors, parts: Sequence[Stored], places: Places, k: int) -> tuple[Vectors, Places]:
    """The k best of some candidates by their exact inner products.

    Args:
        queries: (query, width).
        parts: as of `nearest_of`.
        places: (query, candidate) numbers of vectors, −1 = none.
        k: at most as many as there are candidates.
    """
    scores = np.full(places.shape, -np.inf, dtype=np.float32)
    bases = np.cumsum([0, *map(len, parts)])
    for query, own in enumerate(places):
        there = np.flatnonzero(own >= 0)
        numbers = np.searchsorted(bases, own[there], side="right") - 1
        for number in np.unique(numbers).tolist():
            chosen = there[numbers == number]
            vectors = np.asarray(parts[number][own[chosen] - bases[number]], dtype=np.float32)
            scores[query, chosen] = vectors @ queries[query]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(places, order, axis=1)
