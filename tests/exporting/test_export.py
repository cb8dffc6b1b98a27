"""An exported folder: the same answers, written whole or not at all, refused where the graphs are wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import small_model, small_samples

from sensorium.answers import Answer
from sensorium.data.samples import Samples
from sensorium.errors import DataError, ExportError, ModelFolderError, RecipeError
from sensorium.exporting import writing
from sensorium.exporting.writing import Exported, export_model
from sensorium.model import Model
from sensorium.runtime import Runtime
from sensorium.runtime.encoding import encoded_rows

ROWS = [
    {"note": "this one looks red to me", "hr": 70.0, "bp": "0.5", "ward": "east"},
    {"note": "green"}, {"hr": 61}, {"ward": "nowhere", "bp": 1.25}, {"note": ["a red one", "a blue one"], "hr": 75},
    {"note": "a longer one that was never seen " * 9, "bp": None}, {"note": "   ", "hr": "seventy"},
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Samples, Model]:
    folder = tmp_path_factory.mktemp("world")
    samples = small_samples(folder, only=("note", "table"))
    return folder, samples, small_model(samples)


@pytest.fixture(scope="module")
def exported(world: tuple[Path, Samples, Model], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder, _, model = world
    return export_model(model, tmp_path_factory.mktemp("out") / "model", rows=folder / "table.csv")


@pytest.fixture(scope="module")
def runtime(exported: Exported) -> Runtime:
    return Runtime.load(exported.folder, threads=1)


def _same(found: Answer, expected: Answer) -> None:
    if expected.probabilities is None:
        assert found.probabilities is None and found.value == pytest.approx(expected.value, abs=1e-4)
    else:
        assert found.value == expected.value and found.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    assert found.interval == (None if expected.interval is None else pytest.approx(expected.interval, abs=1e-4))
    for name in ("confidence_set", "modalities", "unreadable", "unlike", "decided"):
        assert getattr(found, name) == getattr(expected, name)
    contributions = expected.contributions
    assert found.contributions == (None if contributions is None else pytest.approx(contributions, abs=1e-3))


def test_what_is_written_is_compared_and_recorded(exported: Exported) -> None:
    kept = json.loads((exported.folder / "export.json").read_text())
    assert kept["parity"]["subsets"] == 3 and kept["parity"]["largest"] == exported.parity.largest < 1e-5
    assert kept["parity"]["rows"] == ["12 rows of table.csv", "5 made-up rows"] and exported.parity.numbers > 1000
    assert {file.name for file in exported.folder.iterdir()} == {*exported.sizes, "export.json"}
    assert {"encoder_0.onnx", "encoder_1.onnx", "fusion.onnx", "schema.json", "tokenizer_0.json", "familiar.npz",
            "README.md"} == set(exported.sizes)
    assert "Licence" in (exported.folder / "README.md").read_text()
    assert list(exported.folder.parent.iterdir()) == [exported.folder]


@pytest.mark.parametrize("explain", [False, True])
def test_rows_of_any_subset_get_the_answers_of_the_model(
    world: tuple[Path, Samples, Model], runtime: Runtime, explain: bool,
) -> None:
    _, _, model = world
    expected = model.predict(ROWS, explain=explain)
    assert len({answers["kind"].modalities for answers in expected}) == 4
    assert {answers["kind"].unlike for answers in expected} > {None}
    for found, wanted in zip(runtime.predict(ROWS, explain=explain), expected, strict=True):
        assert found.keys() == wanted.keys()
        for name, answer in wanted.items():
            _same(found[name], answer)


def test_a_row_alone_and_some_of_its_modalities(world: tuple[Path, Samples, Model], runtime: Runtime) -> None:
    _, _, model = world
    for row in ROWS:
        for modalities in (None, ["note"], ["table"]):
            found = runtime.predict(row, modalities=modalities)
            for name, answer in model.predict(row, modalities=modalities).items():
                _same(found[name], answer)


def test_embeddings_are_the_same(world: tuple[Path, Samples, Model], runtime: Runtime) -> None:
    _, _, model = world
    assert (runtime.aligned, runtime.embedding_width) == (model.aligned, model.embedding_width)
    for modalities in (None, ["table"], "note"):
        expected, found = model.embed(ROWS, modalities=modalities), runtime.embed(ROWS, modalities=modalities)
        assert np.isnan(expected).any() and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_table_is_read_as_by_the_model(world: tuple[Path, Samples, Model], runtime: Runtime) -> None:
    folder, _, model = world
    expected = model.predict(folder / "table.csv")
    found = runtime.predict(folder / "table.csv")
    assert len(found) == len(expected) == 24
    for one, other in zip(found, expected, strict=True):
        _same(one["kind"], other["kind"])
        _same(one["size"], other["size"])


def test_nothing_absent_is_read(world: tuple[Path, Samples, Model], runtime: Runtime) -> None:
    """NaN in the tokens of what a row lacks, and behind the ends of what it has, changes no bit."""
    _, samples, _ = world
    encoded = encoded_rows(samples, 0, len(samples), runtime._encoders, runtime.manifest)
    rows, given = encoded.given(encoded.presence)
    assert not encoded.presence[rows].all()
    poisoned = dict(given)
    for place in range(2):
        real = given[f"mask_{place}"] & given["presence"][:, place, None]
        poisoned[f"tokens_{place}"] = np.where(real[:, :, None], given[f"tokens_{place}"], np.float32(np.nan))
    clean, other = runtime._fusion(given), runtime._fusion(poisoned)
    for name, values in clean.items():
        assert np.isfinite(values).all() and (values == other[name]).all(), name


def test_strangers_and_unknown_modalities_are_refused(runtime: Runtime) -> None:
    with pytest.raises(DataError, match="unknown column 'nota': .* Did you mean 'note'"):
        runtime.predict({"nota": "x"})
    with pytest.raises(RecipeError, match="unknown modality 'photo'"):
        runtime.predict(ROWS, modalities=["photo"])
    with pytest.raises(RecipeError, match="modalities: expected a list of names, found the text 'note'"):
        runtime.predict(ROWS, modalities="note")
    with pytest.raises(RecipeError, match="found none"):
        runtime.embed(ROWS, modalities=[])
    for rows, words in (([], "no rows given"), ([{}], "no columns"), ([1], "row 1: expected a dictionary"),
                        (3, "expected dictionaries or the path")):
        with pytest.raises(DataError, match=words):
            runtime.predict(rows)  # type: ignore[arg-type]


def test_graphs_that_answer_otherwise_are_refused_and_nothing_is_left(
    world: tuple[Path, Samples, Model], exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The graphs of the same model before one of its weights changed by a thousandth."""
    folder, samples, _ = world
    changed = small_model(samples)
    with torch.no_grad():
        changed.objectives()[0].head.bias[1] += 1e-3
    graphs = {file: (exported.folder / file).read_bytes() for file in exported.sizes if file.endswith(".onnx")}
    monkeypatch.setattr(writing, "_graphs", lambda model, say: graphs)
    with pytest.raises(ExportError, match=r"differ from torch by 0.000\d+ in target 'kind' of note \(row 1 of 12 rows "
                                          r"of table.csv\), more than 0.0001: nothing was written"):
        export_model(changed, tmp_path / "deep" / "out", rows=folder / "table.csv")
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_folder_that_is_there_is_not_lost(
    world: tuple[Path, Samples, Model], exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, _, model = world
    graphs = {file: (exported.folder / file).read_bytes() for file in exported.sizes if file.endswith(".onnx")}
    monkeypatch.setattr(writing, "_graphs", lambda model, say: graphs)
    out = tmp_path / "out"
    (out / "mine").mkdir(parents=True)
    with pytest.raises(ExportError, match="is there already"):
        export_model(model, out)
    with pytest.raises(ExportError, match="not an exported folder"):
        export_model(model, out, overwrite=True)
    shutil.rmtree(out)
    notes = export_model(model, out).notes
    assert len(notes) == 1 and "made-up rows only" in notes[0] and "--rows" in notes[0]
    before = (out / "export.json").stat().st_ino
    assert export_model(model, out, overwrite=True).folder == out
    assert (out / "export.json").stat().st_ino != before and list(tmp_path.iterdir()) == [out]
    with pytest.raises(DataError, match="no such file"):
        export_model(model, out, rows=tmp_path / "no.csv", overwrite=True)


@pytest.mark.parametrize(("file", "words"), [
    ("fusion.onnx", "fusion.onnx is not the file that was written"), ("schema.json", "schema.json is not the file"),
    ("tokenizer_0.json", "tokenizer_0.json is not"), ("familiar.npz", "familiar.npz is not"),
    ("export.json", "broken")])
def test_a_damaged_folder_says_so(exported: Exported, tmp_path: Path, file: str, words: str) -> None:
    copy = shutil.copytree(exported.folder, tmp_path / "copy")
    content = (copy / file).read_bytes()
    (copy / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(ExportError, match=words):
        Runtime.load(copy)


def test_what_is_no_exported_folder_is_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no exported model at"):
        Runtime.load(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelFolderError, match="is an exported model, not a model folder: `sensorium predict`"):
        Model.load(exported.folder)
    with pytest.raises(ExportError, match="it is a model folder; `sensorium export` makes one"):
        Runtime.load(tmp_path)
    copy = shutil.copytree(exported.folder, tmp_path / "copy")
    kept = json.loads((copy / "export.json").read_text())
    (copy / "export.json").write_text(json.dumps(kept | {"format": 99}))
    with pytest.raises(ExportError, match="has format 99; this version reads 1"):
        Runtime.load(copy)


def test_the_identity_follows_the_weights(runtime: Runtime) -> None:
    name, version = runtime.identity.split(":")
    digests = runtime.manifest.digests
    other = runtime.manifest.model_copy(update={"digests": digests | {"fusion.onnx": "0" * 64}})
    assert name == "model" and len(version) == 12 and other.identity != runtime.identity


def test_it_predicts_where_nothing_that_trains_is_installed(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,note,hr\n7,this one looks red to me,70\n8,,\n")
    script = f"""
import sys
for name in ("torch", "polars", "pyarrow", "scipy", "sklearn", "av", "jaxtyping", "einops", "transformers",
             "safetensors", "matplotlib", "accelerate", "psutil", "jinja2", "sacrebleu", "onnx", "onnxscript"):
    sys.modules[name] = None
import sensorium
runtime = sensorium.Runtime.load({str(exported.folder)!r})
print(sorted(runtime.predict({{"note": "a red one", "hr": 70}})), runtime.embed({{"hr": 70}}).shape)
try:
    sensorium.Model
except ImportError as error:
    print(error)
from sensorium.cli.main import main
for words in (["predict", {str(exported.folder)!r}, "rows.csv"], ["train", "rows.csv", "--target", "hr"]):
    sys.argv = ["sensorium", *words]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code or words[0] == "train", stop.code
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["['kind', 'size'] (1, 32)", "sensorium.Model needs torch: pip install 'sensorium[train]'"]
    assert lines[2].startswith("row,id,kind,kind_probability") and lines[3].startswith("1,7,") and len(lines) == 5
    assert "needs torch: pip install 'sensorium[train]'" in done.stderr.splitlines()[-1]


def test_rows_are_decoded_once_where_they_share_a_cell(world: tuple[Path, Samples, Model], runtime: Runtime) -> None:
    _, _, model = world
    rows = [{"note": "the same"}, {"hr": 1.0}, {"note": "the same", "hr": 2.0}]
    expected = model.predict(rows)
    for found, wanted in zip(runtime.predict(rows), expected, strict=True):
        _same(found["kind"], wanted["kind"])


def test_what_is_replaced_is_told_by_presence_alone(world: tuple[Path, Samples, Model], runtime: Runtime) -> None:
    """Rows whose presence is less than what their cells hold are read as if they had no more."""
    _, samples, _ = world
    less = samples.presence & np.array([True, False])
    found = runtime.answers(replace(samples, presence=less))
    for one, other in zip(found, runtime.answers(samples, modalities=["note"]), strict=True):
        _same(one["kind"], other["kind"])
