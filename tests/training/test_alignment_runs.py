"""Training without labels, or beside them: any subset finds any other; one space in closed form; saved and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import QUICK, write_pairs, write_small_world

import sensorium as sm
from sensorium.errors import AlignmentError, DataError, RecipeError
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.align import closed_form

LEARNS = Recipe().changed("model", width=32).changed(
    "training", epochs=25, batch_size=32, refit="never", workers=0, learning_rate=3e-3)


@pytest.fixture(scope="module")
def contrasted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model trained without any label."""
    folder = tmp_path_factory.mktemp("pairs")
    table = write_pairs(folder)
    data = sm.read(table, ignore=["first"], settings={"picture": {"flip": False}})
    return sm.fit(data, LEARNS.changed("objectives", contrast={}), progress=False), table


def test_without_labels_modalities_find_each_other(contrasted: tuple[Model, Path], tmp_path: Path) -> None:
    model, _ = contrasted
    assert model.aligned
    assert model.schema.targets == ()
    found = sm.evaluate(model, write_pairs(tmp_path, rows=60, seed=1))
    scores = {(one.query, one.gallery): one for one in found.retrieval}
    assert len(scores) == 2
    for one in scores.values():
        assert one.metrics["recall_at_5"].value > 0.8 > 3 * one.chance["recall_at_5"]
    assert model.history[-1]["scores"]["contrast"]["picture → words"] > 0.3


def test_embeddings_have_unit_length_and_are_read_from_what_is_there(contrasted: tuple[Model, Path]) -> None:
    model, _ = contrasted
    vectors = model.embed([{"words": "red on the left and blue on the right"}, {"words": ""}])
    assert vectors.shape == (2, model.embedding_width)
    assert abs(np.linalg.norm(vectors[0]) - 1) < 1e-5
    assert np.isnan(vectors[1]).all()
    alone = model.embed({"words": "red on the left and blue on the right"}, modalities="words")
    np.testing.assert_array_equal(alone, vectors[:1])
    with pytest.raises(RecipeError, match="modalities: expected some of"):
        model.embed({"words": "red"}, modalities=[])
    with pytest.raises(RecipeError, match="unknown modality 'word'.*Did you mean 'words'"):
        model.embed({"words": "red"}, modalities=["word"])
    with pytest.raises(DataError, match="predicts no target"):
        model.predict({"words": "red"})


def test_a_contrasted_model_is_saved_and_read_again(contrasted: tuple[Model, Path], tmp_path: Path) -> None:
    model, table = contrasted
    page = model.save(tmp_path / "run")
    again = Model.load(page)
    np.testing.assert_array_equal(model.embed(table), again.embed(table))
    assert "contrast" in (page / "recipe.yaml").read_text()


def test_the_closed_form_aligns_a_trained_model(tmp_path: Path) -> None:
    """A model that learned colours from labels alone: its modalities agree only once they are aligned."""
    table = write_pairs(tmp_path / "a", rows=300)
    data = sm.read(table, targets="first", settings={"picture": {"flip": False}})
    model = sm.fit(data, LEARNS.changed("training", epochs=12), progress=False, allow_leak=True)
    test = write_pairs(tmp_path / "b", rows=80, seed=1)
    assert not model.aligned
    assert sm.evaluate(model, test).retrieval == []
    assert sm.align(model, method="cca", n_components=6) is model
    assert model.aligned
    assert model.embedding_width == 6
    for one in sm.evaluate(model, test).retrieval:
        assert one.metrics["recall_at_5"].value > 2 * one.chance["recall_at_5"]
    model.save(tmp_path / "run")
    np.testing.assert_array_equal(model.embed(test), Model.load(tmp_path / "run").embed(test))
    with pytest.raises(RecipeError, match="unknown method of alignment 'ccc'"):
        sm.align(model, method="ccc")
    with pytest.raises(AlignmentError, match="ridge: expected a number of at least 0.*found -1"):
        sm.align(model, ridge=-1)
    with pytest.raises(AlignmentError, match="40 components of vectors of width 32"):
        sm.align(model, n_components=40)
    assert 6 < sm.align(model, test).embedding_width <= 32
    with pytest.raises(AlignmentError, match=r"only 5 rows have all of picture, words: at least 8"):
        closed_form(model, sm.evaluate(model, test).samples, np.arange(5), n_components=6)


