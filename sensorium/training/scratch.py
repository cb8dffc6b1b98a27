"""What a run took over, against the same recipe without it: the paired difference on held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import predictions
from sensorium.data.schema import Target
from sensorium.metrics.bootstrap import Metric, estimate, paired_difference, replicate_weights
from sensorium.metrics.classification import accuracy, balanced_accuracy
from sensorium.metrics.regression import rmse
from sensorium.model import Model
from sensorium.training.console import Console
from sensorium.training.distributed import Device
from sensorium.training.loop import train
from sensorium.training.plan import make_plan
from sensorium.training.prepare import Prepared
from sensorium.training.volume import turn_down

Rows = npt.NDArray[np.int64]


def held_out_rows(prepared: Prepared) -> Rows:
    """The test rows that a split column names, else calibration and validation rows."""
    splits = prepared.splits
    return splits.test if len(splits.test) else np.sort(np.concatenate([splits.validation, splits.calibration]))


def train_scratch(
    scratch: Model, prepared: Prepared, rows: Rows, *, device: Device, console: Console, checkpoint: Path | None,
    deadline: float | None,
) -> bool:
    """Train a fresh model in place, as the run's own was; whether it came to an end.

    Args:
        scratch: of the same recipe without what is taken over.
        prepared: of the run.
        rows: to learn from.
        device, console, checkpoint, deadline: as of `train`.
    """
    if scratch.schema.targets and prepared.taught == {target.name for target in scratch.schema.targets}:
        console.say("nothing to compare with: the table has no labels to learn from without the teacher")
        return False
    splits = prepared.splits
    with console.bar("training from scratch, to compare") as bar:
        progress = train(scratch, prepared.learning, rows, splits.validation,
                         make_plan(len(rows), scratch.recipe.training), device=device, report=bar, deadline=deadline,
                         checkpoint=checkpoint, judged=prepared.samples)
    if progress.stopped != "interrupted" and scratch.schema.targets:
        turn_down(scratch, prepared.samples, splits.validation)
    return progress.stopped != "interrupted"


def against_scratch(model: Model, scratch: Model, prepared: Prepared) -> dict[str, Any]:
    """target → metric, both scores, and their difference with its 95 % interval, resampling groups or rows.

    Args:
        model: with what it took over.
        scratch: the same recipe without.
        prepared: the rows; those held out are read with whatever they have. Targets that only a teacher knows are left
            out: without it there is nothing to learn them from.
    """
    rows = held_out_rows(prepared)
    samples, taught = prepared.samples, prepared.taught
    found: dict[str, Any] = {}
    everything = frozenset(model.schema.names)
    if not len(rows):
        return found
    raw = [one.outputs(samples, rows, [everything], complete=False) for one in (model, scratch)]
    for target in model.schema.targets:
        labels = samples.labels[target.name]
        kept = labels.mask[rows] & model.shown(samples.presence[rows]).any(axis=1)
        if target.task == "classify":
            kept &= labels.values[rows] >= 0
        if target.name in taught or not kept.any():
            continue
        name, metric = metric_of(target, balance=model.recipe.training.balance)
        both = [_predicted(one, target, own[target.name][everything][kept]) for one, own in
                zip((model, scratch), raw, strict=True)]
        truth = labels.values[rows][kept]
        groups = None if samples.groups is None else samples.groups[rows][kept]
        drawn = replicate_weights(int(kept.sum()), groups, seed=model.recipe.training.seed)
        gap = paired_difference(metric, truth, both[0], both[1], drawn)
        found[target.name] = {
            "metric": name, "rows": int(kept.sum()), "transfer": estimate(metric, truth, both[0], drawn).value,
            "scratch": estimate(metric, truth, both[1], drawn).value, "difference": [gap.value, gap.low, gap.high]}
    return found


def metric_of(target: Target, *, balance: bool) -> tuple[str, Metric]:
    """What targets are compared by."""
    choices: Mapping[str, Callable[..., Any]] = {
        "accuracy": accuracy, "balanced accuracy": balanced_accuracy, "root mean squared error": rmse}
    name = ("root mean squared error" if target.task == "regress" else
            "balanced accuracy" if balance else "accuracy")
    return name, choices[name]


def _predicted(model: Model, target: Target, raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found = predictions(target, raw, temperature=model.temperatures[target.name],
                        balance=model.recipe.training.balance)
    return found if target.task == "classify" else found[:, 0]
