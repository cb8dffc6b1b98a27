"""Two white views → pairs of canonical variates, and what each view says about the other through them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.alignment.blocks import Floats
from sensorium.alignment.whitening import Whitened
from sensorium.errors import AlignmentError

FEW = 4
LEAST_SQUARED = 1e-3


@dataclass(frozen=True)
class Canonical:
    """The solution of a canonical correlation analysis.

    Args:
        means: per view (feature,).
        ranks: per view.
        correlations: (k,) from largest to smallest, in 0…1.
        weights: per view (feature, k): variates = (view − mean) · weights.
        loadings: per view (feature, k): correlation of each column with its own view's variates; 0 for a constant one.
        onto_other: per view (k, feature of the other): the least-squares map from its variates to the other view.
    """

    means: tuple[Floats, Floats]
    ranks: tuple[int, int]
    correlations: Floats
    weights: tuple[Floats, Floats]
    loadings: tuple[Floats, Floats]
    onto_other: tuple[Floats, Floats]


def canonical_weights(whitened: Whitened, num_components: int | None) -> tuple[Floats, tuple[Floats, Floats]]:
    """Correlations and weights: the singular vectors of S₁₁^−½ S₁₂ S₂₂^−½, in the coordinates of the features.

    Args:
        whitened: two views.
        num_components: how many; None = as many as there are. More than there are give those there are.
    """
    left, values, right = leading_singular(whitened.overlap(0, 1), num_components)
    unit = np.sqrt(whitened.count - 1)
    weights = whitened.transforms[0] @ (left * unit), whitened.transforms[1] @ (right * unit)
    return np.clip(values, 0.0, 1.0), weights


def leading_singular(matrix: Floats, count: int | None) -> tuple[Floats, Floats, Floats]:
    """(a, k) left vectors, (k,) values from large to small and (b, k) right vectors of a matrix of norm about 1.

    A few of many come from the eigenvectors of M·Mᵀ, four times as fast as a decomposition. Squaring costs no digit
    of a value near 1 and half of them near 10⁻⁸; so it is done where the values wanted are above LEAST_SQUARED.

    Args:
        matrix: (a, b).
        count: k, at least 1; None, or more than there are, gives all.

    Example:
        >>> leading_singular(np.diag([0.25, 1.0, 0.5]), 2)[1].tolist()
        [1.0, 0.5]
    """
    from scipy.linalg import eigh, svd

    size = min(matrix.shape)
    if count is not None and FEW * count <= size:
        wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        squares, near = eigh(wide @ wide.T, subset_by_index=(size - count, size - 1), check_finite=False)
        if squares[0] > LEAST_SQUARED**2:
            values, near = np.sqrt(squares[::-1]), near[:, ::-1]
            far = (wide.T @ near) / values
            return (near, values, far) if wide is matrix else (far, values, near)
    left, values, right = svd(matrix, full_matrices=False, check_finite=False)
    return left[:, :count], values[:count], right[:count].T


def solve_pair(whitened: Whitened, num_components: int | None) -> Canonical:
    """The canonical correlation analysis of two white views, its signs fixed by `signs`.

    Raises:
        AlignmentError: more components are wanted than the smaller rank.
    """
    most = min(whitened.ranks)
    if num_components is not None and num_components > most:
        raise AlignmentError(
            f"n_components is {num_components}, but there are {most} pairs of canonical variates: view "
            f"{whitened.names[0]} has rank {whitened.ranks[0]} ({len(whitened.means[0])} columns), view "
            f"{whitened.names[1]} rank {whitened.ranks[1]} ({len(whitened.means[1])} columns); {whitened.count} rows")
    correlations, weights = canonical_weights(whitened, num_components)
    products = tuple(whitened.products(i, i, weights[i]) for i in (0, 1))
    flips = signs(products[0] / whitened.column_lengths(0)[:, None])
    weights = weights[0] * flips, weights[1] * flips
    loadings, maps = [], []
    for i in (0, 1):
        within = weights[i].T @ (products[i] * flips)
        norms = np.sqrt(np.maximum(np.diagonal(within), np.finfo(np.float64).tiny))
        loadings.append(products[i] * flips / norms / whitened.column_lengths(i)[:, None])
        maps.append(least_squares(within, whitened.products(1 - i, i, weights[i]).T))
    (x_mean, y_mean), (x_rank, y_rank) = whitened.means, whitened.ranks
    return Canonical((x_mean, y_mean), (x_rank, y_rank), correlations, weights, (loadings[0], loadings[1]),
                     (maps[0], maps[1]))


def signs(loadings: Floats) -> Floats:
    """(k,) ±1: the signs that make the largest loading of each column of (feature, k) positive.

    Of loadings that are equally large but for rounding the first decides, so that all ways of computing them agree.

    Example:
        >>> signs(np.array([[0.5, -0.9], [-0.8, 0.1]])).tolist()
        [-1.0, -1.0]
    """
    sizes = np.abs(loadings)
    first = np.argmax(sizes >= sizes.max(axis=0) * (1 - 1e-6), axis=0)
    return np.where(loadings[first, np.arange(loadings.shape[1])] < 0, -1.0, 1.0)


def least_squares(within: Floats, across: Floats) -> Floats:
    """(k, feature): within⁺ · across, for (k, k) cross-products of variates and (k, feature) ones with targets."""
    from scipy.linalg import lstsq

    scale = np.sqrt(np.maximum(np.diagonal(within), np.finfo(np.float64).tiny))
    found = lstsq(within / scale / scale[:, None], across / scale[:, None], cond=1e-10, check_finite=False)[0]
    return np.asarray(found / scale[:, None])

