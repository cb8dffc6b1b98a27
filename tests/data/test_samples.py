"""A table by a measured schema: unseen, lacking and extra things are counted and said, never silently dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from worlds import write_small_world

from sensorium.data.infer import infer_schema
from sensorium.data.inspect import inspect_table
from sensorium.data.read import Data, as_samples, read
from sensorium.data.samples import Samples, decoded, group_numbers, measured, read_labels, split_words
from sensorium.data.schema import Schema, Target
from sensorium.data.table import Table
from sensorium.errors import DataError
from sensorium.recipe import DataOptions

ROWS = 40
COLUMNS: dict[str, list[Any]] = {
    "hr": [str(60 + row % 9) for row in range(ROWS)],
    "ward": ["east" if row % 3 else "west" for row in range(ROWS)],
    "note": [f"this is the case of patient {row}" for row in range(ROWS)],
    "who": [f"p{row // 8}" if row % 5 else "" for row in range(ROWS)],
    "kind": ["ant" if row % 2 else "bee" for row in range(ROWS)],
    "size": [f"{row % 7}.5" for row in range(ROWS)],
}


def _table(**changed: list[Any] | None) -> Table:
    columns = {name: values for name, values in {**COLUMNS, **changed}.items() if values is not None}
    return Table(pl.DataFrame(columns), Path(), "t")


def _schema(rows: int = ROWS) -> Schema:
    table = _table()
    return measured(table, infer_schema(table, DataOptions(targets=("kind", "size"), group="who")), np.arange(rows))


def _samples(**changed: list[Any] | None) -> Samples:
    return decoded(_table(**changed), _schema(), workers=0, memory_bytes=1e9)


def test_unseen_categories_and_classes_are_counted() -> None:
    samples = _samples(ward=["north"] * 3 + ["east"] * 37, kind=["wasp"] * 2 + ["ant"] * 38)
    assert any("'north' 3" in note for note in samples.notes) and not samples.unreadable
    labels = samples.labels["kind"]
    assert dict(labels.unseen) == {"wasp": 2} and labels.values[:3].tolist() == [-1, -1, 0] and labels.mask.all()
    samples.refuse_unreadable()  # --strict is about what cannot be read


def test_lacking_and_extra_columns_are_said() -> None:
    samples = _samples(note=None, hr=None, kind=None, new=list(range(ROWS)))
    notes = "\n".join(samples.notes)
    assert "column 'note' is not in the table: modality 'note' is absent in every row" in notes
    assert "column 'hr' is not in the table: modality 'table' is read without it" in notes
    assert "unknown columns are ignored: 'new'" in notes
    assert samples.presence[:, samples.schema.names.index("note")].sum() == 0
    assert samples.presence[:, samples.schema.names.index("table")].all() and set(samples.labels) == {"size"}


def test_unreadable_numbers_name_row_column_and_value() -> None:
    samples = _samples(hr=["fast"] + COLUMNS["hr"][1:], size=["big"] + COLUMNS["size"][1:])
    assert [str(cell) for cell in samples.unreadable] == ["row 1, column 'hr', 'fast': not a number: 'fast'",
                                                          "row 1, column 'size', 'big': not a number: 'big'"]
    assert not samples.labels["size"].mask[0] and samples.presence.all()
    with pytest.raises(DataError, match="unreadable cell: row 1, column 'hr'.*and 1 more"):
        samples.refuse_unreadable()


def test_missing_labels_are_masked() -> None:
    samples = _samples(kind=["", None, "NA", " "] + ["ant"] * 36, size=["", "NA", None, "?"] + ["1.5"] * 36)
    for name in ("kind", "size"):
        assert (~samples.labels[name].mask).sum() == 4, name
        assert not samples.labels[name].unseen and not samples.labels[name].unreadable


def _read(values: list[Any], **target: Any) -> tuple[list[Any], list[bool]]:
    labels = read_labels(Table(pl.DataFrame([pl.Series("y", values, strict=False)]), Path(), "t"),
                         Target(name="y", **target))
    return labels.values.tolist(), labels.mask.tolist()


def test_labels_of_any_type_meet_their_classes() -> None:
    for values in (["True", "false", "TRUE"], [True, False, True]):
        assert _read(values, task="classify", classes=("False", "True")) == ([1, 0, 1], [True] * 3)
    for numbers in ([1, 2, None], [1.0, 2.0, float("nan")], ["1", "2.0", ""]):
        assert _read(numbers, task="classify", classes=("1", "2")) == ([0, 1, -1], [True, True, False])
    assert _read(["EU", "NA"], task="classify", classes=("EU", "NA")) == ([0, 1], [True, True])
    assert _read([1, None, 3], task="regress") == ([1.0, 0.0, 3.0], [True, False, True])


def test_scales_come_from_the_training_rows_alone() -> None:
    train, every = _schema(8), _schema()
    size = np.array([float(v) for v in COLUMNS["size"]])
    assert train.targets[1].mean == pytest.approx(size[:8].mean()) and train.targets[1].std == pytest.approx(
        size[:8].std())
    assert every.targets[0].prior == (0.5, 0.5)
    assert train.modality("table").kind != every.modality("table").kind
    poisoned = _table(hr=COLUMNS["hr"][:8] + ["1e9"] * (ROWS - 8))
    assert measured(poisoned, infer_schema(_table(), DataOptions(targets=("kind", "size"), group="who")),
                    np.arange(8)).modality("table") == train.modality("table")


def test_equal_numbers_are_not_blown_up() -> None:
    flat = _table(hr=["0.1"] * 39 + ["0.30000000000000004"])
    schema = measured(flat, infer_schema(flat, DataOptions(targets=("kind",))), np.arange(39))
    samples = decoded(flat, schema, workers=0, memory_bytes=1e9)
    assert np.nanmax(np.abs(np.stack(samples.cells["table"].arrays.get([0, 39])))) < 10


def test_groups_and_rows_without_one() -> None:
    groups = group_numbers(_table(), _schema())
    assert groups is not None and groups[1] == groups[2] != groups[9]
    lonely = groups[::5]
    assert len(set(lonely.tolist())) == len(lonely) and not set(lonely.tolist()) & set(groups[1::5].tolist())


def test_split_words() -> None:
    table = _table(split=["train", "VAL", " test ", "dev"] * 10)
    schema = infer_schema(table, DataOptions(targets=("kind",)))
    words = split_words(table, schema)
    assert words is not None and words[:4].tolist() == ["train", "validation", "test", "validation"]


def test_what_a_user_hands_to_predict(tmp_path: Path) -> None:
    schema = _schema()
    row = {"hr": 61, "ward": "east"}
    for given in (row, [row], Data(Table(pl.DataFrame([row]), Path(), "t"), DataOptions())):
        samples = as_samples(given, schema)
        assert samples.presence.tolist() == [[name == "table" for name in schema.names]]
    (tmp_path / "t.csv").write_text("hr,ward\n61,east\n")
    from_file = as_samples(tmp_path / "t.csv", schema)
    arrays = [s.cells["table"].arrays.get([0])[0] for s in (from_file, as_samples(row, schema))]
    assert np.array_equal(*arrays, equal_nan=True)


def test_inspect_counts_what_is_there(tmp_path: Path) -> None:
    table = write_small_world(tmp_path, rows=48, missing=0.2)
    (tmp_path / "3.png").write_bytes(b"junk")
    text = table.read_text().splitlines()
    fields = text[4].split(",")
    fields[0] = "3.png"
    text[4] = ",".join(fields)
    table.write_text("\n".join([*text, text[1]]) + "\n")
    found = inspect_table(read(table, targets=["kind", "size"]))
    described = found.to_json()
    assert described["rows"] == 49 and described["duplicates"] == 1
    assert described["unreadable"] == [{"row": 4, "column": "image", "value": "'3.png'",
                                        "reason": "not a picture that Pillow can read (as PNG, JPEG, GIF, WebP, BMP, "
                                                  "TIFF or PNM)"}]
    for modality in described["modalities"]:
        blank = sum(not line.split(",")[["image", "sound", "note"].index(modality["name"])]
                    for line in table.read_text().splitlines()[1:]) if modality["name"] != "table" else 0
        assert modality["missing"] == blank + modality["unreadable"], modality["name"]
    assert sum(described["targets"][0]["classes"].values()) == 49
    lines = "\n".join(found.lines())
    assert "1 rows repeat an earlier row" in lines and "unreadable: row 4, column 'image'" in lines


def test_inspect_counts_what_is_missing_inside_a_table(tmp_path: Path) -> None:
    from sensorium.data.inspect import inspect_table
    from sensorium.data.read import read

    file = tmp_path / "t.csv"
    file.write_text("a,b,y\n1.5,,p\n,x,q\n2.5,z,p\n,x,q\n")
    found = inspect_table(read(file, targets="y"))
    assert found.missing_by_column("table") == {"a": 2, "b": 1}
    assert "table: missing inside its rows: a 2, b 1" in found.lines()