def test_correlate_gives_one_space(tmp_path: Path) -> None:
    table = write_pairs(tmp_path / "a")
    data = sm.read(table, ignore=["first"], settings={"picture": {"flip": False}})
    recipe = LEARNS.changed("objectives", correlate={"components": 8}).changed("training", epochs=12)
    model = sm.fit(data, recipe, progress=False)
    assert model.alignment is not None
    assert model.history[-1]["scores"]["correlate"]["picture ↔ words"] > 0.4
    for one in sm.evaluate(model, write_pairs(tmp_path / "b", rows=60, seed=1)).retrieval:
        assert one.metrics["recall_at_5"].value > 2 * one.chance["recall_at_5"]


def test_beside_labels_with_gaps(tmp_path: Path) -> None:
    """Four modalities, a fifth of the cells missing, labels and both objectives together."""
    data = sm.read(write_small_world(tmp_path, rows=60), targets=("kind", "size"))
    recipe = QUICK.changed("objectives", contrast={"weight": 0.3}, correlate={"components": 4})
    model = sm.fit(data, recipe, progress=False, allow_leak=True)
    assert {"kind", "size", "contrast", "correlate"} == set(model.history[-1]["scores"])
    subsets = [frozenset({"image"}), frozenset({"note", "table"})]
    samples = sm.evaluate(model, tmp_path / "table.csv").samples
    found = model.embeddings(samples, np.arange(len(samples)), subsets)
    for subset in subsets:
        there = samples.presence[:, [model.schema.names.index(name) for name in subset]].all(axis=1)
        assert (np.isnan(found[subset]).any(axis=1) == ~there).all()
        np.testing.assert_allclose(np.linalg.norm(found[subset][there], axis=1), 1, atol=1e-5)


def test_what_teaches_nothing_is_refused(tmp_path: Path) -> None:
    lines = write_pairs(tmp_path, rows=40).read_text().splitlines()
    cells = [line.split(",") for line in lines[1:]]
    alone = [f"{own[0]},,x" if row % 2 else f",{own[1]},x" for row, own in enumerate(cells)]
    (tmp_path / "alone.csv").write_text("\n".join([lines[0], *alone]))
    recipe = QUICK.changed("objectives", contrast={})
    with pytest.raises(DataError, match="nothing to learn: not one of 32 training rows has two modalities"):
        sm.fit(sm.read(tmp_path / "alone.csv", ignore=["first"]), recipe, progress=False)
    with pytest.raises(RecipeError, match="batches of 1 row have nothing to tell it from"):
        sm.fit(sm.read(tmp_path / "table.csv", ignore=["first"]), recipe.changed("training", batch_size=1),
               progress=False, out=tmp_path / "run")
    assert not (tmp_path / "run.training").exists()


def test_a_table_in_which_nothing_can_be_found_is_refused(contrasted: tuple[Model, Path], tmp_path: Path) -> None:
    lines = write_pairs(tmp_path, rows=10).read_text().splitlines()
    (tmp_path / "words.csv").write_text("\n".join(["words", *(line.split(",")[1] for line in lines[1:])]))
    with pytest.raises(DataError, match="nothing to score in 10 rows: picture is absent in all of them"):
        sm.evaluate(contrasted[0], tmp_path / "words.csv")


def test_without_a_target_or_an_objective_there_is_nothing_to_learn(tmp_path: Path) -> None:
    needing_none = r"no target given: .*objective that needs none \(contrast, correlate, caption, paint\)"
    with pytest.raises(DataError, match=needing_none):
        sm.fit(sm.read(write_small_world(tmp_path)), QUICK, progress=False)


def test_a_step_is_the_same_wherever_it_is_computed(tmp_path: Path) -> None:
    """The pair of subsets comes from the whole step, the keys from the table: shares of a batch agree with it."""
    data = sm.read(write_small_world(tmp_path, rows=40), ignore=["kind", "size"])
    first = sm.fit(data, QUICK.changed("objectives", contrast={}), progress=False)
    second = sm.fit(data, QUICK.changed("objectives", contrast={}), progress=False)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
