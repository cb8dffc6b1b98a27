"""`sensorium index` and `sensorium search` from end to end on a tiny trained model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from worlds import write_pairs

import sensorium as sm
from sensorium.cli.main import main
from sensorium.recipe import Recipe

Capture = pytest.CaptureFixture[str]
WORDS = "red on the left and blue on the right"


class Command:
    """Runs the command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def run(self, *words: object) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["sensorium", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = self.capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    def __call__(self, *words: object) -> tuple[str, str]:
        """(standard output, standard error) of a command that succeeds."""
        status, out, err = self.run(*words)
        assert status == 0, err
        return out, err

    def refused(self, *words: object) -> str:
        """The one line of a command that is refused."""
        status, out, err = self.run(*words)
        assert (status, out) == (2, ""), (status, out, err)
        [line] = err.splitlines()
        return line.removeprefix("sensorium: ")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, two tables, a model and its index."""
    folder = tmp_path_factory.mktemp("pairs")
    lines = write_pairs(folder, rows=40).read_text().splitlines()
    lines = [f"id,year,{lines[0]}", *(f"r{row},{2000 + row % 5},{line}" for row, line in enumerate(lines[1:]))]
    (folder / "table.csv").write_text("\n".join(lines[:31]))
    (folder / "more.csv").write_text("\n".join([lines[0], lines[1].replace("2000", "1999"), *lines[31:]]))
    recipe = Recipe.checked({"model": {"width": 32}, "objectives": {"contrast": {}}, "data": {
        "inputs": ["picture", "words"]}, "training": {"epochs": 1, "batch_size": 16, "workers": 0, "refit": "never"}})
    model = sm.fit(folder / "table.csv", recipe, progress=False)
    model.save(folder / "run")
    sm.Index.build(model, folder / "table.csv", folder / "idx", model_folder=folder / "run", progress=False)
    return folder


def test_made_changed_searched_and_moved(command: Command, pairs: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(pairs, home, ignore=shutil.ignore_patterns("idx"))
    out, err = command("index", home / "run", home / "table.csv", "--out", home / "idx")
    assert out.splitlines() == [f"index {home / 'idx'}", "  30 rows, 32 numbers a vector; ids: id",
                                "  picture: 30 vectors, searched exactly", "  words: 30 vectors, searched exactly",
                                "  whole rows: 30 vectors, searched exactly"]
    assert not err
    home = home.rename(tmp_path / "elsewhere")
    out, _ = command("search", home / "idx", "--text", WORDS, "-k", 4, "--where", "year > 2001", "--show", "year,words")
    table = out.splitlines()
    assert len(table) == 6 and [cell.strip() for cell in table[0].split("|")[2:-1]] == ["score", "id", "year", "words"]
    out, _ = command("search", home / "idx", "--text", WORDS, "--image", home / "3.png", "--to", "picture", "-k", 3,
                     "--json")
    found = json.loads(out)
    model = sm.Model.load(home / "run")
    query = model.embed({"words": WORDS, "picture": home / "3.png"})[0]
    scores = model.embed(home / "table.csv", modalities="picture") @ query
    best = np.argsort(-scores, kind="stable")[:3]
    assert found["ranked"] == "picture" and [hit["id"] for hit in found["hits"]] == [f"r{row}" for row in best]
    assert [hit["score"] for hit in found["hits"]] == pytest.approx(scores[best].tolist(), abs=1e-5)
    assert found["hits"][0]["row"]["picture"] == str(home / f"{best[0]}.png")
    out, _ = command("index", home / "run", home / "more.csv", "--out", home / "idx", "--add", "--json")
    assert json.loads(out)["rows"] == 40
    out, err = command("index", "--out", home / "idx", "--delete", "r1,r2", "--delete", "r3", "--parquet",
                       home / "v.parquet")
    assert "3 rows deleted" in err and "37 rows: " in err and out.splitlines()[1].startswith("  37 rows")
    assert pl.read_parquet(home / "v.parquet").height == 37
    out, err = command("search", home / "idx", "--text", WORDS, "--where", "id = 'r0'", "--json")
    assert [hit["row"]["year"] for hit in json.loads(out)["hits"]] == [1999]
    out, err = command("search", home / "idx", "--text", WORDS, "--where", "id = 'r1'")
    assert (out, err) == ("", "no row is found where id = 'r1'\n")
    again, _ = command("index", "--out", home / "idx")
    assert "37 rows" in again


def test_the_page(command: Command, pairs: Path, tmp_path: Path) -> None:
    command("search", pairs / "idx", "--text", "<b>red</b> on the left", "--to", "picture", "-k", 7, "--page",
            tmp_path / "a" / "found.html", "--where", "year < 2004")
    page = (tmp_path / "a" / "found.html").read_text()
    assert page.count('<li class="result">') == 7 == page.count("data:image/png")
    assert "&lt;b&gt;red&lt;/b&gt; on the left" in page and "<b>red</b> on the left" not in page
    assert "picture ranked by words" in page and "<code>year &lt; 2004</code>" in page and "http" not in page
    assert "The 7 of 30 rows most like this" in page


def test_what_is_refused(command: Command, pairs: Path, tmp_path: Path) -> None:
    run, idx, table = pairs / "run", pairs / "idx", pairs / "table.csv"
    for words, said in {
        ("index", run, table, "--out", idx): "is an index already: --add adds rows to it, --overwrite replaces it",
        ("index", run, table, "--out", table): "--out is a folder",
        ("index", run, table, "--out", run): "is there already and is no index: choose another --out",
        ("index", run, "--out", tmp_path / "i"): "name a model folder and a table",
        ("index", "--out", tmp_path / "i"): "no index at",
        ("index", "--out", tmp_path / "i", "--add"): "--add needs a model folder and a table",
        ("index", run, table, "--out", tmp_path / "i", "--add"): "no index at",
        ("index", run, table, "--out", idx, "--add", "--half"): "are settled when an index is made",
        ("index", run, table, "--out", tmp_path / "i", "--structure", "tree"): "unknown structure 'tree'",
        ("index", run, table, "--out", tmp_path / "i", "--recall", "2"): "recall: expected a share in 0.5…1, found 2",
        ("index", run, table, "--out", tmp_path / "i", "--id", "nr"): "--id: unknown column 'nr'",
        ("index", run, pairs / "no.csv", "--out", tmp_path / "i"): "no such file or folder",
        ("index", table, table, "--out", tmp_path / "i"): "no model folder at",
        ("index", run, table, "--out", tmp_path / "i", "--id", "year"): "have the same id '2000'",
        ("index", "--out", idx, "--delete", "x"): "no row of the index has the id 'x': nothing was deleted",
        ("index", "--out", idx, "--delete", ","): "--delete: expected ids, as a,b",
        ("search", idx): "say what to search for: --given picture or words=…",
        ("search", idx, "--text", ""): "--text is blank",
        ("search", idx, "--image", "no.png"): "no file at 'no.png'",
        ("search", idx, "--text", "a", "--to", "photo"): "--to: unknown modality 'photo': choose one of picture, words",
        ("search", idx, "--text", "a", "-k", "0"): "-k 0: expected 1…10,000",
        ("search", idx, "--text", "a", "--where", "yaer > 3"): "unknown column 'yaer'",
        ("search", idx, "--text", "a", "--where", "year > (select 1)"): "may not select from anything else",
        ("search", idx, "--text", "a", "--show", "yeer"): "--show: unknown column 'yeer'",
        ("search", idx, "--text", "a", "--model", tmp_path): "is not a model folder",
        ("search", tmp_path, "--text", "a"): "is not an index",
    }.items():
        assert said in command.refused(*words), words
    assert not (tmp_path / "i" / "manifest.json").exists()


def test_a_model_that_is_gone_or_another(command: Command, pairs: Path, tmp_path: Path) -> None:
    shutil.copytree(pairs / "idx", tmp_path / "deep" / "idx")
    shutil.copytree(pairs / "run", tmp_path / "run")
    manifest = tmp_path / "deep" / "idx" / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["model"]["folder"] = {"relative": "nowhere", "absolute": str(tmp_path / "gone")}
    manifest.write_text(json.dumps(facts))
    assert "is no longer at" in command.refused("search", tmp_path / "deep" / "idx", "--text", "a")
    command("search", tmp_path / "deep" / "idx", "--text", "a", "--model", tmp_path / "run")
    other = sm.Model.load(tmp_path / "run")
    next(other.parameters()).data.add_(0.1)
    other.save(tmp_path / "other")
    assert "was made with model" in command.refused("search", tmp_path / "deep" / "idx", "--text", "a", "--model",
                                                    tmp_path / "other")
    assert "was made with model" in command.refused("index", tmp_path / "other", pairs / "more.csv", "--out",
                                                    pairs / "idx", "--add")
