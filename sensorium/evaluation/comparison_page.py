"""A comparison as a person reads it: lines in a terminal, or one HTML page."""

from __future__ import annotations

from typing import Any

from sensorium.evaluation.comparing import Comparison, Difference, Verdict
from sensorium.evaluation.page import rendered
from sensorium.evaluation.plots import Axis, known, number_words, signed
from sensorium.evaluation.scores import HIGHER_IS_BETTER, METRIC_WORDS
from sensorium.evaluation.words import aligned
from sensorium.metrics.bootstrap import Estimate


def comparison_lines(found: Comparison) -> list[str]:
    """Markdown tables: every pair's differences with the finding under them, and what each model costs."""
    lines: list[str] = []
    for verdict in found.verdicts:
        differences = _of(found, verdict)
        metrics = _metrics(verdict, differences[0])
        table = [[f"{verdict.target}: {verdict.second} − {verdict.first}", "rows", *(METRIC_WORDS[m] for m in metrics)]]
        table += [[_subset(one), f"{one.rows:,}", *(_spread(one.metrics[m]) for m in metrics)] for one in differences]
        lines += ["", *aligned(table), "", verdict.sentence]
    table = [["model", "reads", "parameters", "seconds of training", "ms to predict a row (here)"]]
    table += [[one.name, ", ".join(one.modalities), f"{one.cost.parameters:,}",
               "unknown" if one.cost.training_seconds is None else f"{one.cost.training_seconds:,.0f}",
               f"{one.cost.milliseconds:.3g}"] for one in found.models]
    return [*lines, "", *aligned(table), *found.notes]


def write_comparison(found: Comparison, *, title: str, about: str) -> str:
    """One HTML file with everything a comparison found; it needs no network.

    Args:
        found: from `sensorium.compare`.
        title: the page's title.
        about: which rows were compared, in words.
    """
    return rendered("comparison.html.jinja", title=title, about=about, models=found.models, notes=found.notes,
                    costs=_costs(found), parts=[_part(found, verdict) for verdict in found.verdicts])


def _of(found: Comparison, verdict: Verdict) -> list[Difference]:
    """A pair's differences for a target, as found first."""
    return [one for one in found.differences
            if (one.first, one.second, one.target) == (verdict.first, verdict.second, verdict.target)]


def _metrics(verdict: Verdict, one: Difference) -> list[str]:
    """The metrics' names, the one that decides first."""
    return [verdict.metric, *(name for name in one.metrics if name != verdict.metric)]


def _subset(one: Difference) -> str:
    return " + ".join(one.modalities) or "as found"


def _spread(gap: Estimate) -> str:
    return f"{signed(gap.value)} ({signed(gap.low)} to {signed(gap.high)})"


def _told(verdict: Verdict) -> tuple[str, str]:
    """The sentence without its target and its proof, and what stands in brackets behind, which begins with the metric;
    names may have brackets too."""
    word = METRIC_WORDS[verdict.metric]
    finding, mark, proof = verdict.sentence.removeprefix(f"{verdict.target}: ").partition(f" ({word} ")
    return finding.rstrip("."), f"{word} {proof.replace(').', '.', 1)}" if mark else ""


def _part(found: Comparison, verdict: Verdict) -> dict[str, Any]:
    """What the page says about one pair and target."""
    differences = _of(found, verdict)
    metrics = _metrics(verdict, differences[0])
    gaps = [one.metrics[verdict.metric] for one in differences]
    axis = Axis([0.0, *(number for gap in gaps for number in (gap.value, gap.low, gap.high))])
    finding, proof = _told(verdict)
    tone = "equal" if verdict.better is None else "better" if verdict.better == verdict.second else "worse"
    together = verdict.agreement
    return {
        "target": verdict.target, "first": verdict.first, "second": verdict.second, "tone": tone,
        "sign": {"better": "▲", "worse": "▼", "equal": "≈"}[tone], "finding": finding, "proof": proof,
        "word": METRIC_WORDS[verdict.metric], "higher": HIGHER_IS_BETTER[verdict.metric],
        "metrics": [METRIC_WORDS[name] for name in metrics], "zero": axis.at(0.0), "ticks": axis.ticks(),
        "lines": [{"label": _subset(one), "found": not one.modalities, "rows": one.rows,
                   "dot": (axis.at(known(gap.low, gap.value)), axis.at(gap.value), axis.at(known(gap.high, gap.value))),
                   "cells": [(one.metrics[name], *map(number_words, one.scores[name])) for name in metrics]}
                  for one, gap in zip(differences, gaps, strict=True)],
        "agreement": None if together is None else [
            ("both right", together.both_right), (f"only {verdict.first} right", together.only_a),
            (f"only {verdict.second} right", together.only_b), ("both wrong", together.both_wrong),
            ("same answer", together.alike)],
        "p": None if together is None else f"{together.p:.2g}", "rows": differences[0].rows,
        "grouped": differences[0].unit == "groups"}


def _costs(found: Comparison) -> str:
    """The cheapest to run against the dearest, in words."""
    ranked = sorted(found.models, key=lambda one: one.cost.milliseconds)
    cheap, dear = ranked[0], ranked[-1]
    if cheap is dear or not cheap.cost.milliseconds:
        return ""
    times = dear.cost.milliseconds / cheap.cost.milliseconds
    if times < 1.5:
        return "They take about the same time to predict a row."
    return f"{dear.name} takes {times:.1f} times as long as {cheap.name} to predict a row."
