"""The report's part on where the model looks: some right answers and some mistakes, explained token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.schema import Target
from sensorium.evaluation.attribution import Attribution, attributions
from sensorium.evaluation.attribution_cards import attribution_cards
from sensorium.evaluation.attribution_marks import HATCH, style, words
from sensorium.evaluation.attribution_page import truths_of
from sensorium.evaluation.evaluate import Evaluation
from sensorium.model import Model

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
MOST_RIGHT, MOST_WRONG = 3, 3
SURVEYED = 32


def attribution_part(model: Model, evaluation: Evaluation) -> dict[str, Any] | None:
    """Everything the page says about where the model looks; None where it predicts nothing that was scored."""
    targets = [target for target in model.schema.targets if target.name in evaluation.predicted]
    parts = [part for target in targets if (part := _part(model, evaluation, target)) is not None]
    return {"parts": parts, "style": style(), "hatch": HATCH} if parts else None


def _part(model: Model, evaluation: Evaluation, target: Target) -> dict[str, Any] | None:
    samples = evaluation.samples
    right, wrong = telling_rows(target, evaluation)
    survey = _surveyed(evaluation)
    wanted = np.array([*right, *wrong], dtype=np.int64)
    found = attributions(model, samples, np.concatenate([wanted, survey]), target=target)
    told = [one for one in found[: len(wanted)] if one is not None]
    every = [one for one in found[len(wanted) :] if one is not None]
    if not told or not every:
        return None
    right_words, wrong_words = (("surest right answers", "worst mistakes") if target.task == "classify" else
                                ("closest answers", "largest errors"))
    return {"target": target.name, "said": _said(target, every), "cards": attribution_cards(
        samples, target, told, truths_of(samples, target, wanted)),
        "shown": f"Shown: {_count(len(right), right_words)} and {_count(len(wrong), wrong_words)}, from the rows with "
                 f"the most modalities."}


def _count(number: int, what: str) -> str:
    return f"no {what}" if number == 0 else f"the {number} {what}" if number > 1 else f"one of the {what}"


def telling_rows(target: Target, evaluation: Evaluation) -> tuple[list[int], list[int]]:
    """Row numbers of at most three answers that are right and sure, of different classes where there are some, and of
    at most three that are wrong and sure, of different sorts; from the rows with the most modalities."""
    samples, labels = evaluation.samples, evaluation.samples.labels[target.name]
    kept = labels.mask[evaluation.chosen] & samples.presence[evaluation.chosen].any(axis=1)
    rows = evaluation.chosen[kept]
    predicted = evaluation.predicted[target.name][kept]
    truth = labels.values[rows]
    fewer = -samples.presence[rows].sum(axis=1)
    if target.task == "regress":
        error = np.abs(predicted[:, 0] - truth)
        near, far = (np.lexsort((sign * error, fewer)) for sign in (1.0, -1.0))
        right = rows[near[: min(MOST_RIGHT, len(near) // 2)]].tolist()
        return right, [row for row in rows[far].tolist() if row not in right][:MOST_WRONG]
    guessed = predicted.argmax(axis=1)
    sure = predicted.max(axis=1)
    order = np.lexsort((-sure, fewer))
    right = [place for place in order.tolist() if guessed[place] == truth[place]]
    wrong = [place for place in order.tolist() if guessed[place] != truth[place]]
    pairs = [(int(truth[place]), int(guessed[place])) for place in range(len(rows))]
    return (rows[_different(right, pairs, MOST_RIGHT)].tolist(), rows[_different(wrong, pairs, MOST_WRONG)].tolist())


def _different(places: list[int], sorts: list[tuple[int, int]], most: int) -> list[int]:
    """The first of each sort, then the others, in their order."""
    first_of: dict[tuple[int, int], int] = {}
    for place in places:
        first_of.setdefault(sorts[place], place)
    firsts = list(first_of.values())
    return [*firsts, *(place for place in places if place not in firsts)][:most]


def _surveyed(evaluation: Evaluation) -> Rows:
    """Rows over which totals are averaged, evenly chosen."""
    rows = evaluation.chosen
    chosen: Rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(SURVEYED, len(rows))).astype(int))]
    return chosen


def _said(target: Target, every: list[Attribution]) -> str:
    """What the tokens of a row do on average, by modality."""
    unit = every[0].unit
    names = list(dict.fromkeys(name for one in every for name in one.totals))
    signed = target.task == "classify"
    means = {name: float(np.mean([one.totals[name] if signed else abs(one.totals[name])
                                  for one in every if name in one.totals])) for name in names}
    ranked = sorted(means, key=lambda name: -means[name])
    told = ", ".join(f"{name} {words(means[name], unit) if signed else words(means[name], unit).lstrip('+')}"
                     for name in ranked)
    if signed:
        return (f"From neutral tokens to a row's own, the answered class gains, on average over {len(every)} rows: "
                f"{told}. The cards show which places that comes from.")
    return (f"From neutral tokens to a row's own, the number moves, up or down, on average over {len(every)} rows by: "
            f"{told}. The cards show which places that comes from.")
