"""An evaluation in a terminal: a table of subsets, the finding, the baselines."""

from __future__ import annotations

from sensorium.evaluation.evaluate import Evaluation
from sensorium.evaluation.generated import generated_lines
from sensorium.evaluation.retrieval import retrieval_lines
from sensorium.evaluation.scores import METRIC_WORDS
from sensorium.metrics.bootstrap import Estimate


def score_lines(evaluation: Evaluation) -> list[str]:
    """Markdown tables, one a target, with the findings under them."""
    lines: list[str] = []
    for target in dict.fromkeys(score.target for score in evaluation.subsets):
        scores = [score for score in evaluation.subsets if score.target == target]
        found = [score for score in evaluation.as_found if score.target == target]
        metrics = list(found[0].metrics)
        table = [[target, "rows", *(METRIC_WORDS[name] for name in metrics)]]
        table += [[" + ".join(s.modalities), f"{s.rows:,}", *(_shown(s.metrics[m]) for m in metrics)] for s in scores]
        table += [["as found", f"{s.rows:,}", *(_shown(s.metrics[m]) for m in metrics)] for s in found]
        table += [[f"{b.method}{', ' + b.features if b.features else ''}", f"{b.rows:,}",
                   *(_shown(b.metrics[m]) for m in metrics)] for b in evaluation.baselines if b.target == target]
        lines += ["", *aligned(table)]
    if evaluation.subsets:
        lines += ["", *(fusion.sentence for fusion in evaluation.fusion)]
    for target, by_name in evaluation.contributions.items():
        if len(by_name) > 1:
            unit = "bits" if "log_loss" in next(s for s in evaluation.subsets if s.target == target).metrics \
                else "of the variance"
            shares = (f"{name} {value.value:+.2f} ({value.low:+.2f} to {value.high:+.2f})"
                      for name, value in by_name.items())
            lines.append(f"{target}: contributions (Shapley, {unit}): {', '.join(shares)}")
    if evaluation.retrieval:
        lines += ["", *retrieval_lines(evaluation.retrieval)]
    lines += generated_lines(evaluation.generated)
    lines += ["", *looked] if (looked := evaluation.trust.lines()) else []
    lines += [*_information_lines(evaluation), *_robustness_lines(evaluation)]
    lines += evaluation.notes
    return lines


def _information_lines(evaluation: Evaluation) -> list[str]:
    """A table for each target: bits that pairs of modalities tell alike, alone and only together."""
    lines: list[str] = []
    for target in dict.fromkeys(one.target for one in evaluation.information):
        table = [[f"{target}: bits told by", "both alike", "the first only", "the second only", "only together"]]
        for one in evaluation.information:
            if one.target == target:
                parts = one.parts
                table.append([f"{one.modality_a}, {one.modality_b}", *(
                    _bits(value) for value in (parts.redundant, parts.unique_a, parts.unique_b, parts.synergistic))])
        lines += ["", *aligned(table)]
    return lines


def _bits(value: Estimate) -> str:
    """Two decimals, and no −0.00."""
    number, low, high = (f"{round(end, 2) + 0.0:.2f}" for end in (value.value, value.low, value.high))
    return f"{number} ({low} to {high})"


def _robustness_lines(evaluation: Evaluation) -> list[str]:
    """A table for each target: the score as each modality gets worse; under it, where it would better be ignored."""
    lines: list[str] = []
    for target in dict.fromkeys(one.target for one in evaluation.robustness):
        mine = [one for one in evaluation.robustness if one.target == target]
        grid = mine[0].severity.severities
        table = [[f"{target}: {METRIC_WORDS[mine[0].metric]} by damage", "rows", *(f"at {at:g}" for at in grid),
                  "without it", "area"]]
        table += [[one.modality, f"{one.rows:,}", *(_shown(score).partition(" ")[0] for score in one.severity.scores),
                   _shown(one.without), _shown(one.severity.area)] for one in mine]
        lines += ["", *aligned(table), *(one.sentence for one in mine if one.harmful)]
    return lines


def aligned(table: list[list[str]]) -> list[str]:
    """Rows of cells as lines of a Markdown table with equal columns."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in table]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _shown(value: Estimate) -> str:
    """A number with its interval: three decimals, or three digits where that would hide or drown it."""
    size = max(abs(number) for number in (value.value, value.low, value.high) if number == number) if (
        value.value == value.value) else 0.0
    form = ".3f" if size == 0 or 0.01 <= size < 10_000 else ".3g"
    return "—" if value.value != value.value else f"{value.value:{form}} ({value.low:{form}}–{value.high:{form}})"
