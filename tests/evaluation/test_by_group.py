"""Scores by group: which groups rows fall into, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from planted_scores import class_target, number_target, scored_rows

from sensorium.data.table import Table
from sensorium.errors import DataError, RecipeError
from sensorium.evaluation.groups import MISSING, OTHERS, PRESENT, column_groups, grouped_scores, groupings
from sensorium.evaluation.scored import Scored

ROWS = 400
NAMES = ("a", "b")


def _table(**columns: list[object]) -> Table:
    return Table(pl.DataFrame(columns), Path(), "t.csv")


def _scored(
    wrong: np.ndarray, presence: np.ndarray | None = None, group: str | None = None,
) -> tuple[Scored, np.ndarray]:
    """Rows whose answers are wrong where told."""
    truth = np.arange(ROWS) % 2
    predicted = np.eye(2)[np.where(wrong, 1 - truth, truth)] * 0.8 + 0.1
    there = np.ones((ROWS, 2), dtype=bool) if presence is None else presence
    return scored_rows(class_target(2), truth, there, NAMES, group=group), predicted


def test_a_worse_group_is_found_and_named() -> None:
    ward = ["north" if row < 80 else "east" if row < 240 else "west" for row in range(ROWS)]
    wrong = np.array([row % 3 == 0 if row < 80 else row % 20 == 0 for row in range(ROWS)])
    scored, predicted = _scored(wrong)
    [one] = grouped_scores(scored, groupings(scored, ["ward"], _table(ward=ward)), {"kind": predicted})
    assert (one.by, one.table.worst, one.rows) == ("ward", "north", ROWS)
    assert one.table.gap.value == pytest.approx(27 / 80 - 8 / 160)
    assert "worst north" in one.sentence
    assert one.sentence.endswith("more than chance.")
    assert one.to_json()["groups"][0]["group"] == "north"


def test_chance_is_called_chance() -> None:
    scored, predicted = _scored(np.random.default_rng(0).random(ROWS) < 0.2)
    groups = groupings(scored, ["ward"], _table(ward=[f"w{row % 8}" for row in range(ROWS)]))
    [one] = grouped_scores(scored, groups, {"kind": predicted})
    assert one.sentence.endswith("no more than chance would do.")
    assert 0 < one.table.gap.value < 2 * one.table.gap_by_chance


def test_equal_groups_and_small_groups_are_said_to_be_so() -> None:
    scored, predicted = _scored(np.zeros(ROWS, dtype=bool))
    table = _table(half=["x", "y"] * 200, few=["x"] * 395 + ["y"] * 5)
    same, few = grouped_scores(scored, groupings(scored, ["half", "few"], table), {"kind": predicted})
    assert "the same in all groups" in same.sentence
    assert "nothing to compare" in few.sentence


def test_numbers_are_cut_into_quarters_and_missing_cells_are_a_group() -> None:
    ages: list[object] = [str(float(row)) if row % 10 else None for row in range(ROWS)]
    found = column_groups(_table(age=ages), "age", np.arange(ROWS))
    names, counts = np.unique(found.astype(str), return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        MISSING: 40, "up to 99": 90, "over 99 to 199": 90, "over 199 to 299": 90, "over 299": 90}
    assert found[50] == MISSING
    assert found[99] == "up to 99"
    assert found[101] == "over 99 to 199"


def test_many_values_keep_the_frequent_ones() -> None:
    values: list[object] = [f"v{row % 60 if row < 300 else row % 10}" for row in range(ROWS)]
    found = column_groups(_table(word=values), "word", np.arange(ROWS))
    assert len(np.unique(found.astype(str))) == 50
    assert (found == OTHERS).any()
    assert (found == "v3").sum() == values.count("v3")


def test_a_few_numbers_are_categories() -> None:
    found = column_groups(_table(stage=[str(row % 3) for row in range(ROWS)]), "stage", np.arange(ROWS))
    assert sorted(set(found.tolist())) == ["0", "1", "2"]


def test_the_group_column_and_what_rows_have_come_by_default() -> None:
    presence = np.ones((ROWS, 2), dtype=bool)
    presence[::4, 1] = False
    scored, _ = _scored(np.zeros(ROWS, dtype=bool), presence, group="who")
    found = groupings(scored, [], _table(who=[f"p{row % 5}" for row in range(ROWS)]))
    assert list(found) == ["who", PRESENT]
    assert sorted(set(found[PRESENT].tolist())) == ["a", "a + b"]
    assert list(groupings(scored, [], _table(who=[f"p{row}" for row in range(ROWS)]))) == [PRESENT]
    assert list(groupings(scored, [], None)) == [PRESENT]


def test_errors_name_the_nearest_column_or_the_missing_table() -> None:
    scored, _ = _scored(np.zeros(ROWS, dtype=bool))
    with pytest.raises(RecipeError, match="'wrad'.*Did you mean 'ward'"):
        groupings(scored, ["wrad"], _table(ward=["x"] * ROWS))
    with pytest.raises(DataError, match="needs their table"):
        groupings(scored, ["ward"], None)


def test_errors_of_numbers_by_group() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=ROWS)
    spread = np.where(np.arange(ROWS) % 2, 0.1, 1.0)
    scored = scored_rows(number_target(), truth, np.ones((ROWS, 2), dtype=bool), NAMES)
    predicted = (truth + spread * random.normal(size=ROWS))[:, None]
    [one] = grouped_scores(scored, groupings(scored, ["odd"], _table(odd=["no", "yes"] * 200)), {"size": predicted})
    assert (one.metric, one.table.worst) == ("rmse", "no")
    assert one.table.gap.value > 0.8
