"""Splits: which rows train, which choose, which calibrate. Rows that belong together are never torn apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.keyed import Draws

Rows = npt.NDArray[np.int64]
VALIDATION_SHARE = 0.1
CALIBRATION_SHARE = 0.1
MIN_GROUPS = 10
LARGEST_BOND = 0.2


@dataclass(frozen=True)
class Splits:
    """Row numbers of each split, each increasing.

    Args:
        train: rows that weights are fitted to.
        validation: rows that stopping and choices look at.
        calibration: rows that temperatures are fitted to, and nothing else.
        test: rows that a split column keeps for the report.
        note: what was kept together and why, for a person.
    """

    train: Rows
    validation: Rows
    calibration: Rows
    test: Rows
    note: str


def split_rows(
    usable: Rows, *, groups: Rows | None, shared: Sequence[Rows], named: npt.NDArray[np.str_] | None, seed: int,
) -> Splits:
    """Split rows 80/10/10 by group where there are 10 groups or more, else by rows; honour a split column.

    Args:
        usable: (row,) the row numbers to split, increasing.
        groups: (table row,) group numbers of all rows, or None.
        shared: for each media modality, (table row, slot) cell numbers (−1 = nothing): rows that share a file stay
            together.
        named: (table row,) train, validation, calibration, test or "" from a split column, or None.
        seed: of the draw.

    Raises:
        DataError: fewer than 3 rows, or a split column without training rows.
    """
    if len(usable) < 3:
        raise DataError(f"only {len(usable)} rows can be used: at least 3 are needed to train, choose and calibrate")
    units, note = _units(usable, groups, shared)
    fixed: dict[str, Rows] = {}
    free = np.ones(len(usable), dtype=bool)
    if named is not None:
        words = named[usable]
        for word in ("validation", "calibration", "test"):
            fixed[word] = usable[words == word]
            free &= words != word
        if free.sum() < 3:
            raise DataError(f"the split column leaves {int(free.sum())} rows to train on: at least 3 are needed")
        note += "; the split column decides where it names validation, calibration or test"
    rows, units = usable[free], units[free]
    order, sizes = _shuffled_units(rows, units, seed)
    taken = np.zeros(len(rows), dtype=bool)
    chosen: dict[str, Rows] = {}
    for word, share in (("validation", VALIDATION_SHARE), ("calibration", CALIBRATION_SHARE)):
        if len(fixed.get(word, ())) > 0:
            chosen[word] = fixed[word]
            continue
        picked = _take(order, sizes, units, taken, share)
        taken |= picked
        chosen[word] = rows[picked]
    if taken.all():
        raise DataError(f"all {len(rows)} rows share files or groups: none is left to train on; give a split column")
    return Splits(rows[~taken], chosen["validation"], chosen["calibration"],
                  fixed.get("test", np.zeros(0, dtype=np.int64)), note)


def fold_rows(
    usable: Rows, *, groups: Rows | None, shared: Sequence[Rows], num_folds: int, seed: int,
) -> tuple[Rows, str]:
    """Deal rows to folds of about equal size; whole groups, however few, and rows that share a file stay together.

    Args:
        usable: (row,) the row numbers to deal, increasing.
        groups, shared: as of `split_rows`.
        num_folds: at least 2.
        seed: of the draw.

    Returns:
        (row,) the fold of each usable row, 0 … num_folds − 1, and what was kept together and why.

    Raises:
        DataError: there are fewer bundles of rows than folds.
    """
    units, note = _units(usable, groups, shared, min_groups=2)
    order, sizes = _shuffled_units(usable, units, seed)
    if num_folds < 2 or len(order) < num_folds:
        what = "rows" if len(order) == len(usable) else "groups of rows that belong together"
        raise DataError(f"{num_folds} folds: expected at least 2 and at most as many as there are {what}, which are "
                        f"{len(order)}")
    filled = np.zeros(num_folds, dtype=np.int64)
    fold_of = np.zeros(len(sizes), dtype=np.int64)
    for unit in order[np.argsort(-sizes[order], kind="stable")].tolist():
        fold_of[unit] = int(filled.argmin())
        filled[fold_of[unit]] += sizes[unit]
    return fold_of[units], note


def _units(
    usable: Rows, groups: Rows | None, shared: Sequence[Rows], min_groups: int = MIN_GROUPS,
) -> tuple[Rows, str]:
    """(row,) a number for each bundle of rows that stays together, and why."""
    bonds = []
    note = "rows are split at random"
    limit = max(2.0, LARGEST_BOND * len(usable))
    grouped = False
    if groups is not None:
        count = len(np.unique(groups[usable]))
        if count >= min_groups:
            grouped = True
            bonds.append(groups[usable])
            note = f"rows are split by group ({count} groups)"
        else:
            note = (f"only {count} groups: holding whole groups out would cost too much, so rows are split and the "
                    f"validation score is not that of a new group")
    for cells in shared:
        mine = cells[usable]
        present = mine[mine >= 0]
        if len(np.unique(present)) == len(present):
            continue
        numbers, counts = np.unique(present, return_counts=True)
        placeholders = numbers[counts > limit]
        if len(placeholders):
            note += f"; {len(placeholders)} files that many rows share do not bind these rows"
        bonds.append(np.where(np.isin(mine, placeholders), -1, mine))
    by_group = bonds[:1] if grouped else []
    units = _components(len(usable), bonds)
    if len(bonds) > len(by_group):
        if int(np.bincount(units).max()) > max(limit, _largest(by_group)):
            return _components(len(usable), by_group), note + "; too many rows share files for them to stay together"
        note += "; rows that share a file stay together"
    return units, note


def _largest(bonds: Sequence[Rows]) -> int:
    """How many rows the largest group has."""
    return max((int(np.unique(bond, return_counts=True)[1].max()) for bond in bonds), default=0)


def _components(num_rows: int, bonds: Sequence[Rows]) -> Rows:
    """(row,) the connected component of each row; rows with a bond number (≥ 0; (row,) or (row, slot)) in common are
    connected."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    sources, sinks = [], []
    for bond in bonds:
        numbers, rows = bond.reshape(num_rows, -1).T.ravel(), np.tile(np.arange(num_rows), bond.size // num_rows)
        order = np.argsort(numbers, kind="stable")
        same = (numbers[order][1:] == numbers[order][:-1]) & (numbers[order][1:] >= 0)
        sources.append(rows[order][1:][same])
        sinks.append(rows[order][:-1][same])
    if not bonds:
        return np.arange(num_rows, dtype=np.int64)
    edges = (np.concatenate(sources), np.concatenate(sinks))
    graph = coo_matrix((np.ones(len(edges[0])), edges), shape=(num_rows, num_rows))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _shuffled_units(rows: Rows, units: Rows, seed: int) -> tuple[Rows, Rows]:
    """The units in random order, keyed by their first row, and the size of each unit."""
    distinct, first = np.unique(units, return_index=True)
    sizes = np.bincount(units, minlength=int(distinct.max()) + 1)
    return distinct[Draws(seed, 0, rows[first]).order("split")], sizes


def _take(order: Rows, sizes: Rows, units: Rows, taken: npt.NDArray[np.bool_], share: float) -> npt.NDArray[np.bool_]:
    """Whole units, until the share of rows is reached; at least one unit."""
    wanted = max(1.0, share * len(units))
    used = set(units[taken].tolist())
    chosen: list[int] = []
    count = 0
    for unit in order.tolist():
        if unit in used:
            continue
        if count >= wanted:
            break
        chosen.append(unit)
        count += int(sizes[unit])
    return np.isin(units, chosen)
