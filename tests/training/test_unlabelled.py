"""Rows without a label: left out, or learned from by objectives that need none; objectives given as objects."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from worlds import QUICK, write_small_world

from sensorium.data.batch import Batch
from sensorium.data.read import read
from sensorium.errors import ModelFolderError
from sensorium.model import Model
from sensorium.objectives import Loss, Objective, View
from sensorium.training.fit import fit

SEEN: set[int] = set()


class Centred(Objective):
    """Pulls every fused vector towards a learned point, and remembers which rows it saw."""

    def __init__(self, width: int, *, unlabelled: bool) -> None:
        super().__init__("centred", 0.1)
        self.learns_unlabelled = unlabelled
        self.point = nn.Parameter(torch.zeros(width))

    def forward(self, view: View, batch: Batch) -> Loss:
        fused, rows = view.fuse()
        if self.training:
            SEEN.update(batch.rows.tolist())
        assert fused is not None
        total = (fused.vector - self.point).square().mean()
        return Loss(total, {"centred": total})


@pytest.mark.parametrize("unlabelled", [False, True])
def test_rows_without_a_label_are_kept_where_an_objective_can_use_them(tmp_path: Path, unlabelled: bool) -> None:
    lines = write_small_world(tmp_path, rows=60, missing=0.0).read_text().splitlines()
    lines[1:21] = [",".join([*line.split(",")[:6], "", ""]) for line in lines[1:21]]
    (tmp_path / "some.csv").write_text("\n".join(lines))
    data = read(tmp_path / "some.csv", targets=("kind", "size"))
    SEEN.clear()
    model = fit(data, QUICK.changed("training", refit="always"), objectives=[Centred(32, unlabelled=unlabelled)],
                progress=False, allow_leak=True)
    assert (set(range(20)) <= SEEN) == unlabelled and (not set(range(20)) & SEEN) != unlabelled
    assert model.facts["rows"]["unlabelled"] == 20
    assert model.other_objectives()[0].get_parameter("point").detach().any()  # the refit trained it too
    model.save(tmp_path / "model")
    with pytest.raises(ModelFolderError, match=r"1 objectives as objects \(Centred\), 0 are given"):
        Model.load(tmp_path / "model")
    again = Model.load(tmp_path / "model", objectives=[Centred(32, unlabelled=unlabelled)])
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
