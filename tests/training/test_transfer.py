"""What runs take over from others: weights that keep answering alike, parts held still, and teachers."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner
from worlds import QUICK, write_pairs, write_small_world

import sensorium as sm
from sensorium.cli.main import app
from sensorium.cli.options import frozen_of
from sensorium.data.read import Data
from sensorium.data.samples import decoded
from sensorium.data.table import Table, table_of_rows
from sensorium.errors import DataError, ModelFolderError, RecipeError
from sensorium.fusion import FUSIONS
from sensorium.model import Model
from sensorium.objectives import Distil
from sensorium.recipe import DataOptions, Recipe
from sensorium.training import loop as loop_module
from sensorium.training.console import Quiet
from sensorium.training.fit import fit
from sensorium.training.prepare import Prepared, prepare
from sensorium.training.teaching import taught
from sensorium.training.transfer import Sources

TARGETS = ("kind", "size")
GROUPS = {"vitals": ("hr", "bp", "ward"), "labs": ("na", "day")}
OPTIONS = DataOptions(targets=TARGETS, modalities=GROUPS, kinds={"note": "text"})
TABLES = OPTIONS.model_copy(update={"kinds": {}, "ignore": ("note",)})
SHORT = QUICK.changed("model", width=16, fusion="concat")


def _table(rows: int = 60, *, seed: int = 0) -> Table:
    """Text and two groups of columns that all know something of kind and size."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(rows):
        kind = int(random.integers(3))
        lines.append({
            "note": f"this one looks {('red', 'green', 'blue')[kind]} to {('me', 'him', 'her')[random.integers(3)]}",
            "hr": f"{60 + 10 * kind + random.normal():.2f}", "bp": f"{random.normal() + kind:.3f}",
            "ward": ("east", "west", "north")[int(random.integers(3))], "na": f"{140 + 5 * kind + random.normal():.2f}",
            "day": f"2024-0{1 + kind}-1{random.integers(10)}", "kind": ("ant", "bee", "cat")[kind],
            "size": f"{kind + 0.1 * random.normal():.3f}"})
    return table_of_rows(lines)


def _with(table: Table, *columns: pl.Expr) -> Table:
    return dataclasses.replace(table, frame=table.frame.with_columns(*columns))


def _prepared(table: Table, options: DataOptions, recipe: Recipe, sources: Sources | None = None) -> Prepared:
    return prepare(Data(table, options), recipe.model_copy(update={"data": options}), console=Quiet(), allow_leak=True,
                   strict=False, sources=sources)


