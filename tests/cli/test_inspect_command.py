"""`sensorium inspect` as a person runs it: lines in a pipe, a table in a terminal, JSON, a page, a cleaned copy."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from planted import Columns, clean_world, picture, write

from sensorium.cli.main import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A training and a test table with one picture in both, one repeated row, one broken file."""
    folder = tmp_path_factory.mktemp("tables")
    train: Columns = clean_world(folder / "train", rows=30)
    test = clean_world(folder / "test", seed=7, rows=20)
    (folder / "train" / "junk.png").write_bytes(b"junk")
    train = {name: [*values, values[3]] for name, values in train.items()}
    train["photo"][6] = "junk.png"
    picture(4).save(folder / "test" / "same.png")
    test["photo"][0] = "same.png"
    return write(folder / "train", train, "train.csv"), write(folder / "test", test, "test.csv")


def _run(monkeypatch: pytest.MonkeyPatch, capsys: Capture, *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["sensorium", "inspect", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def test_in_a_pipe(tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    train, test = tables
    status, out, err = _run(monkeypatch, capsys, train, "--target", "label", "--group", "owner", "--against", test)
    assert status == 0 and err == "a page with pictures: --out inspect.html\n"
    lines = out.splitlines()
    assert lines[0] == f"{train}: 31 rows, 7 columns" and "\x1b" not in out
    assert any(line.startswith("unreadable: row 7, column 'photo', 'junk.png'") for line in lines), lines
    found = [line for line in lines if re.match("(serious|warning|note): [a-z]+: ", line)]
    assert found[0].startswith("serious: leakage: photo: 1 row of test.csv (5.0%) has a picture that train.csv has too "
                               "(1 the same, 0 nearly). (row 5 of train.csv; row 1 of test.csv) → Remove")
    assert any(line.startswith("warning: duplicates: 1 row repeats an earlier row") for line in found)


def test_in_a_terminal(tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", screen)
    status, _, _ = _run(monkeypatch, capsys, tables[0], "--target", "label", "--group", "owner")
    shown = screen.getvalue()
    assert status == 0 and "findings, the worst first" in shown and "what to do" in shown and "┃" in shown
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= 140 for line in shown.splitlines() if "│" in line)


def test_json_page_and_copy_at_once(tables: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: Capture) -> None:
    train, test = tables
    page, copy = tmp_path / "deep" / "inspect.html", train.parent / "clean.csv"
    asked = ("--target", "label", "--group", "owner", "--against", test, "--json")
    status, out, err = _run(monkeypatch, capsys, train, *asked, "--out", page, "--fix", copy)
    assert status == 0 and err.splitlines() == [f"page: {page}", f"cleaned copy: {copy}, changes: "
                                                f"{train.parent / 'clean.changes.csv'}"]
    found = json.loads(out)
    assert found["page"] == str(page) and page.read_text("utf-8").startswith("<!doctype html>")
    assert found["fixed"]["said"] == ["31 rows before, 29 rows after",
                                      "cell blanked in photo: 1 (cannot be read)",
                                      "row dropped: 1 (its photo is in test.csv too)",
                                      "row dropped: 1 (repeats an earlier row)"]
    assert len(copy.read_text("utf-8").splitlines()) == 30
    assert {one["topic"] for one in found["findings"]} >= {"leakage", "duplicates", "unreadable"}
    status, out, err = _run(monkeypatch, capsys, copy, *asked)
    assert not [one for one in json.loads(out)["findings"] if one["severity"] != "note"]


def test_places_that_are_refused_before_anything_is_read(tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch,
                                                         capsys: Capture) -> None:
    train, test = tables
    for fix, words in ((train, "is the original"), (test, "is the original"), (train.parent / "x.xlsx", "expected a")):
        status, out, err = _run(monkeypatch, capsys, train, "--against", test, "--fix", fix)
        assert (status, out) == (2, "") and words in err and len(err.splitlines()) == 1
    status, _, err = _run(monkeypatch, capsys, train, "--near")
    assert status == 2 and "give --fix OUT.csv with it" in err
    status, _, err = _run(monkeypatch, capsys, train, "--against", train.parent / "none.csv")
    assert status == 2 and "no such file or folder" in err
