"""How well queries find their right answers in a gallery: ranks, average precision, nDCG, with several right answers.

Items are ordered by the dot product with the query. Items of equal score have no order: every number is its expectation
over all orders of them (McSherry and Najork 2008), so an embedding that has collapsed into one point scores exactly
what chance scores, and none gains from where its items happen to stand. Scores are compared as they are, in float32;
items with the very same vector tie always.

Scores are computed for some queries at a time: memory grows with the gallery, never with queries × gallery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import AlignmentError
from sensorium.metrics.bootstrap import (
    Estimate,
    Floats,
    Ints,
    Resampling,
    Score,
    Weights,
    estimate,
    mean_value,
    one_or_many,
    weight_matrix,
)
from sensorium.metrics.relevance import Relevance
from sensorium.metrics.ties import PlaceSums, all_wrong, expected_discount, expected_precision, median_first_place

Vectors = npt.NDArray[np.float32]
CUTS = (1, 5, 10)
NDCG_CUT = 10
RETRIEVAL = (*(f"recall_at_{cut}" for cut in CUTS), "median_rank", "map", "ndcg", f"ndcg_at_{NDCG_CUT}")
RETRIEVAL_HIGHER = {name: name != "median_rank" for name in RETRIEVAL}
CHUNK_SCORES = 16_000_000
FEW_ANSWERS = 8
NOT_UNIT = 1e-3


@dataclass(frozen=True)
class Ranking:
    """Where the right answers of each query stand. `query` is the axis of the queries that have a right answer.

    Args:
        queries: (query,) int64 numbers of these queries.
        left_out: queries without a right answer.
        candidates: (query,) int64 items that the query was compared with.
        right: (query,) int64 right answers among them.
        above: (query,) int64 items that score higher than the best right answer.
        tied: (query,) int64 items of the same score as the best right answer, itself included.
        right_tied: (query,) int64 right answers among those.
        average_precision, ndcg, ndcg_cut: (query,) float64 in 0…1; the last counts the first 10 places only.
    """

    queries: Ints
    left_out: int
    candidates: Ints
    right: Ints
    above: Ints
    tied: Ints
    right_tied: Ints
    average_precision: Floats
    ndcg: Floats
    ndcg_cut: Floats

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def first(self) -> Floats:
        """(query,) float64 rank of the first right answer, from 1: above + (tied + 1) / (right_tied + 1)."""
        return np.asarray(self.above + (self.tied + 1) / (self.right_tied + 1), dtype=np.float64)

    def hits(self, cut: int) -> Floats:
        """(query,) probability that a right answer is among the first `cut`: 0 or 1 where nothing ties."""
        return 1.0 - all_wrong(self.tied, self.right_tied, np.clip(cut - self.above, 0, self.tied))


def rank(
    queries: npt.NDArray[Any], gallery: npt.NDArray[Any], relevance: Relevance, *, hidden: Relevance | None = None,
) -> Ranking:
    """Rank a gallery for every query.

    Args:
        queries: (query, width) unit-length embeddings.
        gallery: (item, width) unit-length embeddings in the same space.
        relevance: the right answers of every query.
        hidden: items that a query is not compared with, right ones included.

    Raises:
        AlignmentError: shapes disagree, or a vector is not finite or not of unit length.

    Example:
        >>> gallery = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> found = rank(gallery[:2], gallery, Relevance.by_code(np.array([7, 8]), np.array([8, 7, 7])))
        >>> found.first.tolist(), found.average_precision.round(2).tolist()
        ([2.0, 3.0], [0.58, 0.33])
    """
    asked, found = _unit(queries, "queries"), _unit(gallery, "gallery")
    if asked.shape[1] != found.shape[1] or len(relevance) != len(asked):
        raise AlignmentError(f"expected queries and gallery of one width and right answers for each query, found "
                             f"{asked.shape}, {found.shape} and {len(relevance)} queries")
    for given in (relevance, hidden):
        if given is not None and len(given.items) and int(given.items.max()) >= len(found):
            raise AlignmentError(f"item {int(given.items.max())} is not in a gallery of {len(found)} items")
    if hidden is not None and len(hidden) != len(asked):
        raise AlignmentError(f"expected hidden items for each of {len(asked)} queries, found {len(hidden)}")
    tables = PlaceSums.of(len(found), NDCG_CUT)
    rows: list[tuple[float, ...]] = []
    wanted = np.flatnonzero(relevance.counts > 0)
    for part, scores in _scores(asked[wanted], found):
        for query, row in zip(wanted[part].tolist(), scores, strict=True):
            out = relevance.items[:0] if hidden is None else hidden.of(query)
            row[out] = -np.inf
            read = _read(row, relevance.of(query), len(found) - len(out), tables)
            if read is not None:
                rows.append((query, *read))
    columns = np.array(rows, dtype=np.float64).reshape(len(rows), 9).T
    counts = columns[:6].astype(np.int64)
    return Ranking(counts[0], len(asked) - len(rows), counts[1], counts[2], counts[3], counts[4], counts[5],
                   columns[6], columns[7], columns[8])


def retrieval_metrics(ranking: Ranking, resampling: Resampling) -> dict[str, Estimate]:
    """Every metric of `RETRIEVAL` with its interval.

    recall_at_k is the share of queries with a right answer among the first k (for several right answers also called
    the hit rate); median_rank that of the first right answer; map and ndcg are means over queries.

    Args:
        ranking: of at least one query.
        resampling: weights for its queries, in its order.
    """
    per_query = {**{f"recall_at_{cut}": ranking.hits(cut) for cut in CUTS}, "median_rank": ranking.first,
                 "map": ranking.average_precision, "ndcg": ranking.ndcg, f"ndcg_at_{NDCG_CUT}": ranking.ndcg_cut}
    return {name: estimate(_median if name == "median_rank" else mean_value, values, values, resampling)
            for name, values in per_query.items()}


def chance_levels(ranking: Ranking) -> dict[str, float]:
    """What each metric is expected to be where the gallery is shuffled for every query.

    With N items, R of them right: recall_at_k = 1 − C(N − R, k) / C(N, k); average precision
    c + (1 − c) H_N / N with c = (R − 1) / (N − 1) and H the harmonic numbers; DCG = R times the mean discount.
    median_rank is the median over all queries and orders.
    """
    total, right = ranking.candidates, ranking.right
    tables = PlaceSums.of(int(total.max()), NDCG_CUT)
    nothing = np.zeros_like(total)
    levels = {f"recall_at_{cut}": 1.0 - all_wrong(total, right, np.minimum(cut, total)) for cut in CUTS}
    levels["map"] = expected_precision(nothing, total, nothing, right, tables.harmonic)
    for name, discounts in (("ndcg", tables.discounts), (f"ndcg_at_{NDCG_CUT}", tables.cut_discounts)):
        levels[name] = right * expected_discount(nothing, total, discounts) / discounts[right]
    means = {name: float(values.mean()) for name, values in levels.items()}
    means["median_rank"] = median_first_place(total, right)
    return {name: means[name] for name in RETRIEVAL}


def nearest(queries: npt.NDArray[Any], gallery: npt.NDArray[Any], count: int) -> Ints:
    """(query, place) int64 the items that score highest, best first; at most `count`, the lower number first in ties.

    Example:
        >>> nearest(np.eye(3)[:1], np.eye(3)[::-1], 2).tolist()
        [[2, 0]]
    """
    asked, found = _unit(queries, "queries"), _unit(gallery, "gallery")
    best = np.empty((len(asked), min(count, len(found))), dtype=np.int64)
    for part, scores in _scores(asked, found):
        best[part] = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    return best


def _scores(queries: Vectors, gallery: Vectors) -> Iterator[tuple[slice, Vectors]]:
    """(query, item) scores of some queries at a time, valid until the next; equal items are scored once and tie."""
    whole = np.ascontiguousarray(gallery).view(np.dtype((np.void, gallery.itemsize * gallery.shape[1])))[:, 0]
    _, first, which = np.unique(whole, return_index=True, return_inverse=True)
    distinct = gallery[first] if len(first) < len(gallery) else gallery
    step = min(max(1, CHUNK_SCORES // len(gallery)), max(1, len(queries)))
    room = np.empty((step, len(distinct)), dtype=np.float32)
    for start in range(0, len(queries), step):
        part = slice(start, min(start + step, len(queries)))
        scores = np.matmul(queries[part], distinct.T, out=room[: part.stop - start])
        yield part, scores if distinct is gallery else scores[:, which]


def _read(row: Vectors, right: Ints, candidates: int, tables: PlaceSums) -> tuple[float, ...] | None:
    """What a `Ranking` says of one query, from (item,) scores (−inf: hidden); None where no right answer is left."""
    values = np.sort(row[right])[::-1]
    values = values[values > -np.inf]
    if len(values) == 0:
        return None
    right_above = np.searchsorted(-values, -values, side="left")
    right_tied = np.searchsorted(-values, -values, side="right") - right_above
    if len(values) <= FEW_ANSWERS:
        above = np.array([np.count_nonzero(row > value) for value in values])
        tied = np.array([np.count_nonzero(row == value) for value in values])
    else:
        ordered = np.sort(row)
        last = np.searchsorted(ordered, values, side="right")
        above, tied = len(row) - last, last - np.searchsorted(ordered, values, side="left")
    precision = expected_precision(above, tied, right_above, right_tied, tables.harmonic).mean()
    gains = [float(expected_discount(above, tied, sums).sum() / sums[len(values)])
             for sums in (tables.discounts, tables.cut_discounts)]
    return candidates, len(values), int(above[0]), int(tied[0]), int(right_tied[0]), float(precision), *gains


def _median(truth: Any, values: Any, weights: Weights | None = None, /) -> Score:
    """Weighted median: the mean of the two middle values where the weight splits evenly between them."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    sums = np.cumsum(weight_matrix(weights, len(values))[:, order], axis=1)
    half = sums[:, -1:] / 2
    lower, upper = (sums < half).sum(axis=1), (sums <= half).sum(axis=1)
    last = len(values) - 1
    return one_or_many((ordered[np.minimum(lower, last)] + ordered[np.minimum(upper, last)]) / 2, weights)


def _unit(vectors: npt.NDArray[Any], name: str) -> Vectors:
    """(row, width) float32, after checking that each is of unit length."""
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise AlignmentError(f"{name}: expected (row, width) embeddings, one at least, found shape {vectors.shape}")
    found = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(found, axis=1)
    wrong = ~(np.abs(lengths - 1) <= NOT_UNIT)
    if wrong.any():
        row = int(wrong.argmax())
        raise AlignmentError(f"{name}: {int(wrong.sum())} of {len(found)} embeddings are not of unit length, the first "
                             f"is row {row} with length {float(lengths[row]):.6g}")
    return found
