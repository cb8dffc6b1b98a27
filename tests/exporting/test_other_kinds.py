"""Films, recordings, clouds and pretrained models, exported; and what cannot be is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretrained_models import save_pretrained

import sensorium as sm
from sensorium.data.read import Data
from sensorium.data.samples import measured
from sensorium.encoders.choice import adapted
from sensorium.errors import ExportError
from sensorium.exporting.writing import export_model
from sensorium.model import Model
from sensorium.recipe import EncoderOptions, Recipe
from sensorium.runtime import Runtime

pytestmark = pytest.mark.slow
TINY = Recipe().changed("model", width=32)


def _rows(count: int, *, note: str = "a dry cough, no fever") -> list[dict[str, Any]]:
    """Rows with a film, a recording, a cloud, a picture, a sound and a text in memory; one lacks all but the film."""
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        frames = random.integers(0, 255, (4 + number % 3, 20, 26, 3), dtype=np.uint8)
        rows.append({"film": (frames, 8.0), "vitals": (random.normal(size=(30 + number, 2)), 10.0),
                     "radar": random.normal(size=(3 * number, 4)),
                     "photo": random.integers(0, 255, (40, 50, 3), dtype=np.uint8),
                     "sound": (random.normal(size=4000 + 100 * number), 4000),
                     "note": note + " a" * number, "label": ("left", "right")[number % 2]})
    rows[1] = {"film": rows[1]["film"], "label": "right"}
    return rows


def _model(rows: list[dict[str, Any]], names: tuple[str, ...], kinds: dict[str, str], **encoders: Path) -> Model:
    data: Data = sm.read(rows, targets="label", inputs=names, kinds=kinds)
    options = {name: EncoderOptions(name=str(folder)) for name, folder in encoders.items()}
    recipe = TINY.changed("model", encoders=options, fusion="attention")
    schema = measured(data.table, adapted(data.schema, options), np.arange(len(data)))
    model = Model(schema, recipe).eval()
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


def _agrees(model: Model, rows: list[dict[str, Any]], folder: Path) -> Runtime:
    exported = export_model(model, folder)
    assert exported.parity.largest < 1e-4
    runtime = Runtime.load(folder)
    for found, expected in zip(runtime.predict(rows), model.predict(rows), strict=True):
        assert found["label"].modalities == expected["label"].modalities
        assert found["label"].probabilities == pytest.approx(expected["label"].probabilities, abs=1e-4)
    return runtime


def test_films_recordings_and_clouds_on_one_clock(tmp_path: Path) -> None:
    rows = _rows(7)
    model = _model(rows, ("film", "vitals", "radar"), {"film": "video", "vitals": "series", "radar": "points"})
    runtime = _agrees(model, rows, tmp_path / "out")
    assert runtime.manifest.timed == ("film", "vitals")


def test_pretrained_text_and_pictures(tmp_path: Path) -> None:
    rows = _rows(5)
    note, photo = save_pretrained("bert", tmp_path / "bert"), save_pretrained("resnet", tmp_path / "resnet")
    model = _model(rows, ("note", "photo"), {"note": "text", "photo": "image"}, note=note, photo=photo)
    _agrees(model, [{"note": rows[0]["note"]}, {"photo": rows[3]["photo"]}, rows[4]], tmp_path / "out")


def test_a_pretrained_model_that_hears_is_named(tmp_path: Path) -> None:
    rows = _rows(4)
    model = _model(rows, ("note", "sound"), {"note": "text", "sound": "audio"},
                   sound=save_pretrained("wav2vec2", tmp_path / "hears"))
    with pytest.raises(ExportError, match="modality 'sound' cannot be exported: .* encoder logmel or wavenet"):
        export_model(model, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.data
def test_minilm_and_resnet50(shared_data: Path, tmp_path: Path) -> None:
    rows = _rows(4)
    model = _model(rows, ("note", "photo"), {"note": "text", "photo": "image"},
                   note=shared_data / "weights_minilm_l6", photo=shared_data / "weights_resnet50")
    _agrees(model, [{"note": rows[0]["note"]}, {"photo": rows[3]["photo"]}, rows[3]], tmp_path / "out")
