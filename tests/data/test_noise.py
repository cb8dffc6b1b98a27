"""Damaged cells in training: how many, how much, keyed by the cell, and nothing where nothing was asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from worlds import QUICK, write_small_world

from sensorium.data.batch import Augmentation, damaged, make_batch
from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.image import ImageKind
from sensorium.data.read import read
from sensorium.errors import RecipeError
from sensorium.keyed import Draws
from sensorium.training.console import Quiet
from sensorium.training.fit import fit, prepare

KIND = ImageKind(height=8, width=8, channels=1)
CELLS = np.arange(4000)


def grey(count: int) -> Inputs:
    """Mid-grey pictures, on which a kind's noise has a known deviation."""
    return Inputs(torch.full((count, 1, 8, 8), 127, dtype=torch.uint8))


def test_half_are_damaged_by_four_equally_likely_amounts() -> None:
    found = damaged(KIND, grey(len(CELLS)), 0.8, Draws(0, 0, CELLS)).values
    deviation = found.double().std(dim=(1, 2, 3)).numpy()
    untouched = deviation == 0
    np.testing.assert_allclose(untouched.mean(), 0.5, atol=0.03)
    level = np.round(deviation[~untouched] / (127.5 / 3**0.5) / 0.2)  # uniform noise times the severity
    shares = np.bincount(level.astype(int), minlength=5)[1:5] / len(level)
    np.testing.assert_allclose(shares, 0.25, atol=0.05)


def test_keyed_by_the_cell() -> None:
    many = damaged(KIND, grey(200), 0.5, Draws(3, 1, CELLS[:200])).values
    for cell in (0, 77, 199):
        one = damaged(KIND, grey(1), 0.5, Draws(3, 1, CELLS[[cell]])).values
        assert torch.equal(one[0].float(), many[cell].float())
    assert not torch.equal(many, damaged(KIND, grey(200), 0.5, Draws(3, 2, CELLS[:200])).values)


def test_nothing_is_touched_without_noise() -> None:
    inputs = grey(5)
    assert damaged(KIND, inputs, 0.0, Draws(0, 0, CELLS[:5])) is inputs


def test_only_the_named_modality_is_damaged(tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = read(write_small_world(tmp_path, 40, missing=0.0), targets="kind")
    samples = prepare(data, QUICK, console=Quiet(), allow_leak=True, strict=False).samples
    rows = np.arange(20)
    plain, noisy = (make_batch(samples, rows, Augmentation(0, 0, noise)) for noise in ({}, {"sound": 0.5}))
    for name, packed in plain.inputs.items():
        same = torch.equal(packed.inputs.values, noisy.inputs[name].inputs.values)
        assert same == (name != "sound"), name
    quiet = noisy.inputs["sound"].inputs
    assert quiet.mask is not None and not quiet.values[~quiet.mask].any()


def test_noise_trains_and_unknown_names_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    data = read(write_small_world(tmp_path, 40), targets="kind")
    noise = {"image": 0.4, "sound": 0.5, "note": 0.3, "table": 0.2}
    fit(data, QUICK.changed("training", noise=noise, expect={"image": 0.3}, weighting="uncertainty", epochs=1),
        progress=False, allow_leak=True)
    with pytest.raises(RecipeError, match=r"training.noise: unknown modality 'sounds'.*Did you mean 'sound'"):
        fit(data, QUICK.changed("training", noise={"sounds": 0.5}), progress=False, allow_leak=True)


