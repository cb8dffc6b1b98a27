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
    spared: dict[str, Rows] = {}  # rows that the temperature has not seen
    drawn = Draws(model.recipe.training.seed, 0, rows).order("calibration halves")
    for target in model.schema.targets:
        raw = outputs[target.name][everything]
        labels = samples.labels[target.name]
        known = np.flatnonzero(np.isfinite(raw).all(axis=1) & labels.mask[rows])
        if target.task == "regress":
            spared[target.name] = rows[known]
            continue
        shuffled = drawn[np.isin(drawn, known)]
        first, second = np.sort(shuffled[::2]), np.sort(shuffled[1::2])
        enough = conformal_rank(len(second), alpha) <= len(second)
        first = first if enough else known
        if len(first):
            truth = labels.values[rows[first]].astype(np.int64)
            model.temperatures[target.name] = fit_temperature(raw[first], truth)
        if enough:
            spared[target.name] = rows[second]
    spared = {name: own for name, own in spared.items() if conformal_rank(len(own), alpha) <= len(own)}
    if spared:
        _add_thresholds(model, samples, spared)


def _add_thresholds(model: Model, samples: Samples, spared: dict[str, Rows]) -> None:
    """One threshold for every pattern of presence, from each target's own rows; all rows are encoded once."""
    names, alpha, balance = model.schema.names, model.recipe.training.alpha, model.recipe.training.balance
    every = np.unique(np.concatenate(list(spared.values())))
    patterns = _patterns(samples.presence[every], names)
    raw = model.outputs(samples, every, patterns)
    for target in model.schema.targets:
        if target.name not in spared:
            continue
        rows = spared[target.name]
        places, presence = np.searchsorted(every, rows), samples.presence[rows]
        predicted = {}
        for pattern in patterns:
            there = np.array([name not in pattern for name in names]) | presence
            values = predictions(target, raw[target.name][pattern][places],
                                 temperature=model.temperatures[target.name], balance=balance)
            predicted[pattern] = np.where(np.asarray(there.all(axis=1))[:, None], values, np.nan)
        truth = samples.labels[target.name].values[rows]
        model.conformal[target.name] = (
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