def _random(model: Model, seed: int) -> Model:
    """Every weight and none at its special first value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def table() -> Table:
    return _table()


@pytest.fixture(scope="module")
def origin_of(table: Table) -> dict[str, Model]:
    schema = _prepared(table, OPTIONS, QUICK).samples.schema
    return {name: _random(Model(schema, QUICK.changed("model", fusion=name)), 1) for name in FUSIONS}


def _answers(model: Model, table: Table, subset: tuple[str, ...]) -> dict[str, np.ndarray]:
    samples = decoded(table, model.schema, workers=0, memory_bytes=1e9)
    raw = model.outputs(samples, np.arange(len(samples)), [frozenset(subset)], complete=False)
    return {target.name: raw[target.name][frozenset(subset)] * (target.std if target.task == "regress" else 1.0)
            + (target.mean if target.task == "regress" else 0.0) for target in model.schema.targets}


@pytest.mark.parametrize("fusion", [name for name in FUSIONS if name != "tensor"])
def test_a_model_of_fewer_modalities_answers_as_its_origin_did(
    table: Table, origin_of: dict[str, Model], fusion: str,
) -> None:
    """Other rows were measured, the order of modalities is another, and one is new: what is shared says the same."""
    origin = origin_of[fusion]
    other = _with(_table(40, seed=3), pl.col("hr").cast(pl.Float64).mul(2.0).cast(pl.String))
    frame = other.frame.with_columns(pl.Series("extra", [f"word {row % 7}" for row in range(40)]))
    other = dataclasses.replace(other, frame=frame.select("extra", "na", "day", "note", "kind", "size"))
    options = DataOptions(targets=TARGETS, modalities={"labs": ("na", "day")}, kinds={"note": "text", "extra": "text"})
    recipe = QUICK.changed("model", fusion=fusion).changed("training", seed=5)
    prepared = _prepared(other, options, recipe, Sources(origin=origin))
    model = _random(Model(prepared.samples.schema, recipe), 2)
    lines = prepared.transfer.begin(model.eval())
    assert "the encoders of note, labs" in lines[0] or "the encoders of labs, note" in lines[0]
    assert "kind (3 of 3 classes), size" in lines[0]
    assert "the encoder of extra" in lines[1]
    assert model.schema.names != origin.schema.names
    assert model.schema.targets[1].mean != origin.schema.targets[1].mean
    for name, found in _answers(model, table, ("note", "labs")).items():
        np.testing.assert_allclose(found, _answers(origin, table, ("note", "labs"))[name], atol=2e-4, err_msg=name)


def test_tables_are_matched_by_column_and_category(table: Table, origin_of: dict[str, Model]) -> None:
    """Columns in another order, one gone, one new, a new category: rows that have only what is known say the same."""
    origin = origin_of["gated"]
    frame = table.frame.with_columns(pl.lit(None, dtype=pl.String).alias("bp"),
                                     pl.Series("gas", [f"{row % 9}.5" for row in range(60)]))
    frame = frame.with_columns(pl.Series("ward", ["south", *frame["ward"].to_list()[1:]]))
    other = dataclasses.replace(table, frame=frame.select("ward", "gas", "hr", "kind", "size"))
    options = DataOptions(targets=TARGETS, modalities={"vitals": ("ward", "gas", "hr")})
    recipe = QUICK.changed("model", fusion="gated")
    prepared = _prepared(other, options, recipe, Sources(origin=origin))
    kind = prepared.samples.schema.modality("vitals").kind
    assert kind.columns[0].categories[:3] == origin.schema.modality("vitals").kind.columns[2].categories
    assert kind.columns[2].mean == origin.schema.modality("vitals").kind.columns[0].mean
    model = Model(prepared.samples.schema, recipe).eval()
    prepared.transfer.begin(model)
    without = _with(other, pl.lit(None, dtype=pl.String).alias("gas"))
    known = dataclasses.replace(table, frame=frame)
    for name, found in _answers(model, without, ("vitals",)).items():
        np.testing.assert_allclose(found[1:], _answers(origin, known, ("vitals",))[name][1:], atol=2e-4, err_msg=name)


def test_what_cannot_be_taken_is_said(table: Table, origin_of: dict[str, Model], tmp_path: Path) -> None:
    path = str(origin_of["attention"].save(tmp_path / "origin"))
    quick = QUICK.changed("transfer", init=path)
    with pytest.raises(RecipeError, match=r"has width 32, here it is 48: .*--width 32"):
        fit(Data(table, OPTIONS), quick.changed("model", width=48), progress=False, allow_leak=True)
    alone = dataclasses.replace(table, frame=table.frame.select(pl.col("note").alias("text"), "kind"))
    with pytest.raises(RecipeError, match=r"no modality in common .*it reads note \(text\), .*here are text \(text\)"):
        fit(Data(alone, DataOptions(targets=("kind",), kinds={"text": "text"})), quick, progress=False, allow_leak=True)
    with pytest.raises(ModelFolderError, match="init: no model folder at 'nowhere'"):
        fit(Data(table, OPTIONS), QUICK.changed("transfer", init="nowhere"), progress=False, allow_leak=True)
    with pytest.raises(ModelFolderError, match="no model folder at 'nowhere'"):
        fit(Data(table, OPTIONS), QUICK.changed("transfer", teacher="nowhere"), progress=False, allow_leak=True)
    with pytest.raises(RecipeError, match="unknown part 'notes'.*Did you mean 'note'"):
        fit(Data(table, OPTIONS), quick.changed("transfer", freeze={"notes": None}), progress=False, allow_leak=True)
    with pytest.raises(RecipeError, match=r"note would never be trained, and nothing of it was taken"):
        fit(Data(table, OPTIONS), QUICK.changed("transfer", freeze={"encoders": None}), progress=False, allow_leak=True)
    with pytest.raises(RecipeError, match=r"unknown modality 'sound'"):
        fit(Data(table, OPTIONS.model_copy(update={"only": ("sound",)})), QUICK, progress=False, allow_leak=True)
    assert frozen_of(["photo=5,fusion", "all"]) == {"photo": 5, "fusion": None, "all": None}
    with pytest.raises(RecipeError, match="--freeze 'photo=x'"):
        frozen_of(["photo=x"])


def test_what_is_frozen_stays(table: Table, tmp_path: Path) -> None:
    origin = _random(Model(_prepared(table, TABLES, SHORT).samples.schema, SHORT), 1)
    path, begun = str(origin.save(tmp_path / "origin")), origin.state_dict()

    def moved(epochs: int, freeze: dict[str, int | None]) -> set[str]:
        recipe = SHORT.changed("transfer", init=path, freeze=freeze).changed("training", epochs=epochs, patience=0)
        model = fit(Data(table, TABLES), recipe, progress=False, allow_leak=True)
        assert all(parameter.requires_grad for parameter in model.parameters())
        last = {**model.state_dict()}
        return {name.split(".")[0] + ("." + name.split(".")[1] if name.startswith("enc") else "")
                for name, value in last.items() if name in begun and value.shape == begun[name].shape
                and name != "fusion.volume" and not torch.equal(value, begun[name])}

    everything = moved(1, {})
    assert everything == {"encoders.0", "encoders.1", "fusion", "predictors"}
    assert moved(1, {"all": None}) == {"predictors"}
    assert moved(1, {"encoders": 2, "fusion": None, "labs": 1}) == {"predictors"}
    assert "encoders.0" not in moved(2, {"encoders": None, "fusion": 1})


def test_a_thawing_run_resumes_bit_for_bit(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = SHORT.changed("training", epochs=3, refit="always").changed("transfer", freeze={"labs": 1, "fusion": 2})
    data = Data(table, TABLES)
    whole = fit(data, recipe, progress=False, allow_leak=True)
    plain = fit(data, recipe.changed("transfer", freeze={}), progress=False, allow_leak=True)
    assert not torch.equal(whole.state_dict()["fusion.bias.weight"], plain.state_dict()["fusion.bias.weight"])
    monkeypatch.setattr("sensorium.training.loop.CHECKPOINT_SHARE", 1e9)
    calls, real = [0], loop_module.train_step

    def dying(*given: object, **named: object) -> object:
        calls[0] += 1
        if calls[0] > 4 + 5:  # the probe takes four steps, an epoch three
            raise KeyError
        return real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("sensorium.training.loop.train_step", dying)
    with pytest.raises(KeyError):
        fit(data, recipe, progress=False, allow_leak=True, out=tmp_path / "run")
    monkeypatch.setattr("sensorium.training.loop.train_step", real)
    resumed = fit(data, recipe, progress=False, allow_leak=True, out=tmp_path / "run", resume=True)
    a, b = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def teacher(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = fit(Data(table, TABLES), SHORT.changed("training", epochs=10, learning_rate=2e-2), progress=False,
                allow_leak=True)
    return model.save(tmp_path_factory.mktemp("runs") / "full")


def _pairs() -> Table:
    return _table(90, seed=9)


def test_a_student_learns_from_rows_without_a_label(teacher: Path, tmp_path: Path) -> None:
    """Labels on a tenth of the rows; the student reads one modality of three, and its folder needs no teacher."""
    pairs = _pairs()
    some = _with(pairs, *[pl.when(pl.int_range(90) < 12).then(pl.col(name)).otherwise(None).alias(name)
                          for name in TARGETS])
    shutil.copytree(teacher, tmp_path / "teacher")
    recipe = SHORT.changed("training", epochs=6, learning_rate=2e-2)
    recipe = recipe.changed("transfer", teacher=str(tmp_path / "teacher"), against_scratch=True)
    model = fit(Data(some, TABLES.model_copy(update={"only": ("labs",)})), recipe, progress=False, allow_leak=True)
    assert model.schema.names == ("labs",)
    told = model.facts["transfer"]
    assert told["answered_rows"] == 90
    assert told["taught"] == []
    assert told["against_scratch"]["kind"]["rows"] > 0
    low, high = told["against_scratch"]["kind"]["difference"][1:]
    assert low <= told["against_scratch"]["kind"]["difference"][0] <= high
    shutil.rmtree(tmp_path / "teacher")
    again = Model.load(model.save(tmp_path / "student"))
    assert not again.other_objectives()
    found = _answers(again, pairs, ("labs",))
    truth = np.array(pairs.frame["kind"].to_list())
    assert (np.array(["ant", "bee", "cat"])[found["kind"].argmax(axis=1)] == truth)[12:].mean() > 0.9
    assert np.corrcoef(found["size"][12:, 0], pairs.frame["size"].cast(pl.Float64).to_numpy()[12:])[0, 1] > 0.7


def test_scratch_alone_is_nothing_to_compare() -> None:
    with pytest.raises(RecipeError, match="nothing is taken over from another run"):
        Sources.of(Recipe().changed("transfer", against_scratch=True).transfer)


@pytest.mark.parametrize("column", ["absent", "blank"])
def test_a_table_without_any_label_takes_them_from_the_teacher(teacher: Path, column: str) -> None:
    pairs = _pairs()
    frame = (pairs.frame.drop(*TARGETS) if column == "absent" else
             pairs.frame.with_columns(*[pl.lit(None, dtype=pl.String).alias(name) for name in TARGETS]))
    options = DataOptions(targets=() if column == "absent" else TARGETS, modalities={"labs": ("na", "day")},
                          ignore=("note",), only=("labs",), weights={"size": 0.5})
    recipe = SHORT.changed("training", epochs=6, refit="always", learning_rate=2e-2)
    recipe = recipe.changed("transfer", teacher=str(teacher), against_scratch=True)
    seen: list[Prepared] = []
    model = fit(Data(dataclasses.replace(pairs, frame=frame), options), recipe, progress=False,
                on_chosen=lambda _, prepared: seen.append(prepared))
    assert [target.name for target in model.schema.targets] == list(TARGETS)
    assert model.schema.targets[0].classes == ("ant", "bee", "cat")
    assert model.schema.targets[1].weight == 0.5
    assert model.facts["transfer"]["taught"] == ["kind", "size"]
    assert "against_scratch" not in model.facts["transfer"]
    assert model.history[-1]["scores"]["kind"]["all"] > 0.8
    assert not seen[0].learning.labels["kind"].mask.any()  # a teacher's answers are learned as answers, not as labels
    assert seen[0].samples.labels["kind"].mask.all()
    found = _answers(model, pairs, ("labs",))["kind"].argmax(axis=1)
    truth = np.array(pairs.frame["kind"].to_list())
    assert (np.array(["ant", "bee", "cat"])[found] == truth).mean() > 0.9


def test_labels_that_the_student_cannot_read_are_none(teacher: Path) -> None:
    """Labels only on rows with vitals, pairs without, a student of labs: its labels are the teacher's answers."""
    first = pl.int_range(90) < 40
    table = _with(_pairs(), *[pl.when(first).then(None).otherwise(pl.col(name)).alias(name) for name in ("na", "day")],
                  *[pl.when(first).then(pl.col(name)).otherwise(None).alias(name) for name in TARGETS])
    recipe = SHORT.changed("transfer", teacher=str(teacher))
    data = taught(Data(table, TABLES.model_copy(update={"only": ("labs",)})), recipe)
    assert [target.name for target in data.taught] == list(TARGETS)
    assert not taught(Data(table, TABLES), recipe).taught
    model = fit(Data(table, data.options), recipe, progress=False, allow_leak=True)
    assert model.facts["rows"]["training"] + model.facts["rows"]["validation"] <= 50


