"""Keyed randomness: pure functions of the key, uniform, independent."""

from __future__ import annotations

import numpy as np

from sensorium.keyed import Draws

ROWS = np.arange(20_000)


def test_a_row_alone_draws_what_it_draws_among_others() -> None:
    many = Draws(1, 2, ROWS).normal("p", 3, 4)
    alone = Draws(1, 2, np.array([137])).normal("p", 3, 4)
    assert np.array_equal(many[137], alone[0])
    assert np.array_equal(Draws(1, 2, np.array([5, 5])).bits("p")[:1], Draws(1, 2, np.array([5])).bits("p"))


def test_shorter_draws_are_the_beginning_of_longer_ones() -> None:
    draws = Draws(0, 0, ROWS[:10])
    assert np.array_equal(draws.uniform("p", 3), draws.uniform("p", 9)[:, :3])


def test_every_part_of_the_key_matters() -> None:
    base = Draws(0, 0, ROWS).uniform("p")
    for other in (Draws(1, 0, ROWS).uniform("p"), Draws(0, 1, ROWS).uniform("p"), Draws(0, 0, ROWS).uniform("q"),
                  Draws(0, 0, ROWS + len(ROWS)).uniform("p"), Draws(0, 0, ROWS).uniform("p", 2)[:, 1]):
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.03


def test_laws() -> None:
    draws = Draws(3, 0, ROWS)
    counts = np.bincount(draws.integers("i", high=10), minlength=10)
    assert ((counts - 2000) ** 2 / 2000).sum() < 30  # chi-square, 9 degrees of freedom
    uniform = np.sort(draws.uniform("u"))
    assert np.abs(uniform - (np.arange(len(ROWS)) + 0.5) / len(ROWS)).max() < 1.63 / np.sqrt(len(ROWS))
    normal = draws.normal("n")
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.02
    assert ((draws.uniform("u", low=2, high=3) >= 2) & (draws.uniform("u", low=2, high=3) < 3)).all()


def test_order_is_a_permutation_that_changes_with_the_epoch() -> None:
    first, second = Draws(0, 0, ROWS).order("o"), Draws(0, 1, ROWS).order("o")
    assert np.array_equal(np.sort(first), ROWS)
    assert (first != second).mean() > 0.99
