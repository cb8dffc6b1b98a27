"""Which rows something can be made of, which of them say the same, and what is true of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from sensorium.data.kinds import TableKind
from sensorium.data.samples import Samples
from sensorium.keyed import Draws
from sensorium.model import Model
from sensorium.objectives import Generative

Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Names = tuple[str, ...]


def readable(model: Model, maker: Generative) -> Names:
    """The modalities that an objective may read, in the schema's order."""
    return tuple(name for name in model.schema.names if name in model.read and name not in maker.hidden)


def has_all(samples: Samples, names: Collection[str], rows: Rows) -> Bools:
    """(row,) whether a row has all of these modalities."""
    return np.asarray(samples.presence[rows][:, [samples.schema.names.index(name) for name in names]].all(axis=1))


def input_codes(samples: Samples, names: Sequence[str], rows: Rows) -> Rows:
    """(row,) numbers; rows with an equal number have the same cells of all these modalities, or lack the same.

    Args:
        samples: a decoded table.
        names: modalities.
        rows: (row,) row numbers.
    """
    codes = np.zeros(len(rows), dtype=np.int64)
    for name in names:
        cells = samples.cells[name]
        own = cells.cells_of_row[rows]
        if isinstance(cells.kind, TableKind):  # each of its rows is a cell of its own
            there = own[:, 0] >= 0
            values = np.stack([np.asarray(one) for one in cells.arrays.get(own[there, 0].tolist())]) if (
                there.any()) else np.zeros((0, 1))
            own = np.full((len(rows), 1), -1, dtype=np.int64)
            own[there, 0] = np.unique(np.nan_to_num(values, nan=np.inf), axis=0, return_inverse=True)[1].reshape(-1)
        codes = np.unique(np.column_stack([codes, own]), axis=0, return_inverse=True)[1].reshape(-1)
    return codes.astype(np.int64)


def first_of_each(codes: Rows) -> Rows:
    """(distinct,) increasing positions of the first row with each code."""
    return np.sort(np.unique(codes, return_index=True)[1]).astype(np.int64)


def drawn_order(rows: Rows, *, seed: int, purpose: str) -> Rows:
    """(row,) positions in a random order that depends on the seed and each row's number alone."""
    return Draws(seed, 0, rows).order(purpose)


def rows_said(count: int, doing: str = "") -> str:
    """A number of rows and what they do: "1 row says", "60 rows say"; doing is the plural, and gets its s.

    Example:
        >>> rows_said(1), rows_said(1_200, "show"), rows_said(1, "have"), rows_said(1, "were")
        ('1 row', '1,200 rows show', '1 row has', '1 row was')
    """
    if count == 1:
        one = {"": "", "have": " has", "were": " was", "are": " is"}.get(doing, f" {doing}s")
        return f"1 row{one}"
    return f"{count:,} rows{' ' if doing else ''}{doing}"
