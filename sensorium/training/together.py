"""Rows that share a costly cell come into the same batches, so that it is encoded once for several of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples

Int64s = npt.NDArray[np.int64]
COSTLY = frozenset({"image", "audio", "video", "series", "points"})
LEAST_SHARED = 4.0
TOGETHER = 4


def shared_cells(samples: Samples, rows: Int64s) -> Int64s | None:
    """(table row,) the first cell of the modality whose cells most of these rows share, −1 = none; None where no costly
    modality has four rows to a cell (ten questions about one picture).

    Stored features are not costly: nothing is encoded.
    """
    best: tuple[float, Int64s] | None = None
    for name in samples.schema.names:
        cells = samples.cells[name]
        first = cells.cells_of_row[:, 0]
        there = first[rows][first[rows] >= 0]
        if cells.kind.name not in COSTLY or cells.stored is not None or len(there) == 0:
            continue
        shared = len(there) / len(np.unique(there))
        if shared >= LEAST_SHARED and (best is None or shared > best[0]):
            best = shared, first
    return None if best is None else best[1]


def put_together(order: Int64s, cells: Int64s, *, size: int = TOGETHER) -> Int64s:
    """The order with rows that share a cell side by side, up to `size` of them; the groups are as far apart as chance
    has it.

    Args:
        order: (row,) the epoch's row numbers in random order.
        cells: (table row,) the cell of each row, −1 = none.
        size: rows of a group.

    Example:
        >>> put_together(np.array([3, 0, 2, 1, 4]), np.array([7, 8, 7, 8, 7]), size=2).tolist()
        [3, 1, 0, 2, 4]
    """
    own = cells[order]
    own = np.where(own < 0, -1 - np.arange(len(order)), own)  # rows without the cell are groups of their own
    by_cell = np.argsort(own, kind="stable")
    sorted_cells = own[by_cell]
    begins = np.flatnonzero(np.append(True, sorted_cells[1:] != sorted_cells[:-1]))
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
    leader = by_cell[np.maximum.accumulate(np.where(rank % size == 0, np.arange(len(order)), 0))]
    position = np.empty(len(order), dtype=np.int64)
    position[by_cell] = leader
    return order[np.lexsort((np.arange(len(order)), position))]
