"""Frozen encoders in a whole run: stored once, read by later runs, and in a model folder that needs no source."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrained_models import save_pretrained
from worlds import QUICK, write_small_world

from sensorium.data.batch import Augmentation, make_batch
from sensorium.data.cache.token_cache import TokenCache
from sensorium.data.read import as_samples, read
from sensorium.encoders.pretrained import PretrainedEncoder
from sensorium.errors import RecipeError
from sensorium.features import with_stored_features
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.fit import fit
from sensorium.training.loop import make_optimizer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "cache"))
    write_small_world(tmp_path, rows=40)
    for name in ("resnet", "bert"):
        save_pretrained(name, tmp_path / name)
    return tmp_path


def _recipe(folder: Path, tune: str = "frozen") -> Recipe:
    encoders = {"image": {"name": str(folder / "resnet")}, "note": {"name": str(folder / "bert"), "tune": tune}}
    return QUICK.changed("model", encoders=encoders)


def test_a_run_stores_what_the_next_one_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    features = PretrainedEncoder.features
    monkeypatch.setattr(PretrainedEncoder, "features",
                        lambda self, inputs: calls.append(self.kind.name) or features(self, inputs))
    data = read(folder / "table.csv", targets="kind")
    first = fit(data, _recipe(folder), progress=False, allow_leak=True)
    assert set(calls) == {"image", "text"}
    calls.clear()
    second = fit(data, _recipe(folder), progress=False, allow_leak=True)
    assert not calls
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(),
                                                 strict=True))


def test_predictions_are_the_same_with_and_without_the_cache(folder: Path) -> None:
    data = read(folder / "table.csv", targets="kind")
    model = fit(data, _recipe(folder), progress=False, allow_leak=True)
    samples = as_samples(str(folder / "table.csv"), model.schema)
    stored = with_stored_features(model, samples)
    assert {name for name, cells in stored.cells.items() if cells.stored is not None} == {"image", "note"}
    everything = frozenset(model.schema.names)
    plain, kept = (model.outputs(one, np.arange(40), [everything], complete=False)["kind"][everything]
                   for one in (samples, stored))
    np.testing.assert_allclose(plain, kept, atol=1e-3)
    assert not np.array_equal(plain, kept)  # the stored ones have gone through float16


def test_training_hides_parts_of_stored_features_except_from_a_painter(folder: Path) -> None:
    model = fit(read(folder / "table.csv", targets="kind"), _recipe(folder), progress=False, allow_leak=True)
    stored = with_stored_features(model, as_samples(str(folder / "table.csv"), model.schema))
    whole, thinned, kept = (make_batch(stored, np.arange(8), how).inputs["note"].inputs
                            for how in (None, Augmentation(0, 0), Augmentation(0, 0, thin=False)))
    assert torch.equal(kept.values, whole.values) and torch.equal(kept.mask, whole.mask)
    assert thinned.mask.sum() < whole.mask.sum() and (thinned.values == 0).sum() > (whole.values == 0).sum()


def test_augmented_cells_and_trained_encoders_have_nothing_stored(folder: Path) -> None:
    data = read(folder / "table.csv", targets="kind", settings={"image": {"augmentation": 1.0}})
    model = fit(data, _recipe(folder, tune="finetune"), progress=False, allow_leak=True)
    assert all(cells.stored is None for cells in with_stored_features(
        model, as_samples(str(folder / "table.csv"), model.schema)).cells.values())
    assert not TokenCache().entries()


def test_a_cache_that_cannot_be_written_changes_nothing(folder: Path) -> None:
    data = read(folder / "table.csv", targets="kind")
    model = fit(data, _recipe(folder), progress=False, allow_leak=True)
    samples = as_samples(str(folder / "table.csv"), model.schema)
    (folder / "file").write_text("not a folder")
    said: list[str] = []
    cache = TokenCache(folder / "file" / "cache", say=said.append)
    found = with_stored_features(model, samples, cache=cache)
    assert said and (found.cells["image"].stored is not None or found.cells["image"] is samples.cells["image"])
    assert np.isfinite(model.embed(str(folder / "table.csv"))[samples.presence.any(axis=1)]).all()


def test_a_model_folder_needs_neither_the_pretrained_folder_nor_the_cache(folder: Path) -> None:
    data = read(folder / "table.csv", targets="kind")
    model = fit(data, _recipe(folder), progress=False, allow_leak=True)
    saved = model.save(folder / "run")
    before = model.embed(str(folder / "table.csv"))
    for name in ("resnet", "bert", "cache"):
        shutil.rmtree(folder / name, ignore_errors=True)
    np.testing.assert_array_equal(Model.load(saved).embed(str(folder / "table.csv")), before)


@pytest.mark.parametrize("tune", ["finetune", "lora"])
def test_what_is_tuned_is_trained_slower_than_the_rest(folder: Path, tune: str) -> None:
    data = read(folder / "table.csv", targets="kind")
    model = fit(data, _recipe(folder, tune), progress=False, allow_leak=True)
    optimizer = make_optimizer(model, model.recipe.training)
    factors = {group["factor"] for group in optimizer.param_groups}
    assert 1.0 in factors and min(factors) < 0.5
    fresh = Model(model.schema, model.recipe)
    trained = {name for name, value in model.state_dict().items() if not torch.equal(value, fresh.state_dict()[name])}
    place = model.schema.names.index("note")
    assert any(name.startswith(f"encoders.{place}.backbone.") for name in trained)
    place = model.schema.names.index("image")
    assert not any(name.startswith(f"encoders.{place}.backbone.") for name in trained)


def test_unknown_encoders_and_wrong_kinds_say_what_to_do(folder: Path) -> None:
    data = read(folder / "table.csv", targets="kind")
    for name, words in (("resnte", r"Did you mean 'resnet'.*owner/name on the Hugging Face hub"),
                        (str(folder / "bert"), "cannot encode image"), ("./nothing", "nothing")):
        recipe = QUICK.changed("model", encoders={"image": {"name": name}})
        with pytest.raises(RecipeError, match=words):
            fit(data, recipe, progress=False, allow_leak=True)
    with pytest.raises(RecipeError, match="tune=lora is for pretrained models"):
        fit(data, QUICK.changed("model", encoders={"image": {"name": "vgg", "tune": "lora"}}), progress=False,
            allow_leak=True)

