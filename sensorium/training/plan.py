"""How long to train, and the learning rate along the way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sensorium.recipe import TrainingOptions

SAMPLES = 50_000
FEWEST_EPOCHS, MOST_EPOCHS = 10, 60


@dataclass(frozen=True)
class Plan:
    """The steps of one training.

    Args:
        num_steps: optimiser steps in all.
        steps_per_epoch: steps of one pass over the rows.
        stretches: whether the steps are an estimate that may become more where time is left.
    """

    num_steps: int
    steps_per_epoch: int
    stretches: bool = False

    @property
    def num_epochs(self) -> int:
        """Passes over the rows, the last one perhaps cut short."""
        return math.ceil(self.num_steps / self.steps_per_epoch)


def automatic_epochs(num_rows: int) -> int:
    """As many passes as make about 50,000 samples, 10 to 60."""
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(SAMPLES / max(1, num_rows))))


def make_plan(
    num_rows: int, options: TrainingOptions, *, seconds: float | None = None, step_seconds: float | None = None,
    epoch_seconds: float = 0.0,
) -> Plan:
    """The plan for some training rows.

    Args:
        num_rows: training rows.
        options: epochs and batch size.
        seconds: a time budget that replaces the epochs; None = none.
        step_seconds: the measured time of a step, needed with a budget.
        epoch_seconds: the measured time of what each epoch adds (validation).
    """
    steps_per_epoch = max(1, math.ceil(num_rows / options.batch_size))
    if seconds is not None and step_seconds is not None:
        per_step = step_seconds + epoch_seconds / steps_per_epoch
        return Plan(max(1, int(seconds / per_step)), steps_per_epoch, stretches=True)
    return Plan((options.epochs or automatic_epochs(num_rows)) * steps_per_epoch, steps_per_epoch)


def learning_rate(progress: float, options: TrainingOptions) -> float:
    """Linear warm-up, then a half cosine to 0.

    Args:
        progress: the share of the training that is done, in 0…1.
        options: the highest rate and the warm-up's share.
    """
    if progress < options.warmup:
        return options.learning_rate * max(progress, 1e-3) / options.warmup
    done = (progress - options.warmup) / (1.0 - options.warmup)
    return options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
