"""A cleaned copy: what is mended, what is left, that every change is listed and that the original stays as it was."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from planted import RATE, Columns, clean_world, inspected, picture, sound, write

from sensorium.data.clean import cleaned
from sensorium.data.inspect import inspect_table
from sensorium.data.new_place import write_cleaned
from sensorium.data.read import read
from sensorium.errors import DataError

ROWS = 24


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Columns]:
    return tmp_path / "data", clean_world(tmp_path / "data", rows=ROWS)


def _fixed(
    table: Path, out: Path, against: Path | None = None, *, near: bool = False,
) -> tuple[pl.DataFrame, list[str]]:
    """(the copy as it is read again, what is said)."""
    cleaning = cleaned(inspected(table, against), out, near=near)
    write_cleaned(cleaning.frame, cleaning.changes, out, [str(table)])
    return read(out, targets="label", group="owner").table.frame, cleaning.lines()


def test_a_clean_table_is_copied_as_it_is(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    frame, said = _fixed(write(folder, columns), folder / "out.csv")
    assert frame.to_dict(as_series=False) == columns
    assert said == ["24 rows before, 24 rows after", "nothing had to be changed"]


def test_what_is_mended_and_how_it_is_said(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    (folder / "junk.png").write_bytes(b"junk")
    shutil.copy(folder / "0_5.png", folder / "renamed.png")
    changed = {name: [*values, values[5], values[6]] for name, values in columns.items()}
    changed["photo"][24] = "renamed.png"
    changed["photo"][2], changed["hr"][3], changed["ward"][4] = "junk.png", "fast", "  west "
    table = write(folder, {f" {name}" if name == "hr" else name: values for name, values in changed.items()})
    before = table.read_bytes()
    frame, said = _fixed(table, folder / "out.csv")
    assert table.read_bytes() == before
    assert frame.columns == list(columns) and frame.height == 24
    assert (frame["photo"][2], frame["hr"][3], frame["ward"][4]) == (None, None, "west")
    assert frame["photo"][1] == "0_1.png"
    assert said == ["26 rows before, 24 rows after", "name trimmed in hr: it was ' hr'",
                    "cell trimmed in ward: 1 (white space around it)", "cell blanked in photo: 1 (cannot be read)",
                    "cell blanked in hr: 1 (cannot be read)", "row dropped: 2 (repeats an earlier row)"]
    listed = list(csv.DictReader((folder / "out.changes.csv").read_text("utf-8").splitlines()))
    assert [(one["row"], one["column"], one["change"]) for one in listed] == [
        ("", "hr", "name trimmed"), ("5", "ward", "cell trimmed"), ("3", "photo", "cell blanked"),
        ("4", "hr", "cell blanked"), ("25", "", "row dropped"), ("26", "", "row dropped")]
    assert listed[2]["before"] == "junk.png" and "not a picture" in listed[2]["why"]
    assert listed[4]["why"] == "repeats an earlier row: row 6"


def test_test_rows_that_occur_in_train_go(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    buffer = io.BytesIO()
    picture(1).save(buffer, "JPEG", quality=60)
    (folder / "near.jpg").write_bytes(buffer.getvalue())
    photos = [*columns["photo"][:22], "0_0.png", "near.jpg"]
    split = ["train"] * 16 + ["test"] * 8
    table = write(folder, {**columns, "photo": photos, "split": split})
    frame, said = _fixed(table, folder / "exact.csv")
    assert frame["photo"].to_list() == [*columns["photo"][:22], "near.jpg"]
    assert said[1:] == ["row dropped: 1 (its photo is in train too)"]
    frame, said = _fixed(table, folder / "near.csv", near=True)
    assert frame["photo"].to_list() == columns["photo"][:22]
    assert said[1:] == ["row dropped: 1 (its photo is in train too)",
                        "row dropped: 1 (its photo is nearly in train too)"]


def test_rows_shared_with_another_table_go_from_the_first(world: tuple[Path, Columns], tmp_path: Path) -> None:
    folder, columns = world
    other = clean_world(tmp_path / "other", seed=5, rows=ROWS)
    soundfile.write(tmp_path / "other" / "same.wav", sound(3), RATE)
    other = {**other, "cry": ["same.wav", *other["cry"][1:]]}
    table, test = write(folder, columns), write(tmp_path / "other", other, "test.csv")
    frame, said = _fixed(table, folder / "out.csv", test)
    assert frame["cry"].to_list() == columns["cry"][:3] + columns["cry"][4:]
    assert said[1:] == ["row dropped: 1 (its cry is in test.csv too)"]
    frame, _ = _fixed(test, tmp_path / "other" / "out.csv", table)
    assert frame["cry"].to_list() == other["cry"][1:]


def test_paths_still_lead_to_their_files_from_another_folder(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    columns = {**columns, "scan": [f"./{name}" for name in columns["photo"]]}
    table = write(folder, columns)
    frame, said = _fixed(table, folder.parent / "out.csv")
    assert frame["photo"].to_list() == [f"data/{name}" for name in columns["photo"]]
    assert [line for line in said if "paths" in line] == [
        f"paths rewritten in {name}: 24 paths from the copy's folder" for name in ("photo", "cry", "scan")]
    again = inspect_table(read(folder.parent / "out.csv", targets="label"))
    assert not again.samples.unreadable and again.samples.presence.all()
    _, said = _fixed(table, folder.parent / "elsewhere" / "deep" / "out.csv")
    assert any("read it with --allow-outside" in line for line in said)


def test_long_sounds_that_only_begin_alike_are_kept(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    for name, end in (("a", 1), ("b", 2)):
        start = np.tile(sound(50), 4)
        soundfile.write(folder / f"{name}.wav", np.concatenate([start, sound(end)]), RATE)
    changed = {name: [*values, values[0], values[0]] for name, values in columns.items()}
    changed["cry"][24:] = ["a.wav", "b.wav"]
    data = read(write(folder, changed), targets="label", group="owner", settings={"cry": {"max_seconds": 1.2}})
    assert cleaned(inspect_table(data), folder / "out.csv").frame.height == 26


def test_bytes_go_into_parquet_only(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    photos = [(folder / name).read_bytes() for name in columns["photo"]]
    pl.DataFrame({"photo": [*photos, photos[0]], "label": [*columns["label"], columns["label"][0]]}).write_parquet(
        folder / "t.parquet")
    cleaning = cleaned(inspect_table(read(folder / "t.parquet", targets="label")), folder / "out.parquet")
    with pytest.raises(DataError, match=r"'photo' are bytes or lists; --fix .*out\.parquet can hold them"):
        write_cleaned(cleaning.frame, cleaning.changes, folder / "out.csv", [])
    write_cleaned(cleaning.frame, cleaning.changes, folder / "out.parquet", [])
    assert pl.read_parquet(folder / "out.parquet")["photo"].to_list() == photos


def test_an_original_is_never_overwritten(world: tuple[Path, Columns]) -> None:
    folder, columns = world
    table = write(folder, columns)
    for out, words in ((table, "is the original, which is never changed"), (folder / "0_1.png", "expected a name"),
                       (folder / "taken.csv", "is there already")):
        if out.name == "taken.csv":
            out.write_text("mine")
        with pytest.raises(DataError, match=words):
            write_cleaned(pl.DataFrame({"a": [1]}), [], out, [str(table)])
    assert (folder / "taken.csv").read_text() == "mine"
