"""Confidence sets in a model: as often right as they say, from any subset, saved with it, shown and abstained from."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from worlds import QUICK, write_small_world

from sensorium.answers import Answer
from sensorium.cli.main import app
from sensorium.data.read import read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.metrics.coverage import coverage_band
from sensorium.model import Model
from sensorium.training.calibration import calibrate

ROWS = 500


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Samples, Path]:
    """An untrained model, calibrated on 200 of 500 rows: sets are valid whatever the model is."""
    table = write_small_world(tmp_path_factory.mktemp("world"), rows=ROWS)
    data = read(table, targets=("kind", "size"), inputs=("note", "hr"))
    samples = decoded(data.table, measured(data.table, data.schema, np.arange(ROWS)), workers=0, memory_bytes=1e9)
    model = Model(samples.schema, QUICK)
    calibrate(model, samples, np.arange(200))
    return model, samples, table


def test_sets_and_intervals_hold_the_truth_as_often_as_they_say(world: tuple[Model, Samples, Path]) -> None:
    model, samples, _ = world
    rows = np.arange(200, ROWS)
    rows = rows[samples.presence[rows].all(axis=1)]
    answers = model.answers(samples, rows=rows)
    truth = samples.labels["kind"].values[rows]
    names = samples.schema.targets[0].classes
    held = [names[true] in (one["kind"].confidence_set or ()) for true, one in zip(truth, answers, strict=True)]
    thresholds = {name: one.of(frozenset(samples.schema.names)) for name, one in model.conformal.items()}
    low, high = coverage_band(thresholds["kind"].rows, len(rows), 0.1, level=0.999)
    assert low <= np.mean(held) <= high + 0.1  # equal probabilities tie in an untrained model
    numbers = samples.labels["size"].values[rows]
    inside = [one["size"].interval is not None and one["size"].interval[0] <= true <= one["size"].interval[1]
              for true, one in zip(numbers, answers, strict=True)]
    low, high = coverage_band(thresholds["size"].rows, len(rows), 0.1, level=0.999)
    assert low <= np.mean(inside) <= high


def test_temperature_and_thresholds_see_different_rows(world: tuple[Model, Samples, Path]) -> None:
    model, samples, _ = world
    labelled = int(samples.presence[:200].any(axis=1).sum())
    assert max(one.rows for one in model.conformal["kind"].patterns) <= labelled // 2 + 1
    few = Model(samples.schema, QUICK)
    calibrate(few, samples, np.arange(8))
    assert few.conformal == {}
    assert few.temperatures["kind"] != 1.0
    assert few.answers(samples, rows=np.arange(3))[0]["kind"].confidence_set is None


def test_they_are_saved_shown_and_abstained_from(world: tuple[Model, Samples, Path], tmp_path: Path) -> None:
    model, _, table = world
    again = Model.load(model.save(tmp_path / "run"))
    assert again.conformal == model.conformal
    lines = {}
    for words in ([], ["--abstain"]):
        out = tmp_path / f"{len(words)}.csv"
        result = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), str(table), "--out", str(out), *words])
        assert result.exit_code == 0, result.output
        lines[len(words)] = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert {"kind_set", "size_low", "size_high"} <= set(lines[0][0])
    for said, held_back in zip(lines[0], lines[1], strict=True):
        single = said["kind_set"] in ("", said["kind"])
        assert held_back["kind"] == (said["kind"] if single else "")
    assert any(not one["kind"] for one in lines[1])


def test_what_counts_as_decided() -> None:
    assert Answer("a", {"a": 1.0}, ("x",)).decided
    assert Answer("a", {"a": 1.0}, ("x",), confidence_set=("a",)).decided
    assert not Answer("a", {"a": 0.5}, ("x",), confidence_set=("a", "b")).decided
    assert not Answer("a", {"a": 0.5}, ("x",), confidence_set=()).decided
