"""A table names files of its own folder; whatever leads out of it is a missing cell unless that is allowed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from sensorium.data.decoding.paths import TableFolder, located
from sensorium.data.decoding.workers import Refused
from sensorium.data.kinds import TextKind
from sensorium.data.kinds.base import existing_file
from sensorium.data.schema import Modality
from sensorium.data.sources import row_cells
from sensorium.data.table import Table
from sensorium.errors import BadCell


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "table"
    (inside / "deep").mkdir(parents=True)
    (tmp_path / "table2").mkdir()
    for file in (inside / "a.png", inside / "deep" / "b.png", tmp_path / "secret", tmp_path / "table2" / "c.png"):
        file.write_text("x")
    (inside / "link.png").symlink_to("deep/b.png")
    (inside / "escape.png").symlink_to("../secret")
    (inside / "dead.png").symlink_to("/no/such/file")
    (inside / "ring.png").symlink_to("ring.png")
    (inside / "away").symlink_to(tmp_path)
    (inside / "here").symlink_to("deep")
    os.mkfifo(inside / "pipe.png")
    return inside


INSIDE = {"a.png": "a.png", " deep/b.png ": "deep/b.png", "./deep/../a.png": "deep/../a.png",
          "deep\\b.png": "deep/b.png", "link.png": "link.png", "here/b.png": "here/b.png", "none.png": "none.png",
          "../table/a.png": "../table/a.png", "{root}/a.png": "a.png", "file://{root}/a.png": "a.png",
          "file://localhost{root}/a.png": "a.png"}
OUTSIDE = ["../secret", "../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "escape.png", "dead.png",
           "away/secret", "away/table2/c.png", "../table2/c.png", "here/../../secret", "deep\\..\\..\\secret", "..",
           "away", "/dev/zero", "/proc/self/environ", "/dev/stdin", "//etc/passwd", "away/table/../secret"]
NO_PATHS = {"http://host/a.png": "an address", "file://host/a.png": "an address", "s3://b/a.png": "an address",
            "\\\\host\\share\\a.png": "another machine", "a\0.png": "NUL", "ring.png": "nowhere",
            "x" * 5000: "nowhere"}


@pytest.mark.parametrize("value", INSIDE)
def test_files_of_the_folder_are_located(folder: Path, value: str) -> None:
    given = value.format(root=folder)
    expected = str(folder / INSIDE[value])
    assert located(given, folder) == located(given, folder, allow_outside=True) == expected


@pytest.mark.parametrize("value", OUTSIDE)
def test_what_lies_outside_needs_permission(folder: Path, value: str) -> None:
    one = TableFolder(folder)
    for _ in range(2):  # what is remembered of a folder does not open it
        with pytest.raises(BadCell, match=r"lies outside the table's folder .*; --allow-outside reads such files too"):
            one.located(value)
    assert located(value, folder, allow_outside=True)


@pytest.mark.parametrize("value", NO_PATHS)
def test_what_is_no_path_has_its_reason(folder: Path, value: str) -> None:
    with pytest.raises(BadCell, match=NO_PATHS[value]):
        located(value, folder)


def test_a_folder_named_relatively_or_by_a_link(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    (folder.parent / "alias").symlink_to(folder)
    assert located("a.png", "table") == str(folder / "a.png")
    assert located("a.png", "alias") == str(folder.parent / "alias" / "a.png")
    assert located(folder / "a.png", "alias") == str(folder / "a.png")


def test_subtitles_that_are_a_link_to_outside(folder: Path) -> None:
    (folder / "film.mp4").touch()
    (folder / "film.srt").symlink_to("../secret")
    said = Modality(name="film.text", columns=("film",), kind=TextKind(), part="text")
    table = Table(pl.DataFrame({"film": ["film.mp4"]}), folder, "t")
    [[cell]] = row_cells(table, said)
    assert isinstance(cell, Refused) and "lies outside" in cell.reason
    assert row_cells(replace(table, allow_outside=True), said) == [(folder / "film.srt",)]


def test_only_regular_files_are_opened(folder: Path) -> None:
    expected = {"pipe.png": "a device or a pipe, not a file", "deep": "is a folder", "gone": "no such file"}
    for name, words in expected.items():
        with pytest.raises(BadCell, match=words):
            existing_file(located(name, folder))
    with pytest.raises(BadCell, match="a device or a pipe, not a file"):
        existing_file("/dev/zero")
    assert existing_file(located("link.png", folder))