def test_a_teacher_that_can_read_nothing_is_an_error(teacher: Path) -> None:
    alone = dataclasses.replace(_pairs(), frame=_pairs().frame.select(pl.col("hr").alias("rate"), "kind"))
    with pytest.raises(DataError, match=r"can read nothing in this table: it reads vitals \(table\)"):
        fit(Data(alone, DataOptions(targets=("kind",))), SHORT.changed("transfer", teacher=str(teacher)),
            progress=False, allow_leak=True)


def test_the_objective_reaches_every_weight_on_unlabelled_rows(table: Table, teacher: Path) -> None:
    recipe = SHORT.changed("transfer", teacher=str(teacher))
    sources = Sources.of(recipe.transfer)
    prepared = _prepared(table, TABLES, recipe, sources)
    model = Model(prepared.samples.schema, recipe)
    prepared.transfer.begin(model)
    assert isinstance(model.other_objectives()[0], Distil) and model.learns_unlabelled
    from sensorium.data.batch import make_batch

    batch = make_batch(prepared.samples, np.arange(20))
    unlabelled = dataclasses.replace(batch, targets={
        name: dataclasses.replace(one, mask=torch.zeros_like(one.mask)) for name, one in batch.targets.items()})
    loss = model(unlabelled)
    assert loss.parts["distil"] > 0
    assert loss.parts["kind"] == 0
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


