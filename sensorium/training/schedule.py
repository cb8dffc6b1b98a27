"""When a training must end, and what it will take: measured on a few steps, said before they begin."""

from __future__ import annotations

import copy
import time

import numpy as np
import numpy.typing as npt

from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.console import Console
from sensorium.training.distributed import Device
from sensorium.training.freezing import Freezing
from sensorium.training.loop import Progress, make_optimizer, train_step
from sensorium.training.opponents import Opponents
from sensorium.training.plan import Plan, make_plan
from sensorium.training.prepare import Prepared

Rows = npt.NDArray[np.int64]
SAFETY = 0.92
IMPUTING = 0.2  # of a training's time


def end_of(recipe: Recipe, started: float) -> float | None:
    """When a run with a time budget must end."""
    minutes = recipe.training.minutes
    return None if minutes is None else started + SAFETY * 60.0 * minutes


def before_imputing(end: float | None) -> float | None:
    """When to end a training that an imputer is to follow."""
    return None if end is None else end - max(0.0, end - time.monotonic()) * IMPUTING / (1.0 + IMPUTING)


def in_time(chosen: Progress, end: float | None, console: Console) -> bool:
    """Whether half of a refit at least can be done before the run must end; else the console says that it is left out.

    Args:
        chosen: the training that validation has chosen from.
        end: a time.monotonic(); None: there is no hurry.
        console: where to speak.
    """
    needed = chosen.seconds * chosen.best_step / max(1, chosen.step)
    if end is None or end - time.monotonic() > needed / 2.0:
        return True
    console.say("no time is left for the refit: the model that validation chose is kept (raise --minutes)")
    return False


def schedule(
    model: Model, prepared: Prepared, device: Device, console: Console, trainings: int, refits: bool, started: float,
) -> tuple[Plan, float | None]:
    """The plan, an estimate said aloud, and the time by which this training must end (with a time budget).

    Args:
        model, prepared, device, console: of the run.
        trainings: how many are still to come, this one included, without the refit.
        refits: whether a refit comes last.
        started: when the run did.
    """
    options = model.recipe.training
    step_seconds, epoch_seconds = _probe(model, prepared, device)
    num_rows = len(rows_to_learn(model, prepared, prepared.splits.train))
    taking = model.recipe.transfer
    passes = trainings + int(refits) + int(taking.against_scratch and taking.used) + (
        IMPUTING * (1 + int(refits)) if model.recipe.model.impute else 0.0)
    deadline = seconds = None
    if options.minutes is not None:
        now = time.monotonic()
        seconds = SAFETY * max(1.0, started + 60.0 * options.minutes - now) / passes
        deadline = now + seconds
    plan = make_plan(num_rows, options, seconds=seconds, step_seconds=step_seconds, epoch_seconds=epoch_seconds)
    expected = passes * (plan.num_steps * step_seconds + plan.num_epochs * epoch_seconds) / 60.0
    more = "" if trainings == 1 else f", as of {trainings - 1} more"
    console.expect(expected)
    length = f"{_count(plan.num_epochs, 'epoch')} of {_count(plan.steps_per_epoch, 'step')}{more}"
    console.say(f"model: {model.num_parameters():,} parameters; {length}{', then a refit' if refits else ''}: about "
                f"{expected:.1f} minutes at most on {device.device} ({1000 * step_seconds:.0f} ms a step)")
    return plan, deadline


def _probe(model: Model, prepared: Prepared, device: Device) -> tuple[float, float]:
    """Seconds of a step and of a validation, measured on a copy that is thrown away."""
    trial = copy.deepcopy(model).to(device.device)
    trial.begin()
    freezing = Freezing(trial)
    optimizer = make_optimizer(trial, trial.recipe.training)
    opponents = Opponents(trial, trial.recipe.training.learning_rate)
    rows = prepared.splits.train[: trial.recipe.training.batch_size]
    times = []
    for turn in range(4):
        begun = time.monotonic()
        float(train_step(trial, trial, optimizer, prepared.learning, rows, epoch=0, lr=0.0, device=device,
                         freezing=freezing, opponents=opponents, step=turn + 1).total)
        times.append(time.monotonic() - begun)
    step = float(np.median(times[1:]))
    return step, step * 0.4 * len(prepared.splits.validation) / max(1, len(rows))


def rows_to_learn(model: Model, prepared: Prepared, labelled: Rows) -> Rows:
    """The labelled rows, and those without a label where an objective can use them."""
    return np.sort(np.concatenate([labelled, prepared.unlabelled])) if model.learns_unlabelled else labelled


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
