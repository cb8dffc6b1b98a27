"""`--encoder`, `--tune`, `--encoders`, `--set`: what they put into a recipe, and what is advised."""

from __future__ import annotations

from pathlib import Path

import pytest
from pretrained_models import save_pretrained
from worlds import write_small_world

from sensorium.cli.encoders import with_matched_encoders
from sensorium.cli.options import merged, settings_of
from sensorium.cli.train import _encoders
from sensorium.data.read import read
from sensorium.errors import RecipeError
from sensorium.recipe import Recipe
from sensorium.training.console import Quiet


class Heard(Quiet):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_small_tables_get_advice_and_modalities_with_an_encoder_none(tmp_path: Path) -> None:
    data, heard = read(write_small_world(tmp_path, rows=12), targets="kind"), Heard()
    recipe = Recipe().changed("model", encoders={"note": {"name": "transformer"}})
    assert with_matched_encoders(recipe, data, None, heard) == recipe
    assert [line.split(":")[0] for line in heard.lines] == ["image", "sound"]
    assert "12 rows are few" in heard.lines[0] and "--encoder image=FOLDER" in heard.lines[0]


def test_a_folder_of_models_is_matched_by_kind(tmp_path: Path) -> None:
    data, heard = read(write_small_world(tmp_path, rows=12), targets="kind"), Heard()
    for name in ("resnet", "bert"):
        save_pretrained(name, tmp_path / "models" / name)
    recipe = Recipe().changed("model", encoders={"sound": {"name": "wavenet"}})
    chosen = with_matched_encoders(recipe, data, tmp_path / "models", heard).model.encoders
    assert {name: Path(one.name).name for name, one in chosen.items()} == {
        "sound": "wavenet", "image": "resnet", "note": "bert"}
    with pytest.raises(RecipeError, match="no folder at"):
        with_matched_encoders(recipe, data, tmp_path / "nowhere", heard)


def test_options_become_the_recipe_s_values() -> None:
    chosen = _encoders(Recipe(), {"photo": "vgg", "note": "a/b"}, {"note": "lora"})
    assert Recipe().changed("model", encoders=chosen).model.encoders["note"].tune == "lora"
    with pytest.raises(RecipeError, match="name the pretrained encoder too, --encoder photo=FOLDER"):
        _encoders(Recipe(), {}, {"photo": "lora"})
    found = settings_of(["photo.height=112", "clip.video.rate=12.5", "photo.flip=true"])
    assert found == {"photo": {"height": 112, "flip": True}, "clip.video": {"rate": 12.5}}
    assert merged({"photo": {"height": 64, "width": 64}}, found)["photo"] == {"height": 112, "width": 64, "flip": True}
    with pytest.raises(RecipeError, match=r"expected modality.setting=value"):
        settings_of(["height=112"])
