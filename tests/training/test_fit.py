"""Training end to end on a small planted world: it learns, it resumes exactly, workers change nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import QUICK, write_small_world

from sensorium.data.read import Data, read
from sensorium.errors import LeakError, ResumeError, TrainingError
from sensorium.evaluation.evaluate import evaluate
from sensorium.model import Model
from sensorium.training import fit as fit_module
from sensorium.training import loop as loop_module
from sensorium.training.console import Quiet
from sensorium.training.fit import fit
from sensorium.training.loop import train
from sensorium.training.validation import validate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return read(write_small_world(tmp_path_factory.mktemp("world"), rows=60), targets=("kind", "size"))


def _weights(model: Model) -> dict[str, torch.Tensor]:
    return model.state_dict()


def _same(first: Model, second: Model) -> bool:
    a, b = _weights(first), _weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_the_planted_world(tmp_path: Path) -> None:
    table = write_small_world(tmp_path, rows=160, missing=0.1)
    data = read(table, targets=("kind", "size"), weights={"size": 0.5})
    model = fit(data, QUICK.changed("training", epochs=20), progress=False, allow_leak=True)
    last = model.history[-1]["scores"]
    assert last["kind"]["all"] > 0.9
    assert last["size"]["all"] > 0.7
    assert set(last["kind"]) == {"all", *data.schema.names}
    answer = model.predict({"note": "this one looks green to me"})
    assert answer["kind"].value == "bee"
    assert answer["kind"].modalities == ("note",)
    sizes = [model.predict({"note": f"this one looks {colour} to me"})["size"].value for colour in ("red", "blue")]
    assert sizes[1] - sizes[0] > 1.0


def test_two_runs_are_equal_and_workers_change_nothing(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.data.cells.INLINE_CELLS", 4)
    models = [fit(data, QUICK.changed("training", workers=workers), progress=False, allow_leak=True)
              for workers in (0, 2)]
    assert _same(*models)
    other = fit(data, QUICK.changed("training", seed=1), progress=False, allow_leak=True)
    assert not _same(models[0], other)


def test_the_memory_budget_changes_nothing(data: Data) -> None:
    models = [fit(data, QUICK.changed("training", memory_gb=gigabytes), progress=False, allow_leak=True)
              for gigabytes in (1.0, 1e-9)]
    assert _same(*models)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("dies_at", [5, 9])
def test_a_killed_and_resumed_run_ends_with_the_same_weights(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int,
) -> None:
    recipe = QUICK.changed("training", refit="always", epochs=3)
    whole = fit(data, recipe, progress=False, allow_leak=True)
    monkeypatch.setattr("sensorium.training.loop.CHECKPOINT_SHARE", 1e9)

    calls = [0]

    def dying(*given: object, **named: object) -> torch.Tensor:
        calls[0] += 1
        if calls[0] > dies_at + 4:  # the probe takes four steps
            raise _Killed
        return real(*given, **named)  # type: ignore[arg-type]

    real = loop_module.train_step
    monkeypatch.setattr("sensorium.training.loop.train_step", dying)
    monkeypatch.setattr("sensorium.training.schedule.train_step", dying)
    with pytest.raises(_Killed):
        fit(data, recipe, progress=False, allow_leak=True, out=tmp_path / "run")
    assert (tmp_path / "run.training" / "choose.safetensors").exists()
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("sensorium.training.loop.train_step", real)
    monkeypatch.setattr("sensorium.training.schedule.train_step", real)
    resumed = fit(data, recipe, progress=False, allow_leak=True, out=tmp_path / "run", resume=True)
    assert _same(whole, resumed)
    assert whole.temperatures == resumed.temperatures
    assert not (tmp_path / "run.training").exists()


def test_resuming_another_run_is_refused(data: Data, tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="no checkpoints"):
        fit(data, QUICK, progress=False, allow_leak=True, out=tmp_path / "run", resume=True)
    folder = tmp_path / "run.training"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("source: other\n")
    with pytest.raises(ResumeError, match="another recipe"):
        fit(data, QUICK, progress=False, allow_leak=True, out=tmp_path / "run", resume=True)


def test_ctrl_c_keeps_the_best_model(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [0]
    real = loop_module.train_step

    def interrupted(*given: object, **named: object) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 6:
            raise KeyboardInterrupt
        return real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("sensorium.training.loop.train_step", interrupted)
    model = fit(data, QUICK.changed("training", epochs=50, refit="always"), progress=False, allow_leak=True)
    assert model.facts["stopped"] == "interrupted"
    assert "refit" not in model.facts
    assert len(model.history) == 1
    assert model.predict({"note": "red"})["kind"].value in {"ant", "bee", "cat"}


def test_a_time_budget_is_kept(data: Data) -> None:
    model = fit(data, QUICK.changed("training", minutes=0.1, epochs=None), progress=False, allow_leak=True)
    assert 2 < model.facts["seconds"] < 9
    assert model.facts["steps"] > 10


def test_early_stopping(data: Data) -> None:
    model = fit(data, QUICK.changed("training", epochs=60, patience=2, learning_rate=0.05), progress=False,
                allow_leak=True)
    assert "no better validation loss" in model.facts["stopped"]
    assert model.facts["best_step"] < model.facts["steps"]
    best = min(model.history, key=lambda entry: entry["validation_loss"])
    assert best["step"] == model.facts["best_step"]


def test_the_leak_guard_names_the_column(data: Data) -> None:
    with pytest.raises(LeakError, match="--ignore note"):
        fit(data, QUICK, progress=False)


def test_save_and_load_give_the_same_answers(data: Data, tmp_path: Path) -> None:
    model = fit(data, QUICK, progress=False, allow_leak=True)
    folder = model.save(tmp_path / "m")
    assert not [f for f in folder.rglob("*") if f.suffix in {".pkl", ".pt", ".bin", ".pickle"}]
    again = Model.load(folder)
    assert _same(model, again)
    first, second = model.predict(data), again.predict(data)
    assert first == second
    moved = tmp_path / "elsewhere"
    shutil.move(folder, moved)
    assert Model.load(moved).predict(data)[0] == first[0]


def test_a_multi_target_model_trains_on_rows_that_lack_a_label(tmp_path: Path) -> None:
    table = write_small_world(tmp_path, rows=60)
    lines = table.read_text().splitlines()
    cut = [line.rsplit(",", 1)[0] + "," if n % 2 else line for n, line in enumerate(lines[1:])]
    table.write_text("\n".join([lines[0], *cut]))
    model = fit(read(table, targets=("kind", "size")), QUICK, progress=False, allow_leak=True)
    assert model.facts["rows"]["unlabelled"] == 0
    assert np.isfinite(model.history[-1]["validation_loss"])


def test_a_training_that_diverges_is_refused(data: Data) -> None:
    with pytest.raises(TrainingError, match="lower --learning-rate"):
        fit(data, QUICK.changed("training", learning_rate=1e12, clip=1e9), progress=False, allow_leak=True)


def test_weights_that_answer_nan_are_never_the_best(data: Data) -> None:
    prepared = fit_module.prepare(data, QUICK, console=Quiet(), allow_leak=True, strict=False)
    model = Model(prepared.samples.schema, QUICK)
    assert np.isfinite(validate(model, prepared.samples, prepared.splits.validation).loss)
    with torch.no_grad():
        next(model.predictors.parameters()).fill_(float("nan"))
    assert np.isnan(validate(model, prepared.samples, prepared.splits.validation).loss)


def test_the_training_table_is_named_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_small_world(tmp_path / "w", rows=24)
    monkeypatch.chdir(tmp_path / "w")
    model = fit(read("table.csv", targets="kind"), QUICK, progress=False, allow_leak=True)
    assert model.recipe.source == str(table)
    assert any("is the table the model was trained on" in note for note in evaluate(model, "table.csv").notes)


def test_a_class_without_training_rows_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"a": float(k % 7), "y": "pq"[k % 2], "split": "train"} for k in range(40)]
    rows += [{"a": float(k), "y": "new", "split": "test"} for k in range(4)]
    fit(read(rows, targets="y"), QUICK)
    assert "no training row has the classes 'new'" in capsys.readouterr().err


def test_train_without_validation_keeps_the_last_step(data: Data) -> None:
    prepared = fit_module.prepare(data, QUICK, console=Quiet(), allow_leak=True, strict=False)
    model = Model(prepared.samples.schema, QUICK)
    progress = train(model, prepared.samples, prepared.splits.train, np.zeros(0, dtype=np.int64),
                     fit_module.Plan(3, 3), device=fit_module.Device(), report=lambda *_: None)
    assert progress.stopped == "finished"
    assert progress.best_step == progress.step == 3


def test_targets_far_from_zero_are_learnt_as_well_as_near_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=(120, 2))
    scores = []
    for offset in (0.0, 1e9):
        rows = [{"a": a, "b": b, "t": 2 * a - b + 0.3 * random.normal() + offset} for a, b in numbers.tolist()]
        model = fit(read(rows, targets="t"), QUICK.changed("training", epochs=12), progress=False)
        scores.append(model.history[-1]["scores"]["t"]["all"])
    assert scores[1] > 0.5 and abs(scores[0] - scores[1]) < 0.2
