"""Several white views → the variates that they share, and what any of the views say about another through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.alignment.blocks import Floats
from sensorium.alignment.canonical import least_squares, signs
from sensorium.alignment.whitening import Whitened
from sensorium.errors import AlignmentError

LEAST_EIGENVALUE = 1e-9


@dataclass(frozen=True)
class Shared:
    """The solution of a MAXVAR generalised canonical correlation analysis.

    Args:
        means: per view (feature,).
        ranks: per view.
        eigenvalues: (k,) of the sum of the views' projections, from large to small, in 0 … number of views.
        weights: per view (feature, k); the mean over views of (view − mean) · weights is the shared variates.
        loadings: per view (feature, k): the correlation of each column with the shared variates; 0 for a constant one.
        within: (view, view, k, k) covariances of the views' own variates (view − mean) · weights.
        across: per view of the variates, per view of the features, (k, feature) covariances.
    """

    means: tuple[Floats, ...]
    ranks: tuple[int, ...]
    eigenvalues: Floats
    weights: tuple[Floats, ...]
    loadings: tuple[Floats, ...]
    within: Floats
    across: tuple[tuple[Floats, ...], ...]

    def onto(self, given: Sequence[int], view: int) -> Floats:
        """(given · k, feature): the least-squares map from the variates of the given views, side by side, to a view."""
        count, size = len(given), len(self.eigenvalues)
        within = self.within[np.ix_(given, given)].transpose(0, 2, 1, 3).reshape(count * size, count * size)
        return least_squares(within, np.concatenate([self.across[i][view] for i in given]))


def shared_weights(whitened: Whitened, num_components: int | None) -> tuple[Floats, tuple[Floats, ...]]:
    """Eigenvalues of Σ Pⱼ and weights of its eigenvectors, from the stacked white coordinates B = [B₁ … B_M].

    BBᵀ = Σ Pⱼ is (row, row) and never formed: its eigenvalues are the squared singular values of B, or, where only
    moments are there, the eigenvalues of BᵀB. The eigenvector g = Bv/√λ is the mean over views of Bⱼ·(M vⱼ/√λ).

    Args:
        whitened: two views or more.
        num_components: how many; None = as many as the second largest rank: more, no two views share. More than there
            are give those there are.
    """
    from scipy.linalg import eigh, svd

    num_views = len(whitened.ranks)
    if whitened.bases:
        _, values, right = svd(np.concatenate(whitened.bases, axis=1), full_matrices=False, check_finite=False)
        eigenvalues, vectors = values**2, right.T
    else:
        gram = np.block([[whitened.overlap(i, j) for j in range(num_views)] for i in range(num_views)])
        eigenvalues, vectors = eigh(gram, check_finite=False)
        eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    wanted = sorted(whitened.ranks)[-2] if num_components is None else num_components
    keep = min(int((eigenvalues > LEAST_EIGENVALUE).sum()), wanted)
    eigenvalues, vectors = eigenvalues[:keep], vectors[:, :keep]
    scaled = vectors * (num_views * np.sqrt(whitened.count - 1) / np.sqrt(eigenvalues))
    parts = np.split(scaled, np.cumsum(whitened.ranks)[:-1])
    return eigenvalues, tuple(transform @ part for transform, part in zip(whitened.transforms, parts))


def solve_shared(whitened: Whitened, num_components: int | None) -> Shared:
    """The MAXVAR solution for white views; signs make the largest loading of the first view positive.

    Raises:
        AlignmentError: more components are wanted than there are.
    """
    eigenvalues, weights = shared_weights(whitened, num_components)
    if num_components is not None and num_components > len(eigenvalues):
        ranks = ", ".join(f"{name} has rank {rank}" for name, rank in zip(whitened.names, whitened.ranks))
        raise AlignmentError(f"n_components is {num_components}, but the views span {len(eigenvalues)} dimensions "
                             f"together: {ranks}, in {whitened.count} rows")
    unit = 1.0 / (whitened.count - 1)
    number = range(len(weights))
    products = [[whitened.products(j, i, weights[i]) * unit for j in number] for i in number]
    shared = [sum(products[i][j] for i in number) / len(weights) for j in number]
    scales = [whitened.column_lengths(j)[:, None] * np.sqrt(unit) for j in number]
    flips = signs(shared[0] / scales[0])
    within = np.array([[weights[j].T @ products[i][j] for j in number] for i in number]) * flips * flips[:, None]
    variances = within.sum(axis=(0, 1)).diagonal() / len(weights) ** 2
    deviations = np.sqrt(np.maximum(variances, np.finfo(np.float64).tiny))
    return Shared(
        whitened.means, whitened.ranks, eigenvalues, tuple(part * flips for part in weights),
        tuple(part * flips / deviations / scale for part, scale in zip(shared, scales)), within.transpose(1, 0, 2, 3),
        tuple(tuple((products[i][j] * flips).T for j in number) for i in number))
