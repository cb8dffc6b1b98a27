"""Where answers go: never over the table that is read; a target without labels takes nothing from the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from worlds import QUICK

import sensorium as sm
from sensorium.cli.main import app
from sensorium.cli.options import print_json
from sensorium.errors import DataError, RecipeError
from sensorium.evaluation.spreads import Repeated, Spread

RUNNER = CliRunner()


def _write(path: Path, *, sizes: bool = True, labels: bool = True) -> Path:
    lines = ["hr,y,size"]
    lines += [f"{60 + 10 * (row % 3) + 0.1 * (row % 11)},{'abc'[row % 3] if labels else ''},"
              f"{row % 3 + 0.01 * row if sizes else ''}" for row in range(60)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    data = sm.read(_write(folder / "t.csv"), targets=("y", "size"))
    return sm.fit(data, QUICK.changed("training", epochs=1), progress=False, allow_leak=True).save(folder / "model")


@pytest.mark.parametrize("options", [
    ["predict", "RUN", "TABLE", "--out", "TABLE"], ["predict", "RUN", "TABLE", "--attribute", "TABLE"],
    ["evaluate", "RUN", "TABLE", "--out", "TABLE"], ["compare", "RUN", "RUN", "TABLE", "--out", "TABLE"]])
def test_the_table_that_is_read_is_not_written_over(run: Path, tmp_path: Path, options: list[str]) -> None:
    table = _write(tmp_path / "t.csv")
    before = table.read_bytes()
    places = {"RUN": str(run), "TABLE": str(table)}
    result = RUNNER.invoke(app, [places.get(word, word) for word in options])
    assert isinstance(result.exception, RecipeError) and "is the table that is read" in str(result.exception)
    assert table.read_bytes() == before and list(tmp_path.iterdir()) == [table]


def test_json_and_a_file_are_two_outputs(run: Path, tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["predict", str(run), str(_write(tmp_path / "t.csv")), "--json", "--out",
                                 str(tmp_path / "a.csv")])
    assert isinstance(result.exception, RecipeError) and "ask for one" in str(result.exception)


def test_a_target_without_labels_leaves_the_others_scored(run: Path, tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["evaluate", str(run), str(_write(tmp_path / "t.csv", sizes=False)), "--json", "--out",
                                 str(tmp_path / "e.html")], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert {one["target"] for part in ("as_found", "baselines", "robustness") for one in found[part]} == {"y"}
    assert "target 'size' has no label in these rows and is not scored" in found["notes"]
    blank = RUNNER.invoke(app, ["evaluate", str(run), str(_write(tmp_path / "t.csv", sizes=False, labels=False))])
    assert isinstance(blank.exception, DataError) and "nothing to score" in str(blank.exception)


def test_numbers_that_are_not_defined_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), (1.5, float("-inf"))], "b": {"c": np.float64("nan"), "d": True, "e": None}})
    assert json.loads(capsys.readouterr().out) == {"a": [None, [1.5, None]], "b": {"c": None, "d": True, "e": None}}


def test_scores_that_are_not_defined_in_words() -> None:
    spread = Spread("y", (), 3, {}, {"accuracy": (float("nan"), float("nan"))})
    found = Repeated("seeds", 2, [spread], {"y": "accuracy", "z": "accuracy"}, "")
    assert "— ± — (mean ± sd)" in found.sentence("y") and found.sentence("z") == "z: no scored row has a label."
