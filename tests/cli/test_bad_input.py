"""Bad input: one clear line on standard error and exit status 2, or a counted, reported fallback; never a traceback."""

from __future__ import annotations

import csv
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from worlds import write_small_world

from sensorium.cli.main import main
from sensorium.recipe import Recipe

ROWS = 48
Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Pillow leaves broken pictures open


@pytest.fixture(autouse=True)
def _close_pictures() -> Iterator[None]:
    yield
    gc.collect()


def _run(monkeypatch: pytest.MonkeyPatch, capsys: Capture, *words: object) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of the command, in this process."""
    monkeypatch.setattr(sys, "argv", ["sensorium", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def _csv(path: Path, **columns: list[object]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


def _table(folder: Path, name: str = "t.csv", **columns: list[object]) -> Path:
    random = np.random.default_rng(0)
    given: dict[str, list[object]] = {"hr": list(np.round(random.normal(size=ROWS), 3)),
                                      "ward": ["east" if row % 3 else "west" for row in range(ROWS)],
                                      "y": ["yes" if row % 2 else "no" for row in range(ROWS)]}
    return _csv(folder / name, **{**given, **columns})


def _refused(status: int, out: str, err: str, *words: str) -> None:
    """Exactly one line of error, saying all these words, with status 2."""
    last = err.strip().splitlines()[-1]
    assert status == 2 and out == "", (status, out, err)
    assert last.startswith("sensorium: ") and len(last) > 20, err
    assert "Traceback" not in err and sum(line.startswith("sensorium: ") for line in err.splitlines()) == 1, err
    for word in words:
        assert word in last, last


CASES: dict[str, tuple[list[str], dict[str, list[object]], list[str]]] = {
    "a bad target": (["--target", "z"], {}, ["'z'", "hr, ward, y"]),
    "the nearest match": (["--target", "wart"], {}, ["unknown target 'wart'", "Did you mean 'ward'?"]),
    "no target": ([], {}, ["no target given", "hr, ward, y"]),
    "an unknown input": (["--target", "y", "--inputs", "wad"], {}, ["Did you mean 'ward'?"]),
    "an unknown column to ignore": (["--target", "y", "--ignore", "hrr"], {}, ["Did you mean 'hr'?"]),
    "an unknown group": (["--target", "y", "--group", "speaker"], {}, ["'speaker'", "hr, ward, y"]),
    "an unknown kind": (["--target", "y", "--kind", "ward=catgory"], {}, ["Did you mean 'category'?"]),
    "half a kind": (["--target", "y", "--kind", "ward"], {}, ["--kind 'ward'", "expected note=text"]),
    "an unknown task": (["--target", "y", "--task", "y=guess"], {}, ["classify, regress"]),
    "words to regress": (["--target", "y", "--task", "y=regress"], {}, ["no cell is a number", "--task y=classify"]),
    "one class only": (["--target", "y"], {"y": ["no"] * ROWS}, ["one class only ('no')"]),
    "a target without labels": (["--target", "y"], {"y": [""] * ROWS}, ["no labels", "every cell is blank"]),
    "a target that is an id": (["--target", "y"], {"y": [f"p{i}" for i in range(ROWS)]}, ["48 different values"]),
    "two labels in all": (["--target", "y"], {"y": ["a", "b"] + [""] * (ROWS - 2)}, ["only 2 rows can be used"]),
    "no usable modality": (["--target", "y"], {"hr": [f"k{i}" for i in range(ROWS)], "ward": [""] * ROWS},
                           ["no usable modality", "an id", "every cell is missing", "--kind COLUMN=KIND"]),
    "no input at all": (["--target", "y", "--ignore", "hr,ward"], {}, ["no usable modality"]),
    "pictures that are not there": (["--target", "y", "--inputs", "hr"], {"hr": [f"{i}.png" for i in range(ROWS)]},
                                    ["not one cell of hr is readable", "48 unreadable", "no such file"]),
    "a leak": (["--target", "y"], {"ward": ["da" if i % 2 else "nein" for i in range(ROWS)]},
               ["'ward'", "--ignore ward", "--allow-leak"]),
    "--strict": (["--target", "y", "--strict"], {"hr": ["fast", *[row / 8 for row in range(ROWS - 1)]]},
                 ["unreadable cell: row 1, column 'hr', 'fast'"]),
    "an unknown fusion": (["--target", "y", "--fusion", "atention"], {}, ["Did you mean 'attention'?"]),
    "no epochs": (["--target", "y", "--epochs", "0"], {}, ["training.epochs", "0"]),
    "a negative weight": (["--target", "y", "--weight", "y=-1"], {}, ["--weight y=-1"]),
    "a split without training rows": (["--target", "y"], {"split": ["test"] * ROWS}, ["split column leaves 0 rows"]),
}


@pytest.mark.parametrize("case", CASES)
def test_train_refuses_in_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    options, columns, words = CASES[case]
    table = _table(tmp_path, **columns)
    result = _run(monkeypatch, capsys, "train", table, *options, "--out", tmp_path / "run")
    _refused(*result, *words)
    assert not (tmp_path / "run").exists()


FILES: dict[str, tuple[str, bytes, list[str]]] = {
    "nothing there": ("none.csv", b"", ["no such file or folder"]),
    "an empty file": ("t.csv", b"", ["empty (0 bytes)"]),
    "a header only": ("t.csv", b"a,b\n", ["no rows"]),
    "two columns of one name": ("t.csv", b"a,b,a\n1,2,3\n", ["two columns of the same name: 'a'", "rename"]),
    "a ragged line": ("t.csv", b"a,b\n1,2\n1,2,3\n", ["line 3 has 3 cells, the header has 2"]),
    "an unknown ending": ("t.xlsx", b"PK", ["expected .csv", ".xlsx"]),
    "no Parquet": ("t.parquet", b"junk", ["as Parquet"]),
    "no JSON": ("t.jsonl", b"{", ["line 1 is not JSON"]),
}


@pytest.mark.parametrize("verb", ["train", "inspect"])
@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_table(case: str, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                 capsys: Capture) -> None:
    name, content, words = FILES[case]
    if name != "none.csv":
        (tmp_path / name).write_bytes(content)
    _refused(*_run(monkeypatch, capsys, verb, tmp_path / name, "--target", "a"), *words, name)


def test_a_folder_without_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    _refused(*_run(monkeypatch, capsys, "inspect", tmp_path), "no class folders")


def test_inspect_lists_broken_files_and_strict_refuses_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                                 capsys: Capture) -> None:
    table = write_small_world(tmp_path, rows=20, missing=0.0)
    for number, content in enumerate([b"", b"junk", (tmp_path / "9.png").read_bytes()[:60]]):
        (tmp_path / f"{number}.png").write_bytes(content)
    (tmp_path / "3.png").unlink()
    (tmp_path / "4.png").write_bytes((tmp_path / "4.wav").read_bytes())
    status, out, err = _run(monkeypatch, capsys, "inspect", table, "--target", "kind", "--json")
    found = json.loads(out)
    assert status == 0 and err == ""
    assert [(cell["row"], cell["column"]) for cell in found["unreadable"]] == [(row, "image") for row in range(1, 6)]
    assert found["modalities"][0]["missing"] == 5 and found["rows"] == 20
    reasons = " | ".join(cell["reason"] for cell in found["unreadable"])
    for words in ("empty file (0 bytes)", "not a picture", "broken picture", "no such file"):
        assert words in reasons
    _refused(*_run(monkeypatch, capsys, "inspect", table, "--target", "kind", "--strict"),
             "unreadable cell: row 1, column 'image', '0.png': empty file (0 bytes) (and 4 more)")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder trained for one epoch."""
    from sensorium.data.read import read
    from sensorium.training.fit import fit

    folder = tmp_path_factory.mktemp("model")
    recipe = Recipe().changed("model", width=16).changed("training", epochs=1, batch_size=16, refit="never", workers=0)
    fit(read(_table(folder), targets="y"), recipe, progress=False).save(folder / "run")
    return folder / "run"


