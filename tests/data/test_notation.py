"""Numbers, dates and categories as people write them."""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.notation import (
    Notation,
    category_key,
    date_notation,
    is_missing,
    number_notation,
    parse_date,
    parse_number,
    spellings,
)
from sensorium.errors import BadCell

COMMA = Notation(decimal=",")


@pytest.mark.parametrize(("text", "notation", "number"), [
    ("1.5", Notation(), 1.5), (" -2 ", Notation(), -2.0), ("1e3", Notation(), 1000.0), ("\u22123", Notation(), -3.0),
    ("1,234.5", Notation(), 1234.5), ("1 234 567", Notation(), 1234567.0), ("12'345", Notation(), 12345.0),
    ("1,5", COMMA, 1.5), ("1.234,5", COMMA, 1234.5), ("1\u202f234,5", COMMA, 1234.5), ("3.14", COMMA, 3.14),
    ("0,125", COMMA, 0.125), ("-,5", COMMA, -0.5),
    ("12 kg", Notation(unit="kg"), 12.0), ("12", Notation(unit="kg"), 12.0), ("-$5", Notation(unit="$"), -5.0),
    ("$1,200.50", Notation(unit="$"), 1200.5), ("7,5%", Notation(unit="%", decimal=","), 7.5),
    (Decimal("2.5"), Notation(), 2.5), (True, Notation(), 1.0), (np.float32(0.5), Notation(), 0.5),
])
def test_numbers(text: object, notation: Notation, number: float) -> None:
    assert parse_number(text, notation) == number


@pytest.mark.parametrize("value", ["x", "1,5", "1_000", "12 kg", "inf", "1e999", 10**400, b"3", None, "", "--5", [1],
                                   float("inf"), "1,23,456", "0x10", "1.2.3"])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(BadCell, match="not a"):
        parse_number(value)


def test_a_foreign_unit_is_not_guessed() -> None:
    with pytest.raises(BadCell):
        parse_number("12 lb", Notation(unit="kg"))


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e9, 1e9), st.sampled_from(["", " kg", "%", " m/s²"]), st.booleans())
def test_numbers_survive_being_written(number: float, unit: str, comma: bool) -> None:
    text = f"{number:.3f}".replace(".", "," if comma else ".") + unit
    others = [("0,25" if comma else "0.25") + unit, ("7,1" if comma else "7.1") + unit] * 2
    assert parse_number(text, number_notation([text, *others])) == float(f"{number:.3f}")


@pytest.mark.parametrize(("values", "decimal", "unit"), [
    (["1,5", "2", "3,25"], ",", ""), (["1,234", "5,678"], ".", ""), (["0,125", "1,250"], ",", ""),
    (["1.5", "2,000.5"], ".", ""), (["1.234,5", "2"], ",", ""), (["5 kg", "6kg", "7"], ".", "kg"),
    (["€ 5,50", "€ 7,25"], ",", "€"), (["A1", "A2"], ".", ""), (["5 kg", "6 lb", "7 g"], ".", ""), ([], ".", ""),
])
def test_notations_are_found(values: list[str], decimal: str, unit: str) -> None:
    assert number_notation(values) == Notation(decimal=decimal, unit=unit)  # type: ignore[arg-type]


DAY = float((date(2020, 3, 4) - date(1970, 1, 1)).days)


@pytest.mark.parametrize("value", [
    "2020-03-04", "2020/03/04", "2020.3.4", "04/03/2020", "4.3.2020", "4-3-20", "4 March 2020", "04-Mar-2020",
    "Mar 4, 2020", "March 4th 2020", "20200304", "2020-03-04T00:00:00Z", "2020-03-04 02:00:00+02:00",
    "4/3/2020 12:00 AM", date(2020, 3, 4), datetime(2020, 3, 4), datetime(2020, 3, 4, tzinfo=UTC),
    datetime(2020, 3, 4, 2, tzinfo=timezone(timedelta(hours=2))),
])
def test_dates(value: object) -> None:
    assert parse_date(value) == DAY


def test_moments_and_times() -> None:
    assert parse_date("3/4/2020 6:00 PM", Notation(day_first=False)) == DAY + 0.75
    assert parse_date("04.03.2020, 18:00") == DAY + 0.75
    assert parse_date("06:00") == parse_date(time(6)) == 0.25
    assert parse_date(timedelta(days=2, hours=12)) == 2.5


@pytest.mark.parametrize("value", ["31/02/2020", "13/13/2020", "hello", "1.2.3", "25:00", "13:00 pm", 3, None,
                                   datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))])
def test_what_is_no_date_is_refused(value: object) -> None:
    with pytest.raises(BadCell, match="not a date"):
        parse_date(value)


def test_the_order_of_day_and_month() -> None:
    assert date_notation(["1/2/2020", "25/2/2020"]) == (Notation(), "dates, the day before the month")
    assert date_notation(["1/2/2020", "2/25/2020"]) == (Notation(day_first=False), "dates, the month before the day")
    assert "read with the day before" in date_notation(["1/2/2020"])[1]
    assert date_notation(["2020-01-02"])[1] == "dates"


@pytest.mark.parametrize("value", [None, "", "  ", "NA", "n/a", "NaN", "NULL", "None", "?", "-", "#DIV/0!", "NaT",
                                   float("nan"), np.float32("nan")])
def test_missing_words(value: object) -> None:
    assert is_missing(value)


def test_what_is_not_missing() -> None:
    assert not any(map(is_missing, ["0", 0, False, "no", "nothing", b"", 1.5]))


@pytest.mark.parametrize("same", [("True", "TRUE", "true", True), ("Yes", "yes", "YES"), ("1", "1.0", 1, 1.0, "1.00"),
                                  ("caf\u00e9", "cafe\u0301"), (" a ", "a")])
def test_spellings_of_one_category(same: tuple[object, ...]) -> None:
    assert len({category_key(value) for value in same}) == 1


def test_case_counts_and_the_most_frequent_spelling_stands() -> None:
    assert len({category_key(v) for v in ("a", "A", "1.5", "1", "v1.0")}) == 5
    assert spellings(["True", "TRUE", "True", "x"]) == {"True": 3, "x": 1}


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(max_size=30), st.binary(max_size=20), st.floats(), st.integers(), st.dates(), st.none(),
                 st.lists(st.integers(), max_size=2)))
def test_parsers_raise_bad_cell_and_nothing_else(value: object) -> None:
    for parse in (parse_number, parse_date):
        for notation in (Notation(), Notation(decimal=",", unit="k", day_first=False)):
            with contextlib.suppress(BadCell):
                assert math.isfinite(parse(value, notation))
    assert isinstance(category_key(value), str) and isinstance(is_missing(value), bool)
