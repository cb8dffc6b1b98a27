"""Conditions: what they keep, what they may not do, what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sensorium.errors import DataError, RecipeError
from sensorium.retrieval.where import matching

COLUMNS = {"year": pa.chunked_array([[1999, 2021, None, 2030]]),
           "Ward Name": pa.chunked_array([["east", "west", "x", None]]),
           "position": pa.chunked_array([[4, 3, 2, 1]]), "tags": pa.chunked_array([[["a"], ["a", "b"], None, []]])}


def keeps(expression: str, **settings: float) -> list[int]:
    return np.flatnonzero(matching(expression, list(COLUMNS), 4, COLUMNS.__getitem__, **settings)).tolist()


@pytest.mark.parametrize(("expression", "kept"), [
    ("year > 2000", [1, 3]), ("YEAR > 2000", [1, 3]), ("not year > 2000", [0]), ("year is null", [2]),
    ("\"ward name\" = 'east' or year = 2030", [0, 3]), ("rows.year in (1999, 2030)", [0, 3]), ("position < 3", [2, 3]),
    ("\"Ward Name\" ilike 'W%'", [1]), ("list_contains(tags, 'b')", [1]), ("year between 2000 and 2025 -- new", [1]),
    ("true", [0, 1, 2, 3]), ("(year > 2000) and ('a' < 'b')", [1, 3]), ("null", []),
    ("list_has_any(tags, ['b', 'c']) or tags[1] = 'z'", [1]),
])
def test_what_is_kept(expression: str, kept: list[int]) -> None:
    assert keeps(expression) == kept


@pytest.mark.parametrize("expression", [
    "1=1) union select 1 from (select 2", "1) order by (1", "1); drop table rows; select (1", "year >", "", "  ",
    "1) limit (1", "year > 1; select 1", "1) group by (year", "x" * 10_001, "year > 'abc'", "sum(year) > 3", "year = ?",
    "row_number() over () > 1", "repeat('x', 9999999999) = 'x'", "len(range(100000000)) > 1",
    "list_sum(list_transform(tags, lambda x: 1)) > 0", "current_setting('threads') = '1'", "getenv('HOME') = 'x'",
])
def test_what_is_no_expression_is_refused_in_one_line(expression: str) -> None:
    with pytest.raises(DataError, match="^where ?.*: ") as error:
        keeps(expression)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("expression", [
    "year in (select 3)", "exists (from read_csv('{0}'))", "(select count(*) from '{0}') > 0", "year = (select 1)",
    "exists (select * from read_text('{0}'))", "exists (select * from COLUMNS)",
    "exists (select * from duckdb_settings())",
    "read_text('{0}') is not null", "exists (with a as (select 1) from a)", "year in (from glob('{0}*'))",
])
def test_nothing_else_is_read(expression: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with pytest.raises(DataError, match="where"):
        keeps(expression.format(secret))


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(RecipeError, match="unknown column 'yaer': choose one of year, Ward Name.* Did you mean 'year'"):
        keeps("yaer > 2000")


def test_what_takes_too_long_is_stopped() -> None:
    years = pa.chunked_array([np.arange(500_000)])
    slow = " + ".join(["regexp_matches(repeated, 'a.*b.*c')::int"] * 60) + " > 0"
    words = pa.array(["a" * 200]).take(pa.array(np.zeros(500_000, int)))
    columns = {"year": years, "repeated": pa.chunked_array([words])}
    with pytest.raises(DataError, match="stopped after 0.05 s"):
        matching(slow, list(columns), 500_000, columns.__getitem__, seconds=0.05)
