"""Which modalities a training step sees of each row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensorium.errors import RecipeError, unknown_name
from sensorium.keyed import Draws
from sensorium.recipe import TrainingOptions

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
TRIES = 16


def sample_subsets(
    presence: Bools, draws: Draws, options: TrainingOptions, names: tuple[str, ...],
) -> list[Bools]:
    """The subsets that a step scores of each row: a sampled one, and one modality alone (where there are several).

    Args:
        presence: (batch, modality) what each row has, at least one True a row.
        draws: keyed by the rows.
        options: their law.
        names: the modalities.
    """
    lacking = missing_shares(options, names)
    drawn = [sample_presence(presence, draws, p_full=options.p_full) if lacking is None
             else sample_expected(presence, draws, lacking)]
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


def missing_shares(options: TrainingOptions, names: tuple[str, ...]) -> Floats | None:
    """(modality,) the share of rows that are expected to lack each one in use; None where nothing is expected.

    Raises:
        RecipeError: an unknown modality, or all of them are always missing.
    """
    if not options.expect:
        return None
    for name in options.expect:
        if name not in names:
            raise RecipeError(f"training.expect: {unknown_name('modality', name, list(names))}")
    shares = np.array([options.expect.get(name, 0.0) for name in names])
    if (shares >= 1.0).all():
        raise RecipeError("training.expect: all modalities are always missing, so there is nothing to learn from")
    return shares


def sample_expected(presence: Bools, draws: Draws, lacking: Floats) -> Bools:
    """Each row without the modalities that it would lack in use, never empty.

    Each is missing on its own with its probability, given that not all of them are: a row that would lose all it has is
    drawn again, up to 16 times, and then keeps the one least often missing.

    Args:
        presence: (batch, modality) what each row has, at least one True a row.
        draws: keyed by the rows.
        lacking: (modality,) in 0…1.

    Returns:
        (batch, modality) bool, never True where the row has nothing.
    """
    kept = presence & (draws.uniform("expected", TRIES, presence.shape[1]) >= lacking).swapaxes(0, 1)
    tried = np.concatenate([kept, _surest(presence, lacking)[None]])
    first = tried.any(axis=2).argmax(axis=0)
    return np.asarray(tried[first, np.arange(len(presence))])


def _surest(presence: Bools, lacking: Floats) -> Bools:
    """(batch, modality) of what each row has, only what is least often missing."""
    least = np.where(presence, lacking, np.inf).argmin(axis=1)
    return np.asarray(presence & (np.arange(presence.shape[1]) == least[:, None]))


def sample_single(presence: Bools, draws: Draws) -> Bools:
    """One modality of each row, drawn uniformly from what it has.

    Fused and scored beside the sampled subset in every step, it keeps the encoder of a modality that learns slowly from
    starving beside one that already explains the training rows.
    """
    lot = np.where(presence, draws.uniform("single", presence.shape[1]), -1.0)
    return np.asarray(presence & (lot == lot.max(axis=1, keepdims=True)))
