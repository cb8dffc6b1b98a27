"""Label conflicts: rows with the same inputs, or nearly, and different labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np

from sensorium.data.checks.findings import Example, Finding, counted
from sensorium.data.checks.joined import Joined
from sensorium.data.checks.repeats import has_own_cells
from sensorium.data.schema import Target

SHOWN = 6
MUCH = 0.25
REPEATED_TABLES = 0.2


def find_conflicts(joined: Joined) -> list[Finding]:
    """For each target, groups of rows that no model can tell apart and that are labelled differently.

    Pictures, sounds and texts decide alone where most rows have their own (numbers beside them may differ); else every
    modality must agree. Numbers conflict where they lie further apart than a quarter of the target's deviation.
    """
    samples = joined.sides[0].samples
    groups = _groups(joined)
    found = []
    for target in joined.schema.targets:
        labels = samples.labels[target.name]
        wrong = []
        for rows in groups:
            known = [row for row in rows if labels.mask[row]]
            values = labels.values[known]
            if len(known) > 1 and _disagree(target, values):
                wrong.append(known)
        if wrong:
            found.append(_finding(joined, target, labels.values, wrong, int(labels.mask.sum())))
    return found


def _groups(joined: Joined) -> list[list[int]]:
    """Rows of the inspected table with the same inputs."""
    own = [name for name, twins in joined.twins.items() if has_own_cells(twins, joined.num_rows)]
    names = [name for name in joined.schema.names if name in joined.twins] if own else list(joined.schema.names)
    by_key: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for row in range(joined.num_rows):
        key = tuple(joined.row_keys[name][row] for name in names)
        if any(key):
            by_key[key].append(row)
    return [rows for rows in by_key.values() if len(rows) > 1]


def _disagree(target: Target, values: Any) -> bool:
    if target.task == "classify":
        return len(np.unique(values)) > 1
    return float(values.max() - values.min()) > MUCH * target.std


def _finding(joined: Joined, target: Target, values: Any, groups: list[list[int]], labelled: int) -> Finding:
    """The finding with the best score that is still possible."""
    rows = sorted(row for group in groups for row in group)

    def word(row: int) -> str:
        return target.classes[int(values[row])] if target.task == "classify" else f"{values[row]:g}"

    example = groups[0]
    said = (f"{target.name}: {counted(len(rows), 'row')} in {counted(len(groups), 'group')} have the same inputs, or "
            f"nearly, and different labels")
    if target.task == "classify":
        lost = sum(len(group) - max(Counter(values[group].tolist()).values()) for group in groups)
        if lost >= 0.001 * labelled:
            said += f": no model can be right in more than {1 - lost / labelled:.1%} of the rows"
    said += f" (rows {example[0] + 1} and {_other(example, values) + 1}: {word(example[0])}, " \
            f"{word(_other(example, values))})."
    shown = next(iter(joined.twins), "")
    examples = tuple(Example(", ".join(f"row {row + 1}: {word(row)}" for row in group[:4]), shown,
                             joined.places(group[:4])) for group in groups[:SHOWN])
    natural = not joined.twins and len(rows) > REPEATED_TABLES * joined.num_rows
    return Finding("note" if natural else "serious" if len(rows) > 0.01 * labelled else "warning", "conflict", said,
                   "Correct the labels, or add the input that tells these rows apart." if not natural else
                   "The inputs do not decide the label; more columns would help.", len(rows), joined.places(rows),
                   examples)


def _other(group: list[int], values: Any) -> int:
    """The first row of the group whose label is not the first row's; of numbers, the one furthest from it."""
    return max(group, key=lambda row: (abs(values[row] - values[group[0]]) > 0, abs(values[row] - values[group[0]]),
                                       -row))
