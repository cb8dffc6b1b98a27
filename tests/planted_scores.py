"""Scored rows without a trained model: what each modality says is planted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Labels
from sensorium.data.schema import Target
from sensorium.evaluation.scored import Scored

Floats = npt.NDArray[np.float64]


def class_target(num_classes: int, name: str = "kind") -> Target:
    share = tuple([1 / num_classes] * num_classes)
    return Target(name=name, task="classify", classes=tuple(f"c{code}" for code in range(num_classes)), prior=share)


def number_target(name: str = "size") -> Target:
    return Target(name=name, task="regress", mean=0.0, std=1.0)


def scored_rows(
    target: Target, truth: npt.NDArray[Any], presence: npt.NDArray[np.bool_], names: tuple[str, ...], *,
    mask: npt.NDArray[np.bool_] | None = None, group: str | None = None, **model: Any,
) -> Scored:
    """Rows to score; the model is no more than what sections read of it."""
    kept = np.ones(len(truth), dtype=bool) if mask is None else mask
    scored = object.__new__(Scored)
    scored.model = SimpleNamespace(  # type: ignore[assignment]
        schema=SimpleNamespace(names=names, targets=(target,), group=group),
        recipe=SimpleNamespace(training=SimpleNamespace(balance=False)), temperatures={target.name: 1.0},
        **{"conformal": {}, "familiar": None, **model})
    scored.samples = SimpleNamespace(  # type: ignore[assignment]
        presence=presence, groups=None, labels={target.name: Labels(truth, kept, {}, ())})
    scored.rows, scored.seed = np.arange(len(truth)), 0
    scored.presence, scored.groups = presence, None
    return scored


def noisy_logits(truth: npt.NDArray[np.int64], num_classes: int, strength: float, seed: int) -> Floats:
    """(row, class_) the exact posterior logits of a Gaussian observation of the class: calibrated by construction."""
    random = np.random.default_rng(seed)
    seen = np.eye(num_classes)[truth] * strength + random.normal(size=(len(truth), num_classes))
    return strength * seen


def softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
