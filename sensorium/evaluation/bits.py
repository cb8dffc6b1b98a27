"""What pairs of modalities tell together: the report's part on the information decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sensorium.evaluation.information import Information
from sensorium.metrics.bootstrap import Estimate


def information_part(found: Sequence[Information], *, target: str) -> dict[str, Any] | None:
    """Findings and stacked bars for one target; None where nothing was decomposed."""
    mine = [one for one in found if one.target == target]
    if not mine:
        return None
    whole = max(sum(max(0.0, part.value) for part in _parts(one)) for one in mine) or 1.0
    lost = [value for one in mine for value in (one.parts.lost_a, one.parts.lost_b, one.parts.lost_ab)
            if value == value]
    return {
        "findings": [one.sentence.removeprefix(f"{target}: ") for one in mine],
        "lines": [{"one": one, "parts": _parts(one), "bar": _stacked(_parts(one), whole)} for one in mine],
        "lost": max(lost, default=0.0), "unit": mine[0].parts.unit,
    }


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
