"""Shapley values: the axioms, known games, all orders by hand, and the sampled estimate."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations, permutations

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics.contribution import shapley, shapley_by_permutations

Subset = frozenset[str]
PLAYERS = ("photo", "note", "sound", "table")


def _every(players: tuple[str, ...]) -> list[Subset]:
    sizes = range(len(players) + 1)
    return [frozenset(chosen) for chosen in chain.from_iterable(combinations(players, size) for size in sizes)]


def _random_game(players: tuple[str, ...] = PLAYERS, seed: int = 0) -> dict[Subset, np.ndarray]:
    random = np.random.default_rng(seed)
    return {subset: random.normal(size=6) for subset in _every(players)}


def _game(value: Callable[[Subset], float], players: tuple[str, ...]) -> dict[Subset, np.ndarray]:
    return {subset: np.array([value(subset)]) for subset in _every(players)}


def test_equals_the_average_over_all_orders() -> None:
    game = _random_game()
    expected = {name: np.zeros(6) for name in PLAYERS}
    for order in permutations(PLAYERS):
        for place, name in enumerate(order):
            expected[name] += (game[frozenset(order[: place + 1])] - game[frozenset(order[:place])]) / 24
    found = shapley(game, PLAYERS)
    assert list(found) == list(PLAYERS)
    for name in PLAYERS:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-12)


def test_efficiency() -> None:
    game = _random_game()
    total = sum(shapley(game, PLAYERS).values())
    np.testing.assert_allclose(total, game[frozenset(PLAYERS)] - game[frozenset()], atol=1e-12)


def test_symmetry() -> None:
    swapped = {"photo": "note", "note": "photo"}
    game = _random_game()
    game = {s: game[s] + game[frozenset(swapped.get(name, name) for name in s)] for s in game}
    found = shapley(game, PLAYERS)
    np.testing.assert_allclose(found["photo"], found["note"], atol=1e-12)
    assert np.abs(found["photo"] - found["sound"]).max() > 0.1


def test_dummy() -> None:
    """A modality that never changes the score gets nothing, and does not change the others' shares."""
    game = _random_game()
    ignored = {s: game[s - {"table"}] for s in game}
    found, without = shapley(ignored, PLAYERS), shapley(game, PLAYERS[:3])
    np.testing.assert_allclose(found["table"], 0, atol=1e-12)
    for name in PLAYERS[:3]:
        np.testing.assert_allclose(found[name], without[name], atol=1e-12)


def test_additivity() -> None:
    first, second = _random_game(seed=1), _random_game(seed=2)
    both = shapley({s: first[s] + 2 * second[s] for s in first}, PLAYERS)
    one, two = shapley(first, PLAYERS), shapley(second, PLAYERS)
    for name in PLAYERS:
        np.testing.assert_allclose(both[name], one[name] + 2 * two[name], atol=1e-12)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda s: float(len(s) == 2), [0.5, 0.5]),
        (lambda s: float(len(s) >= 1), [0.5, 0.5]),
        (lambda s: float("a" in s), [1.0, 0.0]),
        (lambda s: 0.3 * ("a" in s) + 0.2 * ("b" in s) + 0.5 * (len(s) == 2), [0.55, 0.45]),
    ],
    ids=["XOR", "copy", "one knows all", "unique and synergy"],
)
def test_known_games(value: Callable[[Subset], float], expected: list[float]) -> None:
    found = shapley(_game(value, ("a", "b")), ("a", "b"))
    assert [float(found[name][0]) for name in ("a", "b")] == pytest.approx(expected)


def test_one_player_gets_everything() -> None:
    assert shapley({frozenset(): [1.0, 2.0], frozenset("a"): [4.0, 2.0]}, ["a"])["a"].tolist() == [3.0, 0.0]


def test_sampled_orders_are_exact_for_pairwise_games() -> None:
    """A pair of reversed orders sees every pair of players once in each order."""
    random = np.random.default_rng(0)
    players = tuple("abcdefg")
    alone, together = random.normal(size=7), random.normal(size=(7, 7))

    def value(subset: Subset) -> np.ndarray:
        there = np.array([name in subset for name in players])
        return np.array([alone[there].sum() + together[np.ix_(there, there)].sum(), 2.0 * there.sum()])

    found = shapley_by_permutations(value, players, num_pairs=2)
    exact = shapley({s: value(s) for s in _every(players)}, players)
    for name in players:
        np.testing.assert_allclose(found.values[name], exact[name], atol=1e-10)
        np.testing.assert_allclose(found.errors[name], 0, atol=1e-10)


def test_sampled_orders_err_as_they_say() -> None:
    players = tuple("abcdef")
    game = _random_game(players)
    exact = shapley(game, players)
    distances: list[np.ndarray] = []
    for seed in range(40):
        found = shapley_by_permutations(game.__getitem__, players, num_pairs=20, seed=seed)
        np.testing.assert_allclose(sum(found.values.values()), game[frozenset(players)] - game[frozenset()])
        distances.extend(((found.values[n] - exact[n]) / found.errors[n]).ravel() for n in players)
    spread = np.concatenate(distances)
    assert abs(spread.mean()) < 0.1
    assert spread.std() == pytest.approx(1.0, abs=0.12)


def test_each_subset_is_scored_once() -> None:
    calls: list[Subset] = []

    def value(subset: Subset) -> np.ndarray:
        calls.append(subset)
        return np.array([float(len(subset)) ** 2])

    found = shapley_by_permutations(value, PLAYERS, num_pairs=30)
    assert len(calls) == len(set(calls)) == found.num_subsets <= 16
    assert frozenset() in calls


def test_wrong_arguments_are_named() -> None:
    game = _random_game()
    del game[frozenset()]
    with pytest.raises(DataError, match="also of the empty set"):
        shapley(game, PLAYERS)
    with pytest.raises(DataError, match=r"each once, found \['a', 'a'\]"):
        shapley(game, ["a", "a"])
    with pytest.raises(DataError, match="at least 2 pairs"):
        shapley_by_permutations(lambda subset: [0.0], PLAYERS, num_pairs=1)
