"""The examples that generate and answer run on a small world, with small models, and print what they promise."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sensorium as sm

EXAMPLES = Path(__file__).parents[1] / "examples"
SHARE = r"[01]\.\d{3}"


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> Any:
    """Runs an example with a small model on a few rows and gives what it printed."""
    def run(name: str, *options: str) -> str:
        monkeypatch.syspath_prepend(str(EXAMPLES))
        module = importlib.import_module(name)
        recipe = module.RECIPE.changed("model", width=16).changed("training", workers=0, batch_size=16)
        monkeypatch.setattr(module, "RECIPE", recipe)
        monkeypatch.setattr(module, "SHOWN", 2, raising=False)
        monkeypatch.setattr("sys.argv", [f"{name}.py", "--rows", "60", "--test-rows", "10", "--epochs", "1", "--out",
                                         str(tmp_path / "out"), *options])
        module.main()
        return capsys.readouterr().out

    return run


def test_captions_are_judged_by_what_they_state(said: Any, tmp_path: Path) -> None:
    out = said("caption")
    for what in ("combinations seen in training", "combinations never seen"):
        assert re.search(rf"{what}, 10 new pictures: stated rightly colour {SHARE}, shape {SHARE}, place {SHARE}, all "
                         rf"three {SHARE}\n", out)
    assert out.count("(in the table: ") == 4
    assert "the most probable captions of one picture:" in out
    model = sm.Model.load(tmp_path / "out" / "model")
    assert len(model.generate("caption", {"picture": next((tmp_path / "out").rglob("*.png"))}, n=2)) == 2


@pytest.mark.parametrize("method", [pytest.param("flow", marks=pytest.mark.slow), "gan"])
def test_painted_pictures_are_measured_and_laid_out(said: Any, tmp_path: Path, method: str) -> None:
    out = said("text_to_image", "--method", method)
    assert re.search(rf"painted +colour {SHARE}, place {SHARE}, both {SHARE}\n", out)
    assert re.search(r"real ones +colour 1\.000, place 1\.000, both 1\.000\n", out)
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.size == (4 * 3 * 32, 2 * 3 * 32)
    assert sm.Model.load(tmp_path / "out" / "model").generate("picture", {"caption": "a red star"})[0].size == (32, 32)


def test_questions_are_scored_by_how_they_were_asked(said: Any, tmp_path: Path) -> None:
    out = said("question_answering")
    for asked in ("question", "spoken"):
        assert len(re.findall(rf"\n  {asked} +{SHARE}, without the picture {SHARE}", out)) == 2
    assert len(re.findall(rf"the most frequent answer to the same words: {SHARE}", out)) == 2
    evidence = re.findall(r"\(\d+%; true: [^;]+; asked aloud: [^)]+\)\n    (.*)", out)
    assert evidence
    assert all(re.search(r"picture [+-]\d\.\d bits, question [+-]\d\.\d bits; in the picture mostly at \d+% from the "
                         r"left, \d+% from the top", line) for line in evidence)
    assert sm.Model.load(tmp_path / "out" / "model").asking == {"question", "spoken"}
