"""An exported model behind the same API: the same answers, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from served import row_of, running, small_model

from sensorium.errors import SensoriumError
from sensorium.exporting.writing import export_model
from sensorium.model import Model
from sensorium.serving.client import Client
from sensorium.serving.engine import open_engine

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path, Path]:
    folder = tmp_path_factory.mktemp("world")
    model = small_model(folder)
    export_model(model, folder / "out", name="small")
    return model, folder, folder / "out"


def test_answers_are_those_of_torch(exported: tuple[Model, Path, Path]) -> None:
    model, folder, out = exported
    engine = open_engine(out, onnx=True)
    assert engine.identity.id == "small"
    assert len(engine.identity.version) == 12
    rows = [row_of(folder), {"note": "blue"}, {"image": (folder / "1.png").read_bytes(), "hr": 71}]
    with running(engine) as address, Client(address) as client:
        for one, other in zip(client.predict(rows, explain=True), model.predict(rows, explain=True), strict=True):
            assert one["kind"].modalities == other["kind"].modalities
            assert one["kind"].probabilities == pytest.approx(other["kind"].probabilities, abs=1e-4)
            assert one["kind"].contributions == pytest.approx(other["kind"].contributions, abs=1e-3)
        np.testing.assert_allclose(client.embed(rows), model.embed(rows), atol=1e-4)
        assert client.schema()["abilities"] == ["embed", "predict"]
        with pytest.raises(SensoriumError, match="this model explains nothing"):
            client.explain(rows[0])


def test_a_folder_that_is_no_export_is_said(exported: tuple[Model, Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SensoriumError):
        open_engine(tmp_path, onnx=True)
