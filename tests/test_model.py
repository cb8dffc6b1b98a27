"""The model on every subset: absent and hidden modalities are never read, rows do not see each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import QUICK, write_small_world

from sensorium.data.batch import Batch, make_batch
from sensorium.data.read import as_samples, read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.errors import DataError, RecipeError
from sensorium.fusion import FUSIONS
from sensorium.model import Model
from sensorium.objectives import Encoded
from sensorium.recipe import Recipe

TARGETS = ("kind", "size")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    data = read(write_small_world(tmp_path_factory.mktemp("world")), targets=TARGETS)
    schema = measured(data.table, data.schema, np.arange(len(data)))
    return decoded(data.table, schema, workers=0, memory_bytes=1e9)


def _model(samples: Samples, fusion: str = "attention", recipe: Recipe = QUICK) -> Model:
    model = Model(samples.schema, recipe.changed("model", fusion=fusion))
    with torch.no_grad():
        for parameter in model.parameters():  # biases and positions that start at zero must matter too
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


def _poisoned(encoded: Encoded) -> Encoded:
    """NaN wherever nothing may be read."""
    tokens = {}
    for column, (name, one) in enumerate(encoded.tokens.items()):
        real = one.mask & encoded.presence[:, column, None]
        tokens[name] = replace(one, values=torch.where(real[:, :, None], one.values, torch.nan))
    return Encoded(tokens, encoded.presence)


def _gradients(model: Model) -> list[torch.Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_poisoning_the_absent_changes_no_bit(samples: Samples, fusion: str) -> None:
    model = _model(samples, fusion)
    batch = make_batch(samples, np.arange(24))
    assert not batch.presence.all()
    results = []
    for poison in (False, True):
        model.zero_grad()
        encoded = model.encode(batch)
        encoded = _poisoned(encoded) if poison else encoded
        view = model.view(encoded)
        losses = [objective(view.restricted(objective), batch).total
                  for objective in model.objectives()]
        torch.stack(losses).sum().backward()
        fused, rows = model.fuse(encoded)
        assert fused is not None
        weights = [] if fused.weights is None else [fused.weights]
        results.append([torch.stack(losses), fused.vector, rows, *weights, *_gradients(model)])
    for clean, poisoned in zip(*results, strict=True):
        assert torch.equal(clean, poisoned)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_poisoning_what_a_subset_leaves_out_changes_no_bit(samples: Samples, fusion: str) -> None:
    model = _model(samples, fusion).eval()
    encoded = model.encode(make_batch(samples, np.arange(24)))
    for name in samples.schema.names:
        others = [other for other in samples.schema.names if other != name]
        tokens = {n: replace(t, values=torch.full_like(t.values, torch.nan)) if n == name else t
                  for n, t in encoded.tokens.items()}
        clean, rows = model.fuse(encoded, others)
        poisoned, rows_too = model.fuse(Encoded(tokens, encoded.presence), others)
        assert clean is not None
        assert poisoned is not None
        assert torch.equal(rows, rows_too)
        assert torch.equal(clean.vector, poisoned.vector)


def test_an_objective_never_sees_its_hidden_modality(samples: Samples) -> None:
    model = _model(samples).eval()
    batch = make_batch(samples, np.arange(24))
    encoded = model.encode(batch)
    tokens = {n: replace(t, values=torch.full_like(t.values, torch.nan)) if n == "note" else t
              for n, t in encoded.tokens.items()}
    objective = model.objectives()[0]
    objective.hidden = frozenset({"note"})
    losses = [objective(model.view(e).restricted(objective), batch).total
              for e in (encoded, Encoded(tokens, encoded.presence))]
    assert torch.isfinite(losses[0])
    assert torch.equal(*losses)


def test_a_needed_modality_is_required_and_kept(samples: Samples) -> None:
    model = _model(samples)
    encoded = model.encode(make_batch(samples, np.arange(24)))
    note = samples.schema.names.index("note")
    nothing_but_images = encoded.presence & torch.tensor([name == "image" for name in samples.schema.names])
    objective = model.objectives()[0]
    objective.needs = frozenset({"note"})
    view = model.view(encoded, nothing_but_images).restricted(objective)
    allowed = view.allowed(view.presence)
    needed = encoded.presence[:, note] & nothing_but_images.any(dim=1)  # what shows nothing stays nothing
    assert needed.any()
    assert torch.equal(allowed.any(dim=1), needed)
    assert torch.equal(allowed[:, note], needed)


def _outputs(model: Model, samples: Samples, rows: np.ndarray) -> np.ndarray:
    everything = frozenset(samples.schema.names)
    found = model.outputs(samples, rows, [everything], complete=False)
    return np.concatenate([found[name][everything] for name in TARGETS], axis=1)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_row_does_not_see_the_other_rows(samples: Samples, fusion: str) -> None:
    model = _model(samples, fusion)
    together = _outputs(model, samples, np.arange(24))
    alone = np.concatenate([_outputs(model, samples, np.array([row])) for row in range(24)])
    np.testing.assert_allclose(together, alone, atol=1e-5, equal_nan=True)


def test_masking_a_modality_equals_a_table_without_it(samples: Samples) -> None:
    model = _model(samples)
    rows = np.arange(24)
    subset = frozenset({"image", "note"})
    masked = model.outputs(samples, rows, [subset], complete=False)["kind"][subset]
    without = replace(samples, presence=samples.presence & np.array([n in subset for n in samples.schema.names]),
                      cells={name: cells if name in subset else replace(
                          cells, cells_of_row=np.full_like(cells.cells_of_row, -1))
                          for name, cells in samples.cells.items()})
    removed = _outputs(model, without, rows)[:, :3]
    np.testing.assert_allclose(masked, removed, atol=1e-5, equal_nan=True)


def test_every_weight_receives_a_gradient_also_where_a_modality_is_absent(samples: Samples) -> None:
    model = _model(samples)
    full = np.flatnonzero(samples.presence.all(axis=1))
    model(make_batch(samples, full)).total.backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in model.parameters())
    model.zero_grad(set_to_none=True)
    batch = make_batch(samples, full)
    sound = samples.schema.names.index("sound")
    presence = batch.presence.clone()
    presence[:, sound] = False
    deaf = Batch(batch.rows, presence, {n: p for n, p in batch.inputs.items() if n != "sound"}, batch.targets)
    model(deaf).total.backward()
    for parameter in model.encoders[sound].parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_no_encoder_is_called_without_rows(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(samples)
    batch = make_batch(samples, np.arange(8))
    called = []
    for name, encoder in zip(samples.schema.names, model.encoders, strict=True):
        encoder.register_forward_hook(lambda module, given, tokens, name=name: called.append((name, len(given[0]))))
    model.encode(Batch(batch.rows, batch.presence, {"note": batch.inputs["note"]}, batch.targets))
    assert called == [("note", len(batch.inputs["note"].inputs))]


def test_a_repeated_cell_is_encoded_once(tmp_path: Path) -> None:
    table = write_small_world(tmp_path, rows=12, missing=0.0)
    lines = table.read_text().splitlines()
    shared = [f"{number % 2}.png,{line.split(',', 1)[1]}" for number, line in enumerate(lines[1:])]
    table.write_text("\n".join([lines[0], *shared]))
    data = read(table, targets="kind")
    schema = measured(data.table, data.schema, np.arange(12))
    batch = make_batch(decoded(data.table, schema, workers=0, memory_bytes=1e9), np.arange(12))
    assert len(batch.inputs["image"].inputs) == 2
    assert len(batch.inputs["sound"].inputs) == 12


def test_rows_without_labels_do_not_count(samples: Samples) -> None:
    model = _model(samples)
    batch = make_batch(samples, np.arange(16))
    half = {name: replace(t, mask=torch.arange(16) < 8) for name, t in batch.targets.items()}
    wild = {name: replace(t, values=torch.where(torch.arange(16) < 8, t.values, 2)) for name, t in half.items()}
    first = model(replace(batch, targets=half)).total
    second = model(replace(batch, targets=wild)).total
    torch.testing.assert_close(first, model(make_batch(samples, np.arange(8))).total)
    assert torch.equal(first, second)
    none = {name: replace(t, mask=torch.zeros(16, dtype=torch.bool)) for name, t in batch.targets.items()}
    nothing = model(replace(batch, targets=none)).total
    assert nothing.item() == 0.0
    nothing.backward()


def test_initial_weights_depend_on_the_seed_alone(samples: Samples) -> None:
    torch.manual_seed(5)
    first = Model(samples.schema, QUICK).state_dict()
    torch.manual_seed(6)
    again = Model(samples.schema, QUICK).state_dict()
    other = Model(samples.schema, QUICK.changed("training", seed=1)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_answers_say_which_cells_could_not_be_read(samples: Samples) -> None:
    model = _model(samples)
    answers = model.predict([{"note": "fine"}, {"image": "typo.png", "note": "fine"}, {"image": np.zeros((4, 4, 3))}])
    assert answers[0]["kind"].unreadable == ()
    assert answers[1]["kind"].modalities == ("note",) and "image: no such file" in answers[1]["kind"].unreadable[0]
    assert answers[2]["kind"].modalities == () and "uint8" in answers[2]["kind"].unreadable[0]


def test_rows_that_are_no_rows_and_names_that_are_no_columns_are_refused(samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found int"):
        _model(samples).predict(5)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="Did you mean 'kind'"):
        read(write_small_world(tmp_path, rows=4), targets="kimd")


def test_a_row_of_unknown_names_is_refused(samples: Samples) -> None:
    with pytest.raises(DataError, match="nothing to read: unknown column 'imag'.*Did you mean 'image'"):
        _model(samples).predict({"imag": "a.png"})
    with pytest.raises(DataError, match="nothing to read: unknown column '1'"):
        _model(samples).predict({1: "a.png"})  # type: ignore[dict-item]
    with pytest.raises(RecipeError, match="modalities: expected a list of names, found the text 'note'"):
        _model(samples).predict({"note": "fine"}, modalities="note")


def test_a_modality_that_is_blank_in_a_whole_table_is_named(samples: Samples) -> None:
    found = as_samples([{"note": "fine", "image": None}, {"note": "too", "image": None}], samples.schema)
    assert any(note.startswith("modality 'image' is absent in every row") for note in found.notes)
    assert not any("'note' is absent" in note for note in found.notes)
