"""Batches of rows of similar length: less padding to compute, as much chance as before.

Sorting within large random chunks, then shuffling the batches, is the "bucket" sampling that speech and translation
models are trained with; here it is a pure function of (seed, epoch, rows), and several ragged modalities are handled by
bisecting each chunk along whichever of them saves the most (as a k-d tree does).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples
from sensorium.keyed import Draws

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
CHUNK_BATCHES = 50
JITTER = 0.2
WORTH = 0.2
PADDED = frozenset({"text", "series", "points", "video"})
"""Kinds whose encoders compute as much for padding as for what is there; sounds are stretched to one length."""


def row_lengths(samples: Samples) -> Int64s:
    """(table row, modality) positions that each row's cells take in a batch, for the kinds that are padded; else 0."""
    columns = []
    for name in samples.schema.names:
        cells = samples.cells[name]
        lengths = np.append(cells.lengths if cells.kind.name in PADDED else np.zeros_like(cells.lengths), 0)
        columns.append(lengths[cells.cells_of_row].sum(axis=1))
    return np.stack(columns, axis=1)


def bucketed(order: Int64s, lengths: Int64s, num_batches: int, *, seed: int, epoch: int) -> list[Int64s]:
    """The batches of an epoch, rows of similar length together.

    The order is cut into chunks of about 50 batches; each is sorted by length, give or take a fifth of the mean length
    (so that what differs little is mixed, and differently in each epoch), and cut into batches; the batches of all
    chunks are shuffled. Where that saves less than a fifth of the padded positions, the order is cut as it is.

    Args:
        order: (row,) the epoch's row numbers in random order.
        lengths: (table row, modality) positions of each row of the table, 0 = absent; the unit is each modality's own
            (tokens, frames, samples): modalities weigh equally.
        num_batches: how many; their sizes are those of np.array_split, in another order.
        seed: the run's seed.
        epoch: the pass over the data.

    Returns:
        Batches of row numbers; every row of `order` is in exactly one.

    Example:
        >>> lengths = np.array([[5], [90], [6], [80], [5], [85], [7], [95]])
        >>> batches = bucketed(np.array([7, 2, 5, 0, 3, 6, 1, 4]), lengths, 2, seed=0, epoch=0)
        >>> sorted(sorted(batch.tolist()) for batch in batches)
        [[0, 2, 4, 6], [1, 3, 5, 7]]
    """
    plain = np.array_split(order, num_batches)
    used = lengths[order].astype(np.float64)
    present = np.maximum(1, (used > 0).sum(axis=0))
    units = used / np.maximum(1.0, used.sum(axis=0) / present)
    ragged = [column for column in range(units.shape[1]) if len(np.unique(used[used[:, column] > 0, column])) > 1]
    if not ragged or num_batches < 2:
        return plain
    units = units[:, ragged]
    keys = units + Draws(seed, epoch, order).uniform("bucket", len(ragged), low=-JITTER, high=JITTER) * (units > 0)
    sizes = [len(batch) for batch in plain]
    places: list[Int64s] = []
    begin = 0
    for chunk in np.array_split(np.array(sizes), math.ceil(num_batches / CHUNK_BATCHES)):
        end = begin + int(chunk.sum())
        places += _bisected(np.arange(begin, end), keys, units, chunk.tolist())
        begin = end
    splits = np.split(np.arange(len(order)), np.cumsum(sizes)[:-1])
    if _cost(places, units) > (1.0 - WORTH) * _cost(splits, units):
        return plain
    shuffled = Draws(seed, epoch, np.arange(num_batches)).order("buckets")
    return [order[places[number]] for number in shuffled]


def padded_positions(batches: list[Int64s], lengths: Int64s) -> Int64s:
    """(modality,) positions that are computed, padding included: the longest of each batch times the rows that have it.

    Args:
        batches: row numbers.
        lengths: (table row, modality) positions, 0 = absent.
    """
    padded = [lengths[batch].max(axis=0, initial=0) * (lengths[batch] > 0).sum(axis=0) for batch in batches]
    total: Int64s = np.sum(padded, axis=0, dtype=np.int64)
    return total


def _bisected(places: Int64s, keys: Floats, units: Floats, sizes: list[int]) -> list[Int64s]:
    """Batches of these sizes: halved along the modality that saves the most padding, until each half is a batch."""
    if len(sizes) == 1:
        return [places]
    half = len(sizes) // 2
    at = sum(sizes[:half])
    sides = []
    for column in range(keys.shape[1]):
        ranked = places[np.argsort(keys[places, column], kind="stable")]
        sides.append([ranked[:at], ranked[at:]])
    shorter, longer = min(sides, key=lambda pair: _cost(pair, units))
    return _bisected(shorter, keys, units, sizes[:half]) + _bisected(longer, keys, units, sizes[half:])


def _cost(batches: list[Int64s], units: Floats) -> float:
    """Padded positions of all modalities, each in units of its mean length."""
    return float(sum((units[batch].max(axis=0, initial=0.0) * (units[batch] > 0).sum(axis=0)).sum()
                     for batch in batches))
