"""Does what was made find what it was made from? Among 100 rows, under a judge that reads both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sensorium.data.samples import Samples
from sensorium.data.table import Table
from sensorium.evaluation.embedder import estimate_json
from sensorium.evaluation.generated_board import Board, board_of, share
from sensorium.evaluation.generated_judge import Judge
from sensorium.evaluation.generated_painting import Painting, real_pictures
from sensorium.evaluation.generated_rows import drawn_order, has_all, rows_said
from sensorium.evaluation.plots import percent_words
from sensorium.evaluation.scored import Scored
from sensorium.made import makeable
from sensorium.metrics.bootstrap import Estimate, mean_value, paired_difference, replicate_weights
from sensorium.metrics.retrieval import nearest
from sensorium.objectives import Generative, View

Rows = npt.NDArray[np.int64]
MOST_ROWS, MOST_TRAINING = 250, 3000


@dataclass(frozen=True)
class Naming:
    """How things that were made are called."""

    made: str
    real: str
    training: str
    doing: str
    maker: str
    seen: str


PICTURES = Naming("painted pictures", "real pictures", "training pictures with the most similar input", "painting",
                  "painter", "pictures")
TEXTS = Naming("written texts", "true texts", "texts of the training rows with the most similar input", "writing",
               "writer", "texts")


@dataclass(frozen=True)
class Things:
    """What was made for the rows of a board, and what stands there.

    Args:
        naming: how they are called.
        made: one for each row.
        real: what each row has; where it has none, anything of its kind.
        known: (row,) whether it has.
        of_training: rows of the training table → what they have.
    """

    naming: Naming
    made: Sequence[Any] | npt.NDArray[Any]
    real: Sequence[Any] | npt.NDArray[Any]
    known: npt.NDArray[np.bool_]
    of_training: Callable[[Samples, Rows], Sequence[Any] | npt.NDArray[Any]]


@dataclass(frozen=True)
class Finds:
    """How many things are nearest to what they were made from, among as many drawn rows.

    Args:
        judge: who says how near; itself: it is the judged model.
        reads: what it reads of what things are made from.
        rows: rows judged.
        among: rows that a thing's own is found among, itself included; 1 / among is chance.
        made: share of what was made that finds its row.
        real: the same for what the rows have; None where that is not there.
        neighbour: the same for what the training row has whose inputs are most like those of the row; None without
            training rows. (As the judged model reads them: its fused vector.)
        gain: made − neighbour, paired.
        unit: what the intervals resample.
        notes: what was left out, and why.
        sentence: the finding.
    """

    judge: str
    itself: bool
    reads: tuple[str, ...]
    rows: int
    among: int
    made: Estimate
    real: Estimate | None
    neighbour: Estimate | None
    gain: Estimate | None
    unit: str
    notes: tuple[str, ...]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"judge": self.judge, "itself": self.itself, "reads": list(self.reads), "rows": self.rows,
                "among": self.among, "chance": 1.0 / self.among, "unit": self.unit, "notes": list(self.notes),
                **{name: None if one is None else estimate_json(one) for name, one in (
                    ("made", self.made), ("real", self.real), ("nearest_training_row", self.neighbour),
                    ("gain", self.gain))},
                "sentence": self.sentence}


def picture_finds(
    scored: Scored, maker: Generative, painting: Painting, judge: Judge, *, table: Table | None = None,
    train: Samples | None = None, train_rows: Rows | None = None,
) -> Finds | str:
    """Judge painted pictures; why that cannot be done, where it cannot.

    Args:
        scored: the rows.
        maker: the objective that paints.
        painting: the pictures.
        judge: who says how near.
        table: where the scored rows came from.
        train, train_rows: the decoded training table and its rows that were trained on.
    """
    rows = painting.rows[:MOST_ROWS]
    board = board_of(scored.samples, rows, judge, table=table, what="pictures", seed=scored.seed)
    if isinstance(board, str):
        return board
    count = len(rows)
    things = Things(PICTURES, painting.made[:count], painting.real[:count], painting.known[:count],
                    lambda of, chosen: real_pictures(of, painting.to, chosen, painting.shape))
    return finds_of(scored, maker, board, things, train=train, train_rows=train_rows, more=len(painting.rows) - count)


def finds_of(
    scored: Scored, maker: Generative, board: Board, things: Things, *, train: Samples | None = None,
    train_rows: Rows | None = None, more: int = 0,
) -> Finds:
    """Judge what was made for the rows of a board.

    Args:
        scored: the rows.
        maker: the objective that made it.
        board: its rows.
        things: what was made for each of them.
        train, train_rows: the decoded training table and its rows that were trained on.
        more: further rows that were left out, to bound the time.
    """
    judge = board.judge
    notes = [f"{rows_said(count, 'are')} not judged: {why}" for count, why in (
        (len(board.rows) - len(board.place), "the judge can read nothing of them"),
        (more, "to bound the time")) if count]
    hits = {"made": board.hits(judge.see(things.made))}
    if things.known[board.place].any():
        hits["real"] = np.where(things.known, board.hits(judge.see(things.real)), np.nan)
    if train is not None and train_rows is not None:
        nearby = _neighbours(scored, maker, board.rows, train, train_rows)
        if nearby is not None:
            hits["neighbour"] = board.hits(judge.see(things.of_training(train, nearby)))
    groups = None if scored.samples.groups is None else scored.samples.groups[board.rows]
    place = board.place
    resampling = replicate_weights(len(place), None if groups is None else groups[place], seed=scored.seed)
    gain = None if "neighbour" not in hits else paired_difference(
        mean_value, hits["made"][place], hits["made"][place], hits["neighbour"][place], resampling)
    shares = {name: share(values, groups, seed=scored.seed) for name, values in hits.items()}
    found = Finds(judge.name, judge.itself, tuple(judge.reads), len(place), board.among, shares["made"],
                  shares.get("real"), shares.get("neighbour"), gain, resampling.unit, tuple(notes), "")
    return Finds(**{**vars(found), "sentence": _sentence(found, things.naming)})


def _neighbours(
    scored: Scored, maker: Generative, rows: Rows, train: Samples, train_rows: Rows,
) -> Rows | None:
    """The training row whose inputs are most like those of each row, as the model reads them."""
    model = scored.model
    usable = train_rows[has_all(train, [maker.to_name], train_rows) & makeable(model, maker, train, train_rows)]
    usable = usable[drawn_order(usable, seed=scored.seed, purpose="finds/training")][:MOST_TRAINING]
    if not len(usable):
        return None

    def read(view: View) -> Iterator[tuple[str, Tensor, Tensor]]:
        condition, kept = maker.condition(view.restricted(maker), view.presence)
        if condition is not None:
            yield "vector", condition.vector, kept

    width = {"vector": model.recipe.model.width}
    asked, told = (model.gathered(of, some, read, width)["vector"] for of, some in ((scored.samples, rows),
                                                                                    (train, usable)))
    asked, told = (one / np.linalg.norm(one, axis=1, keepdims=True).clip(1e-12) for one in (asked, told))
    found: Rows = usable[nearest(asked.astype(np.float32), told.astype(np.float32), 1)[:, 0]]
    return found


def _sentence(found: Finds, naming: Naming) -> str:
    said = (f"{_share(found.made)} of the {naming.made} find what they were made from among {found.among} rows "
            f"(chance {percent_words(1 / found.among)})")
    if found.real is not None:
        said += f"; of the {naming.real}, {_share(found.real)}"
    if found.neighbour is not None and found.gain is not None:
        said += f"; of the {naming.training}, {_share(found.neighbour)}"
        said += (f": {naming.doing} does better than looking one up" if found.gain.low > 0
                 else f": looking one up does better than {naming.doing}" if found.gain.high < 0
                 else f": {naming.doing} and looking one up are not told apart")
    said += f". Judge: {found.judge}, by {', '.join(found.reads)}."
    if found.itself:
        said += (f" That flatters: its encoders learned together with the {naming.maker}, and it saw the training "
                 f"{naming.seen}; a judge trained apart, --judge, says more.")
    return said


def _share(value: Estimate) -> str:
    return f"{percent_words(value.value)} ({percent_words(value.low)} to {percent_words(value.high)})"
