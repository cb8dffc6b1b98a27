"""One space of an index: the vectors of one modality, or of whole rows, and how they are searched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.retrieval.exact import BLOCK, Bools, Places, Stored, Vectors, merged, nearest_of, rescored
from sensorium.retrieval.structure import CANDIDATES, LADDERS, Structure

EXACT_VECTORS = 20_000
"""Where a filter leaves fewer, they are searched exactly: quicker than a structure, and without loss."""
SAMPLE, SAMPLE_K = 256, 10
TIE = 1e-6
STILL = 0.001
"""Where twice the lists find no more than this, what is lacking is not in other lists."""
RESCORED_AT_ONCE = 256


@dataclass(frozen=True)
class Tuned:
    """What a structure was found to need, and to reach.

    Args:
        effort: efSearch or nprobe.
        candidates: how many times as many vectors as wanted are scored again; 0: none.
        recall: the share of the exact nearest that is found with it.
        queries: that this was measured on.
    """

    effort: int
    candidates: int
    recall: float
    queries: int


class Space:
    """Vectors in the order in which they were added, and a structure over the first of them.

    Args:
        parts: arrays (vector, width), mapped files.
        positions: (vector,) the row of the index that each belongs to, rising.
        structure: over the first vectors; None: all are searched exactly.
        effort, candidates: that the structure was tuned to.
    """

    def __init__(
        self, parts: Sequence[Stored], positions: Places, structure: Structure | None = None, effort: int = 0,
        candidates: int = 0,
    ) -> None:
        assert len(positions) == sum(map(len, parts))
        self.parts, self.positions, self.structure = tuple(parts), positions, structure
        self.effort, self.candidates = effort, candidates

    def __len__(self) -> int:
        return len(self.positions)

    def nearest(
        self, queries: Vectors, k: int, allowed: Bools | None = None, *, effort: int | None = None,
    ) -> tuple[Vectors, Places]:
        """(query, k) scores, falling, and the rows they belong to; −inf and −1 where there are fewer.

        Args:
            queries: (query, width).
            k: how many.
            allowed: (row of the index,) which may be found; None: all.
            effort: another efSearch or nprobe than the tuned one.
        """
        kept = None if allowed is None else allowed[self.positions]
        if kept is not None and kept.all():
            kept = None
        structure = self.structure
        if structure is None or (kept is not None and int(kept.sum()) <= EXACT_VECTORS):
            scores, places = nearest_of(queries, self.parts, k, kept)
        else:
            effort = max(self.effort, 2 * k) if effort is None else effort
            scores, places = self.found_by(structure, queries, k, kept, effort, self.candidates)
        return scores, np.where(places < 0, -1, self.positions[np.maximum(places, 0)]) if len(self) else places

    def found_by(
        self, structure: Structure, queries: Vectors, k: int, kept: Bools | None, effort: int, candidates: int,
    ) -> tuple[Vectors, Places]:
        """(query, k) scores and numbers of vectors: by the structure, and exactly what was added since it was built."""
        if structure.exact_scores:
            scores, places = structure.search(queries, k, effort, kept)
        else:
            _, places = structure.search(queries, candidates * max(k, SAMPLE_K), effort, kept)
            pieces = [rescored(queries[start : start + RESCORED_AT_ONCE], self.parts,
                               places[start : start + RESCORED_AT_ONCE], k)
                      for start in range(0, len(queries), RESCORED_AT_ONCE)]
            scores, places = (np.concatenate(side) for side in zip(*pieces, strict=True))
        if scores.shape[1] < k:
            gap = k - scores.shape[1]
            scores = np.pad(scores, ((0, 0), (0, gap)), constant_values=-np.inf)
            places = np.pad(places, ((0, 0), (0, gap)), constant_values=-1)
        if structure.size < len(self):
            scores, places = merged(scores, places, *nearest_of(queries, self.parts, k, kept, start=structure.size))
        return scores, places

    def blocks(self, start: int = 0) -> Iterator[Vectors]:
        """The vectors from one on, a block at a time."""
        base = 0
        for part in self.parts:
            for first in range(max(0, start - base), len(part), BLOCK):
                yield np.asarray(part[first : first + BLOCK], dtype=np.float32)
            base += len(part)

    def at(self, numbers: Places) -> Vectors:
        """(number, width) the vectors of these numbers."""
        bases = np.cumsum([0, *map(len, self.parts)])
        found = np.empty((len(numbers), self.parts[0].shape[1]), dtype=np.float32)
        owners = np.searchsorted(bases, numbers, side="right") - 1
        for owner in np.unique(owners).tolist():
            chosen = owners == owner
            found[chosen] = self.parts[owner][numbers[chosen] - bases[owner]]
        return found


def tuned(
    space: Space, structure: Structure, others: Sequence[Space], wanted: float, allowed: Bools,
    said: Callable[[str], None],
) -> Tuned:
    """The least effort with which a structure finds the wanted share of the exact 10 nearest.

    The queries are of rows of the index, up to 256, evenly spread: their vectors in this space and in the others, since
    what searches is mostly another modality; a row is not counted as its own answer.

    Args:
        space: whose vectors the structure holds.
        structure: the structure.
        others: spaces whose vectors can be compared with these.
        wanted: the share.
        allowed: (row of the index,) which are not deleted.
        said: called with a line on what is being tried.
    """
    queries, rows = _sample(space, others, allowed)
    kept = allowed[space.positions]
    whole = None if kept.all() else kept
    first = Space(space.parts, space.positions)
    exact = _without(rows, *first.nearest(queries, SAMPLE_K + 1, allowed))
    wanted_scores = exact[:, -1:] - TIE  # equal vectors are equally right
    num_right = int(np.isfinite(exact).sum())
    best = Tuned(0, 0, 0.0, len(queries))
    for candidates in (0,) if structure.exact_scores else CANDIDATES:
        before = -1.0
        for effort in LADDERS[structure.kind]:
            said(f"effort {effort}")
            scores, places = first.found_by(structure, queries, SAMPLE_K + 1, whole, effort, candidates)
            found = _without(rows, scores, np.where(places < 0, -1, space.positions[np.maximum(places, 0)]))
            recall = int(((found >= wanted_scores) & np.isfinite(found)).sum()) / max(1, num_right)
            if recall > best.recall or not best.effort:
                best = Tuned(effort, candidates, recall, len(queries))
            if recall >= min(1.0, wanted + (1 - wanted) / 4):
                return best
            if candidates and recall - before < STILL:
                break
            before = recall
    return best


def _sample(space: Space, others: Sequence[Space], allowed: Bools) -> tuple[Vectors, Places]:
    """Vectors that search, and the row each is of."""
    queries, rows = [], []
    spaces = [space, *others]
    for one in spaces:
        there = np.flatnonzero(allowed[one.positions])
        share = max(1, SAMPLE // len(spaces))
        numbers = there[np.unique(np.linspace(0, len(there) - 1, share).astype(np.int64))] if len(there) else there
        if len(numbers):
            queries.append(one.at(numbers))
            rows.append(one.positions[numbers])
    return np.concatenate(queries), np.concatenate(rows)


def _without(rows: Places, scores: Vectors, places: Places) -> Vectors:
    """(query, 10) the scores of the nearest rows without the query's own; −inf where there are fewer."""
    answers = np.full((len(rows), SAMPLE_K), -np.inf, dtype=np.float32)
    for query, (own, found) in enumerate(zip(rows.tolist(), places, strict=True)):
        kept = scores[query, found != own][:SAMPLE_K]
        answers[query, : len(kept)] = kept
    return answers
