"""The page of an inspection: every finding with the cells that show it; one self-contained HTML file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from sensorium.data.checks import Example, Finding, Place
from sensorium.data.checks.balance import class_counts
from sensorium.data.checks.findings import counted
from sensorium.data.checks.missing import missing_patterns, missing_things
from sensorium.data.inspect import Inspection
from sensorium.data.kinds.table import TableColumn, TableKind
from sensorium.data.notation import category_text, is_missing
from sensorium.data.schema import Target
from sensorium.evaluation.page import rendered

MEDIA_CHARACTERS = 4_000_000
MOST_CLASSES, MOST_CATEGORIES, NUM_BARS = 40, 12, 24
MOST_UNREADABLE, MOST_COLUMNS = 50, 60
SAMPLED_ROWS = 8
MOST_EXAMPLES, MOST_SHOWN = 4, 4
TONES = {"serious": "worse", "warning": "equal", "note": ""}
SIGNS = {"serious": "✕", "warning": "!", "note": "·"}


@dataclass(frozen=True)
class Shown:
    """A cell on the page: its row in words, and how a person looks at it."""

    row: str
    html: Markup


def write_inspection(found: Inspection) -> str:
    """One HTML file with everything an inspection found; it needs no network.

    Args:
        found: from `inspect_table`.

    Returns:
        The page, with at most 4 million characters of media in it.

    Example: Path("inspect.html").write_text(write_inspection(inspect_table(data)), encoding="utf-8")
    """
    shelf = _Shelf(found)
    counts = Counter(finding.severity for finding in found.findings)
    parts = list(zip(found.joined.part_names, _part_sizes(found), strict=True))
    return rendered(
        "inspection.html.jinja", name=found.names[0], source=found.data.table.source, against=found.names[1:],
        rows=len(found.samples), parts=parts, verdict=_verdict(found, counts), counts=counts, signs=SIGNS,
        findings=[_finding(found, finding, shelf) for finding in found.findings],
        modalities=_modalities(found), ignored=found.samples.schema.ignored, notes=found.samples.notes,
        columns=[_column(found, column) for column in _table_columns(found)[:MOST_COLUMNS]],
        targets=[_target(found, target) for target in found.samples.schema.targets],
        patterns=missing_patterns(missing_things(found.data.table, found.samples),
                                  len(found.samples)),
        sampled=_sampled(found, shelf), unreadable=found.samples.unreadable[:MOST_UNREADABLE],
        num_unreadable=len(found.samples.unreadable))


def _part_sizes(found: Inspection) -> list[int]:
    return [int((found.joined.parts == part).sum()) for part in range(len(found.joined.part_names))]


class _Shelf:
    """Shows cells of either table until the page's budget of characters is spent; a cell's second showing is free."""

    def __init__(self, found: Inspection) -> None:
        self._found, self._left = found, MEDIA_CHARACTERS

    def show(self, place: Place, modality: str) -> Shown:
        """A row's cells of one modality."""
        side = self._found.joined.sides[place.side]
        cells = side.samples.cells[modality]
        numbers = [number for number in cells.cells_of_row[place.row].tolist() if number >= 0]
        html = "".join(cells.kind.show(array) for array in cells.arrays.get(numbers))
        if len(html) > self._left:
            html = '<p class="quiet">not shown: it would make this page too large</p>'
        self._left -= len(html)
        return Shown(self.row(place), Markup(html or '<p class="quiet">absent</p>'))

    def row(self, place: Place) -> str:
        """The row in words."""
        of = f" of {self._found.names[place.side]}" if len(self._found.names) > 1 else ""
        return f"row {place.row + 1:,}{of}"


def _verdict(found: Inspection, counts: Counter[Any]) -> dict[str, str]:
    """What matters most, in a sentence."""
    if counts["serious"]:
        return {"tone": "worse", "sign": "✕", "said": f"{counted(counts['serious'], 'serious finding')}: scores on "
                f"this data would not mean what they say.", "proof": found.findings[0].said}
    if counts["warning"]:
        return {"tone": "equal", "sign": "!", "said": f"Nothing serious, but {counted(counts['warning'], 'thing')} to "
                f"look at.", "proof": found.findings[0].said}
    return {"tone": "better", "sign": "✓", "said": "Nothing to find fault with.",
            "proof": f"{counted(counts['note'], 'note')} below." if counts["note"] else ""}


def _finding(found: Inspection, finding: Finding, shelf: _Shelf) -> dict[str, Any]:
    """A finding with its examples, each a line of cells side by side."""
    shown = []
    for example in finding.examples[:MOST_EXAMPLES]:
        shown.append({"caption": example.caption, "cells": _cells(example, shelf)})
    return {"severity": finding.severity, "tone": TONES[finding.severity], "topic": finding.topic, "said": finding.said,
            "where": finding.where(found.names, most=12), "advice": finding.advice,
            "examples": [one for one in shown if one["cells"]]}


def _cells(example: Example, shelf: _Shelf) -> list[Shown]:
    if not example.modality:
        return []
    return [shelf.show(place, example.modality) for place in example.places[:MOST_SHOWN]]


def _modalities(found: Inspection) -> list[dict[str, Any]]:
    samples = found.samples
    return [{"name": m.name, "kind": m.kind.name, "reason": m.reason,
             "present": int(samples.presence[:, place].sum()), "missing": int((~samples.presence[:, place]).sum()),
             "unreadable": len(samples.cells[m.name].unreadable), "different": _num_different(found, m.name)}
            for place, m in enumerate(samples.schema.modalities)]


