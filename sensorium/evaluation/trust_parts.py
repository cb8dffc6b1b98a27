"""How far to trust it: the report's parts on coverage, groups, rows unlike the training data and contradictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup

from sensorium.evaluation.contradictions import Contradictions, OddRow
from sensorium.evaluation.coverage import Coverage, Covered
from sensorium.evaluation.evaluate import Evaluation
from sensorium.evaluation.groups import Grouped
from sensorium.evaluation.mistakes import Album
from sensorium.evaluation.plots import Axis, known, number_words, percent_words
from sensorium.evaluation.scores import HIGHER_IS_BETTER, METRIC_WORDS
from sensorium.evaluation.unlike import UnlikePattern
from sensorium.metrics.bootstrap import Estimate
from sensorium.metrics.groups import MIN_ROWS
from sensorium.model import Model

P = TypeVar("P", Coverage, UnlikePattern)
MOST_CARDS = 8
MOST_LINES = 20


@dataclass(frozen=True)
class OddCard:
    """A row to look at.

    Args:
        row: its number in the table, from 1.
        why: what is odd about it, in words.
        told: what was said of it: (who, what, how sure).
        media: modality → how a person looks at it.
    """

    row: int
    why: str
    told: list[tuple[str, str, str]]
    media: list[tuple[str, Markup]]


def trust_parts(model: Model, evaluation: Evaluation, album: Album) -> dict[str, Any]:
    """What `trust.html.jinja` lays out; a part is None or empty where there is nothing to say."""
    trust = evaluation.trust
    return {"coverage": [_coverage(one) for one in trust.coverage], "groups": [_groups(one) for one in trust.groups],
            "unlike": _unlike(model, evaluation, album),
            "contradictions": [_contradictions(model, one, album) for one in trust.contradictions]}


def _coverage(one: Covered) -> dict[str, Any]:
    shown = _frequent(one.patterns)
    lines = [one.whole, *shown] if len(one.patterns) > 1 else [*shown]
    axis = Axis([1 - one.alpha, 1.0, *(value for line in lines for value in
                                       (line.coverage.value, line.coverage.low, line.low, line.high))])
    return {"target": one.target, "said": _said(one.sentence), "classes": one.task == "classify",
            "ticks": axis.ticks(3), "promised": axis.at(1 - one.alpha), "promise": percent_words(1 - one.alpha),
            "left_out": one.left_out, "hidden": len(one.patterns) - len(shown),
            "lines": [_coverage_line(line, axis) for line in lines]}


def _frequent(patterns: Sequence[P]) -> Sequence[P]:
    """At most 20 patterns, those with ten rows or more; the most frequent one at least."""
    return [one for place, one in enumerate(patterns[:MOST_LINES]) if place == 0 or one.rows >= MIN_ROWS]


def _coverage_line(line: Coverage, axis: Axis) -> dict[str, Any]:
    return {"label": " + ".join(line.modalities) or "every row", "note": line.note, "rows": line.rows,
            "calibration": f"{line.calibration:,}" if line.calibration else "",
            "coverage": percent_words(line.coverage.value),
            "band": f"{percent_words(line.low)} to {percent_words(line.high)}", "verdict": line.verdict,
            "dot": (axis.at(line.coverage.low), axis.at(line.coverage.value), axis.at(line.coverage.high)),
            "allowed": (axis.at(line.low), round(axis.at(line.high) - axis.at(line.low), 2)),
            "size": number_words(line.size), "decided": "" if line.decided is None else percent_words(line.decided),
            "right": "" if line.decided_right is None else percent_words(line.decided_right.value)}


def _groups(one: Grouped) -> dict[str, Any]:
    groups = one.table.groups
    shown = groups if len(groups) <= MOST_LINES else (*groups[: MOST_LINES - 5], *groups[-5:])
    axis = Axis([value for score in [one.table.whole, *(group.score for group in shown)]
                 for value in (score.value, score.low, score.high)])
    lines = [{"label": group.group, "rows": group.rows, "score": group.score, "small": group.small,
              "worst": group.group == one.table.worst, "dot": _dot(group.score, axis)} for group in shown]
    return {"target": one.target, "by": one.by, "word": METRIC_WORDS[one.metric], "said": _said(one.sentence),
            "higher": HIGHER_IS_BETTER[one.metric], "ticks": axis.ticks(3), "whole": axis.at(one.table.whole.value),
            "lines": lines, "hidden": len(groups) - len(shown)}


def _dot(score: Estimate, axis: Axis) -> tuple[float, float, float] | None:
    if not np.isfinite(score.value):
        return None
    return axis.at(known(score.low, score.value)), axis.at(score.value), axis.at(known(score.high, score.value))


def _unlike(model: Model, evaluation: Evaluation, album: Album) -> dict[str, Any] | None:
    found = evaluation.trust.unlike
    if found is None:
        return None
    lines = [{"label": " + ".join(one.modalities), "rows": one.rows, "flagged": one.flagged,
              "expected": percent_words(one.expected), "high": percent_words(one.high),
              "more": one.flagged.value > one.high + 1e-12} for one in _frequent(found.patterns)]
    place = {row: number for number, row in enumerate(evaluation.chosen.tolist())}
    cards = []
    for row, strangeness in found.listed[:MOST_CARDS]:
        told = [(f"{target.name}, answered", *_answer(evaluation, target.name, place[row]))
                for target in model.schema.targets if target.name in evaluation.predicted]
        told += [(f"{name}, label", label, "") for name, label in _labels(evaluation, row)]
        cards.append(OddCard(row + 1, f"{strangeness:.3g} times as far as the limit", told,
                             _media(model, row, album)))
    return {"said": _said(found.sentence), "lines": lines if len(found.patterns) > 1 else [], "cards": cards}


def _answer(evaluation: Evaluation, target: str, place: int) -> tuple[str, str]:
    """The answer to a row, and how sure it is."""
    values = evaluation.predicted[target][place]
    described = next(one for one in evaluation.samples.schema.targets if one.name == target)
    if described.task == "regress":
        return number_words(float(values[0])), ""
    return described.classes[int(values.argmax())], percent_words(float(values.max()))


def _labels(evaluation: Evaluation, row: int) -> list[tuple[str, str]]:
    """What the row's labels are, in words; a class unseen in training is said to be one."""
    found = []
    for target in evaluation.samples.schema.targets:
        labels = evaluation.samples.labels.get(target.name)
        if labels is None or not labels.mask[row]:
            continue
        value = labels.values[row]
        if target.task == "regress":
            found.append((target.name, number_words(float(value))))
        else:
            found.append((target.name, target.classes[int(value)] if value >= 0 else "a class unseen in training"))
    return found


