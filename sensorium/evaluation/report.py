"""The report: one self-contained HTML page that a person opens after training.

This file turns an evaluation into findings in plain words and into the parts of the page; `report.html.jinja` lays
them out, `plots` draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sensorium.data.schema import Target
from sensorium.evaluation import plots
from sensorium.evaluation.attribution_report import attribution_part
from sensorium.evaluation.bits import information_part
from sensorium.evaluation.course import fusions_part, imbalance_part
from sensorium.evaluation.curves import robustness_part
from sensorium.evaluation.evaluate import Evaluation
from sensorium.evaluation.finds import retrieval_part
from sensorium.evaluation.gain import FEWEST, Fusion
from sensorium.evaluation.generated_parts import generated_part, writing_charts
from sensorium.evaluation.mistakes import Album, worst_mistakes
from sensorium.evaluation.plots import Axis, bars, known, number_words, percent_words, signed
from sensorium.evaluation.scores import HIGHER_IS_BETTER, METRIC_WORDS, Baseline, Score, primary_metric
from sensorium.evaluation.trust_parts import trust_parts
from sensorium.metrics.bootstrap import Estimate
from sensorium.model import Model
from sensorium.training.imputer_choice import imputation_lines
from sensorium.training.transfer import transfer_lines

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
SHARES = {"accuracy", "balanced_accuracy", "ece"}
KEY_METRICS = {"classify": ("auroc", "ece"), "regress": ("mae", "r2")}
KEY_WORDS = {"ece": "calibration error (ECE)", "r2": "variance explained (R²)"}
MOST_LINES, MOST_UNREADABLE, MOST_NOTES = 40, 50, 40
MOST_CLASSES, MOST_PAIRS = 30, 15
MOST_CURVES = 6


@dataclass(frozen=True)
class Line:
    """A line of the table of subsets.

    Args:
        label: its words.
        note: more words, in small type.
        marks: for every modality whether it is read; None for lines that have words instead.
        rows: rows scored.
        metrics: the target's metrics, the primary one first.
        dot: percent of the plot's width: low, value, high; None where the score is not known.
    """

    label: str
    note: str
    marks: tuple[bool, ...] | None
    rows: int
    metrics: list[Estimate]
    dot: tuple[float, float, float] | None


def write_report(model: Model, evaluation: Evaluation, *, title: str, about: str = "") -> str:
    """One HTML file with everything an evaluation found; it needs no network.

    Args:
        model: the model that was scored.
        evaluation: from `sensorium.evaluate`.
        title: the page's title.
        about: which rows were scored, in words.

    Returns:
        The page; a few megabytes at most, since at most 3.5 million characters of media are embedded.

    Example: Path("report.html").write_text(write_report(model, evaluation, title="birds"), encoding="utf-8")
    """
    album = Album(evaluation.samples)
    parts = [_target_part(model, evaluation, target, number, album)
             for number, target in enumerate(model.schema.targets) if target.name in evaluation.predicted]
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined,
                              loader=FunctionLoader(lambda name: files("sensorium.evaluation").joinpath(name)
                                                    .read_text("utf-8")))
    environment.filters.update(number=number_words, percent=percent_words)
    template = environment.from_string(files("sensorium.evaluation").joinpath("report.html.jinja").read_text("utf-8"))
    return template.render(title=title, about=about, parts=parts, names=model.schema.names, rows=evaluation.rows,
                           retrieval=retrieval_part(model, evaluation, album),
                           generated=generated_part(model, evaluation, album),
                           attribution=attribution_part(model, evaluation),
                           trust=trust_parts(model, evaluation, album), fusions=fusions_part(model),
                           learning=_learning(model), run=_run(model, evaluation), looks=plots.series_look,
                           dash_arrays=plots.DASH_ARRAYS)


def _target_part(model: Model, evaluation: Evaluation, target: Target, number: int, album: Album) -> dict[str, Any]:
    """Everything the page says about one target."""
    primary = primary_metric(target, balance=model.recipe.training.balance)
    found = next(score for score in evaluation.as_found if score.target == target.name)
    fusion = next((one for one in evaluation.fusion if one.target == target.name), None)
    baselines = [one for one in evaluation.baselines if one.target == target.name]
    labels = evaluation.samples.labels[target.name]
    kept = labels.mask[evaluation.chosen]
    truth: npt.NDArray[Any] = labels.values[evaluation.chosen][kept]
    predicted = evaluation.predicted[target.name][kept]
    classify = target.task == "classify"
    return {
        "target": target, "word": METRIC_WORDS[primary], "higher": HIGHER_IS_BETTER[primary], "found": found,
        "verdict": None if fusion is None else _verdict(fusion),
        "key_numbers": [_key_number(name, found.metrics[name]) for name in (primary, *KEY_METRICS[target.task])],
        "table": _table(model, evaluation, target.name, primary, found, baselines),
        "subset_finding": _subset_finding(evaluation, target.name, primary, model.schema.names),
        "worth": _worth(baselines, found, primary),
        "contributions": _contributions(evaluation.contributions.get(target.name, {}), classify=classify),
        "robustness": robustness_part(evaluation.robustness, model.schema, target=target.name, number=number),
        "information": information_part(evaluation.information, target=target.name),
        "confusion": _confusion(target, truth, predicted) if classify else None,
        "scatter": None if classify else _scatter(truth, predicted, found, number),
        "calibration": _calibration(truth, predicted, found, model.temperatures[target.name], number)
        if classify else None,
        "mistakes": worst_mistakes(model, evaluation, target, evaluation.chosen[kept], truth, predicted, album),
    }


# ---- the finding and the key numbers ----

def _verdict(fusion: Fusion) -> dict[str, str]:
    """The sentence in two parts, a sign beside it: the finding, and the numbers that prove it."""
    sentence = fusion.sentence.removeprefix(f"{fusion.target}: ")
    finding, _, numbers = sentence.partition(f": {METRIC_WORDS[fusion.metric]} ")
    low, high = fusion.difference.low, fusion.difference.high
    tone = "equal" if fusion.rows < FEWEST else "better" if low > 0 else "worse" if high < 0 else "equal"
    return {"finding": finding[:1].upper() + finding[1:], "tone": tone,
            "sign": {"better": "▲", "worse": "▼", "equal": "≈"}[tone],
            "numbers": f"{fusion.target}: {METRIC_WORDS[fusion.metric]} {numbers}" if numbers else ""}


def _key_number(name: str, value: Estimate) -> dict[str, str]:
    words = percent_words if name in SHARES else number_words
    spread = f"{words(value.low)} to {words(value.high)}" if np.isfinite([value.low, value.high]).all() else "unknown"
    return {"value": words(value.value), "label": KEY_WORDS.get(name, METRIC_WORDS[name]),
            "detail": f"95 % interval {spread}"}


# ---- subsets and baselines ----

def _table(
    model: Model, evaluation: Evaluation, target: str, primary: str, found: Score, baselines: Sequence[Baseline],
) -> dict[str, Any]:
    """The lines of subsets, the data as found and the baselines, on one scale."""
    names = model.schema.names
    scores = [score for score in evaluation.subsets if score.target == target]
    shown = _most_telling(scores, len(names))
    metrics = [primary, *(name for name in found.metrics if name != primary)]
    estimates = [one.metrics[primary] for one in (*shown, found)] + [one.metrics[primary] for one in baselines]
    axis = Axis([number for one in estimates for number in (one.value, one.low, one.high)])

    def line(label: str, note: str, marks: tuple[bool, ...] | None, one: Score | Baseline) -> Line:
        value = one.metrics[primary]
        dot = (axis.at(known(value.low, value.value)), axis.at(value.value), axis.at(known(value.high, value.value)))
        return Line(label, note, marks, one.rows, [one.metrics[name] for name in metrics],
                    dot if np.isfinite(value.value) else None)

    chance = next((one.metrics[primary].value for one in baselines if one.method == "training distribution"), None)
    return {
        "metrics": [METRIC_WORDS[name] for name in metrics], "ticks": axis.ticks(),
        "chance": None if chance is None else axis.at(chance), "left_out": len(scores) - len(shown),
        "subsets": [line(" + ".join(score.modalities), "", tuple(name in score.modalities for name in names), score)
                    for score in shown],
        "found": line("as found", "every row with whatever it has", None, found),
        "baselines": [line(one.method, f"on {one.features}" if one.features else "the same answer for every row", None,
                           one) for one in baselines],
    }


def _most_telling(scores: list[Score], num_modalities: int) -> list[Score]:
    """At most 40 scores, in their order: singles, leave-one-outs and the full set first, then what most rows have."""
    ranked = sorted(scores, key=lambda one: (1 < len(one.modalities) < num_modalities - 1, -one.rows))[:MOST_LINES]
    kept = {one.modalities for one in ranked}
    return [one for one in scores if one.modalities in kept]


def _subset_finding(evaluation: Evaluation, target: str, primary: str, names: tuple[str, ...]) -> str:
    """What the table of subsets says, in words."""
    sign = 1.0 if HIGHER_IS_BETTER[primary] else -1.0
    values = {one.modalities: one.metrics[primary].value for one in evaluation.subsets if one.target == target}
    word = METRIC_WORDS[primary]
    singles = sorted((s for s in values if len(s) == 1), key=lambda s: -sign * values[s])
    if len(names) == 1:
        return f"The model reads one modality, {names[0]}, so there is nothing to fuse."
    if not singles:
        return "No labelled row has any of the modalities, so that there is nothing to compare."
    best, worst = singles[0], singles[-1]
    said = f"Alone, {best[0]} tells most ({word} {number_words(values[best])})"
    said += f" and {worst[0]} least ({number_words(values[worst])})." if len(singles) > 1 else "."
    if names in values:
        said += f" {'Both' if len(names) == 2 else f'All {len(names)}'} together reach {number_words(values[names])}."
        rows = {one.modalities: one.rows for one in evaluation.subsets if one.target == target}
        without = {name: values[rest] for name in names  # on the very rows of the full set: others are no comparison
                   if rows.get(rest := tuple(other for other in names if other != name)) == rows[names]
                   and len(names) > 2}
        if without:
            missed = min(without, key=lambda name: sign * without[name])
            said += (f" Of the full set, {missed} would be missed most: without it the {word} goes to "
                     f"{number_words(without[missed])}." if sign * (values[names] - without[missed]) > 0
                     else " Of the full set, no single one would be missed: the others make up for it.")
    return said


def _worth(baselines: Sequence[Baseline], found: Score, primary: str) -> dict[str, str] | None:
    """Is deep fusion worth it? The best shallow model against the model on the same rows."""
    rivals = [one for one in baselines if np.isfinite(one.metrics[primary].value)]
    if not rivals:
        return None
    sign = 1.0 if HIGHER_IS_BETTER[primary] else -1.0
    best = max(rivals, key=lambda one: sign * one.metrics[primary].value)
    mine, theirs = found.metrics[primary], best.metrics[primary]
    apart = mine.low > theirs.high or theirs.low > mine.high
    ahead = sign * (mine.value - theirs.value) > 0
    answer = ("Yes." if ahead and apart else "Probably, but the intervals overlap." if ahead
              else "No." if apart else "Not on these rows: the simpler model does at least as well.")
    said = (f"On the rows as found, the model has {METRIC_WORDS[primary]} {_spread(mine)}; the best shallow model, "
            f"{_baseline_words(best)}, has {_spread(theirs)}.")
    if best.features == "pooled tokens":
        said += " That one reads the deep model's own tokens, so it tests the fusion, not the encoders."
    if not ahead:
        said += (" Prefer the simpler one where one prediction from complete rows is all you need; more data or longer "
                 "training may change the picture.")
    return {"answer": answer, "said": said}


def _baseline_words(one: Baseline) -> str:
    return f"{one.method} on {one.features}" if one.features else f"{one.method} (the same answer for every row)"


# ---- contributions ----

def _contributions(shares: Mapping[str, Estimate], *, classify: bool) -> dict[str, Any] | None:
    """Shapley values as bars, and what they say; None where there is one modality or nothing to tell."""
    if len(shares) < 2:
        return None
    total = sum(value.value for value in shares.values())
    first, *others = sorted(shares, key=lambda name: -shares[name].value)
    unit = "bits" if classify else "of the variance"
    whole = (f"All modalities together tell {total:.2f} bits more about the true class than its frequency alone"
             if classify else f"All modalities together explain {percent_words(total)} of the variance that "
                              f"guessing the mean leaves")
    said = f"{whole}. Most of it comes from {first} ({signed(shares[first].value)})"
    if total <= 0:
        said = f"{whole}: on these rows the model is no better than that guess. The best of it is {first}"
    harmful = [name for name in others if shares[name].high < 0]
    said += f"; {' and '.join(harmful)} {'takes' if len(harmful) == 1 else 'take'} away." if harmful else "."
    axis = Axis([0.0, *(number for one in shares.values() for number in (one.value, one.low, one.high))])
    return {"said": said, "unit": unit, "bars": bars(shares, axis), "ticks": axis.ticks(), "zero": axis.at(0.0)}


# ---- errors ----

def _confusion(target: Target, truth: Rows, predicted: Floats) -> dict[str, Any]:
    """Counts of (true, predicted), as a matrix or, for many classes, as the pairs that are confused most."""
    guessed = predicted.argmax(axis=1)
    right = int((guessed == truth).sum())
    counts = Counter(zip(truth.tolist(), guessed.tolist(), strict=True))
    totals = Counter(truth.tolist())

    def word(code: int) -> str:
        return target.classes[code] if code >= 0 else "(a class unseen in training)"

    wrong = sorted(((count, pair) for pair, count in counts.items() if pair[0] != pair[1]), reverse=True)
    pairs = [(word(a), word(b), count, count / totals[a]) for count, (a, b) in wrong[:MOST_PAIRS]]
    said = f"{right:,} of {len(truth):,} rows are right ({percent_words(right / len(truth))})."
    if pairs:
        first, second, count, share = pairs[0]
        said += (f" The most frequent mistake: {first} taken for {second} ({_times(count)}, {percent_words(share)} of "
                 f"its rows).")
    lines = []
    if len(target.classes) <= MOST_CLASSES:
        codes = [*range(len(target.classes)), *([-1] if totals[-1] else [])]
        lines = [{"label": word(a), "total": totals[a],
                  "recall": counts[a, a] / totals[a] if totals[a] else float("nan"),
                  "cells": [(counts[a, b], counts[a, b] / max(1, totals[a]), a == b)
                            for b in range(len(target.classes))]} for a in codes]
    return {"said": said, "lines": lines, "classes": target.classes, "pairs": pairs}


def _scatter(truth: Floats, predicted: Floats, found: Score, number: int) -> dict[str, Any]:
    numbers = predicted[:, 0]
    errors = np.abs(numbers - truth)
    explained = found.metrics["r2"].value
    said = (f"Half of the predictions are within {number_words(float(np.median(errors)))} of the truth, nine in ten "
            f"within {number_words(float(np.quantile(errors, 0.9)))}.")
    if np.isfinite(explained):
        said += (f" The model explains {percent_words(explained)} of the variance (R²)." if explained > 0
                 else " It explains none of the variance: guessing the mean of these rows would do as well.")
    return {"said": said, "svg": Markup(plots.scatter(truth.astype(np.float64), numbers, prefix=f"scatter{number}")),
            "shown": min(len(truth), plots.MOST_POINTS), "rows": len(truth)}


def _calibration(
    truth: Rows, predicted: Floats, found: Score, temperature: float, number: int,
) -> dict[str, Any]:
    """Do probabilities mean what they say? In words, and as a reliability diagram."""
    confidence, right = predicted.max(axis=1), predicted.argmax(axis=1) == truth
    gap = float(confidence.mean() - right.mean())
    error = found.metrics["ece"]
    sure = ("about as sure as it should be" if abs(gap) < 0.01
            else f"too sure by {100 * gap:.1f} points" if gap > 0 else f"too modest by {-100 * gap:.1f} points")
    said = (f"On average the model is {percent_words(float(confidence.mean()))} sure of its answer and right in "
            f"{percent_words(float(right.mean()))} of the rows: {sure}. Level by level, stated and actual shares "
            f"differ by {100 * error.value:.1f} points on average (ECE {_spread(error)}).")
    return {"said": said, "temperature": temperature,
            "svg": Markup(plots.reliability(confidence, right, prefix=f"reliability{number}"))}


def _learning(model: Model) -> dict[str, Any] | None:
    """Learning curves, and what they say; None without a history."""
    history = model.history
    if not history:
        return None
    if not any(entry.get("validation_loss") for entry in history):  # a game alone has none
        history = [{**entry, "validation_loss": None} for entry in history]
    best_step = model.facts.get("best_step")
    best = next((entry for entry in history if entry.get("step") == best_step), None)
    epoch = None if best is None else float(best["epoch"])
    losses = [entry["validation_loss"] for entry in history if entry.get("validation_loss") is not None]
    said = f"Training made {model.facts.get('steps', history[-1].get('step', '?'))} steps in {len(history)} epochs."
    if model.painting() is not None:
        said += " No loss says how good pictures are: the last step was kept, whatever the validation loss."
    elif losses and best is not None:
        said += f" The validation loss was lowest after epoch {best['epoch']} (step {best_step}): that one was chosen."
        if best is history[-1] and len(history) > 1:
            said += " It was still falling at the end, so more epochs may help."
        elif len(losses) > 2 and losses[-1] > 1.1 * min(losses):
            said += " Afterwards it rose again: longer training would only learn the training rows by heart."
    elif not losses:
        said += " There were no validation rows to choose by."
    charts = []
    for number, target in enumerate(model.schema.targets):
        scored = {subset for entry in history for subset in entry.get("scores", {}).get(target.name, {})}
        subsets = [name for name in ("all", *model.schema.names) if name in scored]
        word = METRIC_WORDS["r2" if target.task == "regress" else
                            primary_metric(target, balance=model.recipe.training.balance)]
        if subsets:
            svg = plots.score_curves(history, target.name, subsets, epoch, word=word, prefix=f"scores{number}")
            charts.append({"title": f"{target.name}: validation {word}", "svg": Markup(svg),
                           "legend": ["all modalities" if name == "all" else f"{name} alone" for name in subsets],
                           "said": "A modality whose own line stays low is either uninformative or neglected."
                                   if len(subsets) > 1 else ""})
    for number, aligner in enumerate(model.aligning()):
        name, word = aligner.name, aligner.score_word
        pairs = sorted({pair for entry in history for pair in entry.get("scores", {}).get(name, {})})
        if pairs:
            svg = plots.score_curves(history, name, pairs[:MOST_CURVES], epoch, word=word, prefix=f"aligned{number}")
            charts.append({"title": f"{name}: validation {word}", "svg": Markup(svg), "legend": pairs[:MOST_CURVES],
                           "said": "How well each modality finds, or agrees with, each other one."})
    charts += writing_charts(model, epoch)
    alone = imbalance_part(model)
    if alone is not None:
        charts.append(alone)
        said = f"{said} {alone['finding']}".strip()
    return {"said": said, "loss": Markup(plots.loss_curves(history, epoch)), "charts": charts,
            "validated": bool(losses)}


def _run(model: Model, evaluation: Evaluation) -> dict[str, Any]:
    """The data and the run: what went in, what was missing, how it was trained."""
    samples, chosen, facts = evaluation.samples, evaluation.chosen, model.facts
    present = samples.presence[chosen].sum(axis=0).tolist()
    modalities = [{"name": modality.name, "kind": modality.kind.name, "present": count, "missing": len(chosen) - count,
                   "unreadable": len(samples.cells[modality.name].unreadable)}
                  for modality, count in zip(model.schema.modalities, present, strict=True)]
    gaps = [f"{one['name']} in {one['missing']:,}" for one in modalities if one["missing"]]
    said = (f"The scored rows lack {', '.join(gaps)} of {len(chosen):,} rows; what is absent is "
            f"{'never filled in' if model.imputer is None else 'imputed only where held-out rows said so'}."
            if gaps else "Every scored row has all modalities.")
    precision = {"no": "float32"}.get(str(facts.get("precision")), facts.get("precision"))
    told = {"parameters": f"{model.num_parameters():,}", "training table": model.recipe.source,
            "fusion": f"{model.recipe.model.fusion}, width {model.recipe.model.width}", "steps": facts.get("steps"),
            "chosen step": facts.get("best_step"), "ended because": facts.get("stopped"),
            "seconds": facts.get("seconds"), "device": facts.get("device"), "precision": precision}
    if "repeated" in facts:  # folds or seeds
        told[facts["repeated"]["what"]] = facts["repeated"]["sentence"]
    if facts.get("imputation") is not None:
        told["imputation"] = "; ".join(imputation_lines(facts["imputation"]))
    if "transfer" in facts:
        told["taken over from other runs"] = "; ".join(transfer_lines(facts["transfer"]))
    if "refit" in facts:
        told["refit"] = f"{facts['refit']['steps']} steps on {facts['refit']['rows']:,} training and validation rows"
    return {
        "said": said, "schema": model.schema.lines(), "splits": facts.get("rows", {}), "split_note": facts.get("split"),
        "modalities": modalities, "notes": evaluation.notes[:MOST_NOTES],
        "more_notes": max(0, len(evaluation.notes) - MOST_NOTES), "unreadable": samples.unreadable[:MOST_UNREADABLE],
        "num_unreadable": len(samples.unreadable), "recipe": model.recipe.to_yaml(),
        "facts": {name: value for name, value in told.items() if value not in (None, "")},
    }


# ---- small words ----

def _spread(value: Estimate) -> str:
    return f"{number_words(value.value)} ({number_words(value.low)} to {number_words(value.high)})"


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count:,} times"
