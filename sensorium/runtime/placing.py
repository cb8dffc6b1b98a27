"""From a batch's distinct cells to tokens in its rows, as `sensorium.placing` does it with tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenArrays:
    """What an encoder's graph gives.

    Args:
        values: (row, token, width) float32.
        mask: (row, token) True = real.
        span: (row, token, 2) seconds, where the fusion reads them.
    """

    values: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    span: npt.NDArray[np.float32] | None = None


def placed(cells: TokenArrays, rows: Ints, cells_of_row: Ints, num_rows: int) -> TokenArrays:
    """Cells' tokens in the batch's rows: repeated where rows share a cell, side by side where a row has several,
    masked where a row has none.

    Args:
        cells: the tokens of each distinct cell.
        rows: (present,) positions in the batch of the rows that have any.
        cells_of_row: (present, slot) which cells each of them has, −1 = nothing.
        num_rows: of the batch.
    """
    there = cells_of_row >= 0
    chosen = np.maximum(cells_of_row, 0)
    mask = _side_by_side(cells.mask[chosen] & there[:, :, None])
    values = _scattered(_side_by_side(cells.values[chosen]), rows, num_rows)
    span = None if cells.span is None else _scattered(_side_by_side(cells.span[chosen]), rows, num_rows)
    return TokenArrays(values, _scattered(mask, rows, num_rows), span)


def nothing(num_rows: int, width: int, *, timed: bool) -> TokenArrays:
    """One masked token a row, for a modality that no row has."""
    return TokenArrays(np.zeros((num_rows, 1, width), dtype=np.float32), np.zeros((num_rows, 1), dtype=np.bool_),
                       np.zeros((num_rows, 1, 2), dtype=np.float32) if timed else None)


def rows_of(tokens: TokenArrays, rows: Ints) -> TokenArrays:
    """The tokens of some rows."""
    return TokenArrays(tokens.values[rows], tokens.mask[rows], None if tokens.span is None else tokens.span[rows])


def _side_by_side(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(row, slot, token, …) → (row, slot · token, …)."""
    return values.reshape(len(values), -1, *values.shape[3:])


def _scattered(values: npt.NDArray[Any], rows: Ints, num_rows: int) -> npt.NDArray[Any]:
    found = np.zeros((num_rows, *values.shape[1:]), dtype=values.dtype)
    found[rows] = values
    return found
