"""Several fusions trained alike on the same rows: which one validation prefers, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples
from sensorium.metrics.bootstrap import Estimate, estimate, mean_value, replicate_weights
from sensorium.model import Model
from sensorium.training.loop import Progress
from sensorium.training.validation import best_predictions, losses_of

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trial:
    """One fusion of the contest.

    Args:
        fusion: its name.
        parameters: trained numbers of the whole model.
        steps: optimiser steps to the best validation loss.
        seconds: of training, on this machine.
        loss: the best validation loss.
        scores: target → score of all modalities at that step: accuracy (balanced where asked for) or R².
        losses: (row,) what each validation row adds to the loss, NaN where it has no label.
    """

    fusion: str
    parameters: int
    steps: int
    seconds: float
    loss: float
    scores: dict[str, float]
    losses: Floats


def trial_of(model: Model, progress: Progress, samples: Samples, validation: Rows) -> Trial:
    """What a trained model says on the validation rows."""
    best = next((one for one in progress.history if one["step"] == progress.best_step), {})
    scores = {target.name: float(best["scores"][target.name]["all"]) for target in model.schema.targets
              if "all" in best.get("scores", {}).get(target.name, {})}
    return Trial(model.recipe.model.fusion, model.num_parameters(), progress.best_step, round(progress.seconds, 1),
                 progress.best_score, scores, row_losses(model, samples, validation))


def row_losses(model: Model, samples: Samples, rows: Rows) -> Floats:
    """(row,) Σ_k weight_k · loss_k of each row with whatever it has: log-loss at the best temperature, half the squared
    error of standardised numbers; NaN in rows without any label."""
    everything = frozenset(model.schema.names)
    total, known = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    outputs = model.outputs(samples, rows, [everything], complete=False) if model.schema.targets else {}
    for target in model.schema.targets:
        raw, labels = outputs[target.name][everything], samples.labels[target.name]
        kept = np.flatnonzero(np.isfinite(raw).all(axis=1) & labels.mask[rows])
        if not len(kept):
            continue
        truth = labels.values[rows][kept]
        predicted = best_predictions(target, raw[kept], truth, balance=model.recipe.training.balance)
        total[kept] += target.weight * losses_of(target, predicted, truth)
        known[kept] = True
    return np.where(known, total, np.nan)


def standings(trials: list[Trial], groups: Rows | None, *, seed: int) -> list[dict[str, Any]]:
    """Plain values, the best first: each one's loss over that of the best with its paired 95 % interval.

    Args:
        trials: on the same validation rows.
        groups: (row,) groups to resample instead of rows; None: rows.
        seed: of the bootstrap.
    """
    ranked = sorted(trials, key=lambda one: one.loss)
    told = []
    for one in ranked:
        behind = _paired(one.losses - ranked[0].losses, groups, seed)
        told.append({"fusion": one.fusion, "loss": one.loss, "scores": one.scores, "parameters": one.parameters,
                     "steps": one.steps, "seconds": one.seconds,
                     "behind": None if behind is None or one is ranked[0] else [behind.value, behind.low, behind.high]})
    return told


def _paired(gaps: Floats, groups: Rows | None, seed: int) -> Estimate | None:
    kept = np.isfinite(gaps)
    if kept.sum() < 2:
        return None
    resampling = replicate_weights(int(kept.sum()), None if groups is None else groups[kept], seed=seed)
    return estimate(mean_value, gaps[kept], gaps[kept], resampling)


def standing_lines(told: list[dict[str, Any]]) -> list[str]:
    """What a person reads: one line a fusion."""
    lines = []
    for one in told:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in one["scores"].items())
        behind = ("the best" if one["behind"] is None else
                  "{:+.4f} ({:+.4f} to {:+.4f}) behind".format(*one["behind"]))
        lines.append(f"{one['fusion']}: validation loss {one['loss']:.4f}, {behind}; {scores or 'no target'}; "
                     f"{one['parameters']:,} parameters, {one['seconds']:.0f} s, best at step {one['steps']}")
    return lines
