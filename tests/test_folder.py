"""The model folder: whole or not at all, no pickle, clear errors, fusion objects."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import QUICK, write_small_world

from sensorium import folder as folder_module
from sensorium.data.read import read
from sensorium.data.samples import measured
from sensorium.encoders.base import Tokens
from sensorium.errors import ModelFolderError
from sensorium.fusion.base import Fused, Fusion, pooled
from sensorium.model import Model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    data = read(write_small_world(tmp_path_factory.mktemp("world"), rows=20), targets="kind")
    return Model(measured(data.table, data.schema, np.arange(20)), QUICK)


class MeanFusion(Fusion):
    """The mean of the modalities' mean tokens."""

    def forward(self, tokens: dict[str, Tokens], presence: torch.Tensor) -> Fused:
        total = sum(pooled(tokens[n], presence[:, i]) for i, n in enumerate(self.names) if n in tokens)
        return Fused(total / presence.sum(dim=1, keepdim=True))  # type: ignore[operator]


def test_an_interrupted_save_leaves_nothing(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module, "model_card", fails)
    with pytest.raises(KeyboardInterrupt):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_overwrite_leaves_the_old_model(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    model.save(tmp_path / "m")
    monkeypatch.setattr(folder_module, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save(tmp_path / "m", overwrite=True)
    monkeypatch.undo()
    Model.load(tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_nothing_is_destroyed(model: Model, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ModelFolderError, match="there already"):
        model.save(tmp_path / "mine")
    with pytest.raises(ModelFolderError, match="not a model folder"):
        model.save(tmp_path / "mine", overwrite=True)
    (tmp_path / "empty").mkdir()
    model.save(tmp_path / "empty")
    model.save(tmp_path / "empty", overwrite=True)
    Model.load(tmp_path / "empty")


def test_broken_folders_are_said_in_one_line(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="no model folder"):
        Model.load(tmp_path / "nowhere")
    folder = model.save(tmp_path / "m")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(ModelFolderError, match="broken"):
        Model.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"lacks model\.safetensors"):
        Model.load(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "schema.json").write_text("{}")
    with pytest.raises(ModelFolderError, match="broken"):
        Model.load(folder)
    facts = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(ModelFolderError, match="format 99"):
        Model.load(folder)


def test_a_fusion_object(model: Model, tmp_path: Path) -> None:
    mine = Model(model.schema, model.recipe, fusion=MeanFusion(model.schema.names, 32))
    folder = mine.save(tmp_path / "m")
    with pytest.raises(ModelFolderError, match="fusion object"):
        Model.load(folder)
    again = Model.load(folder, fusion=MeanFusion(model.schema.names, 32))
    row = {"note": "red", "hr": 61}
    assert again.predict(row) == mine.predict(row)


def test_the_card_says_what_goes_in_and_out(model: Model, tmp_path: Path) -> None:
    card = (model.save(tmp_path / "m") / "README.md").read_text()
    for words in ("modality note: text", "target kind: classify, one of 3 classes", "any" , "Not evaluated yet"):
        assert words.lower() in card.lower()
