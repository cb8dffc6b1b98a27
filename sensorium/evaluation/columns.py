"""From blocks of plain features to the columns that shallow models read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError

Matrix = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
LINEAR_WORK = 100_000_000
WIDE = 48
MIXED_UNITS = 20.0
FARTHEST = 20.0


@dataclass(frozen=True)
class Features:
    """Plain numbers about rows, in one block per modality.

    Args:
        blocks: modality → (row, feature) float32; a row that lacks the modality is all NaN, a missing cell is NaN.
        truth: (row,) class numbers (−1 = unseen or unlabelled) or values (NaN = unlabelled).
        groups: (row,) which rows belong together; whole groups are held out for tuning where there are enough.
    """

    blocks: dict[str, npt.NDArray[Any]]
    truth: npt.NDArray[Any]
    groups: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for name, block in self.blocks.items():
            if block.ndim != 2 or len(block) != len(self.truth):
                raise DataError(f"features of {name!r}: expected ({len(self.truth)}, feature), found {block.shape}")
        if self.groups is not None and self.groups.shape != self.truth.shape:
            raise DataError(f"expected one group for each of {len(self.truth)} rows, found {self.groups.shape}")

    def __len__(self) -> int:
        return len(self.truth)

    def only(self, names: Sequence[str]) -> Features:
        """The same rows with some of the blocks."""
        return replace(self, blocks={name: self.blocks[name] for name in names})

    def rows(self, chosen: npt.NDArray[Any]) -> Features:
        """Some of the rows, by number or by a (row,) bool."""
        blocks = {name: block[chosen] for name, block in self.blocks.items()}
        return Features(blocks, self.truth[chosen], None if self.groups is None else self.groups[chosen])


def linear_columns(train: Features, test: Features, num_outputs: int, seed: int) -> tuple[Matrix, Matrix]:
    """Standardised columns without NaN, and indicators of what was missing; fewer columns where outputs are many."""
    parts = [(np.zeros((len(train), 0), np.float32), np.zeros((len(test), 0), np.float32))]
    for name, raw in train.blocks.items():
        block, test_block = _finite_or_nan(raw), _finite_or_nan(test.blocks[name])
        filled, test_filled = _standardised(block, test_block)
        parts.append((np.nan_to_num(filled), np.nan_to_num(test_filled)))
        parts.append(_indicators(block, test_block))
    columns = np.concatenate([part for part, _ in parts], axis=1)
    test_columns = np.concatenate([part for _, part in parts], axis=1)
    most = max(32, LINEAR_WORK // (len(train) * num_outputs))
    return _compressed(columns, test_columns, most, seed)


def boosting_columns(train: Features, test: Features, seed: int) -> tuple[Matrix, Matrix]:
    """Columns as they are, NaN where missing; wide blocks by their principal components, NaN where absent."""
    parts = [(np.zeros((len(train), 0), np.float32), np.zeros((len(test), 0), np.float32))]
    for name, raw in train.blocks.items():
        block, test_block = _finite_or_nan(raw), _finite_or_nan(test.blocks[name])
        known = ~np.isnan(block).all(axis=0)
        if block.shape[1] <= WIDE:
            parts.append((block[:, known], test_block[:, known]))
            continue
        there, test_there = _present(block), _present(test_block)
        if not there.any():
            continue
        filled, test_filled = _standardised(block, test_block)
        scores, test_scores = _compressed(np.nan_to_num(filled[there]), np.nan_to_num(test_filled[test_there]),
                                          WIDE, seed)
        parts.append((_scattered(scores, there), _scattered(test_scores, test_there)))
    return np.concatenate([part for part, _ in parts], axis=1), np.concatenate([part for _, part in parts], axis=1)


def _standardised(block: Matrix, test_block: Matrix) -> tuple[Matrix, Matrix]:
    """Training mean 0, NaN kept, cut at ±20; columns that are constant or unknown in training go.

    Columns have variance 1, but a wide block of one unit (pixels, bands, embeddings) is scaled as a whole: its quiet
    columns are mostly noise. Units are mixed where one column's deviation is over 20 times the median one.
    """
    known = ~np.isnan(block)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, block, 0).sum(axis=0, dtype=np.float64) / count
    centred = np.where(known, block - mean, 0)
    scale = np.sqrt((centred**2).sum(axis=0) / count)
    kept = scale > 1e-6 * np.maximum(np.abs(mean), 1e-30)
    if kept.sum() > WIDE and scale[kept].max() <= MIXED_UNITS * np.median(scale[kept]):
        scale = np.full_like(scale, np.sqrt(np.mean(scale[kept] ** 2)))

    def apply(values: Matrix) -> Matrix:
        cut: Matrix = np.clip((values[:, kept] - mean[kept]) / scale[kept], -FARTHEST, FARTHEST).astype(np.float32)
        return cut

    return apply(block), apply(test_block)


def _indicators(block: Matrix, test_block: Matrix) -> tuple[Matrix, Matrix]:
    """0/1 columns: the whole row is missing; then, for each column, its cell is missing in a row that is there."""
    def missing(values: Matrix) -> Bools:
        cells = np.isnan(values)
        absent = cells.all(axis=1, keepdims=True)
        return np.concatenate([absent, cells & ~absent], axis=1)

    columns, test_columns = missing(block), missing(test_block)
    varies = columns.any(axis=0) & ~columns.all(axis=0)
    return columns[:, varies].astype(np.float32), test_columns[:, varies].astype(np.float32)


def _compressed(columns: Matrix, test_columns: Matrix, width: int, seed: int) -> tuple[Matrix, Matrix]:
    """The first `width` principal components of the training rows, where there are more columns than that."""
    if columns.shape[1] <= width:
        return columns, test_columns
    from sklearn.decomposition import PCA

    pca = PCA(min(width, len(columns)), svd_solver="randomized", random_state=seed).fit(columns)
    test_scores = pca.transform(test_columns) if len(test_columns) else np.zeros((0, pca.n_components_))
    return pca.transform(columns).astype(np.float32), test_scores.astype(np.float32)


def _scattered(values: Matrix, there: Bools) -> Matrix:
    """Rows back in their places, NaN elsewhere."""
    full = np.full((len(there), values.shape[1]), np.nan, dtype=np.float32)
    full[there] = values
    return full


def _present(block: Matrix) -> Bools:
    """(row,) True where not every value is NaN."""
    present: Bools = np.logical_not(np.isnan(block).all(axis=1))
    return present


def _finite_or_nan(block: npt.NDArray[Any]) -> Matrix:
    values: Matrix = np.array(block, dtype=np.float32)
    values[~np.isfinite(values)] = np.nan
    return values
