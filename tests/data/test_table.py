"""Tables as people write them: every notation is read, every fault is one line that says where and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sensorium.data.read import read
from sensorium.data.table import Table, read_table, table_of_rows
from sensorium.errors import DataError

CELLS = [("1", "été"), ("2", "x")]


def _file(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_table(path)
    assert "\n" not in str(error.value) and str(path.name) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("content", "note"), [
    ("a,b\n1,été\n2,x\n", ""),
    ("a;b\n1;été\n2;x\n", ""),
    ("a\tb\n1\tété\n2\tx\n", ""),
    ("a|b\n1|été\n2|x", ""),
    ("a,b\r\n1,été\r\n2,x\r\n", ""),
    ("a,b\r1,été\r2,x\r", ""),
    ("\ufeffa,b\n1,été\n2,x\n", ""),
    ("sep=;\na;b\n1;été\n2;x\n", ""),
    (' a ,"b"\n1,"été"\n2,x\n', ""),
    ("a,b\n1,été\n\n2,x\n\n\n", "1 blank lines are not rows"),
    ("a,b\n1,été\n2,x\n".encode("utf-16"), "read as utf-16"),
    ("a,b\n1,été\n2,x\n".encode("utf-16-le"), "read as utf-16-le"),
    ("a,b\n1,été\n2,x\n".encode("latin-1"), "read as cp1252"),
])
def test_every_notation_of_a_csv_gives_the_same_cells(tmp_path: Path, content: str | bytes, note: str) -> None:
    table = read_table(_file(tmp_path, content))
    assert table.frame.columns == ["a", "b"] and table.frame.rows() == CELLS
    assert (note in "; ".join(table.notes)) if note else table.notes == ()


def test_quotes_newlines_and_separators_inside_cells() -> None:
    """A naive reference: Python's own reader."""
    import csv
    import io
    import tempfile

    rows = [["a, b", "c"], ['say ""hi""', "two\nlines"], ["x;y\tz", ""], ["long " + "y" * 200_000, "'"]]
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    with tempfile.TemporaryDirectory() as folder:
        table = read_table(_file(Path(folder), buffer.getvalue()))
    assert table.frame.columns == rows[0]
    assert [[cell or "" for cell in row] for row in table.frame.rows()] == rows[1:]


@pytest.mark.parametrize(("content", "words"), [
    ("a,b\n1,2\n3,4,5\n", "line 3 has 3 cells, the header has 2"),
    ("a,b,c\n1,2,3\n4,5\n", "line 3 has 2 cells, the header has 3"),
    ("a,b\n1,\"x\n2,y\n", "quote left open"),
    ("a,b,a\n1,2,3\n", "two columns of the same name: 'a'"),
    ("a, a\n1,2\n", "two columns of the same name: 'a'"),
    ("", "empty (0 bytes)"),
    ("\n\n", "no rows"),
    ("a,b\n", "no rows"),
    (b"PK\x03\x04" + b"\0\xff" * 50, "Excel"),
    (f"a,b\n1,{'x' * 200_000}\n1,2,3\n", "line 3 has 3 cells"),
])
def test_a_broken_csv_is_one_line(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in _refused(_file(tmp_path, content))


def test_a_lone_column_keeps_its_blank_lines_as_missing_cells(tmp_path: Path) -> None:
    assert read_table(_file(tmp_path, "a\n1\n\n2\n")).frame["a"].to_list() == ["1", None, "2"]


def test_nameless_columns_get_names(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, ",a,\n0,x,\n1,y,\n"))
    assert table.frame.columns == ["index", "a", "column_3"]
    assert read_table(_file(tmp_path, ",index\n0,x\n")).frame.columns == ["index_", "index"]


