"""What a column is taken for, and why; what the user overrides; what is refused in one line."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensorium.data.decoding.paths import TableFolder
from sensorium.data.guess import guess_column
from sensorium.data.infer import infer_schema
from sensorium.data.schema import Schema
from sensorium.data.table import Table, read_table, table_of_rows
from sensorium.errors import DataError, RecipeError
from sensorium.recipe import DataOptions

ROWS = 60


def _guess(values: list[Any], name: str = "x") -> tuple[str | None, str]:
    guess = guess_column(table_of_rows([{name: value} for value in values]).frame[name], TableFolder(Path()))
    return guess.role, guess.reason


def _cycle(*values: Any) -> list[Any]:
    return [values[row % len(values)] for row in range(ROWS)]


WORDS = [f"w{row}" for row in range(ROWS)]


@pytest.mark.parametrize(("values", "role", "reason"), [
    (_cycle(None, "", " ", "NA", "nan", "-"), None, "every cell is missing"),
    (_cycle("same"), None, "every cell is the same ('same')"),
    (_cycle("a b.png", "C.PNG", None), "image", "100% of the cells end like pictures"),
    (_cycle(r"C:\data\x.JPG", "/abs/y.jpeg", "NA"), "image", "end like pictures"),
    (_cycle("a.wav", "b.Flac"), "audio", "100% of the cells end like sounds"),
    (_cycle("a.mp4", "b.mov"), "video", "100% of the cells end like videos"),
    (_cycle("a.h5", "b.pdf"), None, "document files, which this version does not read"),
    (_cycle("a.npy", "b.csv"), None, "files of numbers of which none can be read"),
    (_cycle("a.png;b.png", "c.png", "d.jpg; e.jpg;f.jpg"), "image", "lists of files; 100% of the cells end like"),
    (_cycle('["a.wav", "b.wav"]', '["c.wav"]', "[]"), "audio", "lists of files; 100% of the cells end like sounds"),
    (_cycle(["a.png", "b.png"], ["c.png"]), "image", "lists; 100% of the cells end like pictures"),
    (_cycle(["a dry cough at night", "fever since the morning"], ["no complaints at all"]), "text", "lists; sentences"),
    (_cycle(["red", "blue"], ["green"]), None, "lists of which the items are no media and no text"),
    (_cycle("yes; I was there | once", "no; never | not me"), "text", "sentences"),
    (_cycle("http://x/a.png", "https://x/b.png"), None, "addresses on the network"),
    (_cycle("dir/one", "dir/two", "dir/sub/three"), None, "a path is never text"),
    (_cycle("my data/cat 1.xyz", "my data/the big dog.xyz"), None, "a path is never text"),
    (_cycle("/abs/my cat", "/abs/my dog"), None, "a path is never text"),
    (_cycle("holiday photo 1.raw", "my cat.raw"), None, "a path is never text"),
    (_cycle("and/or", "male/female"), "category", "2 different words"),
    (_cycle("1.5", "2", "NA", "3e2", "-7"), "number", "numbers (4 different)"),
    (_cycle("1,5", "2,25"), "number", "with a decimal comma"),
    (_cycle("12 kg", "13 kg", "9 kg"), "number", "with the unit 'kg'"),
    (_cycle("$1,200", "$7"), "number", "with the unit '$'"),
    (_cycle(1, 2, 3), "number", "numbers (3 different)"),
    (_cycle(True, False), "category", "true or false"),
    (_cycle("True", "FALSE", "true"), "category", "different words"),
    (list(range(7, 7 + ROWS)), None, "an id: whole numbers, all different"),
    ([str(row) for row in np.random.default_rng(0).permutation(ROWS)], None, "an id"),
    ([row * row for row in range(ROWS)], "number", "numbers (60 different)"),
    ([f"{row} cm" for row in range(ROWS)], "number", "with the unit 'cm'"),
    (WORDS, None, "an id: single words, all different"),
    ([f"w{row // 1.5:.0f}" for row in range(2 * ROWS)], None, "more an id than a category"),
    (_cycle("red", "blue", "green"), "category", "3 different words"),
    (_cycle("2020-01-02", "2020-03-04"), "date", "dates"),
    (_cycle("25/12/2020", "01/02/2021"), "date", "the day before the month"),
    (_cycle("12/25/2020", "01/02/2021"), "date", "the month before the day"),
    (_cycle("3 May 2020", "2020-05-04"), "date", "dates"),
    (_cycle("08:30", "17:45:10"), "date", "dates"),
    (_cycle(date(2020, 1, 2), date(2021, 1, 2)), "date", "dates"),
    (_cycle(time(8), time(9)), "date", "times of day"),
    (_cycle("a dry cough at night", "no complaints at all today"), "text", "sentences"),
    ([f"John{row} Smith" for row in range(ROWS)], "text", "sentences (2.0 words"),
    ([f"BP 120/{row} and temp 37.{row % 10}" for row in range(ROWS)], "text", "sentences"),
    (_cycle("今天天气很好我们去公园", "他昨天没有来上班因为生病"), "text", "sentences"),
    (_cycle("男", "女"), "category", "2 different words"),
    (_cycle("上海市", "北京市"), "category", "2 different words"),
    (_cycle("วันนี้อากาศดีมากเลยครับ", "ฉันชอบกินข้าวผัดกับไข่ดาว"), "text", "sentences"),
    (["x" * 300_000 + " y" * row for row in range(2, 20)], "text", "sentences"),
    (_cycle([1, 2], [3]), "series", "lists of numbers"),
    (_cycle(np.zeros(9), np.zeros((8, 2))), "series", "arrays of numbers"),
    (_cycle({"a": 1}, {"a": 2}), None, "cells of type dict"),
    (_cycle(b"junk", b"more"), None, "bytes that are neither pictures nor sounds nor videos"),
    (_cycle(np.zeros((4, 4), np.uint8)), "image", "pictures in memory"),
    (_cycle((np.zeros(9), 8000)), "audio", "(waveform, rate) pairs"),
    (_cycle(Path("a.png"), Path("b.png")), "image", "end like pictures"),
])
def test_every_rule_gives_its_reason(values: list[Any], role: str | None, reason: str) -> None:
    found = _guess(values)
    assert found[0] == role and reason in found[1], found


@pytest.mark.parametrize("name", ["id", "patient_id", "customerId", "Unnamed: 0", "index", "level_0", "row_no", "uuid"])
def test_names_of_ids(name: str) -> None:
    spread = [7 * row + row % 3 for row in range(ROWS)]
    assert _guess(spread, name)[0] is None and _guess(spread, "valid")[0] == "number"


def test_parquet_types(tmp_path: Path) -> None:
    pl.DataFrame({"l": [[1], [2]], "d": [date(2020, 1, 1), date(2020, 1, 2)], "n": [None, None],
                  "c": pl.Series(["a", "b"], dtype=pl.Categorical),
                  "dec": pl.Series(["0.5", "1.25"]).cast(pl.Decimal(10, 2))}).write_parquet(tmp_path / "t.parquet")
    frame = read_table(tmp_path / "t.parquet").frame
    roles = {name: guess_column(frame[name], TableFolder(tmp_path)) for name in frame.columns}
    assert [roles[name].role for name in ("l", "d", "n", "c", "dec")] == ["series", "date", None, "category", "number"]
    assert roles["l"].reason == "lists of numbers" and roles["n"].reason == "every cell is missing"


def _table(**columns: list[Any]) -> Table:
    return Table(pl.DataFrame(columns), Path(), "t.csv")


def _schema(table: Table, **options: Any) -> Schema:
    return infer_schema(table, DataOptions.model_validate(options))


NUMBERS = [str(row % 7 + 0.5) for row in range(ROWS)]
TABLE = _table(a=NUMBERS, b=_cycle("1", "2"), w=_cycle("x", "y"),
               note=[f"it is case {row} today" for row in range(ROWS)],
               key=[str(row) for row in range(ROWS)], file=_cycle("p/q1", "p/q2"), who=_cycle("s", "t", "u"),
               y=_cycle("yes", "no"))


def test_forty_columns_of_numbers_are_one_table() -> None:
    random = np.random.default_rng(0)
    frame = {f"x{i}": [f"{v:.3f}" for v in random.normal(size=ROWS)] for i in range(40)}
    schema = _schema(_table(**frame, y=_cycle("0", "1", "2")), targets=("y",))
    assert schema.names == ("table",) and len(schema.modalities[0].columns) == 40 and not schema.ignored
    assert schema.targets[0].classes == ("0", "1", "2")


def test_the_order_of_modalities_and_the_lines_for_a_person() -> None:
    schema = _schema(TABLE, targets=("y",), group="who")
    assert schema.names == ("note", "table")
    assert schema.modality("table").columns == ("a", "b", "w")
    assert set(schema.ignored) == {"key", "file"} and schema.group == "who"
    lines = "\n".join(schema.lines())
    assert "target y: classify, one of 2 classes — labels" in lines and "ignored key: an id" in lines
    assert Schema.model_validate_json(schema.model_dump_json()) == schema


def test_overrides() -> None:
    assert _schema(TABLE, targets=("y",), kinds={"a": "text"}).modality("a").kind.name == "text"
    assert "key" in _schema(TABLE, targets=("y",), kinds={"key": "number"}).modality("table").columns
    assert _schema(TABLE, targets=("y",), inputs=("a", "key")).modality("table").columns == ("a", "key")
    assert "note" in _schema(TABLE, targets=("y",), ignore=("note",)).ignored
    schema = _schema(TABLE, targets=("y",), modalities={"vitals": ("a", "b")})
    assert schema.names == ("note", "vitals", "table") and schema.modality("table").columns == ("w", "who")
    assert _schema(TABLE, targets=("b",), tasks={"b": "regress"}).targets[0].task == "regress"
    assert _schema(TABLE, targets=("a",), tasks={"a": "classify"}).targets[0].classes[0] == "0.5"
    settings = {"table": {"augmentation": 0.0}, "note": {"max_tokens": 5}}
    schema = _schema(TABLE, targets=("y",), settings=settings)
    assert schema.modality("table").kind.augmentation == 0.0
    assert schema.modality("note").kind.max_tokens == 5  # type: ignore[union-attr]


@pytest.mark.parametrize(("options", "words"), [
    ({"targets": ("yy",)}, "no such column: unknown target 'yy'.*Did you mean 'y'"),
    ({"inputs": ("notes",)}, "Did you mean 'note'"),
    ({"ignore": ("fil",)}, "Did you mean 'file'"),
    ({"group": "whom"}, "Did you mean 'who'"),
    ({"kinds": {"a": "txt"}}, "Did you mean 'text'"),
    ({"kinds": {"q": "text"}}, "unknown --kind 'q'"),
    ({"kinds": {"y": "text"}}, "'y' is a target"),
    ({"tasks": {"y": "regres"}}, "Did you mean 'regress'"),
    ({"tasks": {"a": "regress"}}, "'a' is not a target; add --target a"),
    ({"tasks": {"y": "regress"}}, "no cell is a number, the first is 'yes'"),
    ({"modalities": {"v": ("aa",)}}, "unknown --modality v 'aa'"),
    ({"modalities": {"v": ("note",)}}, "'note' is text, and only number"),
    ({"modalities": {"note": ("a",)}}, "two modalities would be called 'note'"),
    ({"modalities": {"v": ("a",), "w": ("a",)}}, "'a' is named twice as part of a modality"),
    ({"modalities": {"v": ("y",)}}, "'y' cannot be both a target and part of a modality"),
    ({"inputs": ("y",)}, "cannot be both a target and an input"),
    ({"group": "y"}, "cannot be both a target and the group"),
    ({"ignore": ("y",)}, "cannot be both a target and ignored"),
    ({"inputs": ("a",), "ignore": ("a",)}, "cannot be both an input and ignored"),
    ({"inputs": ("file",)}, "'file' cannot be an input: looks like paths.*--kind file=KIND"),
    ({"inputs": ()}, "no usable modality .a: not among the inputs"),
    ({"targets": ("y", "y")}, "'y' is named twice as a target"),
    ({"weights": {"a": 1.0}}, "--weight a: unknown target"),
    ({"weights": {"y": -1.0}}, "--weight y=-1: expected a number above 0"),
    ({"weights": {"y": float("nan")}}, "expected a number above 0"),
    ({"settings": {"nte": {}}}, "Did you mean 'note'"),
    ({"settings": {"note": {"vocabulry": 3}}}, "data.settings.note: unknown.*Did you mean 'vocabulary'"),
])
def test_wrong_options_are_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises((DataError, RecipeError), match=words) as error:
        _schema(TABLE, **{"targets": ("y",), **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("labels", "task", "classes"), [
    (_cycle("b", "a", "c"), "classify", ("a", "b", "c")),
    (_cycle("10", "9", "NA"), "classify", ("9", "10")),
    (_cycle("NA", "EU"), "classify", ("EU", "NA")),
    (_cycle("1.0", "2.0", ""), "classify", ("1.0", "2.0")),
    (_cycle("True", "FALSE", "False", "True"), "classify", ("FALSE", "True")),
    (_cycle(True, False), "classify", ("false", "true")),
    (_cycle(*range(20)), "classify", tuple(map(str, range(20)))),
    (_cycle(*range(21)), "regress", ()),
    (_cycle("0.5", "1.5"), "regress", ()),
    (_cycle("1,5", "2,5", "NA"), "regress", ()),
    ([f"{row}.5 kg" for row in range(ROWS)], "regress", ()),
])
def test_tasks(labels: list[Any], task: str, classes: tuple[str, ...]) -> None:
    target = _schema(_table(a=NUMBERS, y=labels), targets=("y",)).targets[0]
    assert (target.task, target.classes) == (task, classes) and target.reason


@pytest.mark.parametrize(("labels", "words"), [
    (_cycle(""), "no labels: every cell is blank"),
    (_cycle("a"), "one class only .'a'"),
    (_cycle("a", ""), "one class only"),
    (_cycle("1.5"), "the same number in every row"),
    (WORDS, "60 different values in 60 rows: too many to be classes"),
    (_cycle([1], [2]), "lists, structures or bytes"),
    (_cycle(b"a", b"b"), "lists, structures or bytes"),
])
def test_targets_that_cannot_be_learnt(labels: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        _schema(_table(a=NUMBERS, y=labels), targets=("y",))
    assert "\n" not in str(error.value)


def test_a_split_column_is_no_input() -> None:
    split = _cycle("train", "VAL", "test", "train")
    assert _schema(_table(a=NUMBERS, Split=split, y=_cycle("0", "1"))).split == "Split"
    other = _schema(_table(a=NUMBERS, split=_cycle("left", "right")))
    assert other.split is None and "split" in other.modality("table").columns
    assert _schema(_table(a=NUMBERS, split=split), targets=("split",)).split is None


def test_nothing_usable_says_why() -> None:
    with pytest.raises(DataError, match="no usable modality .key: an id.*--kind COLUMN=KIND"):
        _schema(_table(key=[str(row) for row in range(ROWS)], y=_cycle("0", "1")), targets=("y",))
    with pytest.raises(DataError, match="no column besides targets"):
        _schema(_table(y=_cycle("0", "1")), targets=("y",))
