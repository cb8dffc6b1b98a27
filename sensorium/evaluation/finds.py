"""What finds what: the report's part on retrieval, in numbers and with examples to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from sensorium.data.samples import Samples
from sensorium.evaluation.evaluate import Evaluation
from sensorium.evaluation.mistakes import Album
from sensorium.evaluation.plots import percent_words
from sensorium.metrics.retrieval import nearest
from sensorium.model import Model

MOST_EXAMPLES, MOST_FOUND, MOST_ROWS = 6, 4, 2000


@dataclass(frozen=True)
class Find:
    """One query and what it found, the most similar first.

    Args:
        row: of the query, from 1.
        query: how a person looks at it.
        found: the row, how a person looks at it, and whether it is a right answer.
    """

    row: int
    query: Markup
    found: list[tuple[int, Markup, bool]]


def retrieval_part(model: Model, evaluation: Evaluation, album: Album) -> dict[str, Any] | None:
    """Everything the page says about retrieval; None where the modalities are not aligned."""
    scores = [one for one in evaluation.retrieval if one.metrics]
    if not scores:
        return None
    single = [one for one in scores if len(one.query) == len(one.gallery) == 1]
    best = max(single or scores, key=lambda one: one.metrics["recall_at_1"].value)
    value, chance = best.metrics["recall_at_1"], best.chance["recall_at_1"]
    said = (f"{_joined(best.query)} finds {_joined(best.gallery)} best: the right one comes first for "
            f"{percent_words(value.value)} of the queries (95 % interval {percent_words(value.low)} to "
            f"{percent_words(value.high)}), where chance would find {percent_words(chance)}.")
    lines = [{"query": _joined(one.query), "gallery": _joined(one.gallery), "queries": one.queries,
              "size": one.gallery_size, "metrics": one.metrics, "chance": one.chance} for one in scores]
    examples = [] if not single else [
        {"query": names[0], "gallery": names[1], "finds": _finds(model, evaluation, *names, album)}
        for names in ((best.query[0], best.gallery[0]), (best.gallery[0], best.query[0]))]
    return {"said": said, "lines": lines, "examples": [one for one in examples if one["finds"]]}


def _finds(model: Model, evaluation: Evaluation, asked: str, sought: str, album: Album) -> list[Find]:
    """Some queries, evenly chosen, with the most similar cells of another modality."""
    samples, rows = evaluation.samples, evaluation.chosen
    places = [samples.schema.names.index(name) for name in (asked, sought)]
    rows = rows[samples.presence[rows][:, places].all(axis=1)][:MOST_ROWS]
    sets = [frozenset({asked}), frozenset({sought})]
    vectors = model.embeddings(samples, rows, sets)
    items = _first_of_each(samples, sought, rows)
    queries = _first_of_each(samples, asked, rows)
    finds = []
    for place in queries[np.linspace(0, len(queries) - 1, min(MOST_EXAMPLES, len(queries))).astype(int)].tolist():
        query = album.show(asked, int(rows[place]))
        right = _cells(samples, sought, rows[_same(samples, asked, rows, place)])
        found = []
        for item in items[nearest(vectors[sets[0]][[place]], vectors[sets[1]][items], MOST_FOUND)[0]].tolist():
            shown = album.show(sought, int(rows[item]))
            if shown is not None:
                found.append((int(rows[item]) + 1, shown, bool(_cells(samples, sought, rows[[item]]) & right)))
        if query is not None and found:
            finds.append(Find(int(rows[place]) + 1, query, found))
    return finds


def _first_of_each(samples: Samples, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Positions of the first row of each distinct cell (or list of cells)."""
    return np.sort(np.unique(samples.cells[name].cells_of_row[rows], axis=0, return_index=True)[1])


def _same(samples: Samples, name: str, rows: npt.NDArray[np.int64], place: int) -> npt.NDArray[np.bool_]:
    """Which rows have the very cells of one of them."""
    cells = samples.cells[name].cells_of_row[rows]
    return np.asarray((cells == cells[place]).all(axis=1))


def _cells(samples: Samples, name: str, rows: npt.NDArray[np.int64]) -> set[tuple[int, ...]]:
    return {tuple(cells) for cells in samples.cells[name].cells_of_row[rows].tolist()}


def _joined(names: tuple[str, ...]) -> str:
    return " + ".join(names)
