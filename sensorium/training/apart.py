"""What sets one training apart from the others on the same table: the rows held out of it, the seed of its split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Apart:
    """One training among several on a table.

    Args:
        held_out: row numbers that are kept from everything that is measured, learned, chosen or calibrated.
        split_seed: of the split; the recipe's seed where None.
        decoded: the same table, decoded before: modalities whose settings come out the same are not decoded again.
    """

    held_out: Rows | None = None
    split_seed: int | None = None
    decoded: Samples | None = None

    def usable(self, num_rows: int) -> npt.NDArray[np.bool_]:
        """(row,) whether a row may be used."""
        free = np.ones(num_rows, dtype=bool)
        if self.held_out is not None:
            free[self.held_out] = False
        return free
