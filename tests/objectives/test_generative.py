"""Objectives that make a modality: what they may see, what they train, and what a step does to whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import write_pairs

from sensorium.data.batch import make_batch
from sensorium.data.read import Data
from sensorium.data.samples import Samples
from sensorium.data.table import read_table
from sensorium.errors import RecipeError
from sensorium.model import Model
from sensorium.objectives import Encoded, Generative, PaintGAN
from sensorium.recipe import DataOptions, Recipe
from sensorium.training.console import Quiet
from sensorium.training.distributed import Device
from sensorium.training.loop import make_optimizer, train_step
from sensorium.training.opponents import Opponents
from sensorium.training.prepare import prepare

WAYS = {
    "caption": {"caption": {"to": "words"}},
    "gan": {"paint": {"method": "gan"}},
    "flow": {"paint": {"method": "flow"}},
    "both": {"paint": {"method": "gan"}, "caption": {}, "contrast": {}},
    "answer": {"answer": {"question": "words", "to": "first"}},
}


def _recipe(way: str) -> Recipe:
    return Recipe.checked({"objectives": WAYS[way], "model": {"width": 32},
                           "training": {"epochs": 2, "batch_size": 16, "workers": 0}})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"), rows=40)


def _prepared(table: Path, way: str) -> Samples:
    recipe = _recipe(way)
    data = Data(read_table(table), recipe.with_texts(
        DataOptions(inputs=("picture", "words", "first") if way == "answer" else ("picture", "words"))))
    return prepare(data, recipe, console=Quiet(), allow_leak=False, strict=False, unlabelled=True).samples


def _begun(samples: Samples, way: str) -> Model:
    model = Model(samples.schema, _recipe(way))
    model.begin()
    return model


@pytest.mark.parametrize("way", WAYS)
def test_what_is_made_is_never_read(table: Path, way: str) -> None:
    samples = _prepared(table, way)
    model = _begun(samples, way).eval()  # a spectral norm in training moves with each pass
    batch = make_batch(samples, np.arange(12), unread=model.unread, aims=model.aims)
    encoded = model.encode(batch)
    for maker in model.generative():
        tokens = {name: replace(one, values=torch.full_like(one.values, torch.nan)) if name == maker.to_name else one
                  for name, one in encoded.tokens.items()}
        losses = [maker(model.view(e).restricted(maker), batch).total
                  for e in (encoded, Encoded(tokens, encoded.presence))]
        assert torch.isfinite(losses[0])
        assert torch.equal(*losses)


@pytest.mark.parametrize("way", WAYS)
def test_every_weight_is_trained_and_an_average_is_not(table: Path, way: str) -> None:
    samples = _prepared(table, way)
    model = _begun(samples, way)
    batch = make_batch(samples, np.arange(12), unread=model.unread, aims=model.aims)
    model(batch).total.backward()
    for maker in model.generative():
        for name, parameter in maker.named_parameters():
            held = name.startswith(("average.", "opponent."))
            assert (parameter.grad is None) == held, name
            assert held or bool(torch.isfinite(parameter.grad).all()), name


def test_a_row_that_shows_nothing_else_is_left_out(table: Path) -> None:
    samples = _prepared(table, "caption")
    model = _begun(samples, "caption")
    (maker,) = model.generative()
    batch = make_batch(samples, np.arange(8), unread=model.unread, aims=model.aims)
    encoded = model.encode(batch)
    lacking = encoded.presence.clone()
    lacking[:4, samples.schema.names.index("picture")] = False
    some = maker.aimed(model.view(Encoded(encoded.tokens, lacking)).restricted(maker), batch)
    assert some is not None
    assert some[1].rows.tolist() == [4, 5, 6, 7]
    lacking[:, samples.schema.names.index("picture")] = False
    loss = maker(model.view(Encoded(encoded.tokens, lacking)).restricted(maker), batch)
    assert loss.total.item() == 0.0
    assert loss.total.requires_grad


def test_a_sampled_subset_that_shows_nothing_is_filled_up(table: Path) -> None:
    samples = _prepared(table, "caption")
    model = _begun(samples, "caption")
    (maker,) = model.generative()
    encoded = model.encode(make_batch(samples, np.arange(4), unread=model.unread, aims=model.aims))
    only_words = encoded.presence & torch.tensor([name == "words" for name in samples.schema.names])
    view = model.view(encoded, only_words).restricted(maker)
    assert not view.allowed(view.presence).any()
    condition, rows = maker.condition(view)
    assert condition is not None
    assert rows.tolist() == [0, 1, 2, 3]
    assert condition.presence.tolist() == [[name == "picture" for name in samples.schema.names]] * 4


def test_what_is_only_made_has_no_encoder_and_counts_as_absent(table: Path) -> None:
    samples = _prepared(table, "gan")
    model = _begun(samples, "gan")
    place = samples.schema.names.index("picture")
    assert model.unread == {"picture"}
    assert not list(model.encoders[place].parameters())
    batch = make_batch(samples, np.arange(4))  # with its pixels, as for any other use
    assert not model.encode(batch).presence[:, place].any()
    assert not _begun(_prepared(table, "both"), "both").unread


def test_opponent_and_model_leave_each_other_alone(table: Path) -> None:
    samples = _prepared(table, "gan")
    model = _begun(samples, "gan")
    maker = model.painting()
    assert isinstance(maker, PaintGAN)
    assert maker.opponent is not None
    opponents, optimizer = Opponents(model, 1e-2), make_optimizer(model, model.recipe.training)
    batch = make_batch(samples, np.arange(16), unread=model.unread, aims=model.aims)
    own = {name: value.clone() for name, value in model.named_parameters() if "opponent" not in name}
    before = [value.clone() for value in maker.opponent.parameters()]
    opponents.step(batch, batch.presence, step=0, lr=1e-2, device=Device())
    assert all(torch.equal(own[name], value) for name, value in model.named_parameters() if name in own)
    after = [value.clone() for value in maker.opponent.parameters()]
    assert not all(map(torch.equal, before, after))
    train_step(model, model, optimizer, samples, np.arange(16), epoch=0, lr=1e-2, device=Device())
    assert all(map(torch.equal, after, maker.opponent.parameters()))
    moved = [name for name, value in model.named_parameters() if name in own and not torch.equal(own[name], value)]
    assert any("painter" in name for name in moved)
    assert any("encoders" in name for name in moved)
    assert any("average" in name for name in moved)


def test_the_average_is_what_stays(table: Path) -> None:
    samples = _prepared(table, "gan")
    model = _begun(samples, "gan")
    maker = model.painting()
    assert maker is not None
    assert maker.average is not None
    with torch.no_grad():
        for value in maker.average.parameters():
            value.fill_(0.5)
    model.finish()
    assert all(bool((value == 0.5).all()) for value in maker.painter.parameters())
    assert not [name for name in model.state_dict() if "average" in name or "opponent" in name]
    model.finish()  # a second time it changes nothing


@pytest.mark.parametrize(("options", "words"), [
    ({"caption": {"to": "picture"}}, "'picture' is image; expected text"),
    ({"caption": {"to": "wordz"}}, "unknown modality 'wordz'"),
    ({"paint": {"to": "words"}}, "'words' is text; expected image"),
    ({"paint": {"size": 64}}, "'picture' is read at 12 by 12 pixels"),
    ({"answer": {"question": "picture"}}, "'picture' is image; a question is text or audio"),
    ({"answer": {"question": "words"}}, "name the column of the answers"),
    ({"answer": {"question": "words", "to": "words"}}, "'words' is text and asks"),
])
def test_what_cannot_be_made_is_refused(table: Path, options: dict[str, object], words: str) -> None:
    recipe = Recipe.checked({"objectives": options, "model": {"width": 32}, "training": {"workers": 0}})
    data = Data(read_table(table), DataOptions(inputs=("picture", "words")))
    with pytest.raises(RecipeError, match=words):
        Model(prepare(data, recipe, console=Quiet(), allow_leak=False, strict=False, unlabelled=True).samples.schema,
              recipe)


def test_a_column_that_may_be_text_is_named(tmp_path: Path) -> None:
    data = Data(read_table(write_pairs(tmp_path, rows=20)), DataOptions(inputs=("picture", "first")))
    recipe = Recipe.checked({"objectives": {"caption": {}}, "training": {"workers": 0}})
    with pytest.raises(RecipeError, match="there is no text modality to make.*: --kind first=text"):
        prepare(data, recipe, console=Quiet(), allow_leak=False, strict=False, unlabelled=True)


def test_a_maker_is_called_once_a_step(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = _prepared(table, "flow")
    model = _begun(samples, "flow")
    calls = []
    monkeypatch.setattr(Generative, "forward", _counted(Generative.forward, calls))
    train_step(model, model, make_optimizer(model, model.recipe.training), samples, np.arange(16), epoch=0, lr=1e-3,
               device=Device())
    assert len(calls) == 1


def _counted(function: object, calls: list[int]) -> object:
    def counted(*given: object) -> object:
        calls.append(1)
        return function(*given)  # type: ignore[operator]

    return counted
