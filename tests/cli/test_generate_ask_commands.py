"""`sensorium generate` and `sensorium ask` on tiny trained models: what they write, what they say, what they refuse."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from worlds import write_pairs

import sensorium as sm
from sensorium.answers import Answer
from sensorium.cli.ask import said
from sensorium.cli.main import main
from sensorium.demo import write_qa
from sensorium.recipe import Recipe

Capture = pytest.CaptureFixture[str]
TINY = {"model": {"width": 32}, "training": {"epochs": 1, "batch_size": 16, "workers": 0, "refit": "never"}}
WORDS = "red on the left and blue on the right"


class Command:
    """Runs the command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: object, typed: str = "") -> tuple[str, str]:
        """(standard output, standard error) of a command that succeeds."""
        status, out, err = self.run(*words, typed=typed)
        assert status == 0, err
        return out, err

    def run(self, *words: object, typed: str = "") -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["sensorium", *map(str, words)])
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as end:
            main()
        captured = self.capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    def refused(self, *words: object) -> str:
        """The one line of error of a command that is refused with status 2."""
        status, out, err = self.run(*words)
        assert (status, out) == (2, ""), (status, out, err)
        [line] = err.splitlines()
        assert line.startswith("sensorium: ")
        return line.removeprefix("sensorium: ")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a table, and a model that paints and captions."""
    folder = tmp_path_factory.mktemp("pairs")
    table = write_pairs(folder, rows=40)
    recipe = Recipe.checked({**TINY, "objectives": {"caption": {}, "paint": {"method": "gan"}},
                             "data": {"inputs": ["picture", "words"]}})
    sm.fit(table, recipe, progress=False).save(folder / "run")
    (folder / "few.csv").write_text("\n".join(table.read_text().splitlines()[:4]))
    (folder / "broken.png").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, questions, and a model that is asked in text and in sound."""
    folder = tmp_path_factory.mktemp("questions")
    written = write_qa(folder, rows=60, test_rows=1)
    recipe = Recipe.checked({**TINY, "objectives": {"answer": {"question": ["question", "spoken"]}}})
    model = sm.fit(sm.read(written.table(), targets="answer"), recipe, progress=False)
    model.save(folder / "run")
    return folder


def _pixels(path: str | Path) -> Any:
    return np.asarray(Image.open(path))


def test_pictures_a_sheet_and_the_same_seed_again(command: Command, pairs: Path, tmp_path: Path) -> None:
    out, _ = command("generate", pairs / "run", "--text", WORDS, "-n", 3, "--out", tmp_path / "a")
    files = [str(tmp_path / "a" / f"picture-{number}.png") for number in (1, 2, 3)]
    assert out.splitlines() == [*files, f"side by side: {tmp_path / 'a' / 'picture-all.png'}"]
    assert _pixels(files[0]).shape == (32, 32, 3)
    assert not np.array_equal(_pixels(files[0]), _pixels(files[1]))
    with Image.open(tmp_path / "a" / "picture-all.png") as sheet:
        assert sheet.size[0] > 3 * 96 > 96 < sheet.size[1]
    out, _ = command("generate", pairs / "run", "--to", "picture", "--given", f"words={WORDS}", "--out", tmp_path / "b",
                     "--json")
    assert json.loads(out) == {"made": "picture", "files": [[str(tmp_path / "b" / "picture-1.png")]], "sheet": None}
    assert np.array_equal(_pixels(files[0]), _pixels(tmp_path / "b" / "picture-1.png"))
    command("generate", pairs / "run", "--text", WORDS, "--seed", 1, "--out", tmp_path / "b", "--overwrite")
    assert not np.array_equal(_pixels(files[0]), _pixels(tmp_path / "b" / "picture-1.png"))
    assert len(list((tmp_path / "b").iterdir())) == 1


