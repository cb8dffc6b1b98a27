"""A report that fails does not take the trained model with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from worlds import QUICK, write_small_world

from sensorium.cli.train import run
from sensorium.evaluation.held_out import HeldOut
from sensorium.model import Model


def test_the_model_is_saved_where_its_report_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_small_world(tmp_path / "data", 30)

    def failing(self: HeldOut, model: Model, *, title: str) -> str | None:
        raise RuntimeError("no page today")

    monkeypatch.setattr(HeldOut, "report", failing)
    recipe = QUICK.changed("training", epochs=1).changed("data", targets=["kind"], inputs=["note"])
    with pytest.raises(RuntimeError, match="no page today"):
        run(str(table), recipe, tmp_path / "run", resume=False, overwrite=False, allow_leak=True, strict=False,
            json=False)
    assert Model.load(tmp_path / "run").schema.names == ("note",)
