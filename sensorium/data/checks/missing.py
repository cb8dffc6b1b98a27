"""What cannot be read, what is missing, what is missing together, and whether that says something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.cells import column_of
from sensorium.data.checks.findings import Finding, counted
from sensorium.data.checks.joined import Joined
from sensorium.data.kinds import TableKind
from sensorium.data.notation import is_missing
from sensorium.data.samples import Samples
from sensorium.data.table import Table

MANY, SURE, LEAST_ROWS = 0.05, 5.0, 5
LIFT, APART = 1.5, 0.1


@dataclass(frozen=True)
class Pattern:
    """Rows that lack the same things.

    Args:
        missing: what they lack: modalities, and columns of tables.
        rows: how many there are.
        expected: how many there would be if each thing were missing on its own.
    """

    missing: tuple[str, ...]
    rows: int
    expected: float


def missing_things(table: Table, samples: Samples) -> dict[str, npt.NDArray[np.bool_]]:
    """modality, or a table's column → (row,) True where it is missing; only what is missing somewhere."""
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for place, modality in enumerate(samples.schema.modalities):
        if not isinstance(modality.kind, TableKind):
            found[modality.name] = ~samples.presence[:, place]
            continue
        for column in modality.kind.columns:
            values = column_of(table, column.name)
            if values is None:
                found[column.name] = np.ones(len(samples), dtype=bool)
            elif column.type == "category":  # one that training lacks is not missing
                found[column.name] = np.array([is_missing(value) for value in values.to_list()], dtype=bool)
            else:
                found[column.name] = np.isnan(column.parse_all(values).numbers)
    return {name: lacking for name, lacking in found.items() if lacking.any()}


def missing_patterns(things: Mapping[str, npt.NDArray[np.bool_]], num_rows: int, most: int = 20) -> list[Pattern]:
    """The most frequent patterns, complete rows among them, with what independence would give."""
    if not things:
        return []
    names = list(things)
    table = np.stack(list(things.values()), axis=1)
    shares = table.mean(axis=0)
    distinct, counts = np.unique(table, axis=0, return_counts=True)
    found = []
    for pattern, rows in zip(distinct, counts.tolist(), strict=True):
        expected = num_rows * float(np.prod(np.where(pattern, shares, 1.0 - shares)))
        found.append(Pattern(tuple(name for name, gone in zip(names, pattern.tolist(), strict=True) if gone), rows,
                             expected))
    return sorted(found, key=lambda pattern: -pattern.rows)[:most]


def find_missing(joined: Joined) -> list[Finding]:
    """Unreadable cells, rows without any input, things that are missing together, or by label, or by part."""
    samples = joined.sides[0].samples
    things = missing_things(joined.sides[0].table, samples)
    found = _unreadable(joined)
    nothing = np.flatnonzero(~samples.presence.any(axis=1)).tolist()
    if nothing:
        found.append(Finding("warning", "missing", f"{counted(len(nothing), 'row')} "
                             f"{'has' if len(nothing) == 1 else 'have'} no readable input at all.",
                             "Training drops them; look where the data went.", len(nothing), joined.places(nothing)))
    found += _together(things, len(samples))
    found += _by_label(things, samples)
    found += _by_part(joined)
    return found


def _unreadable(joined: Joined) -> list[Finding]:
    """By column, with the most frequent reason."""
    samples = joined.sides[0].samples
    columns = Counter(cell.column for cell in samples.unreadable)
    found = []
    for column, count in columns.items():
        cells = [cell for cell in samples.unreadable if cell.column == column]
        reasons = Counter(cell.reason for cell in cells)
        reason, often = reasons.most_common(1)[0]
        others = f" ({often} of them) and {counted(len(reasons) - 1, 'other reason')}" if len(reasons) > 1 else ""
        rows = sorted({cell.row - 1 for cell in cells})
        found.append(Finding(
            "serious" if count > MANY * len(samples) else "warning", "unreadable",
            f"{column}: {counted(count, 'cell')} cannot be read: {reason}{others}.",
            "Mend the files or the paths; --fix blanks these cells. They count as missing.", count,
            joined.places(rows)))
    return found


