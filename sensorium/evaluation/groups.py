"""A target's score in every group of rows: by a column of the table, and by what the rows have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.data.guess import guess_column, parsed_numbers
from sensorium.data.notation import category_text, is_missing
from sensorium.data.table import Table
from sensorium.errors import DataError, unknown_name
from sensorium.evaluation.embedder import estimate_json
from sensorium.evaluation.scored import Scored
from sensorium.evaluation.scores import HIGHER_IS_BETTER, METRIC_WORDS, metrics_of, primary_metric
from sensorium.keyed import Draws
from sensorium.metrics.groups import MIN_ROWS, GroupTable, by_group

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.object_]
MISSING, OTHERS, PRESENT = "(missing)", "(other values)", "modalities present"
MOST_GROUPS = 50
QUARTERS = 4
FEW_NUMBERS = 8
MOST_ROWS = 20_000


@dataclass(frozen=True)
class Grouped:
    """A target's score by group.

    Args:
        target: the target.
        metric: what is scored.
        by: the column, or "modalities present".
        rows: rows scored.
        table: the groups, the worst first.
        sentence: the finding in words.
    """

    target: str
    metric: str
    by: str
    rows: int
    table: GroupTable
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        table = self.table
        return {"target": self.target, "metric": self.metric, "by": self.by, "rows": self.rows,
                "groups": [{"group": one.group, "rows": one.rows, "score": estimate_json(one.score),
                            "small": one.small} for one in table.groups],
                "whole": estimate_json(table.whole), "worst": table.worst, "best": table.best,
                "gap": estimate_json(table.gap), "gap_by_chance": _or_none(table.gap_by_chance),
                "p_value": _or_none(table.p_value), "sentence": self.sentence}


def groupings(
    scored: Scored, by: Sequence[str], table: Table | None,
) -> dict[str, Words]:
    """What rows are grouped by: the columns asked for, the schema's group column where it makes 2 to 50 groups of which
    two have ten rows or more, and what rows have where that differs.

    Args:
        scored: the rows.
        by: columns of the table.
        table: where the rows came from; None: only what the decoded rows themselves know.

    Returns:
        column → (row,) the group of each scored row, in words.

    Raises:
        DataError: columns are asked for without the table.
        RecipeError: the table has no such column.
    """
    schema = scored.model.schema
    check_columns(by, table)
    found = {} if table is None else {name: column_groups(table, name, scored.rows) for name in by}
    group = schema.group
    if group is not None and group not in found and table is not None and group in table.frame.columns:
        values = _as_words(table.frame[group].gather(scored.rows))
        if _worthwhile(values):
            found[group] = values
    patterns = np.array([" + ".join(name for name, there in zip(schema.names, row, strict=True) if there)
                         or "nothing" for row in scored.presence.tolist()], dtype=object)
    if _worthwhile(patterns):
        found[PRESENT] = patterns
    return found


def check_columns(by: Sequence[str], table: Table | None) -> None:
    """Refuse columns to group by that the table lacks. Raises DataError without a table, RecipeError."""
    if by and table is None:
        raise DataError("grouping rows by a column needs their table: evaluate a path or data, or give table=")
    for name in by:
        if table is not None and name not in table.frame.columns:
            raise unknown_name("column to group by", name, table.frame.columns)


def column_groups(table: Table, name: str, rows: npt.NDArray[np.int64]) -> Words:
    """(row,) the group of each of these rows: a category, or the quarter that a number lies in; the 49 largest
    categories and "(other values)" where there are more than 50."""
    column = table.frame[name].gather(rows)
    guess = guess_column(column, table.folder)
    if guess.role == "number":
        numbers = parsed_numbers(column, guess.notation)
        if len(np.unique(numbers[np.isfinite(numbers)])) > FEW_NUMBERS:
            return _quarters(numbers)
    values = _as_words(column)
    names, counts = np.unique(values.astype(str), return_counts=True)
    if len(names) > MOST_GROUPS:
        kept = set(names[np.argsort(-counts, kind="stable")[: MOST_GROUPS - 1]].tolist())
        values = np.array([value if value in kept else OTHERS for value in values], dtype=object)
    return values


def grouped_scores(scored: Scored, found: dict[str, Words], predicted: dict[str, Floats]) -> list[Grouped]:
    """Score every target in every group of every grouping.

    Args:
        scored: the rows.
        found: from `groupings`.
        predicted: target → (row, output) as found.
    """
    tables: list[Grouped] = []
    comparisons = len(found) * len(predicted)
    for target in (one for one in scored.model.schema.targets if one.name in predicted):
        name = primary_metric(target, balance=scored.model.recipe.training.balance)
        labelled = np.flatnonzero(scored.labelled(target))
        kept = labelled
        if len(kept) > MOST_ROWS:
            kept = np.sort(labelled[Draws(scored.seed, 0, labelled).order("rows by group")[:MOST_ROWS]])
        values = predicted[target.name][kept]
        for by, groups in found.items():
            if by == target.name and target.task == "regress":
                continue
            table = by_group(metrics_of(target)[name], scored.truth(target)[kept],
                             values if target.task == "classify" else values[:, 0], groups[kept],
                             higher_is_better=HIGHER_IS_BETTER[name], share=name == "accuracy", seed=scored.seed)
            sampled = len(labelled) if len(labelled) > len(kept) else 0
            tables.append(Grouped(target.name, name, by, len(kept), table,
                                  _sentence(target.name, name, by, table, comparisons, len(kept), sampled)))
    return tables


def _sentence(
    target: str, metric: str, by: str, table: GroupTable, comparisons: int, rows: int, sampled: int,
) -> str:
    word = METRIC_WORDS[metric]
    head = f"{target}, {word} by {by}" + (f" (a sample of {rows:,} of {sampled:,} rows)" if sampled else "")
    if not table.worst:
        return f"{head}: fewer than two groups have {MIN_ROWS} rows or more, so there is nothing to compare."
    if table.gap.value == 0:
        return f"{head}: the same in all groups of {MIN_ROWS} rows or more ({table.whole.value:.3f})."
    scores = {one.group: one for one in table.groups}
    worst, best = scores[table.worst], scores[table.best]
    points = metric in {"accuracy", "balanced_accuracy"}

    def gap(value: float) -> str:
        return f"{100 * value:.1f} points" if points else f"{value:.3g}"

    said = (f"{head}: worst {table.worst} ({worst.score.value:.3f}, {worst.rows:,} rows), best {table.best} "
            f"({best.score.value:.3f}, {best.rows:,} rows), {gap(table.gap.value)} apart; groups dealt at random "
            f"come as far apart as {gap(table.gap_by_chance)} one time in twenty (p = {table.p_value:.3g})")
    if table.p_value <= 0.05 / max(1, comparisons):
        return f"{said}: more than chance."
    if table.p_value <= 0.05:
        return f"{said}: more than chance on its own, but {comparisons} tables were looked at."
    return f"{said}: no more than chance would do."


def _worthwhile(values: Words) -> bool:
    names, counts = np.unique(values.astype(str), return_counts=True)
    return 2 <= len(names) <= MOST_GROUPS and int((counts >= MIN_ROWS).sum()) >= 2


def _as_words(column: pl.Series) -> Words:
    return np.array([MISSING if is_missing(value) else category_text(value) for value in column.to_list()],
                    dtype=object)


def _quarters(numbers: Floats) -> Words:
    """(row,) the quarter of the finite numbers that each lies in, in words; fewer than four where many are equal."""
    known = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(known, np.arange(1, QUARTERS) / QUARTERS, method="lower"))
    edges = edges[edges < known.max()]
    names = ([f"up to {edges[0]:.4g}", *(f"over {low:.4g} to {high:.4g}" for low, high in
                                         pairwise(edges.tolist())), f"over {edges[-1]:.4g}"]
             if len(edges) else ["one value"])
    place = np.searchsorted(edges, numbers, side="left")
    return np.array([names[at] if np.isfinite(number) else MISSING
                     for at, number in zip(place.tolist(), numbers.tolist(), strict=True)], dtype=object)


def _or_none(value: float) -> float | None:
    return None if isnan(value) else value
