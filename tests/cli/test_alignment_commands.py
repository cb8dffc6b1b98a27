"""Aligning from the command line: objectives by name, zero-shot and few-shot columns, mistakes in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from worlds import write_pairs

from sensorium.cli.main import app
from sensorium.cli.objectives import objectives_of
from sensorium.errors import RecipeError, SensoriumError
from sensorium.recipe import OBJECTIVE_NAMES, Recipe

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, trained from the command line without labels; the test table stands beside."""
    folder = tmp_path_factory.mktemp("pairs")
    table, test = write_pairs(folder / "train", rows=160), write_pairs(folder / "test", rows=40, seed=1)
    assert test.exists()
    result = RUNNER.invoke(app, ["train", str(table), "--ignore", "first", "--objective", "contrast", "--width", "32",
                                 "--epochs", "8", "--out", str(folder / "run"), "--set", "picture.flip=false",
                                 "--set", "picture.augmentation=0.3", "--refit", "never"])
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_a_report_says_what_finds_what(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert "What finds what" in page
    assert "picture → words, some queries" in page
    assert "What each modality adds" not in page  # there is no target


def test_evaluating_says_it_in_a_terminal(run: Path) -> None:
    spoken = RUNNER.invoke(app, ["evaluate", str(run), str(run.parent / "test" / "table.csv")])
    assert "| picture → words |" in spoken.stdout


def test_classes_by_name_and_from_examples(run: Path) -> None:
    result = RUNNER.invoke(app, [
        "evaluate", str(run), str(run.parent / "test" / "table.csv"), "--zero-shot", "first", "--prompt",
        "{} on the left", "--few-shot", "first", "--modalities", "picture", "--json",
        "--examples", str(run.parent / "test" / "table.csv")])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {"query", "gallery", "metrics", "chance"} <= set(found["retrieval"][0])
    assert found["zero_shot"]["templates"] == ["{} on the left"]
    assert found["zero_shot"]["metrics"]["accuracy"]["value"] > found["zero_shot"]["chance"]["accuracy"]
    assert found["few_shot"]["scores"][0]["shots"] == 1


@pytest.mark.parametrize(("options", "words"), [
    (["--prompt", "a {}"], "--prompt belongs to --zero-shot"),
    (["--examples", "x.csv"], "--examples belongs to --few-shot"),
    (["--modalities", "picture"], "--modalities belongs to"),
    (["--zero-shot", "firs"], "unknown column 'firs'.*Did you mean 'first'"),
    (["--zero-shot", "first", "--prompt", "a picture"], r"\{\}"),
    (["--few-shot", "first", "--examples", "nowhere.csv"], "'nowhere.csv' is not here"),
])
def test_mistakes_of_evaluate(run: Path, options: list[str], words: str) -> None:
    result = RUNNER.invoke(app, ["evaluate", str(run), str(run.parent / "test" / "table.csv"), *options])
    assert isinstance(result.exception, SensoriumError)
    with pytest.raises(SensoriumError, match=words):
        raise result.exception


def test_a_model_without_targets_predicts_nothing(run: Path) -> None:
    result = RUNNER.invoke(app, ["predict", str(run), str(run.parent / "test" / "table.csv")])
    assert "predicts no target" in str(result.exception)


def test_the_help_names_every_objective() -> None:
    words = RUNNER.invoke(app, ["train", "--help"], env={"COLUMNS": "200"}).output
    about = words[words.index("--objective") : words.index("--weight")]
    assert not [name for name in OBJECTIVE_NAMES if name not in about]


def test_objectives_of_options() -> None:
    recipe = Recipe.from_yaml("objectives: {contrast: {mode: pairs}}")
    weights = {"contrast": 0.5, "age": 2.0}
    found = objectives_of(recipe, ["correlate.components=8,contrast.loss=siglip"], weights, targets=("age",))
    assert weights == {"age": 2.0}
    made = Recipe().changed("objectives", **found).objectives
    assert made.contrast is not None
    assert made.correlate is not None
    assert (made.contrast.mode, made.contrast.loss, made.contrast.weight) == ("pairs", "siglip", 0.5)
    assert made.correlate.components == 8
    for words, message in ((["contrst"], "Did you mean 'contrast'"), (["contrast.mode"], "expected a name, or"),
                           (["contrast=1"], "expected a name, or")):
        with pytest.raises(RecipeError, match=message):
            objectives_of(Recipe(), words, {}, targets=())
    with pytest.raises(RecipeError, match="--weight contrst: unknown target or objective.*Did you mean 'contrast'"):
        objectives_of(Recipe(), ["contrast"], {"contrst": 1.0}, targets=())
    with pytest.raises(RecipeError, match="--weight contrast: name the objective too"):
        objectives_of(Recipe(), None, {"contrast": 1.0}, targets=())