def _together(things: Mapping[str, npt.NDArray[np.bool_]], num_rows: int) -> list[Finding]:
    """Pairs that are missing together far more, or far less, often than chance would have it."""
    found = []
    for (one, first), (other, second) in combinations(list(things.items())[:40], 2):
        both, expected = int((first & second).sum()), float(first.sum()) * float(second.sum()) / num_rows
        spread = (expected * (1 - first.mean()) * (1 - second.mean())) ** 0.5
        if spread == 0 or abs(both - expected) < SURE * max(spread, 1.0):
            continue
        if both >= LIFT * expected:
            always = " (always)" if both == int(first.sum()) == int(second.sum()) else ""
            said = f"{one} and {other} are missing together in {counted(both, 'row')}{always}; {expected:,.0f} would " \
                   f"be expected by chance."
        elif both <= expected / LIFT:
            said = f"{one} and {other} are missing together in only {counted(both, 'row')}; {expected:,.0f} would be " \
                   f"expected by chance."
        else:
            continue
        found.append(Finding("note", "missing", said, "Rows with one but not the other are few: scores of such "
                             "subsets rest on little." if both > expected else
                             "They stand in for each other: expect rows with only one of them.", both))
    return found


def _by_label(things: Mapping[str, npt.NDArray[np.bool_]], samples: Samples) -> list[Finding]:
    """Things that are missing more often in one class than in another: absence would give the label away."""
    found = []
    for target in samples.schema.targets:
        if target.task != "classify":
            continue
        labels = samples.labels[target.name]
        for name, lacking in things.items():
            rates = {}
            for code, word in enumerate(target.classes):
                rows = labels.mask & (labels.values == code)
                if int(rows.sum()) >= 4 * LEAST_ROWS:
                    rates[word] = (float(lacking[rows].mean()), int(rows.sum()))
            if len(rates) < 2:
                continue
            high, low = max(rates, key=lambda w: rates[w][0]), min(rates, key=lambda w: rates[w][0])
            if _differ(*rates[high], *rates[low], among=len(rates)):
                found.append(Finding(
                    "warning", "missing", f"{name} is missing in {rates[high][0]:.0%} of the rows of {target.name} "
                    f"{high!r} and in {rates[low][0]:.0%} of {low!r}: that it is missing tells the label.",
                    "If that is how the data was collected and not how it will be used, scores will be too good.",
                    int(lacking.sum())))
    return found


def _by_part(joined: Joined) -> list[Finding]:
    """Things that one part lacks much more often than another."""
    if len(joined.part_names) < 2:
        return []
    found = []
    by_side: list[dict[str, Any]] = [missing_things(side.table, side.samples) for side in joined.sides]
    for name in dict.fromkeys(name for things in by_side for name in things):
        lacking = np.concatenate([things.get(name, np.zeros(len(side.samples), dtype=bool))
                                  for things, side in zip(by_side, joined.sides, strict=True)])
        rates = [(float(lacking[joined.parts == part].mean()), int((joined.parts == part).sum()))
                 for part in range(len(joined.part_names))]
        high, low = max(range(len(rates)), key=lambda p: rates[p][0]), min(range(len(rates)), key=lambda p: rates[p][0])
        if _differ(*rates[high], *rates[low], among=len(rates)):
            found.append(Finding("warning", "missing", f"{name} is missing in {rates[high][0]:.0%} of the rows of "
                                 f"{joined.part_names[high]} and in {rates[low][0]:.0%} of {joined.part_names[low]}.",
                                 "The parts were not made alike; scores of one do not speak for the other.",
                                 int(lacking.sum())))
    return found


def _differ(high: float, many: int, low: float, few: int, *, among: int) -> bool:
    """Whether two shares differ by a tenth and five standard errors, which no choice of the extremes explains."""
    pooled = (high * many + low * few) / (many + few)
    error = (pooled * (1 - pooled) * (1 / many + 1 / few)) ** 0.5
    return high - low >= APART and high - low > (SURE + 0.1 * among**0.5) * error