def test_what_is_there_stays(command: Command, pairs: Path, tmp_path: Path) -> None:
    command("generate", pairs / "run", "--text", WORDS, "--out", tmp_path)
    before = (tmp_path / "picture-1.png").read_bytes()
    line = command.refused("generate", pairs / "run", "--text", WORDS, "--seed", 5, "-n", 2, "--out", tmp_path)
    assert "picture-1.png' is there already: choose another --out, or --overwrite" in line
    assert (tmp_path / "picture-1.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_picture_gives_words_and_words_a_picture_without_being_told_what_to_make(
    command: Command, pairs: Path, tmp_path: Path,
) -> None:
    model = sm.Model.load(pairs / "run")
    texts = model.generate("words", {"picture": pairs / "3.png"}, n=2)
    out, _ = command("generate", pairs / "run", "--image", pairs / "3.png", "-n", 2)
    assert out.splitlines() == [*"\n".join(texts).splitlines()]
    out, _ = command("generate", pairs / "run", "--image", pairs / "3.png", "-n", 2, "--sample", "--seed", 4, "--json")
    drawn = model.generate("words", {"picture": pairs / "3.png"}, n=2, seed=4, sampling=sm.Sampling())
    assert json.loads(out) == {"made": "words", "texts": [drawn]}
    assert "name what to make: --to words or --to picture" in command.refused("generate", pairs / "run",
                                                                              pairs / "few.csv")
    assert "unknown column 'word'" in command.refused("generate", pairs / "run", "--given", "word=red")


def _lines(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_of_a_table(command: Command, pairs: Path, tmp_path: Path) -> None:
    out, _ = command("generate", pairs / "run", pairs / "few.csv", "--to", "picture", "-n", 2, "--out", tmp_path)
    names = {f"picture-row{row}-{number}.png" for row in (1, 2, 3) for number in (1, 2)}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "picture-all.png", "picture.csv"}
    assert len(out.splitlines()) == 8
    assert [(row["row"], row["picture 2"]) for row in _lines(tmp_path / "picture.csv")] == [
        (str(row), f"picture-row{row}-2.png") for row in (1, 2, 3)]
    out, _ = command("generate", pairs / "run", pairs / "few.csv", "--to", "words", "-n", 2, "--out", tmp_path)
    assert out == f"written: {tmp_path / 'words.csv'}\n"
    rows = _lines(tmp_path / "words.csv")
    assert [row["row"] for row in rows] == ["1", "2", "3"]
    made = sm.Model.load(pairs / "run").generate("words", pairs / "few.csv", n=2)
    assert [[row["words 1"], row["words 2"]] for row in rows] == made
    assert "is there already" in command.refused("generate", pairs / "run", pairs / "few.csv", "--to", "words", "--out",
                                                 tmp_path)


def test_columns_are_copied_beside_what_is_made(command: Command, pairs: Path, tmp_path: Path) -> None:
    lines = (pairs / "few.csv").read_text(encoding="utf-8").splitlines()
    marked = pairs / "marked.csv"
    marked.write_text("\n".join(f"{line},{cell}" for line, cell in zip(lines, ("id", "a", "é", ""), strict=True)))
    command("generate", pairs / "run", marked, "--to", "words", "--out", tmp_path / "a")
    assert [tuple(row) for row in _lines(tmp_path / "a" / "words.csv")] == [("row", "id", "words")] * 3
    assert [row["id"] for row in _lines(tmp_path / "a" / "words.csv")] == ["a", "é", ""]
    command("generate", pairs / "run", marked, "--to", "picture", "--id", "words,first", "--out", tmp_path / "b")
    for row, true in zip(_lines(tmp_path / "b" / "picture.csv"), _lines(marked), strict=True):
        assert tuple(row) == ("row", "words", "first", "picture")
        assert (row["words"], row["first"]) == (true["words"], true["first"])
        assert (tmp_path / "b" / row["picture"]).is_file()
    out, _ = command("generate", pairs / "run", marked, "--to", "words", "--id", "id", "--json", "--out", tmp_path)
    assert [one["id"] for one in json.loads(out)["copied"]] == ["a", "é", None]
    for column, words in (("idd", "--id: unknown column 'idd'"),
                          ("words", "two columns of words.csv would be named 'words': leave it out of --id")):
        assert words in command.refused("generate", pairs / "run", marked, "--to", "words", "--id", column)
    assert "--id copies columns of a table" in command.refused("generate", pairs / "run", "--text", WORDS, "--id", "id")


