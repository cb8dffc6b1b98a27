"""The recipe: names agree with the registries, mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensorium.data.kinds import KINDS
from sensorium.encoders import ENCODERS
from sensorium.errors import RecipeError
from sensorium.fusion import FUSIONS
from sensorium.objectives import OBJECTIVES
from sensorium.recipe import ENCODER_NAMES, FUSION_NAMES, OBJECTIVE_NAMES, ObjectiveOptions, Recipe


def test_names_equal_the_registries() -> None:
    assert set(FUSION_NAMES) == set(FUSIONS)
    assert {kind: set(names) for kind, names in ENCODER_NAMES.items()} == {k: set(v) for k, v in ENCODERS.items()}
    assert set(KINDS) == set(ENCODERS)
    assert {"classify", "regress", "distil", *OBJECTIVE_NAMES} == set(OBJECTIVES)
    assert set(OBJECTIVE_NAMES) == set(ObjectiveOptions.model_fields)


def test_yaml_round_trip() -> None:
    recipe = Recipe().changed("training", epochs=7, seed=3).changed("data", targets=("a", "b"), weights={"a": 0.5})
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe


def test_objectives_by_name_alone() -> None:
    recipe = Recipe.from_yaml("objectives: [contrast]")
    assert recipe.objectives.names == ("contrast",)
    assert Recipe.from_yaml(recipe.to_yaml()) == recipe
    assert Recipe().objectives.names == ()
    assert Recipe.from_yaml("objectives: {contrast: }").objectives.names == ("contrast",)
    assert Recipe.from_yaml(Recipe().to_yaml()).objectives.names == ()


def test_none_leaves_a_value_as_it_is() -> None:
    assert Recipe().changed("training", epochs=3).changed("training", epochs=None).training.epochs == 3


@pytest.mark.parametrize(("text", "words"), [
    ("training: {epochs: 0}", "training.epochs"),
    ("training: {epoch: 3}", "unknown field of training 'epoch'.*Did you mean 'epochs'"),
    ("modle: {}", "unknown section 'modle'.*Did you mean 'model'"),
    ("model: {fusion: atention}", "Did you mean 'attention'"),
    ("- a\n- b", "expected sections"),
    ("a: [", "not YAML"),
    ("model: {width: 10}", "multiple of 16"),
    ("objectives: [contras]", "unknown objective 'contras'.*Did you mean 'contrast'"),
    ("objectives: {contrast: {los: infonce}}", "unknown field of objectives.contrast 'los'.*Did you mean 'loss'"),
    ("objectives: {correlate: {components: 0}}", "objectives.correlate.components"),
    ("model: {encoders: {photo: {name: vgg, tun: frozen}}}", "unknown field of model.encoders.photo 'tun'"),
])
def test_mistakes_are_named_in_one_line(text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as error:
        Recipe.from_yaml(text)
    assert "\n" not in str(error.value)


def test_every_recipe_of_the_folder_is_valid() -> None:
    files = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
    assert files
    for file in files:
        Recipe.read(file)
