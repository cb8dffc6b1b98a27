"""Contrast and correlate within a model: what they read, what they leave out, whom they reach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from worlds import QUICK, write_small_world

from sensorium.data.batch import Step, make_batch, target_values
from sensorium.data.read import read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.errors import RecipeError
from sensorium.model import Model
from sensorium.objectives import Contrast, Correlate, Encoded
from sensorium.objectives.same import same_keys
from sensorium.recipe import Recipe

OBJECTIVES = {
    "contrast": {"contrast": {}},
    "siglip": {"contrast": {"loss": "siglip", "width": 24}},
    "pairs": {"contrast": {"mode": "pairs"}},
    "anchor": {"contrast": {"mode": "anchor", "anchor": "note"}},
    "correlate": {"correlate": {"components": 4, "loss": "cca"}},
    "eckart_young": {"correlate": {"components": 4, "loss": "eckart_young"}},
}


def _samples(folder: Path, inputs: tuple[str, ...] | None = None, targets: tuple[str, ...] = ()) -> Samples:
    data = read(write_small_world(folder), targets=targets, inputs=inputs, ignore=() if inputs else ("kind", "size"))
    return decoded(data.table, measured(data.table, data.schema, np.arange(len(data))), workers=0, memory_bytes=1e9)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return _samples(tmp_path_factory.mktemp("world"))


def _model(samples: Samples, objectives: dict[str, dict[str, object]], recipe: Recipe = QUICK) -> Model:
    return Model(samples.schema, recipe.changed("objectives", **objectives))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_absent_is_never_read_and_all_weights_are_reached(samples: Samples, name: str) -> None:
    model = _model(samples, OBJECTIVES[name])
    batch = make_batch(samples, np.arange(40), step=Step(5, samples.presence[:40]))
    assert not batch.presence.all()
    found = []
    for poison in (False, True):
        model.zero_grad()
        encoded = model.encode(batch)
        if poison:
            encoded = Encoded({n: replace(t, values=torch.where(
                (t.mask & encoded.presence[:, column, None])[:, :, None], t.values, torch.nan))
                for column, (n, t) in enumerate(encoded.tokens.items())}, encoded.presence)
        loss = model.aligning()[0](model.view(encoded), batch)
        loss.total.backward()
        found.append([loss.total.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for clean, poisoned in zip(*found, strict=True):
        assert torch.isfinite(clean).all()
        assert torch.equal(clean, poisoned)
    lacking = [n for n, p in model.named_parameters() if p.grad is None and p.requires_grad]
    assert not lacking


def test_two_modalities_give_clip(tmp_path: Path) -> None:
    samples = _samples(tmp_path, inputs=("image", "note"))
    model = _model(samples, {"contrast": {}})
    batch = make_batch(samples, np.arange(30))
    contrast = model.aligning()[0]
    assert isinstance(contrast, Contrast)
    found = contrast(model.view(model.encode(batch)), batch).total
    both = torch.from_numpy(samples.presence[:30].all(axis=1))
    encoded = model.encode(batch)
    sides = []
    for column in (0, 1):
        presence = torch.zeros_like(encoded.presence)
        presence[:, column] = both
        fused, _ = model.view(encoded).fuse(presence)
        assert fused is not None
        sides.append(F.normalize(contrast.head(fused.vector), dim=1))
    logits = contrast.scale() * sides[0] @ sides[1].T
    assert batch.identities is not None
    keys = same_keys(batch.identities, batch.targets, ())[both]
    same = ((keys[:, None] == keys[None]) & (keys[:, None] >= 0)).any(dim=2) & ~torch.eye(len(keys), dtype=torch.bool)
    assert same.any()  # three notes only: most rows share one
    logits = logits.masked_fill(same, -torch.inf)
    truth = torch.arange(len(keys))
    torch.testing.assert_close(found, (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2)


def test_keys_of_a_batch_are_those_of_the_table(tmp_path: Path) -> None:
    samples = _samples(tmp_path, targets=("kind",), inputs=("image", "note"))
    rows = np.array([3, 17, 4, 30, 21, 0])
    batch = make_batch(samples, rows)
    assert batch.identities is not None
    found = same_keys(batch.identities, batch.targets, ("kind",))
    expected = same_keys(torch.from_numpy(samples.identities(rows)), target_values(samples, rows), ("kind",)).numpy()
    assert found.tolist() == expected.tolist()
    for column, name in enumerate(samples.schema.names):
        cells = samples.cells[name].cells_of_row[rows, 0]
        assert ((expected[:, column] < 0) == (cells < 0)).all()
        there = cells >= 0
        assert ((expected[there, None, column] == expected[None, there, column])
                == (cells[there, None] == cells[None, there])).all()


def test_nothing_to_contrast_is_a_zero_that_reaches_everything(samples: Samples) -> None:
    model = _model(samples, {"contrast": {}})
    alone = np.zeros((1, len(samples.schema.names)), dtype=bool)
    alone[0, 0] = True
    batch = make_batch(samples, np.flatnonzero(samples.presence.all(axis=1))[:1], step=Step(0, alone))
    loss = model(batch).total
    assert loss.item() == 0.0
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("objectives", "words"), [
    ({"contrast": {"mode": "anchor", "anchor": "imag"}}, "anchor: unknown modality 'imag'.*Did you mean 'image'"),
    ({"correlate": {"components": 16, "loss": "cca"}}, "batches of 16 rows cannot correlate 16 components"),
    ({"correlate": {"components": 64}}, "64 components of a vector of width 32"),
])
def test_mistakes_are_named(samples: Samples, objectives: dict[str, dict[str, object]], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        _model(samples, objectives)


def test_one_modality_cannot_be_aligned(tmp_path: Path) -> None:
    samples = _samples(tmp_path, inputs=("image",))
    for name in ("contrast", "correlate"):
        with pytest.raises(RecipeError, match="two modalities at least"):
            _model(samples, {name: {}})


def test_small_batches_take_the_loss_for_them(samples: Samples) -> None:
    def loss(batch_size: int) -> str:
        model = _model(samples, {"correlate": {"components": 4}}, QUICK.changed("training", batch_size=batch_size))
        correlate = model.aligning()[0]
        assert isinstance(correlate, Correlate)
        return correlate.loss

    assert loss(39) == "eckart_young"
    assert loss(40) == "cca"
