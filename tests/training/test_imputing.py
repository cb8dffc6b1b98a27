"""Imputation is learnt where modalities share something, kept only where held-out rows confirm it, and saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import QUICK

from sensorium.data.batch import make_batch
from sensorium.data.read import read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.fusion.imputation import Imputer
from sensorium.keyed import Draws
from sensorium.model import Model
from sensorium.objectives import Encoded
from sensorium.training import imputing
from sensorium.training.fit import fit
from sensorium.training.imputer_choice import (
    _Gains,
    _mean,
    add_imputer,
    halves,
    imputation_lines,
    patterns_of,
    renew_imputer,
)
from sensorium.training.imputing import hide

ROWS = 900
TRAIN, VALIDATION, TEST = np.arange(300), np.arange(300, 600), np.arange(600, ROWS)
A, B = frozenset({"a"}), frozenset({"b"})


def _world(folder: Path, *, redundant: bool, target: str = "label") -> Samples:
    """Two numbers a table, a and b. Redundant: b is a again, and the class (or number) follows from either;
    independent: the class is the exclusive or of what a and b say, about which one alone says nothing."""
    random = np.random.default_rng(0)
    first = random.normal(size=(ROWS, 2))
    second = first + 0.05 * random.normal(size=(ROWS, 2)) if redundant else random.normal(size=(ROWS, 2))
    truth = first[:, 0] - first[:, 1] if redundant else np.sign(first[:, 0]) * second[:, 0]
    lines = [",".join([*(f"{x:.3f}" for x in (*a, *b)), "yes" if y > 0 else "no", f"{y:.3f}", str(row // 4)])
             for row, (a, b, y) in enumerate(zip(first, second, truth, strict=True))]
    table = folder / "t.csv"
    table.write_text("\n".join(["a1,a2,b1,b2,label,size,owner", *lines]))
    data = read(table, targets=target, modalities={"a": ["a1", "a2"], "b": ["b1", "b2"]}, group="owner",
                ignore=[name for name in ("label", "size") if name != target])
    return decoded(data.table, measured(data.table, data.schema, TRAIN), workers=0, memory_bytes=1e9)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imputing, "SAMPLES", 0)
    monkeypatch.setattr(imputing, "FEWEST_STEPS", 60)


def _trained(samples: Samples, fusion: str = "tensor", steps: int = 60) -> Model:
    """A model that has only seen rows with everything."""
    model = Model(samples.schema, QUICK.changed("model", fusion=fusion).changed("training", batch_size=64))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(steps):
        rows = TRAIN[Draws(0, step, TRAIN).order("rows")][:64]
        optimizer.zero_grad()
        model(make_batch(samples, rows)).total.backward()
        optimizer.step()
    return model


def _losses(model: Model, samples: Samples, subset: frozenset[str]) -> float:
    (target,) = samples.schema.targets
    outputs = torch.from_numpy(model.outputs(samples, TEST, [subset])[target.name][subset]).float()
    truth = torch.from_numpy(samples.labels[target.name].values[TEST])
    return float(model.objectives()[0].losses(outputs, truth).mean())


@pytest.mark.parametrize("target", ["size", pytest.param("label", marks=pytest.mark.slow)])
def test_it_helps_where_modalities_are_redundant(tmp_path: Path, target: str) -> None:
    samples = _world(tmp_path, redundant=True, target=target)
    model = _trained(samples)
    plain = {subset: _losses(model, samples, subset) for subset in (A, B)}
    both = model.outputs(samples, TEST, [A | B])[target][A | B]
    told = add_imputer(model, samples, TRAIN, VALIDATION)
    assert told is not None and model.imputer is not None
    assert set(model.imputer.accepted) == {A, B} if target == "size" else len(model.imputer.accepted) > 0
    for subset in model.imputer.accepted:
        assert _losses(model, samples, subset) < 0.5 * plain[subset]
    assert np.array_equal(model.outputs(samples, TEST, [A | B])[target][A | B], both)
    lines = imputation_lines(told)
    assert len(lines) == len(model.imputer.accepted) and all("imputed: the loss of" in line for line in lines)

    again = _trained(samples, steps=10)
    renew_imputer(again, samples, TRAIN, before=model, step=10)
    assert again.imputer is not None and again.imputer.accepted == model.imputer.accepted

    folder = model.save(tmp_path / "saved")
    loaded = Model.load(folder)
    assert loaded.imputer is not None and not any(p.requires_grad for p in loaded.imputer.parameters())
    for subset in (A, B, A | B):
        assert np.array_equal(loaded.outputs(samples, TEST, [subset])[target][subset],
                              model.outputs(samples, TEST, [subset])[target][subset])


def test_it_is_not_kept_where_modalities_are_independent(tmp_path: Path) -> None:
    samples = _world(tmp_path, redundant=False)
    model = _trained(samples, "attention")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    told = add_imputer(model, samples, TRAIN, VALIDATION)
    assert model.imputer is None and told is not None
    assert "not kept" in imputation_lines(told)[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def _with_imputer(model: Model) -> Model:
    torch.manual_seed(0)
    model.imputer = Imputer(model.schema.names, model.recipe.model.width)
    return model


def test_off_is_bit_equal_and_training_never_imputes(tmp_path: Path) -> None:
    samples = _world(tmp_path, redundant=True)
    model = _trained(samples, "attention", steps=3)
    batch = make_batch(samples, np.arange(32))
    alone = torch.eye(2, dtype=torch.bool)[[0] * 32]

    def told() -> list[np.ndarray]:
        vectors = model.embeddings(samples, TEST, [A, A | B])
        return [model.outputs(samples, TEST, [A])["label"][A], *vectors.values(),
                model(batch, alone).total.detach().numpy()]

    before = told()
    _with_imputer(model)
    assert all(np.array_equal(*pair) for pair in zip(before, told(), strict=True))
    assert model.imputer is not None
    model.imputer.accept({A: B})
    outputs, *rest = told()
    assert not np.array_equal(outputs, before[0])
    assert all(np.array_equal(*pair) for pair in zip(before[1:], rest, strict=True))


def test_what_is_absent_is_never_read_and_rows_do_not_see_each_other(tmp_path: Path) -> None:
    samples = _world(tmp_path, redundant=True)
    model = _with_imputer(_trained(samples, "attention", steps=3)).eval()
    assert model.imputer is not None
    model.imputer.accept({A: B})
    encoded = model.encode(make_batch(samples, np.arange(8)))
    presence = torch.tensor([[True, False], [True, True]] * 4)
    vectors = []
    for poison in (0.0, torch.nan):
        values = torch.where(presence[:, 1, None, None], encoded.tokens["b"].values, poison)
        tokens = {**encoded.tokens, "b": type(encoded.tokens["b"])(values, encoded.tokens["b"].mask)}
        fused, _ = model.view(Encoded(tokens, presence)).fuse()
        assert fused is not None and fused.weights is not None
        assert torch.equal(fused.weights[::2], torch.tensor([[1.0, 0.0]] * 4))
        vectors.append(fused.vector)
    assert torch.equal(*vectors)
    answer = model.predict({"a1": 1.0, "a2": 0.5})["label"]
    assert answer.modalities == ("a",)
    rows = np.arange(6)
    together = model.outputs(samples, rows, [A])["label"][A]
    alone = np.concatenate([model.outputs(samples, rows[[row]], [A])["label"][A] for row in rows])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_hiding_leaves_something_and_is_keyed() -> None:
    random = np.random.default_rng(0)
    presence = random.random((4000, 4)) < 0.7
    presence = presence[presence.sum(axis=1) > 1]
    kept, imputed = hide(presence, Draws(0, 0, np.arange(len(presence))))
    assert kept.any(axis=1).all() and imputed.any(axis=1).all()
    assert not (kept & imputed).any() and not ((kept | imputed) & ~presence).any()
    full = presence.sum(axis=1) == 4
    sizes = np.bincount(kept[full].sum(axis=1), minlength=4)[1:] / full.sum()
    np.testing.assert_allclose(sizes, 1 / 3, atol=0.06)
    several = full & (kept.sum(axis=1) < 3)
    assert abs((kept | imputed)[several].all(axis=1).mean() - 0.5) < 0.06
    again = hide(presence[5:9], Draws(0, 0, np.arange(5, 9)))
    assert np.array_equal(again[0], kept[5:9]) and np.array_equal(again[1], imputed[5:9])


def test_groups_stay_in_one_half_and_count_once(tmp_path: Path) -> None:
    samples = _world(tmp_path, redundant=True)
    first, second = halves(samples, VALIDATION, seed=0)
    assert samples.groups is not None
    assert len(first) + len(second) == len(VALIDATION)
    assert not set(samples.groups[first]) & set(samples.groups[second])
    gains = np.random.default_rng(0).normal(size=40)
    mean, error = _mean(_Gains(gains, np.arange(40)))
    np.testing.assert_allclose([mean, error], [gains.mean(), gains.std(ddof=1) / 40**0.5])
    np.testing.assert_allclose(_mean(_Gains(np.repeat(gains, 3), np.repeat(np.arange(40), 3))), [mean, error])


def test_patterns() -> None:
    assert patterns_of(np.array([[True, False]]), ("a", "b")) == [A, B]
    names = tuple("abcdefg")
    found = patterns_of(np.array([[True, True, True, False, False, False, False], [True] * 7, [False] * 7]), names)
    assert len(found) == 7 + 7 + 1 and frozenset("abc") in found


@pytest.mark.slow
def test_fit_with_impute(tmp_path: Path) -> None:
    _world(tmp_path, redundant=True)
    recipe = QUICK.changed("model", impute=True, fusion="tensor").changed(
        "training", epochs=15, p_full=1.0, singles=False, refit="always", batch_size=64)
    model = fit(read(tmp_path / "t.csv", targets="label", modalities={"a": ["a1", "a2"], "b": ["b1", "b2"]},
                     inputs=["a1", "a2", "b1", "b2"]), recipe, progress=False)
    patterns = model.facts["imputation"]["patterns"]
    assert model.imputer is not None
    kept = {key for key, one in patterns.items() if one["kept"]}
    assert kept == {" + ".join(some) for some in model.imputer.accepted}
    loaded = Model.load(model.save(tmp_path / "m"))
    assert loaded.facts["imputation"] == model.facts["imputation"]
    assert "imputed" in (tmp_path / "m" / "README.md").read_text()
