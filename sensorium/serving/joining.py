"""Samples of several requests as one, so that the model reads their rows together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sensorium.data.cells import Arrays, Cells
from sensorium.data.samples import Samples


def joined(parts: Sequence[Samples]) -> Samples:
    """The rows of all, in order; they are of one schema, without labels.

    Example: `joined([a, b])` has the rows of a, then those of b.
    """
    if len(parts) == 1:
        return parts[0]
    schema = parts[0].schema
    cells = {name: _joined_cells([part.cells[name] for part in parts]) for name in schema.names}
    return Samples(schema, cells, {}, None, np.concatenate([part.presence for part in parts]), ())


def _joined_cells(parts: Sequence[Cells]) -> Cells:
    slots = max(part.cells_of_row.shape[1] for part in parts)
    cells_of_row, identities, unreadable = [], [], []
    rows = count = 0
    for part in parts:
        numbers = np.where(part.cells_of_row >= 0, part.cells_of_row + count, -1)
        cells_of_row.append(np.pad(numbers, ((0, 0), (0, slots - numbers.shape[1])), constant_values=-1))
        identities.append(part.identities + rows)
        unreadable += [replace(cell, row=cell.row + rows) for cell in part.unreadable]
        rows += len(numbers)
        count += len(part.arrays)
    arrays = [array for part in parts for array in part.arrays.get(range(len(part.arrays)))]
    return Cells(parts[0].kind, np.concatenate(cells_of_row), np.concatenate(identities),
                 Arrays(arrays, parts[0].kind, ()), np.concatenate([part.lengths for part in parts]),
                 sum(part.num_blank for part in parts), tuple(unreadable))
