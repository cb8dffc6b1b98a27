"""Calibration: temperatures, and how large a confidence set must be, on rows that training has not seen."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from sensorium.answers import predictions
from sensorium.data.samples import Samples
from sensorium.keyed import Draws
from sensorium.metrics.calibration import fit_temperature
from sensorium.metrics.conformal import calibrate_classes, calibrate_numbers, conformal_rank
from sensorium.model import Model, Subset

Rows = npt.NDArray[np.int64]
MAX_EVERY = 5


def calibrate(model: Model, samples: Samples, rows: Rows) -> None:
    """Fit each class target's temperature on one half of the rows, and the thresholds of its confidence sets on the
    other; those of numbers on all of them.

    Thresholds are fitted where there are enough rows for the share that the recipe allows to be missed (19 for a tenth,
    of which a half can be used for classes); else the temperature gets all rows, and answers come without sets.

    Args:
        model: its `temperatures` and `conformal` are set.
        samples: the decoded table.
        rows: held-out rows.
    """
    model.conformal = {}
    if len(rows) == 0 or not model.schema.targets:
        return
    alpha = model.recipe.training.alpha
    everything = frozenset(model.schema.names)
    outputs = model.outputs(samples, rows, [everything], complete=False)
    drawn = Draws(model.recipe.training.seed, 0, rows).order("calibration halves")
    for target in model.schema.targets:
        raw = outputs[target.name][everything]
        labels = samples.labels[target.name]
        known = np.flatnonzero(np.isfinite(raw).all(axis=1) & labels.mask[rows])
        if target.task == "regress":
            _thresholds(model, samples, target.name, rows[known])
            continue
        shuffled = drawn[np.isin(drawn, known)]
        first, second = np.sort(shuffled[::2]), np.sort(shuffled[1::2])
        enough = conformal_rank(len(second), alpha) <= len(second)
        first = first if enough else known
        if len(first):
            truth = labels.values[rows[first]].astype(np.int64)
            model.temperatures[target.name] = fit_temperature(raw[first], truth)
        if enough:
            _thresholds(model, samples, target.name, rows[second])


def _thresholds(model: Model, samples: Samples, name: str, rows: Rows) -> None:
    """One threshold for every pattern of presence, from rows that have a label."""
    target = next(one for one in model.schema.targets if one.name == name)
    presence, names = samples.presence[rows], model.schema.names
    alpha, balance = model.recipe.training.alpha, model.recipe.training.balance
    if conformal_rank(len(rows), alpha) > len(rows):
        return
    patterns = _patterns(presence, names)
    raw = model.outputs(samples, rows, patterns)[name]
    predicted = {}
    for pattern in patterns:
        there: npt.NDArray[np.bool_] = np.asarray(presence[:, [names.index(one) for one in pattern]].all(axis=1))
        values = predictions(target, raw[pattern], temperature=model.temperatures[name], balance=balance)
        predicted[pattern] = np.where(there[:, None], values, np.nan)
    truth = samples.labels[name].values[rows]
    model.conformal[name] = (
        calibrate_classes(predicted, truth.astype(np.int64), presence, names, alpha=alpha)
        if target.task == "classify" else
        calibrate_numbers({pattern: values[:, 0] for pattern, values in predicted.items()},
                          truth.astype(np.float64), presence, names, alpha=alpha))


def _patterns(presence: npt.NDArray[np.bool_], names: tuple[str, ...]) -> list[Subset]:
    """Every subset up to five modalities; beyond, the patterns that the rows have, and the single modalities."""
    if len(names) <= MAX_EVERY:
        return [frozenset(some) for size in range(1, len(names) + 1) for some in combinations(names, size)]
    found = {frozenset(name for name, there in zip(names, row, strict=True) if there)
             for row in np.unique(presence, axis=0).tolist()}
    return sorted((found | {frozenset({name}) for name in names} | {frozenset(names)}) - {frozenset()}, key=sorted)
