"""Twins: cells of one modality that are the same, or nearly, in one table or two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.cells import Cells
from sensorium.data.checks.fingerprint import LOOKS, content_key, fingerprint
from sensorium.data.checks.near_text import near_texts
from sensorium.data.checks.neighbours import NO_PAIRS, Pairs, leaders, near_pairs
from sensorium.data.kinds.base import Array, Kind

Numbers = npt.NDArray[np.int64]
AT_ONCE = 256
MOST_COMPARED = 30_000
PREPARED = 1500
OWN_SHARE = 0.8


@dataclass(frozen=True)
class Twins:
    """Which cells of a modality are the same, or nearly; cells of a second table are numbered on from the first's.

    Args:
        kind: the modality's kind.
        cells_of_row: (row, slot) cell numbers, −1 = nothing, of both tables' rows.
        same: (cell,) the first cell of the same content.
        near: (cell,) the first cell that is the same or directly near; of texts, the same but for case and signs.
        pairs: of different contents that are nearly the same, each content by its first cell.
    """

    kind: Kind
    cells_of_row: Numbers
    same: Numbers
    near: Numbers
    pairs: Pairs

    @property
    def contents(self) -> Numbers:
        """(row, slot) the row's cells, each by the first cell of its content; −1 = nothing."""
        return np.append(self.same, -1)[self.cells_of_row]

    @property
    def likes(self) -> Numbers:
        """(row, slot) the same by the first cell that is the same or near."""
        return np.append(self.near, -1)[self.cells_of_row]

    def rows_of(self, cells: Numbers) -> Numbers:
        """(cell of these,) the first row that holds each content."""
        first = np.full(len(self.same), -1, dtype=np.int64)
        rows, slots = np.nonzero(self.cells_of_row >= 0)
        first[self.contents[rows, slots][::-1]] = rows[::-1]
        return first[cells]


def find_twins(sides: Sequence[Cells]) -> Twins:
    """Compare the cells of one modality, of one table or two.

    Equal contents are found by digest, near ones by fingerprints of all and a thorough look at the pairs that these
    let through (the 30,000 most alike).
    """
    kind = sides[0].kind
    offsets = np.cumsum([0, *(len(side.arrays) for side in sides)])
    slots = max(side.cells_of_row.shape[1] for side in sides)
    cells_of_row = np.concatenate([
        np.pad(np.where(side.cells_of_row >= 0, side.cells_of_row + offset, -1),
               ((0, 0), (0, slots - side.cells_of_row.shape[1])), constant_values=-1)
        for side, offset in zip(sides, offsets.tolist(), strict=False)])
    first_of: dict[bytes, int] = {}
    same: list[int] = []
    firsts: list[int] = []
    prints: list[Any] = []
    for number, array in enumerate(_arrays(sides)):
        first = first_of.setdefault(content_key(array), number)
        same.append(first)
        if first == number:
            firsts.append(number)
            prints.append(array if kind.name == "text" else fingerprint(kind, array))
    names = np.array(firsts, dtype=np.int64)
    if kind.name == "text":
        found = near_texts(prints, thoroughly=len(names) >= OWN_SHARE * int((cells_of_row >= 0).sum()))
    elif len(prints) < 2:
        found = NO_PAIRS
    else:
        found = _confirmed(kind, sides, offsets, names, near_pairs(np.stack(prints), LOOKS[kind.name].least,
                                                                   most=MOST_COMPARED))
    contents = np.array(same, dtype=np.int64)
    alike = found.kept(found.likeness >= 1.0) if kind.name == "text" else found  # "no sign of" is not "sign of"
    near = names[leaders(len(names), alike)] if len(names) else names
    of_content = np.zeros(len(contents), dtype=np.int64)
    of_content[names] = near
    pairs = Pairs(names[found.first], names[found.second], found.likeness, found.cut)
    return Twins(kind, cells_of_row, contents, of_content[contents], pairs)


def _arrays(sides: Sequence[Cells]) -> Iterator[Array]:
    """Every cell of every side, some at once."""
    for side in sides:
        for start in range(0, len(side.arrays), AT_ONCE):
            yield from side.arrays.get(range(start, min(start + AT_ONCE, len(side.arrays))))


def _confirmed(kind: Kind, sides: Sequence[Cells], offsets: Numbers, names: Numbers, pairs: Pairs) -> Pairs:
    """The pairs that pass the thorough comparison, with its likeness."""
    look = LOOKS[kind.name]
    prepared: dict[int, Any] = {}

    def ready(number: int) -> Any:
        if number not in prepared:
            if len(prepared) >= PREPARED:
                prepared.clear()
            cell = int(names[number])
            side = int(np.searchsorted(offsets, cell, side="right")) - 1
            prepared[number] = look.prepare(sides[side].arrays.get([cell - int(offsets[side])])[0])
        return prepared[number]

    likeness = np.array([look.likeness(ready(a), ready(b))
                         for a, b in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)])
    confirmed = Pairs(pairs.first, pairs.second, likeness, pairs.cut)
    return confirmed.kept(likeness >= look.least_likeness) if len(pairs) else NO_PAIRS
