"""`sensorium compare`, and `train --folds` and `--seeds`, at a terminal."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from worlds import QUICK, write_small_world

import sensorium as sm
from sensorium.cli.main import app
from sensorium.errors import RecipeError, SensoriumError

RUNNER = CliRunner()
LEFT_OUT = "image,sound,note,size"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    table = write_small_world(folder, rows=60)
    for seed, name in enumerate("ab"):
        data = sm.read(table, targets="kind", ignore=tuple(LEFT_OUT.split(",")))
        sm.fit(data, QUICK.changed("training", seed=seed), progress=False, allow_leak=True).save(folder / name)
    return folder


def test_compare(world: Path) -> None:
    test = write_small_world(world / "test", rows=40, seed=3)
    paths = [str(world / "a"), str(world / "b"), str(test)]
    shown = RUNNER.invoke(app, ["compare", *paths, "--out", str(world / "c.html")], catch_exceptions=False)
    assert "kind: b − a" in shown.stdout and "paired on 40 rows" in shown.stdout and "McNemar" in shown.stdout
    assert (world / "c.html").read_text().startswith("<!doctype html>")
    plain = json.loads(RUNNER.invoke(app, ["compare", *paths, "--json"], catch_exceptions=False).stdout)
    assert [one["name"] for one in plain["models"]] == ["a", "b"]
    assert plain["verdicts"][0]["sentence"] in shown.stdout
    counts = plain["verdicts"][0]["agreement"]
    assert sum(counts[name] for name in ("both_right", "only_a", "only_b", "both_wrong")) == 40
    again = RUNNER.invoke(app, ["compare", paths[0], paths[0], str(world / "table.csv")], catch_exceptions=False)
    assert "give the same answers" in again.stdout and "is the table the model was trained on" in again.stdout


def test_compare_needs_models_and_a_table(world: Path) -> None:
    for paths, words in ((["a", "table.csv"], "needs two model folders"), (["a", "b"], "name the table to compare on"),
                         (["a", "none", "table.csv"], "no model folder")):
        result = RUNNER.invoke(app, ["compare", *(str(world / one) for one in paths)])
        assert isinstance(result.exception, SensoriumError) and words in str(result.exception)


def _train(world: Path, out: Path, *options: str) -> tuple[str, str]:
    recipe = world / "quick.yaml"
    recipe.write_text(QUICK.changed("training", epochs=1).to_yaml())
    result = RUNNER.invoke(app, ["train", str(world / "table.csv"), "--target", "kind", "--ignore", LEFT_OUT,
                                 "--recipe", str(recipe), "--allow-leak", "--out", str(out), *options],
                           catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_folds_then_the_model_of_all_rows(world: Path, tmp_path: Path) -> None:
    _, said = _train(world, tmp_path / "run", "--folds", "2")
    assert "3 trainings in all: about" in said and "fold 2 of 2: kind accuracy" in said
    rows = list(csv.DictReader((tmp_path / "run" / "out_of_fold.csv").read_text().splitlines()))
    assert len(rows) == 60 and {row["fold"] for row in rows} == {"1", "2"}
    model = sm.Model.load(tmp_path / "run")
    told = model.facts["repeated"]
    assert told["what"] == "cross-validated" and told["count"] == 2
    assert told["sentence"] in said
    assert told["sentence"] in (tmp_path / "run" / "README.md").read_text()
    assert "cross-validated" in (tmp_path / "run" / "report.html").read_text()


def test_folds_only(world: Path, tmp_path: Path) -> None:
    for options in ((), ("--overwrite",)):
        plain, _ = _train(world, tmp_path / "run", "--folds", "2", "--folds-only", "--json", *options)
        left = sorted(path.name for path in (tmp_path / "run").iterdir())
        assert left == ["cross_validation.json", "out_of_fold.csv"]
        assert json.loads(plain)["cross_validated"]["count"] == 2


@pytest.mark.slow
def test_seeds(world: Path, tmp_path: Path) -> None:
    _, said = _train(world, tmp_path / "run", "--seeds", "2")
    assert "seed 1: kind accuracy" in said and "over 2 seeds" in said
    model = sm.Model.load(tmp_path / "run")
    assert model.recipe.training.seed == 0 and model.facts["repeated"]["what"] == "seeds"


def test_options_that_do_not_go_together(world: Path, tmp_path: Path) -> None:
    for options, words in ((["--folds", "3", "--seeds", "2"], "one at a time"), (["--folds", "1"], "at least 2"),
                           (["--folds-only"], "belongs to --folds"),
                           (["--folds", "3", "--resume"], "--resume goes on")):
        result = RUNNER.invoke(app, ["train", str(world / "table.csv"), "--target", "kind", "--out",
                                     str(tmp_path / "x"), *options])
        assert isinstance(result.exception, RecipeError) and words in str(result.exception)
