"""Which rows of a batch are the same thing: they share a text, a file or a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.data.batch import Batch
from sensorium.data.samples import Samples


def same_keys(batch: Batch, names: Sequence[str], labels: Sequence[str]) -> Int[Tensor, "batch key"]:
    """One column for each modality and label: rows with an equal non-negative number are not different things.

    Args:
        batch: of any process: the numbers are identities in the table.
        names: modalities; where a cell is a list, its first one counts.
        labels: targets that are classes.

    Returns:
        (batch, key) int64, −1 where a row has no such cell or label.
    """
    columns = []
    for name in names:
        column = torch.full((len(batch),), -1, dtype=torch.int64, device=batch.rows.device)
        packed = batch.inputs.get(name)
        if packed is not None:
            first = packed.cells[:, 0]
            column[packed.rows] = torch.where(first >= 0, packed.identities[first.clamp(min=0)], -1)
        columns.append(column)
    for name in labels:
        target = batch.targets.get(name)
        columns.append(torch.full_like(batch.rows, -1) if target is None else
                       torch.where(target.mask, target.values.long(), -1))
    return torch.stack(columns, dim=1)


def same_keys_of(samples: Samples, rows: npt.NDArray[np.int64], labels: Sequence[str]) -> npt.NDArray[np.int64]:
    """The same columns for rows of a decoded table."""
    columns = []
    for name in samples.schema.names:
        cells = samples.cells[name]
        first = cells.cells_of_row[rows, 0]
        columns.append(np.where(first >= 0, cells.identities[np.maximum(first, 0)], -1) if len(cells.identities)
                       else first)
    for name in labels:
        found = samples.labels.get(name)
        columns.append(np.full(len(rows), -1) if found is None else
                       np.where(found.mask[rows], found.values[rows].astype(np.int64), -1))
    return np.stack(columns, axis=1).astype(np.int64)