def test_rows_that_show_nothing_are_told_and_left_blank(command: Command, pairs: Path, tmp_path: Path) -> None:
    (pairs / "gaps.csv").write_text(f"picture,words,first\n3.png,,red\nbroken.png,,red\n,,red\n4.png,{WORDS},red\n")
    _, err = command("generate", pairs / "run", pairs / "gaps.csv", "--to", "words", "--out", tmp_path, "--sample")
    assert "2 of 4 rows show nothing to make words from and are left blank: row 2, 3\n" in err
    assert "unreadable: row 2, column 'picture', 'broken.png': not a picture" in err
    texts = [row["words"] for row in _lines(tmp_path / "words.csv")]
    assert [bool(text) for text in texts] == [True, False, False, True]
    whole = pairs / "whole.csv"
    whole.write_text("picture\n3.png\n0.png\n1.png\n4.png\n")
    made = sm.Model.load(pairs / "run").generate("words", whole, sampling=sm.Sampling())
    assert [texts[0], texts[3]] == [made[0][0], made[3][0]]  # what is drawn depends on a row's number, not on its like
    _, err = command("generate", pairs / "run", pairs / "gaps.csv", "--to", "picture", "--out", tmp_path)
    assert "3 of 4 rows show nothing to make picture from" in err
    assert "unreadable" not in err  # what stands in the column that is made is no matter
    assert [row["picture"] for row in _lines(tmp_path / "picture.csv")] == ["", "", "", "picture-row4-1.png"]
    (pairs / "none.csv").write_text("picture,words\n3.png,\n4.png,\n")
    line = command.refused("generate", pairs / "run", pairs / "none.csv", "--to", "picture", "--out", tmp_path / "b")
    assert "in none of 2 rows there is anything to make picture from: nothing to make picture of row 1 from" in line
    assert not (tmp_path / "b").exists()


def test_the_table_that_is_read_is_never_replaced(command: Command, pairs: Path, tmp_path: Path) -> None:
    table = tmp_path / "words.csv"
    table.write_text(f"picture,words\n{pairs / '3.png'},{WORDS}\n")
    before = table.read_bytes()
    line = command.refused("generate", pairs / "run", table, "--to", "words", "--out", tmp_path, "--overwrite",
                           "--allow-outside")
    assert "words.csv' is the table that is read: choose another --out" in line
    assert table.read_bytes() == before


@pytest.mark.parametrize(("options", "words"), [
    (["--text", " "], "--text is blank"),
    (["--text", "red and " * 300], "words: a text of"),
    (["--text", WORDS, "-n", "0"], "n: expected 1 to 1000 of each row, found 0"),
    (["--text", WORDS, "-n", "1000000000"], "n: expected 1 to 1000"),
    (["--text", WORDS, "--to", "pictures"], "unknown modality to make 'pictures': choose one of words, picture"),
    (["--text", WORDS, "--guidance", "-1"], "guidance: expected a number above 0"),
    (["--text", WORDS, "--sample"], "--sample is for texts; 'picture' is a picture"),
    (["--image", "broken.png"], "nothing to make words from: .*not a picture that Pillow can read"),
    (["--image", "nowhere.png"], "picture: no file at 'nowhere.png'"),
    (["--image", "3.png", "--guidance", "2"], "--guidance is for pictures; 'words' is text"),
    (["--image", "3.png", "--beams", "100000"], "beams: expected 1 to 1000, found 100000"),
    (["--image", "3.png", "--rerank"], "rerank: this model does not compare texts with what they are about"),
    (["--text", WORDS, "--rerank"], "rerank is for texts; 'picture' is a picture"),
    (["--image", "3.png", "--sample", "--top-p", "0"], "expected top_p above 0"),
    (["--image", "3.png", "--to", "picture"], "--image: this model reads no other image: picture is what is made"),
    (["--audio", "3.png"], "--audio: this model reads no audio"),
    (["--to", "picture"], "name a table, or give what to make 'picture' from: --given words=…"),
    (["few.csv", "--to", "picture", "--text", WORDS], "not both"),
])
def test_bad_wishes_cost_one_line(
    command: Command, pairs: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str,
) -> None:
    monkeypatch.chdir(pairs)
    line = command.refused("generate", "run", *options)
    assert re.search(words, line), line
    assert not (pairs / "generated").exists()


