"""What a score alone does not tell: whether confidence sets hold, for whom the model is worse, which rows are unlike
the training data, and which contradict themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.table import Table
from sensorium.evaluation.contradictions import Contradictions, contradictions_of
from sensorium.evaluation.coverage import Covered, coverage_of
from sensorium.evaluation.groups import Grouped, grouped_scores, groupings
from sensorium.evaluation.scored import Scored
from sensorium.evaluation.unlike import Unlike, unlike_of

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trust:
    """What was found.

    Args:
        coverage: of each target with confidence sets.
        groups: of each target and grouping.
        unlike: rows unlike the training data; None where the model cannot tell.
        contradictions: of each target.
    """

    coverage: list[Covered] = field(default_factory=list)
    groups: list[Grouped] = field(default_factory=list)
    unlike: Unlike | None = None
    contradictions: list[Contradictions] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values, a section each."""
        return {"coverage": [one.to_json() for one in self.coverage],
                "by_group": [one.to_json() for one in self.groups],
                "unlike": None if self.unlike is None else self.unlike.to_json(),
                "contradictions": [one.to_json() for one in self.contradictions]}

    def lines(self) -> list[str]:
        """The findings for a terminal, a line each."""
        return [*(one.sentence for one in self.coverage), *(one.sentence for one in self.groups),
                *([] if self.unlike is None else [self.unlike.sentence]),
                *(sentence for one in self.contradictions for sentence in one.sentences)]


def trust_of(
    scored: Scored, raw: Mapping[str, Mapping[frozenset[str], Floats]], predicted: dict[str, Floats], vectors: Floats,
    *, by: Sequence[str] = (), table: Table | None = None, calibrated: Rows | None = None,
) -> Trust:
    """Look into scored rows.

    Args:
        scored: the rows.
        raw: target → subset → (row, output) raw outputs in the rows that have all of it.
        predicted: target → (row, output) calibrated answers of the rows as found.
        vectors: (row, width) their fused vectors.
        by: columns of the table to group rows by.
        table: where the rows came from.
        calibrated: rows of the table that set thresholds: they do not count where thresholds are judged.

    Raises:
        RecipeError: the table has no such column.
    """
    found = groupings(scored, by, table)
    unseen = np.ones(len(scored.rows), dtype=bool) if calibrated is None else ~np.isin(scored.rows, calibrated)
    targets = [target for target in scored.model.schema.targets if target.name in predicted]
    coverage = [coverage_of(scored, target, predicted[target.name], unseen) for target in targets]
    odd = [contradictions_of(scored, target, raw[target.name], predicted[target.name]) for target in targets]
    return Trust([one for one in coverage if one is not None], grouped_scores(scored, found, predicted),
                 unlike_of(scored, vectors, predicted, unseen), [one for one in odd if one is not None])
