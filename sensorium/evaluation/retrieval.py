"""Retrieval: what some modalities of a row say finds what others say about it, for every direction and subset."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import AlignmentError, DataError, unknown_name
from sensorium.evaluation.embedder import Embedder, Rows, Vectors, known, metrics_json, require_aligned, subset_of
from sensorium.metrics.bootstrap import Estimate, replicate_weights
from sensorium.metrics.relevance import Relevance
from sensorium.metrics.retrieval import RETRIEVAL, chance_levels, rank, retrieval_metrics

Names = tuple[str, ...]
Direction = tuple[Names, Names]
Bools = npt.NDArray[np.bool_]
MAX_EVERY = 3
RETRIEVAL_WORDS = {"recall_at_1": "R@1", "recall_at_5": "R@5", "recall_at_10": "R@10", "median_rank": "median rank",
                   "map": "mAP", "ndcg": "nDCG", "ndcg_at_10": "nDCG@10"}


@dataclass(frozen=True)
class RetrievalScore:
    """How well one subset of modalities retrieves another.

    Args:
        query, gallery: the two disjoint subsets, in the schema's order.
        by: the target whose equal classes are right answers; "": what stands in the same row is.
        queries: queries scored, each a distinct combination of cells.
        gallery_size: items that they search, each a distinct combination of cells.
        right: mean number of right answers of a query.
        left_out: queries without a right answer in the gallery.
        unit: what the intervals resample.
        metrics: those of `sensorium.metrics.retrieval.RETRIEVAL`.
        chance: the same metrics for a shuffled gallery.
    """

    query: Names
    gallery: Names
    by: str
    queries: int
    gallery_size: int
    right: float
    left_out: int
    unit: Literal["rows", "groups"]
    metrics: dict[str, Estimate]
    chance: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"query": list(self.query), "gallery": list(self.gallery), "by": self.by, "queries": self.queries,
                "gallery_size": self.gallery_size, "right": self.right, "left_out": self.left_out, "unit": self.unit,
                "metrics": metrics_json(self.metrics), "chance": self.chance}


def directions_of(names: Names) -> list[Direction]:
    """Which subsets retrieve which.

    Up to three modalities: every ordered pair of disjoint non-empty subsets. Beyond: each modality with each other one,
    and all but one with the one left out.

    Example:
        >>> directions_of(("photo", "note"))
        [(('photo',), ('note',)), (('note',), ('photo',))]
        >>> len(directions_of(("photo", "note", "sound"))), len(directions_of(tuple("abcd")))
        (12, 16)
    """
    if len(names) > MAX_EVERY:
        singles: list[Direction] = [((a,), (b,)) for a in names for b in names if a != b]
        return singles + [(tuple(other for other in names if other != name), (name,)) for name in names]
    found = []
    for sides in product((0, 1, 2), repeat=len(names)):
        query, gallery = (tuple(name for name, one in zip(names, sides, strict=True) if one == side) for side in (0, 1))
        if query and gallery:
            found.append((query, gallery))
    place = {name: number for number, name in enumerate(names)}
    return sorted(found, key=lambda pair: (len(pair[0]) + len(pair[1]), [[place[n] for n in side] for side in pair]))


def retrieval(
    model: Embedder, samples: Samples, rows: Rows | None = None, *,
    directions: Sequence[tuple[str | Collection[str], str | Collection[str]]] | None = None, by: str | None = None,
    exclude_self: bool = False, seed: int = 0,
) -> list[RetrievalScore]:
    """Score retrieval in every direction. Rows that share their cells are one query, or one item of the gallery.

    A query is asked by every row that has all of its modalities, and the gallery holds what every row has of its own:
    a query whose rows lack the other side has no right answer, is left out and counted. A direction without any right
    answer has no score, and is refused where it was asked for.

    Args:
        model: whose embeddings of different modalities are in one space.
        samples: a decoded table.
        rows: (row,) the rows that ask and are found; None: all.
        directions: (query, gallery) pairs of one modality or several; None: those of `directions_of`.
        by: a target of classes: every item of the query's class is a right answer, and rows without a class or with one
            unseen in training take no part. None: an item is right where a row has both.
        exclude_self: for `by`: a query does not see what stands in its own rows, only what else is of its class.
        seed: of the bootstrap over queries, or over groups where the table has them.

    Raises:
        AlignmentError: the model is not aligned, has one modality, or no query of a given direction has a right answer.
        DataError: `by` is not a target of classes.
        RecipeError: a direction names an unknown modality.

    Example: retrieval(model, as_samples("test.csv", model.schema))[0].metrics["recall_at_1"].value
    """
    require_aligned(model, "retrieval")
    chosen = np.arange(len(samples)) if rows is None else rows
    pairs = _checked(model.schema, directions)
    classes = None if by is None else _classes(samples, by)[chosen]
    if exclude_self and classes is None:
        raise AlignmentError("exclude_self leaves no right answer where only the own row is one: name a target in `by`")
    subsets = dict.fromkeys(frozenset(side) for pair in pairs for side in pair)
    vectors = model.embeddings(samples, chosen, list(subsets))
    scores = []
    for query, gallery in pairs:
        sides = _Side(samples, chosen, query, vectors[frozenset(query)], classes), _Side(
            samples, chosen, gallery, vectors[frozenset(gallery)], classes)
        score = _score(samples, chosen, sides, by=by or "", exclude_self=exclude_self, seed=seed)
        if score is not None:
            scores.append(score)
        elif directions is not None:
            raise AlignmentError(f"{_joined(query)} → {_joined(gallery)}: none of {len(sides[0])} queries has a right "
                                 f"answer among {len(sides[1])} items, in {len(chosen)} rows")
    return scores


def retrieval_lines(scores: Sequence[RetrievalScore]) -> list[str]:
    """A Markdown table, one direction a line with its intervals, and under it what chance would score."""
    from sensorium.evaluation.words import aligned

    if not scores:
        return []
    by = f", right by {scores[0].by}" if scores[0].by else ""
    table = [[f"retrieval{by}", "queries", "items", *(RETRIEVAL_WORDS[name] for name in RETRIEVAL)]]
    for one in scores:
        table.append([f"{_joined(one.query)} → {_joined(one.gallery)}", f"{one.queries:,}", f"{one.gallery_size:,}",
                      *(_spread(name, one.metrics[name]) for name in RETRIEVAL)])
        table.append(["by chance", "", "", *(_shown(name, one.chance[name]) for name in RETRIEVAL)])
    lines = aligned(table)
    for one in scores:
        if one.left_out:
            lines.append(f"{_joined(one.query)} → {_joined(one.gallery)}: {one.left_out:,} queries have no right "
                         f"answer among the items and are left out")
    return lines


class _Side:
    """The distinct items of a subset.

    Attributes:
        of_row: (row,) each row's item, −1 where it lacks part of the subset.
        first: (item,) the place in `rows` of the first row that has it.
        vectors: (item, width) embeddings.
        classes: (item,) class numbers, where rows have them; an item in rows of two classes is two items.
    """

    def __init__(self, samples: Samples, rows: Rows, names: Names, vectors: Vectors, classes: Rows | None) -> None:
        self.names = names
        there = known(vectors) if classes is None else known(vectors) & (classes >= 0)
        keys = [samples.cells[name].cells_of_row[rows] for name in names]
        keys += [] if classes is None else [classes[:, None]]
        _, first, which = np.unique(np.concatenate(keys, axis=1)[there], axis=0, return_index=True, return_inverse=True)
        self.of_row = np.full(len(rows), -1, dtype=np.int64)
        self.of_row[there] = which.reshape(-1)
        self.first = np.flatnonzero(there)[first]
        self.vectors = vectors[self.first]
        self.classes = None if classes is None else classes[self.first]

    def __len__(self) -> int:
        return len(self.first)


def _score(
    samples: Samples, rows: Rows, sides: tuple[_Side, _Side], *, by: str, exclude_self: bool, seed: int,
) -> RetrievalScore | None:
    """The score of one direction; None where no query has a right answer."""
    query, gallery = sides
    if not len(query) or not len(gallery):
        return None
    both = (query.of_row >= 0) & (gallery.of_row >= 0)
    paired = Relevance.from_pairs(query.of_row[both], gallery.of_row[both], len(query))
    relevance = paired if query.classes is None or gallery.classes is None else Relevance.by_code(
        query.classes, gallery.classes)
    ranking = rank(query.vectors, gallery.vectors, relevance, hidden=paired if exclude_self else None)
    if not len(ranking):
        return None
    asked = rows[query.first[ranking.queries]]
    groups = None if samples.groups is None else samples.groups[asked]
    resampling = replicate_weights(len(ranking), groups, seed=seed)
    return RetrievalScore(query.names, gallery.names, by, len(ranking), len(gallery), float(ranking.right.mean()),
                          ranking.left_out, resampling.unit, retrieval_metrics(ranking, resampling),
                          chance_levels(ranking))


def _checked(
    schema: Schema, directions: Sequence[tuple[str | Collection[str], str | Collection[str]]] | None,
) -> list[Direction]:
    """The directions, in the schema's order of names."""
    if len(schema.names) < 2:
        raise AlignmentError(f"retrieval needs at least 2 modalities, the model has {len(schema.names)} "
                             f"({', '.join(schema.names)})")
    if directions is None:
        return directions_of(schema.names)
    pairs = [(subset_of(schema, query), subset_of(schema, gallery)) for query, gallery in directions]
    for query, gallery in pairs:
        shared = set(query) & set(gallery)
        if shared:
            raise AlignmentError(f"{_joined(query)} → {_joined(gallery)}: {sorted(shared)[0]!r} is on both sides, "
                                 f"and would find itself")
    return pairs


def _classes(samples: Samples, by: str) -> Rows:
    """(row,) class numbers of a target, −1 where a row has none."""
    classified = [target.name for target in samples.schema.targets if target.task == "classify"]
    if by not in classified or by not in samples.labels:
        here = [name for name in classified if name in samples.labels]
        raise DataError(f"right answers by class: {unknown_name('target of classes', by, here)}")
    labels = samples.labels[by]
    return np.where(labels.mask, labels.values, -1).astype(np.int64)


def _joined(names: Names) -> str:
    return " + ".join(names)


def _shown(name: str, value: float) -> str:
    """Ranks with one decimal, shares with three; three digits where that would hide them."""
    if name == "median_rank":
        return f"{value:,.1f}"
    return f"{value:.3f}" if value >= 0.01 or value == 0 else f"{value:.3g}"


def _spread(name: str, value: Estimate) -> str:
    return f"{_shown(name, value.value)} ({_shown(name, value.low)}–{_shown(name, value.high)})"
