"""How training went between the modalities and between the fusions compared: the report's parts on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from sensorium.evaluation.plots import Axis, alone_curves, number_words, percent_words, signed
from sensorium.evaluation.scores import METRIC_WORDS, primary_metric
from sensorium.metrics.bootstrap import Estimate
from sensorium.model import Model

GAP = 0.2
FLAT = 0.02
CLOSE = 0.1


def fusions_part(model: Model) -> dict[str, Any] | None:
    """The fusions that training compared, the best first; None where it compared none."""
    told: list[dict[str, Any]] = model.facts.get("fusions") or []
    if len(told) < 2:
        return None
    behind = [Estimate(0.0, 0.0, 0.0) if one["behind"] is None else Estimate(*one["behind"]) for one in told]
    axis = Axis([number for one in behind for number in (one.value, one.low, one.high)])
    targets = list(dict.fromkeys(name for one in told for name in one["scores"]))
    words = {target.name: METRIC_WORDS["r2" if target.task == "regress" else
                                       primary_metric(target, balance=model.recipe.training.balance)]
             for target in model.schema.targets}
    lines = [{"fusion": one["fusion"], "kept": place == 0, "loss": one["loss"], "behind": gap, "first": place == 0,
              "dot": (axis.at(gap.low), axis.at(gap.value), axis.at(gap.high)),
              "scores": [one["scores"].get(name, float("nan")) for name in targets],
              "parameters": one["parameters"], "seconds": one["seconds"], "steps": one["steps"]}
             for place, (one, gap) in enumerate(zip(told, behind, strict=True))]
    return {"said": _fusions_said(told, behind), "lines": lines, "ticks": axis.ticks(3), "zero": axis.at(0.0),
            "scores": [f"{name}: {words.get(name, 'score')}" for name in targets]}


def _fusions_said(told: Sequence[Mapping[str, Any]], behind: Sequence[Estimate]) -> str:
    """Which fusion won, and which cannot be told apart from it."""
    best = told[0]
    close = [one for one, gap in zip(told[1:], behind[1:], strict=True) if gap.low <= 0]
    said = f"Of {len(told)} fusions, {best['fusion']} has the lowest validation loss and was kept."
    if not close:
        return f"{said} All others are behind by more than chance."
    names = ", ".join(one["fusion"] for one in close)
    whole = len(close) == len(told) - 1
    said += (f" None of the others can be told apart from it on these rows ({names})." if whole else
             f" On these rows it cannot be told apart from {names}; the others are behind by more than chance.")
    cheap = min(close, key=lambda one: one["seconds"])
    if cheap["seconds"] < 0.7 * best["seconds"]:
        said += f" {cheap['fusion']} took {cheap['seconds'] / max(best['seconds'], 1e-9):.0%} of its time."
    return said + " The winner of a comparison looks a little better than it is."


def imbalance_part(model: Model) -> dict[str, Any] | None:
    """How much each modality alone had learnt after every epoch, on training and on validation rows; None where the
    history does not say, or there is one modality."""
    history, names = model.history, model.schema.names
    learnt = [name for name in names if any(_told(entry, name) is not None for entry in history)]
    if len(learnt) < 2:
        return None
    best_step = model.facts.get("best_step")
    best = next((entry for entry in history if entry.get("step") == best_step), history[-1])
    shown = {name: _told(best, name) for name in learnt}
    known = {name: value for name, value in shown.items() if value is not None}
    svg = alone_curves(history, names, None if best is history[-1] and best_step is None else float(best["epoch"]),
                       prefix="alone")
    return {"title": "Each modality alone, on training rows", "svg": Markup(svg),
            "legend": [f"{name} alone" for name in names], "first": 1,
            "said": "The mean probability that each modality gives the truth alone, on the very rows it learns from.",
            "finding": imbalance_sentence(history, best, known, _score_of(model))}


def imbalance_sentence(
    history: Sequence[Mapping[str, Any]], best: Mapping[str, Any], told: Mapping[str, float], target: str,
) -> str:
    """Which modality learns more slowly, and whether it is starved.

    Args:
        history: one entry an epoch.
        best: the entry of the chosen step.
        told: modality → mean probability of the truth on training rows there.
        target: whose validation scores are read.
    """
    if len(told) < 2:
        return ""
    fast, slow = max(told, key=lambda name: told[name]), min(told, key=lambda name: told[name])
    said = (f"Alone on training rows, {fast} gives the truth a probability of {percent_words(told[fast])} at the "
            f"chosen step and {slow} {percent_words(told[slow])}")
    if told[fast] - told[slow] < CLOSE:
        return f"{said}: they learn about equally fast."
    course = [float(score) for entry in history if entry["epoch"] <= best["epoch"]
              and (score := entry.get("scores", {}).get(target, {}).get(slow)) is not None]
    if len(course) < 2:
        return f"{said}: {slow} learns more slowly, or has less to tell."
    gain = max(course) - course[0]
    moved = f"its own validation score went from {number_words(course[0])} to {number_words(course[-1])}"
    if told[fast] - told[slow] >= GAP and gain < FLAT:
        return (f"{said}, and {moved}: {slow} is starved, or has nothing to tell. A run with it alone (--inputs) says "
                f"which; gradient modulation slows the faster one.")
    later = course[len(course) // 2]
    rising = "still rises" if course[-1] - later > FLAT else "has levelled off"
    return (f"{said}: {slow} learns more slowly or has less to tell. It is not starved: {moved} "
            f"({signed(course[-1] - course[0])}) and {rising}.")


def _score_of(model: Model) -> str:
    return model.schema.targets[0].name if model.schema.targets else ""


def _told(entry: Mapping[str, Any], name: str) -> float | None:
    value = (entry.get("alone") or {}).get(name)
    return None if value is None or not np.isfinite(value) else float(value)
