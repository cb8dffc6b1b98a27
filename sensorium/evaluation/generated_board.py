"""Rows that made things are to find, each among others that say something else, as a judge hears them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples
from sensorium.data.table import Table
from sensorium.evaluation.embedder import Vectors, known
from sensorium.evaluation.generated_judge import Judge
from sensorium.evaluation.generated_rows import input_codes
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import Estimate, Floats, estimate, mean_value, replicate_weights

Rows = npt.NDArray[np.int64]
AMONG = 100
FEWEST = 5


@dataclass(frozen=True)
class Board:
    """Some rows of a table, as a judge hears what things are made from.

    Args:
        judge: who says how near.
        rows: (row,) of the table.
        place: (judged,) positions of those that the judge can read.
        heard: (row, width) unit-length embeddings; NaN in the others.
        others: (judged, among − 1) for each judged row the positions of rows that say something else, and each another.
        among: rows that a row is found among, itself included; 1 / among is chance.
    """

    judge: Judge
    rows: Rows
    place: Rows
    heard: Vectors
    others: Rows
    among: int

    def hits(self, seen: Vectors) -> Floats:
        """(row,) 1 where what was made for a row is nearest to it, a share where it ties; NaN in rows not judged.

        Args:
            seen: (row, width) unit-length embeddings of what was made; NaN where the judge sees nothing in it, which
                finds nothing.
        """
        found = np.full(len(self.rows), np.nan)
        found[self.place] = hits_of(seen[self.place], self.heard, self.place, self.others)
        return found


def board_of(
    samples: Samples, rows: Rows, judge: Judge, *, table: Table | None, what: str, seed: int,
    true: Sequence[Collection[str]] | None = None,
) -> Board | str:
    """The board; why there is none, where too few rows say different things.

    Args:
        samples: of the judged model.
        rows: (row,) row numbers.
        judge: who says how near.
        table: where the rows came from.
        what: is made: pictures, texts.
        seed: of the draw of the others.
        true: what is true of each row; rows that share some of it are not told apart by it, and not each other's
            others.
    """
    heard = judge.hear(samples, rows, table)
    readable = known(heard)
    codes = input_codes(samples, list(judge.reads), rows)
    if true is not None:
        codes = joined(codes, true)
    among = min(AMONG, len(np.unique(codes[readable])))
    if among < FEWEST:
        said = "1 row says something" if among == 1 else f"{among} rows say different things"
        return (f"whether {what} find what they were made from cannot be told: {said} that the judge can read, "
                f"{FEWEST} at least are needed")
    place = np.flatnonzero(readable)
    return Board(judge, rows, place, heard, others_of(codes, place, rows, among, seed=seed), among)


def share(values: Floats, groups: Rows | None, *, seed: int) -> Estimate:
    """The mean of what is known, with its interval.

    Args:
        values: (row,) NaN where unknown.
        groups: (row,) to resample; None: rows.
        seed: of the bootstrap.
    """
    there = np.isfinite(values)
    drawn = replicate_weights(int(there.sum()), None if groups is None else groups[there], seed=seed)
    return estimate(mean_value, values[there], values[there], drawn)


def joined(codes: Rows, true: Sequence[Collection[str]]) -> Rows:
    """Codes in which rows that share a code or any true text, but for case and blanks, have the same one.

    Args:
        codes: (row,) numbers.
        true: the texts of each row.
    """
    joint = codes.copy()
    first: dict[str, int] = {}
    for row, texts in enumerate(true):
        for text in texts:
            other = first.setdefault(" ".join(text.casefold().split()), row)
            joint[joint == joint[row]] = joint[other]
    return joint


def others_of(codes: Rows, places: Rows, rows: Rows, among: int, *, seed: int) -> Rows:
    """(judged, among − 1) for each judged row the places of others that say different things, and each another."""
    found = np.empty((len(places), among - 1), dtype=np.int64)
    for number, place in enumerate(places.tolist()):
        order = places[Draws(seed, int(rows[place]), rows[places]).order("finds/others")]
        order = order[codes[order] != codes[place]]
        distinct = np.sort(np.unique(codes[order], return_index=True)[1])[: among - 1]
        found[number] = order[distinct]
    return found


def hits_of(seen: Vectors, heard: Vectors, places: Rows, others: Rows) -> Floats:
    """(judged,) 1 where a thing is nearer to its own row than to all others; shared where it ties with some; 0 where
    nothing was seen."""
    own = np.einsum("pw,pw->p", seen, heard[places])
    rest = np.einsum("pw,pow->po", seen, heard[others])
    ties = (rest == own[:, None]).sum(axis=1)
    lost = (rest > own[:, None]).any(axis=1) | np.isnan(own)
    return np.where(lost, 0.0, 1.0 / (1.0 + ties)).astype(np.float64)
