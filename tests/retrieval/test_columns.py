"""Cells of a table as typed columns, and segments whose columns differ."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from sensorium.retrieval.columns import Narrowing, joined_type, storable
from sensorium.retrieval.rows import ID, Rows, RowsWriter


@pytest.mark.parametrize(("cells", "word"), [
    (["1", " 2", "", "NA"], "whole"), (["1", "2.5", "1e3", ".5", "-3."], "number"), (["007", "1"], "text"),
    (["true", "False"], "flag"), (["2020-01-31", None], "date"),
    (["2020-01-31 10:00", "2020-01-31T10:00:01.5"], "time"),
    (["2020-02-30x", "1"], "text"), (["", None], "blank"), (["1", "east"], "text"),
    (["99999999999999999999"], "number"),
])
def test_what_a_column_of_words_holds(cells: list[str | None], word: str) -> None:
    frame, words, _ = storable(pl.DataFrame({"a": cells}), ())
    narrowing = Narrowing()
    narrowing.look(frame[:1], words)
    narrowing.look(frame[1:], words)
    assert narrowing.found() == {"a": word}


def written(folder: Path, *frames: pl.DataFrame) -> dict[str, str]:
    folder.mkdir()
    writer = RowsWriter(folder)
    for number, frame in enumerate(frames):
        some, words, _ = storable(frame, ["note"])
        writer.write([f"{number}-{row}" for row in range(len(frame))], some, words)
    return writer.close()


def test_rows_are_read_back_as_they_are_meant(tmp_path: Path) -> None:
    frame = pl.DataFrame({"note": ["12", ""], "n": ["1", "?"], "x": ["+1.5", "2"], "ok": ["TRUE", "false"],
                          "day": ["2020-01-31", ""], "at": ["2020-01-31 10:00", ""]})
    words = written(tmp_path / "a", frame, frame)
    assert words == {"note": "text", "n": "whole", "x": "number", "ok": "flag", "day": "date", "at": "time"}
    rows = Rows(tmp_path / "a", 4, words)
    assert rows.at([2, 1]) == [
        {ID: "1-0", "note": "12", "n": 1, "x": 1.5, "ok": True, "day": "2020-01-31", "at": "2020-01-31T10:00:00"},
        {ID: "0-1", "note": "", "n": None, "x": 2.0, "ok": False, "day": None, "at": None}]
    assert rows.column("day").to_pylist() == [date(2020, 1, 31), None] * 2


def test_typed_tables_keep_their_types_and_bytes_are_left_out(tmp_path: Path) -> None:
    frame = pl.DataFrame({"note": ["a"], "n": pl.Series([3], dtype=pl.UInt8), "day": [date(2020, 1, 1)],
                          "at": [datetime(2020, 1, 1, 2)], "raw": [b"x"], "list": [["a", "b"]], "numbers": [[1.0]],
                          "nothing": pl.Series([None], dtype=pl.Null)})
    some, words, left_out = storable(frame, ())
    assert words == {"note": "words", "n": "whole", "day": "date", "at": "time", "list": "texts", "nothing": "words"}
    assert left_out == ["raw", "numbers"] and some.columns == list(words)
    found = written(tmp_path / "a", frame)
    assert Rows(tmp_path / "a", 1, found).at([0]) == [
        {ID: "0-0", "note": "a", "n": 3, "day": "2020-01-01", "at": "2020-01-01T02:00:00", "list": ["a", "b"],
         "nothing": None}]


def test_a_segment_is_read_as_the_wider_type_of_the_index(tmp_path: Path) -> None:
    words = written(tmp_path / "a", pl.DataFrame({"n": ["1", ""], "x": ["2020-01-01", ""]}))
    assert words == {"n": "whole", "x": "date"}
    rows = Rows(tmp_path / "a", 2, {"n": "number", "x": "text", "other": "flag"})
    assert rows.at([0, 1]) == [{ID: "0-0", "n": 1.0, "x": "2020-01-01", "other": None},
                               {ID: "0-1", "n": None, "x": None, "other": None}]
    assert rows.column("other").to_pylist() == [None, None]
    assert Rows(tmp_path / "a", 2, {"n": "text"}).column("n").to_pylist() == ["1", None]


def test_every_way_to_write_a_number_is_read_and_no_date_that_is_none(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": ["1.", ".5", "-2e-3", "+.25", "1E5", "-0"], "n": ["+7", "-0", "0", "NA", " 12 ", "3"],
                          "day": ["2023-02-30", *["2023-01-01"] * 5], "none": ["", "NA", "?", "", "", ""],
                          "at": ["2023-01-01T10:00:59.123456", *["2023-01-01 10:00"] * 5]})
    words = written(tmp_path / "a", frame)
    assert words == {"x": "number", "n": "whole", "day": "text", "none": "blank", "at": "time"}
    rows = Rows(tmp_path / "a", 6, words)
    assert rows.column("x").to_pylist() == [1.0, 0.5, -0.002, 0.25, 1e5, 0.0]
    assert rows.column("n").to_pylist() == [7, 0, 0, None, 12, 3]
    assert rows.column("at").to_pylist()[0] == datetime(2023, 1, 1, 10, 0, 59, 123456)
    assert Rows(tmp_path / "a", 6, {"none": joined_type("blank", "whole")}).column("none").to_pylist() == [None] * 6
