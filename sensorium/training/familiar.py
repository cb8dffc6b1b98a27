"""Where training rows lie, so that rows unlike them are known when the training table is no longer there."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples
from sensorium.keyed import Draws
from sensorium.metrics.familiarity import fit_familiarity
from sensorium.model import Model, Subset

Rows = npt.NDArray[np.int64]
MOST_ROWS = 5_000
MOST_PATTERNS = 16
MAX_EVERY = 4


def learn_familiar(model: Model, samples: Samples, rows: Rows, held_out: Rows) -> None:
    """Fit where the fused vectors of training rows lie, for every pattern of presence worth it.

    For a pattern all rows that have its modalities are read as if they had no more. Only means and covariances are
    kept, no rows.

    Args:
        model: its `familiar` is set; None where there are too few rows.
        samples: the decoded table.
        rows: those the model was trained on; a keyed sample of 5,000 of them is read.
        held_out: rows it was not trained on, which set the thresholds.
    """
    model.familiar = None
    if not len(rows) or not len(held_out):
        return
    seed = model.recipe.training.seed
    chosen, others = (np.sort(some[Draws(seed, 0, some).order("familiar rows")[:MOST_ROWS]])
                      for some in (rows, held_out))
    patterns = _patterns(samples.presence[chosen], model.schema.names)
    vectors = model.fused_vectors(samples, np.concatenate([chosen, others]), patterns)
    model.familiar = fit_familiarity({one: found[: len(chosen)] for one, found in vectors.items()},
                                     {one: found[len(chosen) :] for one, found in vectors.items()},
                                     model.schema.names, _classes(model, samples, chosen))


def _classes(model: Model, samples: Samples, rows: Rows) -> Rows | None:
    """(row,) class numbers of the first target that has classes, −1 without a label; None without such a target."""
    for target in model.schema.targets:
        if target.task == "classify":
            labels = samples.labels[target.name]
            return np.where(labels.mask[rows], labels.values[rows], -1).astype(np.int64)
    return None


def _patterns(presence: npt.NDArray[np.bool_], names: tuple[str, ...]) -> list[Subset]:
    """Every subset up to four modalities; beyond, the full set, the single ones, and what most rows have: 16 at most
    besides the single ones."""
    if len(names) <= MAX_EVERY:
        return [frozenset(some) for size in range(1, len(names) + 1) for some in combinations(names, size)]
    distinct, counts = np.unique(presence, axis=0, return_counts=True)
    frequent = [frozenset(name for name, there in zip(names, distinct[place].tolist(), strict=True) if there)
                for place in np.argsort(-counts, kind="stable")[:MOST_PATTERNS]]
    listed = [frozenset(names), *(frozenset({name}) for name in names), *frequent]
    return [one for one in dict.fromkeys(listed) if one]
