"""Which modalities a training step sees of each row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensorium.keyed import Draws
from sensorium.recipe import TrainingOptions

Bools = npt.NDArray[np.bool_]


def sample_subsets(presence: Bools, draws: Draws, options: TrainingOptions) -> list[Bools]:
    """The subsets that a step scores of each row: a sampled one, and one modality alone (where there are several)."""
    drawn = [sample_presence(presence, draws, p_full=options.p_full)]
    if options.singles and presence.shape[1] > 1:
        drawn.append(sample_single(presence, draws))
    return drawn


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


def sample_single(presence: Bools, draws: Draws) -> Bools:
    """One modality of each row, drawn uniformly from what it has.

    Fused and scored beside the sampled subset in every step, it keeps the encoder of a modality that learns slowly from
    starving beside one that already explains the training rows.
    """
    lot = np.where(presence, draws.uniform("single", presence.shape[1]), -1.0)
    return np.asarray(presence & (lot == lot.max(axis=1, keepdims=True)))
