"""Views read side by side in blocks of rows, as float64: nothing larger than a block is ever copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import AlignmentError

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
Map = Callable[[Floats], Floats]

CACHED_VALUES = 2**18
BLOCK_VALUES = 2**22
LEAST_ROWS = 64


@dataclass(frozen=True)
class Blocks:
    """Rows of several views, one beside the other.

    Args:
        views: per view (row, feature) numbers of any real dtype, memory maps included; equal numbers of rows.
        names: what errors call the views.
        maps: per view a function from (row, feature) float64 to the (row, width) float64 that takes their place; None =
            the features themselves.
        widths: per view the columns of a block that it fills.

    Example:
        >>> pair = Blocks.of((np.zeros((5, 2), dtype=np.float32), np.ones((5, 3))), ("X", "y"))
        >>> [block.shape for block in pair]
        [(5, 5)]
    """

    views: tuple[Array, ...]
    names: tuple[str, ...]
    maps: tuple[Map | None, ...]
    widths: tuple[int, ...]

    @classmethod
    def of(cls, views: Sequence[Array], names: Sequence[str]) -> Blocks:
        """The features themselves of (row, feature) views."""
        return cls(tuple(views), tuple(names), (None,) * len(views), tuple(view.shape[1] for view in views))

    @property
    def count(self) -> int:
        """The number of rows."""
        return int(self.views[0].shape[0])

    @property
    def columns(self) -> tuple[slice, ...]:
        """Per view its columns in a block."""
        return columns_of(self.widths)

    def only(self, i: int) -> Blocks:
        """View i alone."""
        return Blocks((self.views[i],), (self.names[i],), (self.maps[i],), (self.widths[i],))

    def __iter__(self) -> Iterator[Floats]:
        """(row, all widths) blocks in order. The memory is used again: the taker may overwrite it, not keep it.

        Raises:
            AlignmentError: a number is NaN or infinite.
        """
        step = min(self.count, rows_of(sum(self.widths)))
        buffer = np.empty((step, sum(self.widths)))
        for start in range(0, self.count, step):
            block = buffer[: min(step, self.count - start)]
            for view, name, change, columns in zip(self.views, self.names, self.maps, self.columns):
                part = view[start : start + len(block)]
                if change is not None:
                    values = np.array(part, dtype=np.float64)
                    refuse_not_finite(name, values, start)
                    part = change(values)
                block[:, columns] = part
            with np.errstate(over="ignore", invalid="ignore"):
                finite = np.isfinite(block.sum())
            if not finite:
                for name, columns in zip(self.names, self.columns):
                    refuse_not_finite(name, block[:, columns], start)
            yield block


def rows_of(width: int) -> int:
    """Rows of a block: what stays in the processor's cache, but so many that adding up matrix products costs little."""
    most = max(LEAST_ROWS, BLOCK_VALUES // max(1, width))
    return min(most, max(LEAST_ROWS, CACHED_VALUES // max(1, width), 2 * width))


def columns_of(widths: Sequence[int]) -> tuple[slice, ...]:
    """The columns that views of these widths fill, one beside the other."""
    return tuple(slice(end - width, end) for end, width in zip(accumulate(widths), widths))


def refuse_not_finite(name: str, values: Floats, first_row: int) -> None:
    """Raise an AlignmentError naming the first NaN or infinite number; `first_row` is the number of row 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return
    row, column = np.unravel_index(np.argmin(np.isfinite(values)), values.shape)
    value = values[row, column]
    if np.isfinite(value):
        raise AlignmentError(f"Input {name} is too large to be squared in float64: the largest number of rows "
                             f"{first_row} to {first_row + len(values) - 1} is {np.abs(values).max():.3g}; scale it")
    what = "NaN" if np.isnan(value) else "infinity (inf)"
    count = np.count_nonzero(~np.isfinite(values))
    raise AlignmentError(f"Input {name} contains {what}: row {first_row + row}, column {column} is {value}; {count:,} "
                         f"of {values.size:,} numbers of rows {first_row} to {first_row + len(values) - 1} are not "
                         f"finite; fill them in or leave their rows out")
