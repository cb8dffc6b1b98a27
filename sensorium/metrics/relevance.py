"""Which items of a gallery are right answers of which queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.errors import AlignmentError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Relevance:
    """The right answers of every query: those of query q are items[starts[q] : stops[q]].

    Queries may share a stretch of `items`, so ten classes of 100,000 items take no more room than the items.

    Args:
        starts, stops: (query,) int64 places in `items`.
        items: (place,) int64 item numbers, without repeats within a query.
    """

    starts: Ints
    stops: Ints
    items: Ints

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def counts(self) -> Ints:
        """(query,) int64 right answers of each query."""
        return self.stops - self.starts

    def of(self, query: int) -> Ints:
        """The right answers of one query."""
        return self.items[self.starts[query] : self.stops[query]]

    @classmethod
    def by_code(cls, queries: Ints, gallery: Ints) -> Relevance:
        """Right is what has the same code.

        Args:
            queries: (query,) codes; a negative one has no right answers.
            gallery: (item,) codes.

        Example:
            >>> Relevance.by_code(np.array([7, 2, 5]), np.array([2, 7, 7])).counts.tolist()
            [2, 1, 0]
        """
        order = np.argsort(gallery, kind="stable").astype(np.int64)
        ordered = gallery[order]
        starts = np.searchsorted(ordered, queries, side="left").astype(np.int64)
        stops = np.searchsorted(ordered, queries, side="right").astype(np.int64)
        return cls(starts, np.where(queries < 0, starts, stops), order)

    @classmethod
    def from_pairs(cls, queries: Ints, items: Ints, num_queries: int) -> Relevance:
        """Right is what is paired; a repeated pair counts once.

        Args:
            queries: (pair,) query numbers in 0 … num_queries − 1.
            items: (pair,) item numbers, from 0.
            num_queries: how many queries there are.

        Raises:
            AlignmentError: lengths differ, or a number is out of range.

        Example:
            >>> Relevance.from_pairs(np.array([1, 0, 1]), np.array([4, 4, 2]), 3).of(1).tolist()
            [2, 4]
        """
        if queries.shape != items.shape or queries.ndim != 1:
            raise AlignmentError(f"expected a query and an item for each pair, found shapes {queries.shape} and "
                                 f"{items.shape}")
        if len(queries) and not (queries.min() >= 0 and queries.max() < num_queries and items.min() >= 0):
            raise AlignmentError(f"expected queries in 0 … {num_queries - 1} and items from 0, found "
                                 f"{int(queries.min())} … {int(queries.max())} and items from {int(items.min())}")
        pairs = np.unique(np.stack([queries, items], axis=1), axis=0)
        counts = np.bincount(pairs[:, 0], minlength=num_queries)
        stops = np.cumsum(counts).astype(np.int64)
        return cls(stops - counts, stops, pairs[:, 1])
