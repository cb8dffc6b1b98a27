"""Counts, means and centred cross-products of rows, gathered in one pass over blocks and added up over parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.alignment.blocks import Blocks, Floats
from sensorium.errors import AlignmentError
from sensorium.keyed import Draws, UInt64s


class Moments:
    """What the closed-form solutions need to know of rows: (width,) mean and (width, width) scatter Σ (z − z̄)(z − z̄)ᵀ.

    Rows are taken relative to one row, so a constant column scatters by exactly 0; each block is centred on its own
    mean, and blocks are joined by the pairwise formula of Chan, Golub and LeVeque (1983, "Algorithms for computing
    the sample variance", eq. 2.1), so that a large mean costs no digits.

    Args:
        origin: (width,) the row that all numbers are taken relative to: the first one.

    Example:
        >>> rows = np.array([[1.0, 2.0], [3.0, 2.0]])
        >>> moments = Moments(rows[0])
        >>> moments.add(rows.copy())
        >>> moments.count, moments.mean.tolist(), moments.scatter.tolist()
        (2, [2.0, 2.0], [[2.0, 0.0], [0.0, 0.0]])
    """

    def __init__(self, origin: Floats) -> None:
        self.origin = origin.copy()
        self.count = 0
        self.offset = np.zeros(len(origin))
        self._upper = np.zeros((len(origin), len(origin)), order="F")

    @property
    def scatter(self) -> Floats:
        """(width, width) Σ (z − z̄)(z − z̄)ᵀ; a new array at each call."""
        scatter = self._upper + self._upper.T
        np.fill_diagonal(scatter, self.squares)
        return scatter

    @property
    def squares(self) -> Floats:
        """(width,) Σ (z − z̄)²: the diagonal of the scatter."""
        return np.asarray(np.diagonal(self._upper))

    @property
    def mean(self) -> Floats:
        """(width,) the mean of the rows."""
        return np.asarray(self.origin + self.offset)

    def add(self, rows: Floats) -> None:
        """Take in (row, width) finite rows, which are overwritten."""
        from scipy.linalg.blas import dsyrk

        if len(rows) == 0:
            return
        rows -= self.origin
        offset = np.full(len(rows), 1.0 / len(rows)) @ rows
        rows -= offset
        self._upper = dsyrk(1.0, rows.T, beta=1.0, c=self._upper, overwrite_c=True)
        self._shift(len(rows), offset)

    def _shift(self, count: int, offset: Floats) -> None:
        """Count rows whose scatter about their own mean has been added."""
        from scipy.linalg.blas import dsyr

        apart = offset - self.offset
        weight = self.count * count / (self.count + count)
        self._upper = dsyr(weight, apart, a=self._upper, overwrite_a=True)
        self.offset = self.offset + apart * (count / (self.count + count))
        self.count += count

    def joined(self, others: Sequence[Moments]) -> Moments:
        """These rows and those of others that have the same origin."""
        total = Moments(self.origin)
        for part in (self, *others):
            if part.count:
                total._upper += part._upper
                total._shift(part.count, part.offset)
        return total


def gather(blocks: Blocks, num_folds: int = 1, *, after: Sequence[Moments] = ()) -> list[Moments]:
    """The moments of rows, one for each fold, and of the rows before them.

    Args:
        blocks: the rows.
        num_folds: how many; a row's fold is a pure function of its number.
        after: what `gather` gave for the rows before; not changed.

    Raises:
        AlignmentError: a number is NaN or infinite, or too large to be squared.
    """
    parts = [Moments(part.origin) for part in after]
    start = sum(part.count for part in after)
    with np.errstate(over="ignore", invalid="ignore"):
        for block in blocks:
            parts = parts or [Moments(block[0]) for _ in range(num_folds)]
            if num_folds == 1:
                parts[0].add(block)
            else:
                fold = folds_of(start, len(block), num_folds)
                for number, part in enumerate(parts):
                    part.add(block[fold == number])
            start += len(block)
        for part in parts:
            _refuse_overflow(blocks, part)
    return [part.joined([before]) for part, before in zip(parts, after)] if after else parts


def _refuse_overflow(blocks: Blocks, moments: Moments) -> None:
    finite = np.isfinite(moments.squares)
    if not finite.all():
        column = int(np.argmin(finite))
        owner = next(i for i, columns in enumerate(blocks.columns) if column < columns.stop)
        raise AlignmentError(f"Input {blocks.names[owner]} is too large to be squared in float64: column "
                             f"{column - blocks.columns[owner].start} has mean {moments.mean[column]:.3g}; scale it")


def folds_of(start: int, count: int, num_folds: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(row,) folds of rows start … start + count − 1: of every `num_folds` rows in a row, each goes to another fold.

    The order within such a group is keyed by the rows' numbers: folds differ by one row at most, follow no period of
    the data, and don't depend on how rows were cut into blocks.

    Example:
        >>> bool((np.bincount(folds_of(0, 10, 5)) == 2).all())
        True
        >>> folds_of(3, 4, 5).tolist() == folds_of(0, 7, 5)[3:].tolist()
        True
    """
    low, high = start // num_folds, -(-(start + count) // num_folds)
    keys: UInt64s = Draws(0, 0, np.arange(low * num_folds, high * num_folds)).bits("fold").reshape(-1, num_folds)
    folds = keys.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable").ravel().astype(np.int64)
    return folds[start - low * num_folds :][:count]