QUESTION = "what colour is the star?"


def _picture(world: Path) -> Path:
    return world / "picture" / "train-00000.png"


def _spoken(world: Path) -> Path:
    return sorted((world / "spoken").iterdir())[0]


def test_an_answer_with_its_probability_and_evidence(command: Command, world: Path, tmp_path: Path) -> None:
    answer = sm.Model.load(world / "run").ask(QUESTION, {"picture": _picture(world)}, explain=True)
    out, err = command("ask", world / "run", "--image", _picture(world), QUESTION, "--page", tmp_path / "page.html")
    first, *lines = out.splitlines()
    assert first.startswith(f"{answer.value}  ({answer.probability:.0%}; ")
    assert sorted(line.split()[0] for line in lines if " bits" in line) == ["picture", "question"]
    assert err == f"page: {tmp_path / 'page.html'}\n"
    assert QUESTION in (tmp_path / "page.html").read_text(encoding="utf-8")
    out, _ = command("ask", world / "run", "--image", _picture(world), QUESTION, "--no-evidence")
    assert " bits" not in out
    out, _ = command("ask", world / "run", "--image", _picture(world), QUESTION, "--json")
    told = json.loads(out)
    assert told["answer"] == answer.value
    assert told["contributions"] == pytest.approx(answer.contributions)
    assert told["probability"] == pytest.approx(answer.probability)
    assert told["modalities"] == ["picture", "question"]
    assert len(told["evidence"]) == 2


def test_what_is_said_of_an_answer() -> None:
    shares = {"red": 0.5, "blue": 0.3, "green": 0.196, "grey": 0.004}
    sure = Answer("red", shares, ("photo",), confidence_set=("red",), unlike=False)
    assert said(sure, ["photo +1.0 bits"]) == ["red  (50%; blue 30%, green 20%)", "  photo +1.0 bits"]
    unsure = replace(sure, confidence_set=tuple("abcdefg"), unlike=True)
    assert said(unsure, []) == ["red  (50%; blue 30%, green 20%)",
                                "  not sure: a or b or c or d or e or one of 2 others",
                                "  this sample is unlike the training data: do not rely on the answer"]
    assert said(replace(sure, confidence_set=()), [])[1] == "  not sure: nothing is likely enough"
    assert said(Answer("red", {"red": 1.0}, ("photo",)), []) == ["red  (100%)"]
    assert said(Answer("red", {"red": 0.002}, ("photo",)), []) == ["red  (under 1%)"]
    assert said(Answer(3.14159, None, ("photo",), interval=(2.0, 4.25)), []) == ["3.142  (2 to 4.25)"]


def test_a_spoken_question(command: Command, world: Path) -> None:
    answer = sm.Model.load(world / "run").ask(_spoken(world), {"picture": _picture(world)})
    out, _ = command("ask", world / "run", "--image", _picture(world), "--spoken", _spoken(world), "--json")
    told = json.loads(out)
    assert told["answer"] == answer.value
    assert told["modalities"] == ["picture", "spoken"]
    assert told["probabilities"] == pytest.approx(answer.probabilities)


def test_a_talk(command: Command, world: Path) -> None:
    typed = [QUESTION, f"picture={_picture(world)}", QUESTION, "picture=nowhere.png", QUESTION,
             f"spoken={_spoken(world)}", "spoken=nowhere.wav", "spoken=", "picture=", QUESTION, "", "never read"]
    out, err = command("ask", world / "run", typed="\n".join(typed) + "\n")
    model = sm.Model.load(world / "run")
    about = {"picture": _picture(world)}
    answers = [line.split("  (")[0] for line in out.splitlines() if not line.startswith(" ")]
    asked = model.ask(QUESTION, about).value
    assert answers == [asked, asked, model.ask(_spoken(world), about).value]
    told = err.splitlines()
    assert told[0] == ("Type a question or spoken=FILE to ask aloud; picture=FILE says what it is about; an empty line "
                       "ends.")
    assert [line.removeprefix("> ") for line in told[1:] if "nothing to answer the question from: give picture" in line]
    assert any(f"picture: {_picture(world)}" in line for line in told)
    assert any("picture: no file at 'nowhere.png'" in line for line in told)
    assert any("spoken: no file at 'nowhere.wav'" in line for line in told)
    assert any("spoken: name a sound file" in line for line in told)
    assert any("picture: left out" in line for line in told)


