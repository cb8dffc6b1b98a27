"""Rows read without a data frame are the rows that a data frame gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from worlds import write_small_world

from sensorium.data.read import as_samples, read
from sensorium.data.samples import Samples, measured
from sensorium.data.schema import Schema
from sensorium.errors import DataError
from sensorium.runtime.rows import decoded_rows, given_rows, read_rows


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Schema]:
    table = write_small_world(tmp_path_factory.mktemp("world"), 12)
    data = read(table, targets=("kind", "size"))
    return table, measured(data.table, data.schema, np.arange(len(data)))


def _same(found: Samples, expected: Samples) -> None:
    assert (found.presence == expected.presence).all()
    assert sorted(map(str, found.unreadable)) == sorted(map(str, expected.unreadable))
    assert found.notes == expected.notes
    for name in expected.schema.names:
        one, other = found.cells[name], expected.cells[name]
        assert (one.cells_of_row == other.cells_of_row).all() and (one.lengths == other.lengths).all()
        numbers = range(len(other.arrays))
        for array, wanted in zip(one.arrays.get(numbers), other.arrays.get(numbers), strict=True):
            np.testing.assert_array_equal(array, wanted)


def test_a_table_of_files(world: tuple[Path, Schema]) -> None:
    table, schema = world
    _same(decoded_rows(read_rows(table), schema), as_samples(table, schema))


@pytest.mark.parametrize("text", [
    "note,hr\nred,7\n\ngreen,8\n", "sep=;\nnote;hr\nred;7,5\n", "note\thr\nred\t7\n",
    "\ufeffnote,hr\r\n\"a, b\",NA\r\n", "note,extra\nred,x\n",
    "id,hr\n1,soon\n2,9\n", "note\nred\n\nblue\n", "note,hr\n caf\u00e9 ,1e3\n", "ward,hr\n,\n"])
def test_tables_as_people_write_them(world: tuple[Path, Schema], tmp_path: Path, text: str) -> None:
    _, schema = world
    table = tmp_path / ("t.tsv" if "\t" in text else "t.csv")
    table.write_text(text, encoding="utf-8", newline="")
    _same(decoded_rows(read_rows(table), schema), as_samples(table, schema))


def test_lines_of_json(world: tuple[Path, Schema], tmp_path: Path) -> None:
    _, schema = world
    rows = [{"note": ["a", "b"], "hr": 70}, {"note": None, "hr": "71", "ward": "east"}, {"image": "no.png", "bp": 1.5}]
    table = tmp_path / "t.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    _same(decoded_rows(read_rows(table), schema), as_samples(table, schema))


def test_rows_in_memory(world: tuple[Path, Schema]) -> None:
    table, schema = world
    rows = [{"image": table.parent / "0.png", "hr": np.float32(71.0)}, {"image": np.zeros((9, 9, 3), np.uint8)},
            {"sound": (np.zeros(400, np.float32), 8000), "note": float("nan")}, {"note": b"red", "bp": float("nan")},
            {"image": "1.png", "note": "sur\ud800rogate"}]
    _same(decoded_rows(given_rows(rows, table.parent), schema), as_samples(rows, schema, root=table.parent))


def test_files_outside_the_folder_of_a_table_are_not_read(world: tuple[Path, Schema], tmp_path: Path) -> None:
    table, schema = world
    rows = tmp_path / "rows.csv"
    rows.write_text(f"image,hr\n{table.parent / '0.png'},1\n")
    found = decoded_rows(read_rows(rows), schema)
    assert "lies outside" in found.unreadable[0].reason
    assert not decoded_rows(read_rows(rows, allow_outside=True), schema).unreadable


@pytest.mark.parametrize(("name", "text", "words"), [
    ("t.csv", "", "0 bytes"), ("t.csv", "a,b\n", "has no rows"), ("t.csv", "a,b\n1\n", "line 2 has 1 cells"),
    ("t.csv", "a,a\n1,2\n", "two columns"), ("t.parquet", "x", "reads .csv, .tsv and .jsonl, found .parquet"),
    ("t.jsonl", "[1]\n", "line 1: expected an object"), ("t.jsonl", "{\n", "line 1 is not JSON"),
    ("t.jsonl", '{"a": 1, "a": 2}\n', "two columns"), ("t.jsonl", "\n", "has no rows")])
def test_tables_that_cannot_be_read_say_why(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        read_rows(tmp_path / name)
