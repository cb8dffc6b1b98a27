"""Another model as a judge of what is made: it reads a picture or a text, and what that was made from, in one space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.kinds import ImageKind, TableKind
from sensorium.data.read import as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Modality, Schema
from sensorium.data.table import Table
from sensorium.errors import RecipeError
from sensorium.evaluation.embedder import require_aligned
from sensorium.evaluation.generated_features import Pixels
from sensorium.made import pictured
from sensorium.model import Model

Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Judge:
    """A model whose embeddings of what is made and of other modalities are in one space.

    Args:
        name: how it is called.
        model: the model.
        sees: its modality that reads the pictures or texts.
        reads: modality of the judged model → modality of the judge.
        itself: whether it is the judged model.
    """

    name: str
    model: Model
    sees: str
    reads: dict[str, str]
    itself: bool

    def see(self, things: Pixels | Sequence[str]) -> Vectors:
        """(thing, width) unit-length embeddings of (thing, height, width_px, channel) pictures, or of texts; NaN of a
        blank text."""
        column = self.model.schema.modality(self.sees).columns[0]
        cells = [one if isinstance(one, str) else pictured(one) for one in things]
        samples = as_samples([{column: one} for one in cells], self.model.schema)
        return self._embedded(samples, np.arange(len(cells)), {self.sees})

    def hear(self, samples: Samples, rows: Rows, table: Table | None) -> Vectors:
        """(row, width) unit-length embeddings of what is made of these rows is made from; NaN where the judge can read
        nothing of it.

        Args:
            samples: of the judged model.
            rows: (row,) row numbers.
            table: where the rows came from, for columns of numbers and categories.
        """
        if self.itself:
            return self._embedded(samples, rows, set(self.reads))
        columns: dict[str, list[Any]] = {}
        for name, own in self.reads.items():
            modality = self.model.schema.modality(own)
            if isinstance(modality.kind, TableKind):
                for column in modality.columns:
                    there = table is not None and column in table.frame.columns
                    values = table.frame[column].to_list() if table is not None and there else []
                    columns[column] = [values[row] if there else None for row in rows.tolist()]
            else:
                columns[modality.columns[0]] = _sources(samples, name, rows)
        given = [{column: values[place] for column, values in columns.items()} for place in range(len(rows))]
        return self._embedded(as_samples(given, self.model.schema), np.arange(len(rows)), set(self.reads.values()))

    def _embedded(self, samples: Samples, rows: Rows, names: set[str]) -> Vectors:
        subset = frozenset(names)
        return self.model.embeddings(samples, rows, [subset], complete=False)[subset]


def judge_of(judge: Model, name: str, schema: Schema, to: str, reads: Sequence[str]) -> Judge:
    """The judge, with its modalities matched to those of the judged model: by name and kind, else by kind alone.

    Args:
        judge: a model with aligned modalities.
        name: how it is called.
        schema: of the judged model.
        to: the modality that is made, a picture or a text.
        reads: the modalities it may be made from.

    Raises:
        AlignmentError: its modalities are not in one space.
        RecipeError: it reads nothing of that kind, or nothing that it is made from; or several modalities would do.
    """
    require_aligned(judge, f"judging by {name}")
    theirs = {one.name: one for one in judge.schema.modalities if one.name in judge.read}
    matched = {own: own for own in reads if own in theirs and own != to and _alike(schema.modality(own), theirs[own])}
    made = schema.modality(to)
    word, column = ("picture", "an image column") if isinstance(made.kind, ImageKind) else ("text", "a text column")
    fitting = [one for one in theirs if _alike(made, theirs[one]) and one not in matched.values()]
    if not fitting:
        raise RecipeError(f"judge {name}: it reads no {word}; expected a model with {column}")
    if to not in fitting and len(fitting) > 1:
        raise RecipeError(f"judge {name}: it reads several {word}s ({', '.join(fitting)}), none called {to!r}; "
                          f"expected {column} of that name, or only one")
    sees = to if to in fitting else fitting[0]
    for own in reads:
        if own in matched:
            continue
        others = [one for one in reads if one not in matched and _alike(schema.modality(own), schema.modality(one))]
        fitting = [one for one in theirs if one != sees and one not in matched.values()
                   and _alike(schema.modality(own), theirs[one])]
        if len(fitting) == 1 and len(others) == 1:
            matched[own] = fitting[0]
        elif fitting and not matched:
            raise RecipeError(f"judge {name}: which of {', '.join(fitting)} reads {' or '.join(others)} cannot be "
                              f"told: give the columns the same names")
    if not matched:
        raise RecipeError(f"judge {name}: it reads {', '.join(theirs)}, nothing that {to!r} is made from "
                          f"({', '.join(reads)})")
    return Judge(name, judge, sees, matched, False)


def own_judge(model: Model, to: str, reads: Sequence[str]) -> Judge | None:
    """The model itself, where it reads the pictures too and puts its modalities into one space."""
    if not model.aligned or to not in model.read:
        return None
    return Judge("the model itself", model, to, {name: name for name in reads}, True)


def _alike(own: Modality, other: Modality) -> bool:
    return own.kind.name == other.kind.name and own.part == other.part


def _sources(samples: Samples, name: str, rows: Rows) -> list[Any]:
    """What each row's cells were read from: nothing, one, or several."""
    cells = samples.cells[name]
    found = []
    for numbers in cells.cells_of_row[rows].tolist():
        own = [cells.arrays.sources[number] for number in numbers if number >= 0]
        found.append(None if not own else own[0] if len(own) == 1 else own)
    return found