def test_a_talk_about_what_is_given_and_the_end_of_input(command: Command, world: Path) -> None:
    out, _ = command("ask", world / "run", "--image", _picture(world), "--no-evidence", typed=f"{QUESTION}\n")
    assert out.splitlines()[0].startswith(
        str(sm.Model.load(world / "run").ask(QUESTION, {"picture": _picture(world)}).value))


@pytest.mark.parametrize(("options", "words"), [
    (["what?"], "nothing to answer the question from: give picture"),
    (["--image", "{picture}", " "], "the question is blank"),
    (["--image", "{picture}", "what " * 300], "question: a text of"),
    (["--image", "broken.png", "what?"], "nothing to answer the question from.*not a picture"),
    (["--image", "{picture}", "what?", "--spoken", "{spoken}"], "the question is given twice"),
    (["--image", "{picture}", "--spoken", "nowhere.wav"], "--spoken: no file at 'nowhere.wav'"),
    (["--image", "{picture}", "--spoken", "broken.png"], "the question cannot be read"),
    (["--image", "{picture}", "--json"], "name the question"),
    (["--image", "{picture}", "what?", "--target", "answers"], "unknown target 'answers'"),
    (["--given", "photo={picture}", "what?"], "unknown column 'photo'"),
    (["--image", "{picture}", "what?", "--modalities", "picture"], "the question is not to be read: it is in question"),
    (["--image", "{picture}", "--audio", "{spoken}", "what?"], "what asks is the question, or --spoken"),
])
def test_bad_questions_cost_one_line(
    command: Command, world: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str,
) -> None:
    monkeypatch.chdir(world)
    Path("broken.png").write_text("not a picture")
    filled = [option.format(picture=_picture(world), spoken=_spoken(world)) for option in options]
    line = command.refused("ask", "run", *filled)
    assert re.search(words, line), line


def test_what_a_category_or_a_number_is_not_is_said(command: Command, tmp_path: Path) -> None:
    table = write_pairs(tmp_path, rows=40)
    recipe = Recipe.checked({**TINY, "objectives": {"paint": {"method": "gan"}},
                             "data": {"inputs": ["picture", "first", "age"]}})
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([lines[0] + ",age", *(f"{line},{row % 9}.5" for row, line in enumerate(lines[1:]))]))
    sm.fit(table, recipe, progress=False).save(tmp_path / "run")
    line = command.refused("generate", tmp_path / "run", "--given", "first=violet", "--out", tmp_path / "a")
    assert "it needs first or age, and has none (column 'first': 1 cells hold categories unseen in training" in line
    assert "('violet' 1)" in line
    _, err = command("generate", tmp_path / "run", "--given", "first=violet", "--given", "age=3", "--out",
                     tmp_path / "a")
    assert "column 'first': 1 cells hold categories unseen in training" in err
    _, err = command("generate", tmp_path / "run", "--given", "first=red", "--given", "age=old", "--out",
                     tmp_path / "b")
    assert "unreadable: row 1, column 'age'" in err
    line = command.refused("generate", tmp_path / "run")
    assert line == "name a table, or give what to make 'picture' from: --given first or age=…"


def test_a_model_for_something_else_says_so(command: Command, pairs: Path, world: Path) -> None:
    assert "answers no questions: train one with --objective answer" in command.refused("ask", pairs / "run", "what?")
    told = command.refused("generate", world / "run", "--text", "a")
    assert "makes nothing: train one with --objective paint" in told
