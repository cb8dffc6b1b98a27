"""Several fusions on the same rows: the best by validation is kept, and how sure that is, is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from worlds import QUICK, write_small_world

import sensorium as sm
from sensorium.cli.options import fusions_of
from sensorium.errors import RecipeError
from sensorium.recipe import FUSION_NAMES, Recipe
from sensorium.training.console import Quiet
from sensorium.training.contest import Trial, row_losses, standing_lines, standings
from sensorium.training.fit import fit
from sensorium.training.prepare import Prepared, prepare
from sensorium.training.validation import validate


def test_the_best_by_validation_is_kept(tmp_path: Path) -> None:
    data = sm.read(write_small_world(tmp_path, rows=90), targets=("kind", "size"))
    recipe = QUICK.changed("model", compare=["concat", "gated", "experts"])
    seen: list[Prepared] = []
    model = fit(data, recipe, progress=False, allow_leak=True, on_chosen=lambda _, prepared: seen.append(prepared))
    told = model.facts["fusions"]
    assert {one["fusion"] for one in told} == {"concat", "gated", "experts"}
    assert [one["loss"] for one in told] == sorted(one["loss"] for one in told)
    assert model.recipe.model.fusion == told[0]["fusion"]
    assert told[0]["behind"] is None
    assert all(one["behind"][1] <= one["behind"][0] <= one["behind"][2] for one in told[1:])
    validation = seen[0].splits.validation
    alone = fit(data, QUICK.changed("model", fusion=told[0]["fusion"]), progress=False, allow_leak=True)
    for one, other in zip(model.state_dict().values(), alone.state_dict().values(), strict=True):
        assert np.array_equal(one.numpy(), other.numpy())  # company changes nothing
    assert abs(validate(alone, seen[0].samples, validation).loss - told[0]["loss"]) < 1e-6


def test_row_losses_add_up_to_the_validation_loss(tmp_path: Path) -> None:
    data = sm.read(write_small_world(tmp_path, rows=60), targets=("kind", "size"), weights={"size": 0.3})
    prepared = prepare(data, QUICK, console=Quiet(), allow_leak=True, strict=False)
    model = sm.fit(data, QUICK, progress=False, allow_leak=True)
    rows = prepared.splits.train
    assert abs(np.nanmean(row_losses(model, prepared.samples, rows))
               - validate(model, prepared.samples, rows).loss) < 1e-9


def test_standings_are_paired() -> None:
    random = np.random.default_rng(0)
    losses = random.exponential(size=400)
    trials = [Trial("a", 10, 5, 1.0, float(losses.mean() + 0.05), {"kind": 0.5}, losses + 0.05),
              Trial("b", 10, 5, 1.0, float(losses.mean()), {}, losses)]
    told = standings(trials, None, seed=0)
    assert [one["fusion"] for one in told] == ["b", "a"]
    np.testing.assert_allclose(told[1]["behind"], 0.05, atol=1e-9)  # equal in every row: no spread at all
    lines = standing_lines(told)
    assert "the best" in lines[0]
    assert "+0.0500 (+0.0500 to +0.0500) behind; kind 0.500" in lines[1]


def test_names_of_fusions() -> None:
    assert fusions_of(None) == {}
    assert fusions_of("gated") == {"fusion": "gated", "compare": []}
    assert fusions_of("gated, concat") == {"fusion": "gated", "compare": ["gated", "concat"]}
    assert fusions_of("all")["compare"] == list(FUSION_NAMES)
    for words, message in (("gated,gatd", "Did you mean 'gated'"), ("gated,gated", "compared once")):
        with pytest.raises(RecipeError, match=message):
            Recipe().changed("model", **fusions_of(words))
    with pytest.raises(RecipeError, match="expected a name"):
        fusions_of(",")
