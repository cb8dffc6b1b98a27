"""What pairs of modalities tell together: the report's part on the information decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sensorium.evaluation.information import Information
from sensorium.metrics.bootstrap import Estimate

MOST_FINDINGS = 3


def information_part(found: Sequence[Information], *, target: str) -> dict[str, Any] | None:
    """Findings and stacked bars for one target; None where nothing was decomposed."""
    mine = [one for one in found if one.target == target]
    if not mine:
        return None
    whole = max(sum(max(0.0, part.value) for part in _parts(one)) for one in mine) or 1.0
    lost = [value for one in mine for value in (one.parts.lost_a, one.parts.lost_b, one.parts.lost_ab)
            if value == value]
    return {
        "findings": [one.sentence.removeprefix(f"{target}: ") for one in _telling(mine)],
        "lines": [{"one": one, "bar": _stacked(_parts(one), whole),
                   "parts": [_words(part) for part in (*_parts(one), one.parts.information)]} for one in mine],
        "lost": max(lost, default=0.0), "unit": mine[0].parts.unit,
    }


def _telling(found: Sequence[Information]) -> list[Information]:
    """All of a few pairs; of many, those that share most, that differ most, and that tell most only together."""
    if len(found) <= MOST_FINDINGS:
        return list(found)
    chosen = [max(found, key=lambda one: one.parts.redundant.value),
              max(found, key=lambda one: max(one.parts.unique_a.value, one.parts.unique_b.value)),
              max(found, key=lambda one: one.parts.synergistic.value)]
    return [one for one in found if one in chosen]


def _words(part: Estimate) -> tuple[str, str]:
    """Bits, and their interval, with two decimals and a real minus sign."""
    value, low, high = (f"{round(number, 2) + 0.0:.2f}".replace("-", "−")
                        for number in (part.value, part.low, part.high))
    return value, f"{low} to {high}"


def _parts(one: Information) -> tuple[Estimate, ...]:
    """In the order in which they are drawn."""
    return one.parts.redundant, one.parts.unique_a, one.parts.unique_b, one.parts.synergistic


def _stacked(parts: Sequence[Estimate], whole: float) -> list[tuple[float, float]]:
    """(start, width) of each part in percent; what is below 0 has no width."""
    start, drawn = 0.0, []
    for part in parts:
        width = 100.0 * max(0.0, part.value) / whole
        drawn.append((round(start, 2), round(width, 2)))
        start += width
    return drawn