SCRIPT = """
import os, sys
sys.path[:0] = {paths!r}
import torch
torch.set_num_threads(1)
from test_transfer import SHORT, TABLES, _table
from sensorium.data.read import Data
from sensorium.training.fit import fit
recipe = SHORT.changed("transfer", teacher={teacher!r}, freeze={{"labs": 1}}).changed("training", epochs=2)
model = fit(Data(_table(), TABLES), recipe, progress=False, allow_leak=True)
if os.environ.get("RANK", "0") == "0":
    model.save({out!r})
"""


@pytest.mark.slow
def test_two_processes_equal_one(teacher: Path, tmp_path: Path) -> None:
    """A teacher, and a part that is held still for the first of two epochs."""
    for name, launcher in (("one", [sys.executable]), ("two", [sys.executable, "-m", "torch.distributed.run",
                                                              "--nproc_per_node", "2"])):
        script = tmp_path / f"{name}.py"
        script.write_text(SCRIPT.format(paths=[str(Path(__file__).parent), str(Path(__file__).parents[1])],
                                        teacher=str(teacher), out=str(tmp_path / name)))
        subprocess.run([*launcher, str(script)], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
                       capture_output=True)
    one, two = (Model.load(tmp_path / name).state_dict() for name in ("one", "two"))
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=2e-4, rtol=0, msg=name)


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path) -> None:
    """A teacher of two modalities, students of one, with and without labels, and a run begun with another."""
    table = write_small_world(tmp_path / "world", rows=150, missing=0.0)
    lines = table.read_text().splitlines()
    cut = [",".join([*line.split(",")[:3], line.split(",")[6]]) for line in lines]
    (tmp_path / "world" / "all.csv").write_text("\n".join(cut))
    (tmp_path / "world" / "pairs.csv").write_text("\n".join(",".join(line.split(",")[:3]) for line in cut))

    def run(*words: str) -> str:
        found = CliRunner().invoke(app, ["train", *words, "--width", "32", "--workers", "0", "--epochs", "12",
                                         "--allow-leak", "--batch-size", "16"])
        assert found.exit_code == 0, found.output
        return found.output

    full, world = str(tmp_path / "full"), tmp_path / "world"
    run(str(world / "all.csv"), "--target", "kind", "--modalities", "image,note", "--out", full)
    student = str(tmp_path / "student")
    run(str(world / "pairs.csv"), "--teacher", full, "--modalities", "sound", "--out", student)
    model = sm.Model.load(student)
    assert model.schema.names == ("sound",)
    assert "what the teacher answers" in (tmp_path / "student" / "report.html").read_text()
    probe = run(str(world / "all.csv"), "--target", "kind", "--init", full, "--freeze", "image,fusion=2",
                "--against-scratch", "--out", str(tmp_path / "probe"))
    assert "taken over: the encoders of image, note" in probe
    assert "from scratch" in probe
    assert sm.evaluate(student, world / "all.csv").subsets[0].metrics["accuracy"].value > 0.8
    frozen, origin = sm.Model.load(tmp_path / "probe").state_dict(), sm.Model.load(full).state_dict()
    assert all(torch.equal(frozen[name], origin[name]) for name in origin if name.startswith("encoders.0."))


@pytest.mark.slow
def test_contrast_carries_labels_across(tmp_path: Path) -> None:
    """One run: labels on pictures, unlabelled pairs of pictures and words, predicted from words alone."""
    path = write_pairs(tmp_path, rows=400)
    lines = path.read_text().splitlines()
    for row in range(1, 401):
        picture, words, first = lines[row].split(",")
        lines[row] = f"{picture},,{first}" if row <= 200 else f"{picture},{words},"
    (tmp_path / "one.csv").write_text("\n".join(lines))
    recipe = Recipe().changed("model", width=32).changed("training", epochs=40, refit="never", workers=0)
    recipe = recipe.changed("objectives", contrast={"same_label": True})
    model = fit(sm.read(tmp_path / "one.csv", targets="first"), recipe, progress=False, allow_leak=True)
    found = sm.evaluate(model, path).subsets
    alone = next(one for one in found if one.modalities == ("words",))
    assert alone.metrics["accuracy"].value > 2 / 6