def _contradictions(model: Model, one: Contradictions, album: Album) -> dict[str, Any]:
    pairs = [_card(model, one, row, album) for row in _varied(one.pairs)]
    labels = [_card(model, one, row, album) for row in _varied(one.labels)]
    trust = ", ".join(f"{name} {percent_words(weight)}" for name, weight in one.trust.items())
    return {"target": one.target, "said": [_said(sentence) for sentence in one.sentences], "pairs": pairs,
            "labels": labels, "trust": trust, "alone": len(model.schema.names) == 1}


def _varied(rows: Sequence[OddRow]) -> list[OddRow]:
    """The strongest, at most three of the same sort, so that one sort of fault does not hide the others."""
    seen: dict[tuple[str, ...], int] = {}
    chosen = []
    for one in rows:
        sort = (*one.between, one.label, one.rather, *(value for value, _ in one.says.values()))
        seen[sort] = seen.get(sort, 0) + 1
        if seen[sort] <= 3:
            chosen.append(one)
    return chosen[:MOST_CARDS]


def _card(model: Model, found: Contradictions, one: OddRow, album: Album) -> OddCard:
    much = f"{one.strength:.3g} usual errors" if found.unit != "bits" else (
        f"{2 ** one.strength:.0f} to one" if one.strength < 10 else "more than a thousand to one")
    if one.between:
        why = f"{one.between[0]} against {one.between[1]}, {much}"
        why += f"; the label sides with {one.sides_with}" if one.sides_with else ""
    else:
        why = (f"{one.rather} rather than {one.label}, {much}" if found.unit == "bits" else
               f"{one.rather} rather than {one.label}: {much} off")
    told = [(f"{name} says", value, "" if sure is None else percent_words(sure)) for name, (value, sure) in
            one.says.items()]
    told += [("label", one.label, "")] if one.label else []
    return OddCard(one.row + 1, why, told, _media(model, one.row, album))


def _media(model: Model, row: int, album: Album) -> list[tuple[str, Markup]]:
    shown = ((name, album.show(name, row)) for name in model.schema.names)
    return [(name, html) for name, html in shown if html is not None]


def _said(sentence: str) -> str:
    """A sentence of the page: it starts with a capital, and the percent sign stays with its number."""
    return sentence.replace(" %", "\u00a0%")
