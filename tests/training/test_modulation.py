"""Modality balance: the coefficients' formula, and that a modality which learns slowly is helped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from sensorium.data.read import Data, read
from sensorium.evaluation.evaluate import evaluate
from sensorium.keyed import Draws
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.fit import fit
from sensorium.training.modulation import coefficients, encoder_place

STRONG, WEAK = [f"s{place}" for place in range(4)], [f"w{place}" for place in range(4)]


def imbalanced(folder: Path, rows: int, seed: int) -> Path:
    """Four classes: `strong` shows each at once, `weak` hides two bits in signs of products."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, rows)
    strong = 2.2 * np.eye(4)[truth] + random.normal(size=(rows, 4))
    signs = random.choice([-1, 1], (rows, 2))
    bits = np.stack([2 * (truth // 2) - 1, 2 * (truth % 2) - 1], axis=1)
    weak = np.stack([signs[:, 0], signs[:, 0] * bits[:, 0], signs[:, 1], signs[:, 1] * bits[:, 1]], axis=1)
    weak = weak + 0.45 * random.normal(size=(rows, 4))
    columns = dict(zip(STRONG + WEAK, np.concatenate([strong, weak], axis=1).T, strict=True))
    path = folder / f"rows{seed}.csv"
    pl.DataFrame(columns | {"label": [f"c{code}" for code in truth]}).write_csv(path)
    return path


def table(folder: Path, rows: int, seed: int) -> Data:
    """The planted table, its two groups of columns as modalities."""
    return read(imbalanced(folder, rows, seed), targets="label", modalities={"strong": STRONG, "weak": WEAK})


def trained(data: Data, *, epochs: int = 2, fusion: str = "attention", **options: object) -> Model:
    """A small model."""
    recipe = Recipe().changed("model", width=32, fusion=fusion).changed(
        "training", epochs=epochs, refit="never", workers=0, p_full=1.0, **options)
    return fit(data, recipe, progress=False)


def test_coefficients_by_hand() -> None:
    told, counted = np.array([30.0, 8.0, 0.0]), np.array([40.0, 20.0, 0.0])  # .75 and .4; the third is not known
    found = coefficients(told, counted, 0.5)
    np.testing.assert_allclose(found, [1 - np.tanh(0.5 * 0.75 / 0.4), 1.0, 1.0])
    three = coefficients(np.array([9.0, 3.0, 6.0]), np.full(3, 10.0), 0.1)
    np.testing.assert_allclose(three, [1 - np.tanh(0.1 * 0.9 / 0.45), 1.0, 1.0])  # .6 is the mean of .9 and .3
    assert (coefficients(told, counted, 0.0) == 1.0).all()
    assert (coefficients(np.array([3.0, 0.0]), np.array([4.0, 0.0]), 1.0) == 1.0).all()


def test_alone_counts_rows_that_show_one_modality(tmp_path: Path) -> None:
    data = table(tmp_path, 200, 0)
    model = trained(data, singles=True)
    entry = model.history[-1]["alone"]
    assert set(entry) == {"strong", "weak"} and all(0 < value < 1 for value in entry.values())


def test_without_strength_nothing_changes(tmp_path: Path) -> None:
    data = table(tmp_path, 200, 0)
    plain, zero = trained(data, singles=True), trained(data, singles=True, ogm_ge=0.0)
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), zero.state_dict().values(), strict=True))


def test_the_same_run_twice_and_another_with_strength(tmp_path: Path) -> None:
    data = table(tmp_path, 200, 0)
    first, again, plain = (trained(data, singles=False, ogm_ge=alpha) for alpha in (0.8, 0.8, 0.0))
    weights = [model.state_dict()["encoders.0.project.weight"] if "encoders.0.project.weight" in model.state_dict()
               else next(iter(model.encoders[0].state_dict().values())) for model in (first, again, plain)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert "alone" in first.history[-1] and "alone" not in plain.history[-1]  # watched only where it is needed


def test_places_of_encoders() -> None:
    assert encoder_place("encoders.12.blocks.0.weight") == 12
    assert encoder_place("fusion.encoders.1.weight") is None and encoder_place("predictors.0.head.weight") is None


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["attention", "transformer", "concat"])
def test_the_weaker_modality_gains(tmp_path: Path, fusion: str) -> None:
    data, test = table(tmp_path, 1600, 0), imbalanced(tmp_path, 2000, 1)

    def alone(model: Model) -> float:
        scores = evaluate(model, test, robustness=False, information=False).subsets
        return next(s.metrics["accuracy"].value for s in scores if s.modalities == ("weak",))

    plain = alone(trained(data, epochs=12, fusion=fusion, singles=False))
    balanced = alone(trained(data, epochs=12, fusion=fusion, singles=True, ogm_ge=0.5))
    assert balanced > plain + 0.03, (plain, balanced)


def test_noise_of_a_step_is_keyed() -> None:
    draws = Draws(0, 3, np.array([17]))
    assert draws.integers("ogm_ge/0", high=2**31) == Draws(0, 3, np.array([17])).integers("ogm_ge/0", high=2**31)
