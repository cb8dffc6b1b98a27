"""From second moments, or from rows, to coordinates in which each view is white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.alignment.blocks import Floats, columns_of
from sensorium.alignment.moments import Moments

Ints = npt.NDArray[np.int64]

LEAST_SHARE = 1e-12
"""A column of which the others leave less than this share of its variance unexplained is not told from them by a Gram
matrix in float64."""

MOST_CONDITION = 3e4
"""Condition number of a view, columns of unit length, up to which its Gram matrix (it has the square) is used."""


@dataclass(frozen=True)
class Whitened:
    """Views with, per view, a transform T to its white coordinates: Tᵀ(XᵀX + penalty·1)T = 1 for the centred X.

    Args:
        names: what errors call the views.
        count: rows they were seen in.
        means: per view (feature,).
        transforms: per view (feature, rank).
        scatter: (all features, all features) cross-products, or None where rows are there.
        rows: per view (row, feature) centred rows, or any others with the same cross-products.
        bases: per view (row, rank) rows · transform.
    """

    names: tuple[str, ...]
    count: int
    means: tuple[Floats, ...]
    transforms: tuple[Floats, ...]
    scatter: Floats | None = None
    rows: tuple[Floats, ...] = ()
    bases: tuple[Floats, ...] = ()

    @property
    def ranks(self) -> tuple[int, ...]:
        """Per view its numerical rank."""
        return tuple(transform.shape[1] for transform in self.transforms)

    def products(self, i: int, j: int, weights: Floats) -> Floats:
        """(feature of i, k): Xᵢᵀ Xⱼ · weights, for (feature of j, k) weights."""
        if self.scatter is None:
            return np.asarray(self.rows[i].T @ (self.rows[j] @ weights))
        columns = columns_of([len(mean) for mean in self.means])
        return np.asarray(self.scatter[columns[i], columns[j]] @ weights)

    def column_lengths(self, i: int) -> Floats:
        """(feature,) √Σ (x − x̄)² of the columns of view i; infinite for a constant one, so that dividing gives 0."""
        if self.scatter is None:
            lengths = np.linalg.norm(self.rows[i], axis=0)
        else:
            columns = columns_of([len(mean) for mean in self.means])[i]
            lengths = np.sqrt(np.diagonal(self.scatter)[columns])
        return np.where(lengths > 0, lengths, np.inf)

    def overlap(self, i: int, j: int) -> Floats:
        """(rank of i, rank of j): Tᵢᵀ Xᵢᵀ Xⱼ Tⱼ, the cross-products of the white coordinates."""
        if self.scatter is None:
            return np.asarray(self.bases[i].T @ self.bases[j])
        return np.asarray(self.transforms[i].T @ self.products(i, j, self.transforms[j]))


@dataclass(frozen=True)
class GramWhitening:
    """The whitening of one view that its Gram matrix gives, and what tells whether to trust it.

    Args:
        transform: (feature, rank).
        condition: the condition number (1-norm, estimated) of the kept columns, scaled to unit length.
        kept, dropped: the columns that span the view, and those that depend on them (constant ones are in neither).
        combination: (kept, dropped): the dropped columns are (up to the Gram matrix's accuracy) kept · combination.
    """

    transform: Floats
    condition: float
    kept: Ints
    dropped: Ints
    combination: Floats


def whiten_gram(gram: Floats, penalty: float) -> GramWhitening:
    """White coordinates by a pivoted Cholesky factorisation, which finds columns that depend on others.

    Columns are scaled to unit length before, so that their units don't matter to the rank.

    Args:
        gram: (feature, feature) cross-products of the centred columns.
        penalty: what is added to the diagonal, at least 0.

    Example:
        >>> found = whiten_gram(np.array([[4.0, 4.0], [4.0, 4.0]]), 0.0)
        >>> found.transform.tolist(), found.dropped.tolist()
        ([[0.5], [0.0]], [1])

    Source: pivoted Cholesky as in LAPACK's dpstrf (Hammarling, Higham, Lucas 2007).
    """
    from scipy.linalg.lapack import dpstrf, dtrcon, dtrtri, dtrtrs

    live = np.flatnonzero(np.diagonal(gram) > 0)
    scale = np.sqrt(np.diagonal(gram)[live] + penalty)
    scaled = gram[np.ix_(live, live)] if len(live) < len(gram) else gram.copy()
    scaled.flat[:: len(live) + 1] += penalty
    scaled /= scale
    scaled /= scale[:, None]
    factor, pivots, rank, _ = dpstrf(scaled.T, tol=LEAST_SHARE, overwrite_a=1)
    order = live[pivots - 1]
    kept, dropped = order[:rank], order[rank:]
    triangle = np.asfortranarray(np.triu(factor[:rank, :rank]))
    transform = np.zeros((len(gram), rank))
    transform[kept] = dtrtri(triangle)[0] / scale[pivots[:rank] - 1, None]
    reciprocal = dtrcon(triangle)[0]
    combination = np.zeros((rank, len(dropped)))
    if len(dropped):
        combination = dtrtrs(triangle, factor[:rank, rank:])[0]
        combination *= scale[pivots[rank:] - 1] / scale[pivots[:rank] - 1, None]
    return GramWhitening(transform, 1.0 / max(reciprocal, 1e-300), kept, dropped, combination)


def whiten_rows(rows: Floats, penalty: float) -> tuple[Floats, Floats]:
    """White coordinates by a singular value decomposition, which squares no condition number.

    Without a penalty columns are scaled to unit length before.

    Args:
        rows: (row, feature) centred rows.
        penalty: what is added to the diagonal of their Gram matrix, at least 0.

    Returns:
        (feature, rank) transform and (row, rank) basis = rows · transform: orthonormal where the penalty is 0.
    """
    from scipy.linalg import svd

    scale = np.linalg.norm(rows, axis=0)
    scale[(scale == 0) | (penalty > 0)] = 1.0
    left, values, right = svd(rows / scale, full_matrices=False, check_finite=False)
    rank = int((values > values[0] * max(rows.shape) * np.finfo(np.float64).eps).sum()) if values[0] > 0 else 0
    values = values[:rank]
    lengths = np.sqrt(values**2 + penalty)
    return right[:rank].T / lengths / scale[:, None], left[:, :rank] * (values / lengths)


def from_moments(moments: Moments, names: Sequence[str], widths: Sequence[int],
                 ridges: Sequence[float]) -> tuple[Whitened, tuple[GramWhitening, ...]]:
    """Views whitened through their Gram matrices, and per view what tells whether to trust them.

    Args:
        moments: of the views side by side.
        names, widths: per view.
        ridges: per view what is added to the diagonal of its covariance matrix, whose divisor is rows − 1.
    """
    columns, scatter = columns_of(widths), moments.scatter
    found = tuple(whiten_gram(scatter[part, part], (moments.count - 1) * ridge) for part, ridge in zip(columns, ridges))
    means = tuple(moments.mean[part] for part in columns)
    transforms = tuple(one.transform for one in found)
    return Whitened(tuple(names), moments.count, means, transforms, scatter=scatter), found


def from_rows(rows: Sequence[Floats], names: Sequence[str], means: Sequence[Floats], count: int,
              ridges: Sequence[float]) -> Whitened:
    """Views whitened through their rows.

    Args:
        rows: per view (row, feature) centred rows, or any others with the same cross-products.
        names, means: per view.
        count: how many rows the views have.
        ridges: per view what is added to the diagonal of its covariance matrix, whose divisor is count − 1.
    """
    found = [whiten_rows(part, (count - 1) * ridge) for part, ridge in zip(rows, ridges)]
    transforms, bases = (tuple(pair[i] for pair in found) for i in (0, 1))
    return Whitened(tuple(names), count, tuple(means), transforms, rows=tuple(rows), bases=bases)
