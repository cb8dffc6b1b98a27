"""Which modalities a training step sees of each row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensorium.keyed import Draws

Bools = npt.NDArray[np.bool_]


def sample_presence(presence: Bools, draws: Draws, *, p_full: float) -> Bools:
    """A random non-empty subset of each row's modalities.

    A row keeps all it has with probability p_full; otherwise a size is drawn uniformly from 1 … what it has, and then
    a subset of that size uniformly. A row with one modality keeps it.

    Args:
        presence: (batch, modality) what each row has, at least one True a row.
        draws: keyed by the rows.
        p_full: in 0…1.

    Returns:
        (batch, modality) bool, never True where the row has nothing.
    """
    count = presence.sum(axis=1)
    size = 1 + np.floor(draws.uniform("subset size") * count).astype(np.int64)
    size = np.where(draws.uniform("keep all") < p_full, count, np.minimum(size, count))
    lot = np.where(presence, draws.uniform("subset", presence.shape[1]), np.inf)
    rank = np.argsort(np.argsort(lot, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(presence & (rank < size[:, None]))
