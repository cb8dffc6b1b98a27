"""What occurs twice in one table: rows, files of one content, pictures, sounds and texts that are nearly the same."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.checks.findings import Example, Finding, counted
from sensorium.data.checks.joined import Joined
from sensorium.data.checks.suspicious import NOUNS
from sensorium.data.checks.twins import OWN_SHARE, Twins

SHOWN = 6


def find_repeats(joined: Joined) -> list[Finding]:
    """Rows that repeat another, and cells that do where a row usually has a cell of its own."""
    repeats = repeated_rows(joined)
    found = _rows(joined, repeats)
    for name, twins in joined.twins.items():
        found += _contents(joined, name, twins, set(repeats))
        found += _near(joined, name, twins)
    return found


def repeated_rows(joined: Joined) -> dict[int, int]:
    """row → the first row of the inspected table that it repeats: the same inputs, the same in every other column.

    Cells of media count as the same where their contents are, whatever their files are called.
    """
    frame = joined.sides[0].table.frame
    schema = joined.schema
    media = {column for modality in schema.modalities if modality.name in joined.twins for column in modality.columns}
    keys: list[list[Any]] = [[] for _ in range(joined.num_rows)]
    for name in joined.twins:
        contents = joined.twins[name].contents[: joined.num_rows]
        for key, cells in zip(keys, contents.tolist(), strict=True):
            key.append(tuple(cells))
    unreadable = {(cell.row - 1, cell.column): cell.value for cell in joined.sides[0].samples.unreadable}
    for column in frame.columns:
        if column in media:
            for (row, where), value in unreadable.items():
                if where == column:
                    keys[row].append((column, value))
            continue
        for key, value in zip(keys, frame[column].to_list(), strict=True):
            key.append(value.strip() if isinstance(value, str) else value)
    first: dict[str, int] = {}
    found = {}
    for row, key in enumerate(keys):
        earlier = first.setdefault(repr(key), row)
        if earlier != row:
            found[row] = earlier
    return found


def has_own_cells(twins: Twins, num_rows: int) -> bool:
    """Whether most rows have a cell that no other row has, so that a cell says which row it is."""
    cells = twins.cells_of_row[:num_rows]
    used = cells[cells >= 0]
    return bool(len(used)) and len(np.unique(used)) >= OWN_SHARE * len(used)


def _rows(joined: Joined, repeats: dict[int, int]) -> list[Finding]:
    if not repeats:
        return []
    examples = tuple(
        Example(f"row {row + 1} repeats row {first + 1}", next(iter(joined.twins), ""), joined.places([first, row]))
        for row, first in list(repeats.items())[:SHOWN])
    return [Finding("warning", "duplicates",
                    f"{counted(len(repeats), 'row')} {'repeats' if len(repeats) == 1 else 'repeat'} an earlier row in "
                    f"every column.",
                    "Drop them (--fix does): they count twice in training and can fall into both halves of a split.",
                    len(repeats), joined.places(repeats), examples)]


def _contents(joined: Joined, name: str, twins: Twins, repeats: set[int]) -> list[Finding]:
    """Files of different names with one content; texts and files that several rows name where rows have their own."""
    cells = twins.cells_of_row[: joined.num_rows]
    copies: dict[int, set[int]] = defaultdict(set)
    for cell in np.unique(cells[cells >= 0]).tolist():
        copies[int(twins.same[cell])].add(cell)
    groups = [sorted(group) for group in copies.values() if len(group) > 1]
    found = []
    noun = NOUNS[twins.kind.name]
    if groups:
        rows = np.flatnonzero(np.isin(cells, [cell for group in groups for cell in group]).any(axis=1)).tolist()
        examples = tuple(Example("the same content", name, joined.places(_one_row_each(cells, group[:4])))
                         for group in groups[:SHOWN])
        found.append(Finding(
            "warning", "duplicates", f"{name}: {counted(sum(map(len, groups)), *noun)} under different names hold only "
            f"{len(groups):,} different contents.", "Keep one of each, or keep them in one split (training does).",
            len(rows), joined.places(rows), examples))
    if has_own_cells(twins, joined.num_rows):
        new = np.array([row not in repeats for row in range(len(cells))], dtype=bool)
        numbers, counts = np.unique(cells[new][cells[new] >= 0], return_counts=True)
        shared = numbers[counts > 1]
        rows = np.flatnonzero(np.isin(cells, shared).any(axis=1) & new).tolist() if len(shared) else []
        if rows:
            found.append(Finding(
                "note", "duplicates", f"{name}: {counted(len(rows), 'row')} share {counted(len(shared), *noun)}, where "
                f"most rows have one of their own.", "Look whether that is meant.", len(rows), joined.places(rows),
                tuple(Example("one cell, several rows", name, joined.places(np.flatnonzero(
                    (cells == cell).any(axis=1))[:3].tolist())) for cell in shared[:SHOWN].tolist())))
    return found


def _near(joined: Joined, name: str, twins: Twins) -> list[Finding]:
    """Pairs that are nearly the same, both in the inspected table."""
    cells = twins.cells_of_row[: joined.num_rows]
    inside = np.zeros(len(twins.same), dtype=bool)
    inside[twins.same[cells[cells >= 0]]] = True
    pairs = twins.pairs.kept(inside[twins.pairs.first] & inside[twins.pairs.second])
    if len(pairs) == 0:
        return []
    involved = np.unique(np.concatenate([pairs.first, pairs.second]))
    contents = twins.contents[: joined.num_rows]
    rows = np.flatnonzero(np.isin(contents, involved).any(axis=1)).tolist()
    order = np.argsort(-pairs.likeness, kind="stable")[:SHOWN]
    examples = tuple(
        Example(f"likeness {pairs.likeness[pair]:.3f}", name,
                joined.places(twins.rows_of(np.array([pairs.first[pair], pairs.second[pair]])).tolist()))
        for pair in order.tolist())
    noun = NOUNS[twins.kind.name]
    atleast = "at least " if pairs.cut else ""
    return [Finding("warning", "duplicates", f"{name}: {atleast}{counted(len(involved), *noun)} are nearly the same as "
                    f"another ({counted(len(pairs), 'pair')}).",
                    "Look at them; split them together (--group) if they show the same thing.",
                    len(rows), joined.places(rows), examples)]


def _one_row_each(cells: npt.NDArray[np.int64], wanted: list[int]) -> list[int]:
    """For each cell the first row that has it."""
    return [int(np.flatnonzero((cells == cell).any(axis=1))[0]) for cell in wanted]
