"""When a modality gets worse: the report's part on robustness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from sensorium.data.schema import Schema
from sensorium.evaluation import plots
from sensorium.evaluation.plots import known
from sensorium.evaluation.robustness import Robustness
from sensorium.evaluation.scores import METRIC_WORDS
from sensorium.metrics.robustness import Curve

MOST_CURVES = 6
DAMAGE = {
    "image": "fades into noise", "video": "fades into noise", "audio": "white noise, as loud as the sound at 0.5",
    "series": "noise, as strong as the readings at 0.5", "text": "this share of the words is hidden",
    "table": "this share of the values is replaced by random ones", "points": "this share of the points is elsewhere",
}


def robustness_part(found: Sequence[Robustness], schema: Schema, *, target: str, number: int) -> dict[str, Any] | None:
    """Findings, two charts and a table for one target; None where nothing was read.

    Args:
        found: of all targets.
        schema: the model's, for what damage means for each kind.
        target: the target's name.
        number: its place, to tell the charts' ids apart.
    """
    mine = [one for one in found if one.target == target]
    if not mine:
        return None
    shown = sorted(mine, key=_width, reverse=True)[:MOST_CURVES]
    shown = [one for one in mine if one in shown]
    word = METRIC_WORDS[mine[0].metric]
    limits = _limits([curve for one in shown for curve in (one.severity, one.missing)])

    def chart(curves: Sequence[Curve], xlabel: str, levels: Sequence[float], name: str) -> Markup:
        label = f"{word} against {xlabel}, a line for each modality"
        return Markup(plots.bands(curves, xlabel=xlabel, word=word, limits=limits, levels=levels, label=label,
                                  prefix=f"{name}{number}"))

    return {
        "findings": [f"{one.sentence.removeprefix(f'{target}: ')} {one.late_sentence}".strip()
                     for one in sorted(mine, key=lambda one: not one.harmful)[:MOST_CURVES]],
        "word": word,
        "names": [one.modality for one in shown], "left_out": len(mine) - len(shown),
        "severity": chart([one.severity for one in shown], "severity", [one.without.value for one in shown], "damaged"),
        "missing": chart([one.missing for one in shown], "share of rows without it", [], "missing"),
        "lines": mine,
        "damage": "; ".join(f"{one.modality}: {DAMAGE[schema.modality(one.modality).kind.name]}" for one in mine),
        "late": mine[0].late_severity is not None, "rows": max(one.rows for one in mine),
        "middle": len(mine[0].severity.scores) // 2,
        "middle_at": mine[0].severity.severities[len(mine[0].severity.scores) // 2],
    }


def _width(one: Robustness) -> float:
    """How much there is to see: the largest change of either curve."""
    values = [known(score.value, 0.0) for curve in (one.severity, one.missing) for score in curve.scores]
    return max(values) - min(values)


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """One range for both charts."""
    values = [number for curve in curves for score in curve.scores for number in (score.value, score.low, score.high)
              if number == number] or [0.0, 1.0]
    margin = 0.06 * ((max(values) - min(values)) or 1.0)
    return min(values) - margin, max(values) + margin

