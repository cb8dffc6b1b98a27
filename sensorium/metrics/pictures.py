"""How far generated pictures are from real ones as a whole: distances between two sets of features.

Whatever network the features come from, distances are comparable only with distances on the features of that network,
and on as many rows. Here they are those of a ResNet-50: not an Inception-FID.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Floats

BLOCK_NUMBERS = 4_000_000


def frechet_distance(features_a: npt.NDArray[Any], features_b: npt.NDArray[Any]) -> float:
    """The Fréchet distance between two Gaussians with the means and covariances of the rows; 0 is perfect.

    ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½). With Σ = RᵀR the trace of the root is the nuclear norm of R_a R_bᵀ,
    which stays exact where there are fewer rows than features. It is too large by about 1 / rows: compare at equal
    numbers of rows.

    Args:
        features_a: (row, feature), two rows or more.
        features_b: (row, feature) of the other pictures.

    Raises:
        DataError: too few rows, widths that differ, or features that are not finite.

    Example:
        >>> points = np.array([[0.0], [2.0]])
        >>> round(frechet_distance(points, 3 * points + 1), 6)
        17.0

    Source: Heusel et al. 2017, "GANs trained by a two time-scale update rule", equation 6.
    """
    a, b = checked_features(features_a, features_b)
    root_a, root_b = _root(a), _root(b)
    shift = a.mean(axis=0) - b.mean(axis=0)
    together = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return float(max(0.0, shift @ shift + (root_a**2).sum() + (root_b**2).sum() - 2 * together))


def kernel_distance(features_a: npt.NDArray[Any], features_b: npt.NDArray[Any]) -> float:
    """The squared maximum mean discrepancy of the kernel (x·y / features + 1)³, without bias; around 0 is perfect.

    mean_{i≠j} k(a_i, a_j) + mean_{i≠j} k(b_i, b_j) − 2 mean_{ij} k(a_i, b_j), over all pairs, some rows at a time. It
    is right on average at any number of rows, and can therefore be a little below 0.

    Args:
        features_a: (row, feature), two rows or more.
        features_b: (row, feature) of the other pictures.

    Raises:
        DataError: as `frechet_distance`.

    Example:
        >>> round(kernel_distance(np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])), 6)
        9.5

    Source: Bińkowski et al. 2018, "Demystifying MMD GANs", section 4, the "KID". Deviation: all pairs instead of the
    mean over subsets of 1,000 rows.
    """
    a, b = checked_features(features_a, features_b)
    within = [(_kernel_sum(rows, rows) - float((((rows**2).sum(axis=1) / rows.shape[1] + 1) ** 3).sum()))
              / (len(rows) * (len(rows) - 1)) for rows in (a, b)]
    return sum(within) - 2 * _kernel_sum(a, b) / (len(a) * len(b))


def checked_features(*features: npt.NDArray[Any], fewest: int = 2) -> list[Floats]:
    """The arrays as float64, after checking that they are (row, feature) of one width, finite and not too few.

    Raises:
        DataError: saying which array is not.
    """
    found = [np.asarray(one, dtype=np.float64) for one in features]
    for number, one in enumerate(found):
        if one.ndim != 2 or one.shape[1] == 0 or one.shape[1] != found[0].shape[-1] or len(one) < fewest:
            raise DataError(f"expected features (row, feature) of one width in {fewest} rows or more, found shapes "
                            f"{', '.join(str(each.shape) for each in found)}")
        if not np.isfinite(one).all():
            row = int((~np.isfinite(one)).any(axis=1).argmax())
            raise DataError(f"features are not finite: array {number} of {len(found)}, row {row}")
    return found


def _root(rows: Floats) -> Floats:
    """R with RᵀR = the covariance of the rows (divided by rows − 1); of as few rows as possible."""
    centred = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
    return centred if len(rows) <= rows.shape[1] else np.asarray(np.linalg.qr(centred, mode="r"))


def _kernel_sum(a: Floats, b: Floats) -> float:
    step = max(1, BLOCK_NUMBERS // len(b))
    parts = (a[start : start + step] for start in range(0, len(a), step))
    return float(sum(((part @ b.T / a.shape[1] + 1) ** 3).sum() for part in parts))
