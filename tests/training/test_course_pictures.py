"""Pictures painted for the same rows as training goes on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from worlds import write_pairs

import sensorium as sm
from sensorium.data.samples import Samples
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training import course_pictures, loop
from sensorium.training.course_pictures import CoursePictures
from sensorium.training.prepare import Prepared


def _recipe(epochs: int) -> Recipe:
    return Recipe.checked({"objectives": {"paint": {"method": "gan"}}, "model": {"width": 32},
                           "data": {"inputs": ["picture", "words"]},
                           "training": {"epochs": epochs, "batch_size": 16, "workers": 0}})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"), rows=24)


def _fitted(table: Path, out: Path | None, epochs: int = 3, *, resume: bool = False) -> tuple[Model, Samples, Any]:
    kept: list[Prepared] = []
    model = sm.fit(table, _recipe(epochs), out=out, progress=False, resume=resume,
                   on_chosen=lambda _, prepared: kept.append(prepared))
    return model, kept[0].samples, kept[0].splits.validation


def test_the_course_is_kept_with_the_model_and_survives_an_interruption(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, _, validation = _fitted(table, tmp_path / "run")
    looked = [entry["epoch"] for entry in model.history if "pictures" in entry]
    assert looked == [1, 2, 3]
    sheet = Image.open(io.BytesIO(model.course))
    rows = min(8, len(validation))
    assert sheet.size == (72 + rows * 68, 4 + 4 * 68)  # the real ones, and a line for each of three epochs
    assert Model.load(model.save(tmp_path / "model")).course == model.course
    assert (tmp_path / "model" / "pictures.png").read_bytes() == model.course
    assert not (tmp_path / "run.training").exists()

    steps, real = [], loop.train_step

    def step(*given: Any, **named: Any) -> Any:
        steps.append(1)
        if len(steps) == 4:  # in the second epoch
            raise KeyboardInterrupt
        return real(*given, **named)

    monkeypatch.setattr(loop, "train_step", step)
    _fitted(table, tmp_path / "again")
    assert (tmp_path / "again.training" / "pictures.png").is_file()
    monkeypatch.setattr(loop, "train_step", real)
    resumed, *_ = _fitted(table, tmp_path / "again", resume=True)
    assert resumed.course == model.course
    assert [entry.get("pictures") for entry in resumed.history] == [entry.get("pictures") for entry in model.history]


def test_without_a_folder_nothing_is_painted(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course_pictures, "painted", None)
    model, *_ = _fitted(table, None, epochs=1)
    assert model.course == b""


def test_lasting_collapse_is_said_once(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples, validation = _fitted(table, None, epochs=1)
    said: list[str] = []
    grey = np.full((len(validation), 2, 32, 32, 3), 128, dtype=np.uint8)
    course = CoursePictures.of(model, samples, validation, tmp_path / "choose_gated.safetensors", said.append)
    assert course is not None
    monkeypatch.setattr(course_pictures, "painted", lambda *_, **__: grey)
    found = [course.look(epoch, done=done, last=epoch == 9) for epoch, done in
             ((1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4), (8, 0.8), (9, 1.0))]
    assert [one is None for one in found] == [False, False, True, False, False, False]
    assert said == ["collapse? after epoch 8, all pictures are nearly the same, whatever the condition; look at "
                    f"{tmp_path / 'pictures_gated.png'}"]
    assert [Image.open(io.BytesIO(course.sheet(epoch))).height for epoch in (1, 3, 9)] == [
        4 + lines * 68 for lines in (2, 3, 6)]  # of what a resumed run has still before it, nothing is shown
    assert found[0] == {"within": 0.0, "between": 0.0, "told": 0.0, "words": said[0].split(", ", 1)[1].split(";")[0]}
    varied = np.random.default_rng(0).integers(0, 256, (len(validation), 8, 8, 3), dtype=np.uint8)
    twice = varied.repeat(4, axis=1).repeat(4, axis=2)[:, None].repeat(2, axis=1)
    monkeypatch.setattr(course_pictures, "painted", lambda *_, **__: twice)
    again = CoursePictures.of(model, samples, validation, tmp_path / "choose.safetensors", said.append)
    assert again is not None
    for epoch in (1, 2, 4):
        again.look(epoch, done=1.0, last=False)
    assert len(said) == 1  # equal pictures of one condition may be all that it allows


def test_rows_that_cannot_be_painted_for_are_passed_over(table: Path, tmp_path: Path) -> None:
    model, samples, _ = _fitted(table, None, epochs=1)
    rows = np.arange(4)
    samples.presence[0, samples.schema.names.index("picture")] = False
    samples.presence[1, samples.schema.names.index("words")] = False
    course = CoursePictures.of(model, samples, rows, tmp_path / "choose.safetensors", None)
    assert course is not None
    assert sorted(course._rows.tolist()) == [2, 3]
    assert CoursePictures.of(model, samples, rows[:2], tmp_path / "choose.safetensors", None) is None
    assert CoursePictures.of(model, samples, rows, None, None) is None