def _num_different(found: Inspection, name: str) -> int:
    keys = found.joined.content_keys[name][: len(found.samples)]
    return len({key for key in keys if key})


# ---- columns and classes ----

def _table_columns(found: Inspection) -> list[TableColumn]:
    return [column for modality in found.samples.schema.modalities if isinstance(modality.kind, TableKind)
            for column in modality.kind.columns]


def _column(found: Inspection, column: TableColumn) -> dict[str, Any]:
    """A column's distribution: bars of equal width for numbers and dates, the most frequent for categories."""
    values = found.data.table.frame[column.name]
    if column.type == "category":
        counts = Counter(category_text(value) for value in values.to_list() if not is_missing(value))
        top = counts.most_common(MOST_CATEGORIES)
        highest = max([1, *(count for _, count in top)])
        return {"name": column.name, "type": "category", "known": counts.total(), "rows": len(values),
                "said": counted(len(counts), "category", "categories"), "histogram": None,
                "top": [(word, count, 100 * count / highest) for word, count in top], "more": len(counts) - len(top)}
    numbers = column.parse_all(values).numbers
    known = numbers[np.isfinite(numbers)]
    readable = column.model_copy(update={"mean": 0.0, "std": 1.0}).readable
    said = "no value" if len(known) == 0 else (
        f"{readable(float(known.min()))} to {readable(float(known.max()))}, median {readable(float(np.median(known)))}")
    return {"name": column.name, "type": column.type, "known": len(known), "rows": len(values), "said": said,
            "histogram": _histogram(known), "top": [], "more": 0}


def _histogram(numbers: npt.NDArray[np.float64]) -> Markup | None:
    """Bars of counts, drawn in the page's colours."""
    if len(np.unique(numbers)) < 2:
        return None
    counts, _ = np.histogram(numbers, bins=NUM_BARS)
    tops = 34 * counts / counts.max()
    bars = "".join(f'<rect x="{5 * place}" y="{36 - max(top, 0.8):.1f}" width="4.4" height="{max(top, 0.8):.1f}"/>'
                   for place, top in enumerate(tops.tolist()) if counts[place])
    return Markup(f'<svg class="wave" viewBox="0 0 {5 * NUM_BARS} 36" preserveAspectRatio="none" role="img" '
                  f'aria-label="histogram">{bars}</svg>')


def _target(found: Inspection, target: Target) -> dict[str, Any]:
    """A target's classes with their rows in every part, the most frequent first; a histogram of numbers."""
    labels = found.samples.labels[target.name]
    lacking = int((~labels.mask).sum())
    if target.task == "regress":
        numbers = np.asarray(labels.values[labels.mask], dtype=np.float64)
        said = f"A number from {numbers.min():g} to {numbers.max():g}, median {np.median(numbers):g}."
        return {"name": target.name, "said": said, "lacking": lacking, "classes": [], "more": 0,
                "histogram": _histogram(numbers)}
    counts = class_counts(found.joined, target)
    ordered = sorted(counts.items(), key=lambda item: -sum(item[1]))
    totals = np.maximum(np.array(list(counts.values())).sum(axis=0), 1)
    widest = max(count / total for _, by_part in ordered for count, total in zip(by_part, totals, strict=True)) or 1.0
    lines = [{"word": word, "parts": [(count, count / int(total), 100 * count / int(total) / widest)
                                      for count, total in zip(by_part, totals.tolist(), strict=True)]}
             for word, by_part in ordered[:MOST_CLASSES]]
    said = f"{counted(len(target.classes), 'class', 'classes')}; guessing {ordered[0][0]!r} is right in " \
           f"{sum(ordered[0][1]) / int(totals.sum()):.0%} of the rows."
    return {"name": target.name, "said": said, "lacking": lacking, "classes": lines, "histogram": None,
            "more": len(ordered) - len(lines)}


def _sampled(found: Inspection, shelf: _Shelf) -> list[dict[str, Any]]:
    """Some rows as they are read, one of each class first where there are classes."""
    rows = _chosen_rows(found)
    targets = found.samples.schema.targets
    cards = []
    for row in rows:
        labels = [(t.name, str(found.data.table.frame[t.name][row])) for t in targets]
        media = [(name, shelf.show(Place(0, row), name).html)
                 for place, name in enumerate(found.samples.schema.names) if found.samples.presence[row, place]]
        absent = [name for place, name in enumerate(found.samples.schema.names)
                  if not found.samples.presence[row, place]]
        cards.append({"row": row + 1, "labels": labels, "media": media, "absent": absent})
    return cards


def _chosen_rows(found: Inspection) -> list[int]:
    """Evenly spread rows; the first of each of the most frequent classes of the first target, where it has classes."""
    count = len(found.samples)
    spread: list[int] = np.unique(np.linspace(0, count - 1, min(SAMPLED_ROWS, count)).astype(int)).tolist()
    targets = found.samples.schema.targets
    if not targets or targets[0].task == "regress":
        return spread
    labels = found.samples.labels[targets[0].name]
    codes, first, often = np.unique(np.where(labels.mask, labels.values, -1), return_index=True, return_counts=True)
    order = [place for place in np.argsort(-often, kind="stable").tolist() if codes[place] >= 0]
    firsts = [int(first[place]) for place in order[:SAMPLED_ROWS]]
    return sorted({*firsts, *[row for row in spread if row not in firsts][: SAMPLED_ROWS - len(firsts)]})
