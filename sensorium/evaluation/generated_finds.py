"""Does a painted picture find what it was made from? Among 100 rows, under a judge that reads both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from sensorium.data.samples import Samples
from sensorium.data.table import Table
from sensorium.evaluation.embedder import Vectors, estimate_json, known
from sensorium.evaluation.generated_judge import Judge
from sensorium.evaluation.generated_painting import Painting, real_pictures
from sensorium.evaluation.generated_rows import drawn_order, has_all, input_codes
from sensorium.evaluation.plots import percent_words
from sensorium.evaluation.scored import Scored
from sensorium.keyed import Draws
from sensorium.made import makeable
from sensorium.metrics.bootstrap import Estimate, Floats, estimate, mean_value, paired_difference, replicate_weights
from sensorium.metrics.retrieval import nearest
from sensorium.objectives import Paint, View

Rows = npt.NDArray[np.int64]
AMONG = 100
FEWEST = 5
MOST_ROWS, MOST_TRAINING = 250, 3000


@dataclass(frozen=True)
class Finds:
    """How many pictures are nearest to what they were made from, among as many drawn rows.

    Args:
        judge: who says how near; itself: it is the judged model.
        reads: what it reads of what pictures are made from.
        rows: rows judged.
        among: rows that a picture's own is found among, itself included; 1 / among is chance.
        made: share of painted pictures that find their row.
        real: the same for the real pictures; None where they are not there.
        neighbour: the same for the training picture whose inputs are most like those of the row; None without training
            rows. (As the judged model reads them: its fused vector.)
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
                    ("painted", self.made), ("real", self.real), ("nearest_training_picture", self.neighbour),
                    ("gain", self.gain))},
                "sentence": self.sentence}


def finds_of(
    scored: Scored, maker: Paint, painting: Painting, judge: Judge, *, table: Table | None = None,
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
    samples, rows = scored.samples, painting.rows[:MOST_ROWS]
    heard = judge.hear(samples, rows, table)
    readable = known(heard)
    codes = input_codes(samples, list(judge.reads), rows)
    among = min(AMONG, len(np.unique(codes[readable])))
    if among < FEWEST:
        return (f"whether pictures find what they were made from cannot be told: {among} rows say different things "
                f"that the judge can read, {FEWEST} at least are needed")
    place = np.flatnonzero(readable)
    others = _others(codes, place, rows, among, seed=scored.seed)
    seen = {"made": judge.see(painting.made[place])}
    real = painting.known[place]
    notes = [f"{count:,} rows are left out: {why}" for count, why in (
        (len(rows) - len(place), "the judge can read nothing of them"),
        (len(painting.rows) - len(rows), "to bound the time")) if count]
    hits = {"made": _hits(seen["made"], heard, place, others)}
    if real.any():
        hits["real"] = np.full(len(place), np.nan)
        hits["real"][real] = _hits(judge.see(painting.real[place[real]]), heard, place[real], others[real])
    if train is not None and train_rows is not None:
        pictures = _neighbours(scored, maker, painting, rows[place], train, train_rows)
        if pictures is not None:
            hits["neighbour"] = _hits(judge.see(pictures), heard, place, others)
    groups = None if samples.groups is None else samples.groups[rows[place]]

    def share(values: Floats) -> Estimate:
        there = np.isfinite(values)
        drawn = replicate_weights(int(there.sum()), None if groups is None else groups[there], seed=scored.seed)
        return estimate(mean_value, values[there], values[there], drawn)

    resampling = replicate_weights(len(place), groups, seed=scored.seed)
    gain = None if "neighbour" not in hits else paired_difference(
        mean_value, hits["made"], hits["made"], hits["neighbour"], resampling)
    found = Finds(judge.name, judge.itself, tuple(judge.reads), len(place), among, share(hits["made"]),
                  share(hits["real"]) if "real" in hits else None,
                  share(hits["neighbour"]) if "neighbour" in hits else None, gain, resampling.unit, tuple(notes), "")
    return Finds(**{**vars(found), "sentence": _sentence(found)})


def _others(codes: Rows, places: Rows, rows: Rows, among: int, *, seed: int) -> Rows:
    """(judged, among − 1) for each judged row the places of others that say different things, and each another."""
    found = np.empty((len(places), among - 1), dtype=np.int64)
    for number, place in enumerate(places.tolist()):
        order = places[Draws(seed, int(rows[place]), rows[places]).order("finds/others")]
        order = order[codes[order] != codes[place]]
        distinct = np.sort(np.unique(codes[order], return_index=True)[1])[: among - 1]
        found[number] = order[distinct]
    return found


def _hits(pictures: Vectors, heard: Vectors, places: Rows, others: Rows) -> Floats:
    """(judged,) 1 where a picture is nearer to its own row than to all others; shared where it ties with some."""
    own = np.einsum("pw,pw->p", pictures, heard[places])
    rest = np.einsum("pw,pow->po", pictures, heard[others])
    ties = (rest == own[:, None]).sum(axis=1)
    return np.where((rest > own[:, None]).any(axis=1), 0.0, 1.0 / (1.0 + ties)).astype(np.float64)


def _neighbours(
    scored: Scored, maker: Paint, painting: Painting, rows: Rows, train: Samples, train_rows: Rows,
) -> npt.NDArray[np.uint8] | None:
    """The picture of the training row whose inputs are most like those of each row, as the model reads them."""
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
    closest = nearest(asked.astype(np.float32), told.astype(np.float32), 1)[:, 0]
    return real_pictures(train, painting.to, usable[closest], painting.shape)


def _sentence(found: Finds) -> str:
    said = (f"{_share(found.made)} of the painted pictures find what they were made from among {found.among} rows "
            f"(chance {percent_words(1 / found.among)})")
    if found.real is not None:
        said += f"; of the real pictures, {_share(found.real)}"
    if found.neighbour is not None and found.gain is not None:
        said += f"; of the training pictures with the most similar input, {_share(found.neighbour)}"
        said += (": painting does better than looking one up" if found.gain.low > 0
                 else ": looking one up does better than painting" if found.gain.high < 0
                 else ": painting and looking one up are not told apart")
    said += f". Judge: {found.judge}, by {', '.join(found.reads)}."
    if found.itself:
        said += (" That flatters: its encoders learned together with the painter, and it saw the training pictures; a "
                 "judge trained apart, --judge, says more.")
    return said


def _share(value: Estimate) -> str:
    return f"{percent_words(value.value)} ({percent_words(value.low)} to {percent_words(value.high)})"
