"""Schedules: how long, and the learning rate along the way."""

from __future__ import annotations

import numpy as np

from sensorium.recipe import TrainingOptions
from sensorium.training.plan import automatic_epochs, learning_rate, make_plan

OPTIONS = TrainingOptions(learning_rate=1e-2, warmup=0.1, batch_size=10)


def test_learning_rate_rises_and_falls() -> None:
    rates = [learning_rate(done, OPTIONS) for done in np.linspace(0, 1, 101)]
    assert max(rates) == rates[10] == 1e-2
    assert np.all(np.diff(rates[:11]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] < 1e-12
    assert abs(rates[55] - 0.5e-2) < 1e-12


def test_steps_cover_every_row() -> None:
    plan = make_plan(95, TrainingOptions(epochs=3, batch_size=10))
    assert (plan.steps_per_epoch, plan.num_steps, plan.num_epochs) == (10, 30, 3)


def test_a_budget_replaces_the_epochs() -> None:
    plan = make_plan(100, TrainingOptions(epochs=3, batch_size=10), seconds=60, step_seconds=0.5, epoch_seconds=1.0)
    assert plan.num_steps == 100  # .5 s a step and a tenth of 1 s


def test_small_tables_get_more_passes() -> None:
    epochs = [automatic_epochs(rows) for rows in (1, 1000, 5000, 50_000, 10**7)]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] <= 100
    assert epochs[-1] >= 3