@pytest.mark.parametrize("name", ["t.xlsx", "t.dat", "t"])
def test_an_unknown_ending_names_the_known_ones(tmp_path: Path, name: str) -> None:
    words = _refused(_file(tmp_path, "a\n1\n", name))
    assert "expected .csv, .tsv, .parquet, .jsonl" in words and ("CSV" in words) == name.endswith("xlsx")


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "no such file or folder" in _refused(tmp_path / "none.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "none.csv")
    assert "a link to nothing" in _refused(tmp_path / "link.csv")
    real = _file(tmp_path, "a,b\n1,été\n2,x\n", "UPPER.CSV")
    (tmp_path / "good.csv").symlink_to(real)
    assert read_table(tmp_path / "good.csv").frame.rows() == CELLS


def test_parquet_with_bytes_structures_and_an_index(tmp_path: Path) -> None:
    frame = pl.DataFrame({
        "picture": [b"one", None, b"two"],
        "held": [{"bytes": b"x", "path": "a.png"}, {"bytes": None, "path": "b.png"}, None],
        "only": [{"bytes": b"x", "path": None}, {"bytes": b"y", "path": "z"}, None],
        "word": pl.Series(["u", "v", None], dtype=pl.Categorical), "__index_level_0__": [5, 3, 9]})
    frame.write_parquet(tmp_path / "t.parquet")
    read_back = read_table(tmp_path / "t.parquet").frame
    assert read_back["picture"].to_list() == [b"one", None, b"two"]
    assert read_back["held"].to_list() == [b"x", "b.png", None]
    assert read_back["only"].to_list() == [b"x", b"y", None] and read_back["only"].dtype == pl.Binary
    assert read_back["word"].dtype == pl.String and "index" in read_back.columns
    assert "as Parquet" in _refused(_file(tmp_path, "no parquet", "broken.parquet"))


def test_jsonl(tmp_path: Path) -> None:
    table = read_table(_file(tmp_path, '{"a": 1, "b": "x"}\n\n{"b": "\\ud800y", "c": [1]}\n', "t.jsonl"))
    assert table.frame["a"].to_list() == [1, None] and table.frame["b"].to_list() == ["x", "?y"]
    assert table.frame["c"].to_list() == [None, [1]]
    assert "line 2 is not JSON" in _refused(_file(tmp_path, '{"a": 1}\n{"a":\n', "broken.jsonl"))
    assert "line 1: expected an object" in _refused(_file(tmp_path, "[1]\n", "list.jsonl"))
    assert "two columns of the same name" in _refused(_file(tmp_path, '{"a": 1, "a": 2}\n', "twice.jsonl"))
    assert "no rows" in _refused(_file(tmp_path, "\n", "blank.jsonl"))


def test_mixed_cells_lose_nothing() -> None:
    table = table_of_rows([{"a": 1, "b": float("nan")}, {"a": "q", "b": "text"}, {"a": 2.5, "b": None}])
    assert table.frame["a"].to_list() == ["1", "q", "2.5"] and table.frame["b"].to_list() == [None, "text", None]
    huge = table_of_rows([{"a": 10**60}, {"a": 1}])
    assert huge.frame["a"].to_list() == [str(10**60), "1"]
    typed = table_of_rows([{"a": np.float32(0.5), "b": np.int64(3)}])
    assert typed.frame.dtypes == [pl.Float64, pl.Int64]


@pytest.mark.parametrize(("rows", "words"), [([], "no rows"), ([{}], "no columns"), ([3], "expected a dictionary")])
def test_rows_that_are_none(rows: list[object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        table_of_rows(rows)  # type: ignore[arg-type]


def _folders(folder: Path, *files: str) -> Table:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    return read_table(folder)


def test_class_folders(tmp_path: Path) -> None:
    table = _folders(tmp_path, "cat/a 1.PNG", "cat/deep/b.jpg", "dog/c.jpeg", "dog/notes.txt", "dog/.hidden.png",
                     "dog/bark.wav", "readme.md", "empty/x.txt", ".git/z.png")
    assert table.frame.rows() == [("cat/a 1.PNG", "cat"), ("cat/deep/b.jpg", "cat"), ("dog/c.jpeg", "dog")]
    assert table.frame.columns == ["image", "label"] and table.root == tmp_path
    notes = " | ".join(table.notes)
    assert "1 audio files left out" in notes and "2 files left out: not pictures, sounds or videos" in notes
    assert "stand in no class folder ('readme.md')" in notes and "without image files: 'empty'" in notes


def test_class_folders_inside_split_folders_are_splits_not_classes(tmp_path: Path) -> None:
    table = _folders(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "test/dog/4.png")
    assert sorted(table.frame.rows()) == [("test/dog/4.png", "dog", "test"), ("train/cat/1.png", "cat", "train"),
                                          ("train/dog/2.png", "dog", "train"), ("val/cat/3.png", "cat", "val")]
    assert read(tmp_path, targets="label").schema.split == "split"


def test_a_folder_without_classes_says_which_table_it_holds(tmp_path: Path) -> None:
    _file(tmp_path, "a\n1\n", "labels.csv")
    assert "'labels.csv': name that file" in _refused(tmp_path)
