"""Subset sampling: never empty, never more than there is, the right law, keyed by the row."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import RecipeError
from sensorium.keyed import Draws
from sensorium.recipe import TrainingOptions
from sensorium.training.subsets import missing_shares, sample_expected, sample_presence, sample_single

ROWS = np.arange(30_000)


def test_law_with_three_modalities() -> None:
    presence = np.ones((len(ROWS), 3), dtype=bool)
    drawn = sample_presence(presence, Draws(0, 0, ROWS), p_full=0.4)
    sizes = np.bincount(drawn.sum(axis=1), minlength=4) / len(ROWS)
    np.testing.assert_allclose(sizes, [0, 0.2, 0.2, 0.6], atol=0.01)  # .4 + .6/3, .6/3, .6/3
    singles = drawn[drawn.sum(axis=1) == 1]
    np.testing.assert_allclose(singles.mean(axis=0), 1 / 3, atol=0.02)


def test_only_what_is_there_and_never_nothing() -> None:
    presence = np.random.default_rng(0).random((5000, 4)) < 0.5
    presence[~presence.any(axis=1), 0] = True
    drawn = sample_presence(presence, Draws(1, 0, ROWS[:5000]), p_full=0.0)
    assert not (drawn & ~presence).any()
    assert drawn.any(axis=1).all()


def test_all_with_probability_one() -> None:
    presence = np.random.default_rng(0).random((100, 4)) < 0.7
    assert np.array_equal(sample_presence(presence, Draws(0, 0, ROWS[:100]), p_full=1.0), presence)


def test_keyed_by_row_and_epoch() -> None:
    presence = np.ones((100, 3), dtype=bool)
    many = sample_presence(presence, Draws(0, 0, ROWS[:100]), p_full=0.2)
    for row in (0, 17, 99):
        assert np.array_equal(sample_presence(presence[:1], Draws(0, 0, ROWS[[row]]), p_full=0.2)[0], many[row])
    assert not np.array_equal(many, sample_presence(presence, Draws(0, 1, ROWS[:100]), p_full=0.2))


def test_a_single_is_one_of_what_is_there() -> None:
    presence = np.random.default_rng(0).random((6000, 3)) < 0.6
    presence[~presence.any(axis=1), 1] = True
    drawn = sample_single(presence, Draws(0, 0, ROWS[:6000]))
    assert (drawn.sum(axis=1) == 1).all()
    assert not (drawn & ~presence).any()
    all_three = presence.all(axis=1)
    np.testing.assert_allclose(drawn[all_three].mean(axis=0), 1 / 3, atol=0.05)


def test_expected_missingness_is_followed_given_that_something_is_there() -> None:
    presence, lacking = np.ones((len(ROWS), 3), dtype=bool), np.array([0.3, 0.6, 0.0])
    drawn = sample_expected(presence, Draws(0, 0, ROWS), lacking)
    np.testing.assert_allclose(1 - drawn.mean(axis=0), lacking, atol=0.01)
    two = sample_expected(presence[:, :2], Draws(1, 0, ROWS), np.array([0.3, 0.6]))
    assert two.any(axis=1).all()
    np.testing.assert_allclose(1 - two.mean(axis=0), np.array([0.3 * 0.4, 0.6 * 0.7]) / (1 - 0.18), atol=0.01)


def test_expected_missingness_never_leaves_nothing() -> None:
    presence = np.random.default_rng(0).random((4000, 3)) < 0.5
    presence[~presence.any(axis=1), 0] = True
    drawn = sample_expected(presence, Draws(0, 0, ROWS[:4000]), np.array([1.0, 0.9, 1.0]))
    assert drawn.any(axis=1).all() and not (drawn & ~presence).any()
    assert not drawn[presence[:, 1]][:, [0, 2]].any()  # what is always missing is read only where nothing else is


def test_expectations_are_checked() -> None:
    options = TrainingOptions(expect={"audio": 0.3})
    assert missing_shares(TrainingOptions(), ("image", "audio")) is None
    np.testing.assert_array_equal(missing_shares(options, ("image", "audio")), [0.0, 0.3])
    with pytest.raises(RecipeError, match="Did you mean 'audio_'"):
        missing_shares(options, ("image", "audio_"))
    with pytest.raises(RecipeError, match="all modalities are always missing"):
        missing_shares(TrainingOptions(expect={"image": 1.0, "audio": 1.0}), ("image", "audio"))
