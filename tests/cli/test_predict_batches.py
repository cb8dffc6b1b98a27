"""Predictions a part at a time: the same as at once, in every format, whole or named as partial."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from worlds import QUICK

import sensorium as sm
from sensorium.cli import predict as verb
from sensorium.cli.main import app
from sensorium.data.chunks import read_chunks
from sensorium.data.table import read_table
from sensorium.errors import DataError

RUNNER = CliRunner()


def _write(folder: Path, rows: int) -> Path:
    path = folder / "t.csv"
    lines = ["id,hr,ward,note,y,size"]
    for row in range(rows):
        kind = row % 3
        hr = "" if row % 7 == 3 else "fast" if row == 5 else f"{60 + 10 * kind + 0.1 * (row % 11)}"
        note = "" if row % 5 == 2 else f"row {row} is {('red', 'green', 'blue')[kind]}"
        lines.append(f"x{row},{hr},{('east', 'west')[row % 2]},{note},{'abc'[kind]},{kind + 0.01 * row}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    data = sm.read(_write(folder, 90), targets=("y", "size"))
    return sm.fit(data, QUICK, progress=False, allow_leak=True).save(folder / "model")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return _write(tmp_path, 700)


def _answers(run: Path, table: Path, out: Path, *options: str) -> str:
    result = RUNNER.invoke(app, ["predict", str(run), str(table), "--out", str(out), *options],
                           catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stderr


def test_parts_give_what_the_whole_gives(run: Path, table: Path, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    everything = ("--explain", "--probabilities", "--abstain")
    _answers(run, table, tmp_path / "whole.csv", *everything)
    monkeypatch.setattr(verb, "ROWS_AT_ONCE", 256)  # the model's own batches
    said = _answers(run, table, tmp_path / "parts.csv", *everything)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert "unreadable: row 6, column 'hr', 'fast'" in said and "700 predictions" in said
    rows = list(csv.DictReader((tmp_path / "parts.csv").read_text().splitlines()))
    assert [row["row"] for row in rows] == [str(n) for n in range(1, 701)] and rows[600]["id"] == "x600"
    model = sm.Model.load(run)
    for row, answer in zip(rows, model.predict(table), strict=True):
        assert float(row["size"]) == pytest.approx(answer["size"].value, abs=1e-9)
        assert row["y"] == (answer["y"].value if answer["y"].decided else "")
    assert list(rows[0])[:6] == ["row", "id", "y", "y_probability", "y_set", "y=a"]
    assert {"size_low", "size_high", "y_from_note", "modalities", "unread"} <= set(rows[0])
    assert rows[5]["unread"] == "hr: cannot be read (not a number: 'fast')"
    assert rows[2]["unread"] == "note: missing" and rows[3]["unread"] == "hr: missing" and not rows[0]["unread"]
    assert rows[2]["modalities"] == "table"


def test_formats_hold_the_same(run: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "ROWS_AT_ONCE", 256)
    for name in ("a.csv", "a.parquet", "a.jsonl", "a.tsv"):
        _answers(run, table, tmp_path / name, "--id", "ward,id", "--probabilities")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert {name: str(schema.field(name).type) for name in ("row", "ward", "y_probability", "size", "unread")} == {
        "row": "int64", "ward": "string", "y_probability": "double", "size": "double", "unread": "string"}
    assert str(schema.field("y").type).startswith("dictionary<values=string")
    assert str(schema.field("y_set").type).startswith("list<")
    typed = pl.read_parquet(tmp_path / "a.parquet").with_columns(pl.col("y").cast(pl.String)).to_dicts()
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert typed == lines
    plain = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    for one, other in zip(plain, typed, strict=True):
        assert one["y"] == other["y"] and float(one["y_probability"]) == other["y_probability"]
        assert one["y_set"] == ("" if other["y_set"] is None else "|".join(other["y_set"]) or "nothing")
        assert one["ward"] == other["ward"]
    assert (tmp_path / "a.tsv").read_text().replace("\t", ",").splitlines()[0] == (
        tmp_path / "a.csv").read_text().splitlines()[0]
    assert not list(tmp_path.glob("*.partial*"))


def test_an_interrupted_run_names_what_it_left(run: Path, table: Path, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "ROWS_AT_ONCE", 256)
    whole = verb.answered

    def cut(*given: object, **named: object) -> object:
        for number, part in enumerate(whole(*given, **named)):  # type: ignore[arg-type]
            if number == 2:
                raise KeyboardInterrupt
            yield part

    monkeypatch.setattr(verb, "answered", cut)
    for name, read in (("b.csv", pl.read_csv), ("b.parquet", pl.read_parquet)):
        result = RUNNER.invoke(app, ["predict", str(run), str(table), "--out", str(tmp_path / name)])
        assert result.exit_code != 0
        left = tmp_path / name.replace("b.", "b.partial.")
        assert "stopped after 512 of 700 rows" in result.stderr and left.name in result.stderr
        assert not (tmp_path / name).exists()
        assert read(left).height == 512


def test_ids_and_names(run: Path, table: Path, tmp_path: Path) -> None:
    for asked, words in (("nothing", "nothing"), ("y", "would be named 'y'")):
        result = RUNNER.invoke(app, ["predict", str(run), str(table), "--id", asked])
        assert isinstance(result.exception, DataError) and words in str(result.exception)
        assert result.stdout == ""


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_parts_have_the_types_of_the_whole(tmp_path: Path, ending: str) -> None:
    """A column whose first part is blank, or looks like numbers, has the type of the whole table."""
    frame = pl.DataFrame({"a": [None] * 4 + ["x"] * 4, "b": [*map(str, range(4)), "p", "q", "r", "s"],
                          "n": [None, *range(7)]})
    path = tmp_path / f"t.{ending}"
    {"csv": frame.write_csv, "parquet": lambda p: frame.write_parquet(p, row_group_size=3),
     "jsonl": frame.write_ndjson}[ending](path)
    whole, parts = read_table(path).frame, [part.frame for part in read_chunks(path, 3).parts]
    assert [part.height for part in parts] == [3, 3, 2] if ending != "parquet" else sum(p.height for p in parts) == 8
    assert all(part.schema == whole.schema for part in parts)
    assert pl.concat(parts).equals(whole)


def test_broken_and_empty_tables(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).head(0).write_parquet(tmp_path / "none.parquet")
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 junk")
    (tmp_path / "empty.parquet").write_bytes(b"")
    for name, words in (("none", "has no rows"), ("junk", "as Parquet"), ("empty", "empty")):
        with pytest.raises(DataError, match=words):
            read_chunks(tmp_path / f"{name}.parquet", 10)