def test_predict_on_what_it_never_saw(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                      capsys: Capture) -> None:
    table = _csv(tmp_path / "t.csv", ward=["north", "east", "", "west"], extra=[1, 2, 3, 4])
    status, out, err = _run(monkeypatch, capsys, "predict", model, table)
    assert status == 0 and "Traceback" not in err
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["row"] for row in rows] == ["1", "2", "3", "4"] and {row["y"] for row in rows} <= {"yes", "no"}
    assert rows[0]["modalities"] == rows[2]["modalities"] == "none (training distribution)"
    assert "column 'hr' is not in the table" in err and "unknown columns are ignored: 'extra'" in err
    assert "unseen in training or too rare there ('north' 1)" in err


def test_predict_lists_unreadable_cells_and_strict_refuses_them(model: Path, tmp_path: Path, capsys: Capture,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    table = _csv(tmp_path / "t.csv", hr=["1.5", "fast"], ward=["east", "north"])
    status, out, err = _run(monkeypatch, capsys, "predict", model, table)
    assert status == 0 and "row 2, column 'hr', 'fast': not a number" in err and len(out.splitlines()) == 3
    _refused(*_run(monkeypatch, capsys, "predict", model, table, "--strict"), "row 2, column 'hr'")


def test_evaluate_counts_unseen_classes_and_needs_the_target(model: Path, tmp_path: Path, capsys: Capture,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    table = _table(tmp_path, y=["maybe"] * 3 + ["yes", "no"] * 22 + [""])
    status, out, err = _run(monkeypatch, capsys, "evaluate", model, table, "--json", "--no-baselines",
                            "--out", tmp_path / "r.html")
    assert status == 0 and "Traceback" not in err
    assert "maybe" in json.dumps(json.loads(out))
    lacking = _csv(tmp_path / "lacking.csv", hr=[1, 2, 3], ward=["east", "west", "east"])
    _refused(*_run(monkeypatch, capsys, "evaluate", model, lacking, "--no-baselines", "--out", tmp_path / "r.html"),
             "none of the targets (y)")


def test_a_table_that_shares_no_column_with_the_model(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      capsys: Capture) -> None:
    table = _csv(tmp_path / "t.csv", other=[1, 2])
    status, out, err = _run(monkeypatch, capsys, "predict", model, table)
    assert status == 0 and out.count("none (training distribution)") == 2 and "absent in every row" in err


def test_folders_that_are_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    table = _table(tmp_path)
    for verb in ("predict", "evaluate"):
        _refused(*_run(monkeypatch, capsys, verb, tmp_path / "none", table), "none")
        _refused(*_run(monkeypatch, capsys, verb, tmp_path, table))


def test_places_that_cannot_be_written_to(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                          capsys: Capture) -> None:
    table = _table(tmp_path)
    (tmp_path / "file").write_text("in the way")
    inside = tmp_path / "file" / "x"
    _refused(*_run(monkeypatch, capsys, "train", table, "--target", "y", "--epochs", 1, "--out", inside), "file")
    _refused(*_run(monkeypatch, capsys, "evaluate", model, table, "--no-baselines", "--out", inside), "file")
    _refused(*_run(monkeypatch, capsys, "predict", model, table, "--out", inside), "file")


def test_the_installed_command_ends_with_one_line_too(tmp_path: Path) -> None:
    """A real process: status 2, nothing on standard output, one line on standard error."""
    ended = subprocess.run([sys.executable, "-m", "sensorium.cli.main", "inspect", str(tmp_path / "none.csv")],
                           capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"sensorium: cannot read '{tmp_path / 'none.csv'}': no such file or folder\n"
