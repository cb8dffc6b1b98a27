"""Leakage between splits or tables: what one part has in common with another that should be new to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.checks.findings import Example, Finding, Place, counted
from sensorium.data.checks.joined import Joined
from sensorium.data.checks.repeats import has_own_cells
from sensorium.data.checks.suspicious import NOUNS
from sensorium.data.checks.twins import Twins
from sensorium.data.infer import target_is_missing

SHOWN = 6
FREQUENT_IDS = 0.5


def find_overlap(joined: Joined) -> list[Finding]:
    """Every later part against every earlier one: cells, whole rows, groups and ids that both have."""
    found = []
    for later in range(1, len(joined.part_names)):
        for earlier in range(later):
            found += _between(joined, earlier, later)
    return found


def shared_rows(joined: Joined, name: str, earlier: int, later: int) -> tuple[dict[int, int], dict[int, int]]:
    """Rows of a later part → a row of an earlier part with the same cell; and with one that is only nearly the same."""
    twins = joined.twins[name]
    contents = twins.contents
    owner = _owners(contents, joined.parts == earlier, len(twins.same))
    near: dict[int, int] = {}
    for first, second in zip(twins.pairs.first.tolist(), twins.pairs.second.tolist(), strict=True):
        for one, other in ((first, second), (second, first)):
            if owner[one] >= 0:
                near.setdefault(other, int(owner[one]))
    exact_rows, near_rows = {}, {}
    for row in np.flatnonzero(joined.parts == later).tolist():
        cells = [cell for cell in contents[row].tolist() if cell >= 0]
        same = next((int(owner[cell]) for cell in cells if owner[cell] >= 0), None)
        alike = next((near[cell] for cell in cells if cell in near), None)
        if same is not None:
            exact_rows[row] = same
        elif alike is not None:
            near_rows[row] = alike
    return exact_rows, near_rows


def _owners(contents: npt.NDArray[np.int64], which: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.int64]:
    """(cell,) the first of these rows that holds each content, −1 = none."""
    owner = np.full(count, -1, dtype=np.int64)
    rows, slots = np.nonzero((contents >= 0) & which[:, None])
    owner[contents[rows, slots][::-1]] = rows[::-1]
    return owner


def tells_rows_apart(joined: Joined, twins: Twins) -> bool:
    """Whether a cell in two parts is a leak: always for media; for texts where most rows have their own."""
    return twins.kind.name != "text" or has_own_cells(twins, joined.num_rows)


def _between(joined: Joined, earlier: int, later: int) -> list[Finding]:
    found: list[Finding] = []
    number = int((joined.parts == later).sum())
    names = joined.part_names[earlier], joined.part_names[later]
    for name, twins in joined.twins.items():
        exact, near = shared_rows(joined, name, earlier, later)
        both = {**exact, **near}
        if not both:
            continue
        noun = NOUNS[twins.kind.name]
        if not tells_rows_apart(joined, twins):
            if len(exact) > FREQUENT_IDS * number:
                found.append(Finding("note", "leakage", f"{name}: {len(exact) / number:.0%} of the rows of {names[1]} "
                                     f"have a text that {names[0]} has too; texts repeat by nature here.",
                                     "No harm, unless new texts are what the model is for.", 0))
            continue
        shown = _spread(exact, near, joined.content_keys[name])
        examples = tuple(Example(f"{names[0]} and {names[1]}, {'the same' if row in exact else 'nearly the same'}",
                                 name, joined.places([other, row])) for row, other in shown)
        found.append(Finding(
            "serious" if exact or len(near) > 0.01 * number else "warning", "leakage",
            f"{name}: {counted(len(both), 'row')} of {names[1]} ({len(both) / number:.1%}) "
            f"{'has' if len(both) == 1 else 'have'} a {noun[0]} that {names[0]} has too ({len(exact):,} the same, "
            f"{len(near):,} nearly).",
            _remedy(joined, later),
            len(both), joined.places(sorted({*both, *both.values()})), examples))
    told = {place for finding in found for place in finding.places}
    found += _whole_rows(joined, earlier, later, told)
    return found + _shared_values(joined, earlier, later)


def _spread(exact: dict[int, int], near: dict[int, int], keys: list[tuple[int, ...]]) -> list[tuple[int, int]]:
    """Some of both, no two that would show the same."""
    half = SHOWN // 2
    first, second = ({(keys[row], keys[other]): (row, other) for row, other in found.items()}
                     for found in (exact, near))
    return [*list(first.values())[: max(half, SHOWN - len(second))],
            *list(second.values())[: max(half, SHOWN - len(first))]]


def whole_rows(joined: Joined, earlier: int, later: int, *, near: bool) -> tuple[dict[int, int], bool]:
    """Rows of a later part → a row of an earlier part with the same inputs; whether inputs repeat by nature there.

    They do where the earlier part itself has fewer than half as many different inputs as rows: a few categories.
    """
    keys = joined.row_keys if near else joined.content_keys
    whole = list(zip(*(keys[name] for name in joined.schema.names), strict=True))
    known: dict[tuple[Any, ...], int] = {}
    rows = np.flatnonzero(joined.parts == earlier).tolist()
    for row in rows:
        known.setdefault(whole[row], row)
    found = {row: known[whole[row]] for row in np.flatnonzero(joined.parts == later).tolist()
             if whole[row] in known and any(whole[row])}
    return found, len(known) < 0.5 * len(rows)


def _whole_rows(joined: Joined, earlier: int, later: int, told: set[Place]) -> list[Finding]:
    """Rows with the inputs of a row of the earlier part, but for those that were told already."""
    shared, natural = whole_rows(joined, earlier, later, near=True)
    rows = {row: other for row, other in shared.items() if not told.issuperset(joined.places([row]))}
    if not rows:
        return []
    number = int((joined.parts == later).sum())
    return [Finding("note" if natural else "serious", "leakage",
                    f"{counted(len(rows), 'row')} of {joined.part_names[later]} ({len(rows) / number:.1%}) "
                    f"{'has' if len(rows) == 1 else 'have'} the same inputs as a row of {joined.part_names[earlier]}.",
                    "Inputs repeat by nature here: no harm, unless new ones are what the model is for." if natural else
                    _remedy(joined, later), len(rows), joined.places(sorted({*rows, *rows.values()})),
                    tuple(Example("the same inputs", next(iter(joined.twins), ""), joined.places([other, row]))
                          for row, other in list(rows.items())[:SHOWN]))]


def _remedy(joined: Joined, later: int) -> str:
    """How to get rid of what two parts share."""
    if len(joined.sides) > 1:
        return "Remove them from one of the two: --fix does from the table named first (--near: the nearly same too)."
    return f"Remove them from {joined.part_names[later]}: --fix does (--near: the nearly same too)."


def _shared_values(joined: Joined, earlier: int, later: int) -> list[Finding]:
    """Groups, and ids that are told by name, which both parts have."""
    schema = joined.schema
    found = []
    ids = [column for column, reason in schema.ignored.items() if reason.startswith(("an id", "single words, nearly"))]
    for column in [*filter(None, [schema.group]), *ids]:
        rows, values = _both_have(joined.column(column), joined.parts, earlier, later)
        if not rows:
            continue
        grouped = column == schema.group
        if not grouped and _counts_rows(joined.column(column), joined.parts, earlier):
            continue
        found.append(Finding(
            "serious" if grouped else "warning", "leakage",
            f"{column}: {counted(len(values), 'group' if grouped else 'id')} "
            f"({', '.join(map(repr, values[:4]))}{' …' if len(values) > 4 else ''}) in both "
            f"{joined.part_names[earlier]} and {joined.part_names[later]}, {counted(len(rows), 'row')} of the latter.",
            "Put all rows of a group into one part: scores are otherwise those of known groups." if grouped else
            "Look whether they are the same cases.", len(rows), joined.places(rows)))
    return found


def _counts_rows(column: Sequence[Any], parts: npt.NDArray[np.int64], part: int) -> bool:
    """Whether the ids are consecutive numbers, which every table has of its own."""
    mine = [str(value).strip() for value, own in zip(column, (parts == part).tolist(), strict=True)
            if own and not target_is_missing(value)]
    if not all(value.isdigit() for value in mine):
        return False
    numbers = sorted(map(int, mine))
    return bool(numbers) and numbers[-1] - numbers[0] == len(numbers) - 1


def _both_have(
    column: Sequence[Any], parts: npt.NDArray[np.int64], earlier: int, later: int,
) -> tuple[list[int], list[str]]:
    """Rows of the later part whose value the earlier part has, and these values."""
    by_part: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, (value, part) in enumerate(zip(column, parts.tolist(), strict=True)):
        if not target_is_missing(value):
            by_part[part][str(value).strip()].append(row)
    values = [value for value in by_part[later] if value in by_part[earlier]]
    return sorted(row for value in values for row in by_part[later][value]), values
