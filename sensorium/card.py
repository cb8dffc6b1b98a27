"""The model card: what a model folder's README says."""

from __future__ import annotations

from typing import Any

from sensorium.data.schema import Schema
from sensorium.recipe import Recipe


def model_card(schema: Schema, recipe: Recipe, facts: dict[str, Any]) -> str:
    """Markdown: what goes in, what comes out, what it was trained on, how it scored, what to be careful with."""
    rows = facts.get("rows", {})
    lines = [
        "# A sensorium model", "",
        "## What goes in, what comes out", "",
        *[f"- {line}" for line in schema.lines()],
        "", "Any non-empty subset of the modalities can be given; an absent one is absent, not guessed"
        f"{_imputed(facts)}.", "",
        "## Training", "",
        f"- table: {recipe.source}",
        *[f"- {name} rows: {count}" for name, count in rows.items()],
        f"- split: {facts.get('split', 'unknown')}",
        f"- steps: {facts.get('steps')} (best at {facts.get('best_step')}; {facts.get('stopped')})",
    ]
    transfer = facts.get("transfer", {})
    lines += [f"- {what}: {transfer[what]}" for what in ("teacher", "init") if what in transfer]
    if transfer.get("taught"):
        lines.append(f"- the table has no labels of {', '.join(transfer['taught'])}: the teacher's answers were "
                     f"learned, and scores are agreement with them, not truth")
    if "refit" in facts:
        refit = facts["refit"]
        lines.append(f"- refit on {refit['rows']} training and validation rows, {refit['steps']} steps")
    lines += [f"- fusion: {recipe.model.fusion}, width {recipe.model.width}",
              f"- parameters: {facts.get('parameters', 0):,}",
              "", "## Held-out scores", "", *_scores(facts), "",
              "## Care", "",
              "Scores hold for rows like those of the training table. The probabilities were calibrated on rows held "
              "out from training; classes that the training table lacks are never predicted.", "", *_made(recipe),
              "Use it with `sensorium predict`, `sensorium evaluate`, or `sensorium.Model.load`.", ""]
    return "\n".join(lines)


def _made(recipe: Recipe) -> list[str]:
    """What to be careful with in what it makes."""
    if not recipe.objectives.makers:
        return []
    return ["What it writes or paints is made to look like the training rows, not looked up: it can be wrong, can "
            "repeat a training row, and is no evidence of anything. Say that it is made wherever it is shown.", ""]


def _imputed(facts: dict[str, Any]) -> str:
    """The exceptions, where some modality is imputed."""
    kept = [one for one in (facts.get("imputation") or {"patterns": {}})["patterns"].values() if one["kept"]]
    return "".join(f"; with only {' and '.join(one['present'])}, {' and '.join(one['imputed'])} imputed from it"
                   for one in kept)


def _scores(facts: dict[str, Any]) -> list[str]:
    held_out = facts.get("held_out")
    if not held_out:
        return ["Not evaluated yet: run `sensorium evaluate` on rows the model has not seen."]
    repeated = facts.get("repeated", {"table": []})  # folds or seeds
    return [f"{held_out['sentence']}", "", *held_out["table"], *repeated["table"]]
