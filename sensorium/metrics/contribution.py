"""How much each modality contributes to a score: Shapley values over modalities, per row.

φ_i = Σ_{S ⊆ N∖{i}} |S|! (M − |S| − 1)! / M! · (v(S ∪ {i}) − v(S))      (Shapley 1953)

v(S) is any score of what is predicted from the modalities S, for every row: bits of the true class, −squared error,
… . It is the only division of v(N) − v(∅) that treats equals equally, gives nothing to a modality that never
changes anything, and adds up over scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.keyed import Draws

Floats = npt.NDArray[np.float64]
Subset = frozenset[str]


@dataclass(frozen=True)
class SampledContribution:
    """Shapley values from sampled orders.

    Args:
        values: name → (row,) estimates; their sum over names is v(all) − v(∅) exactly.
        errors: name → (row,) standard errors of those estimates.
        num_subsets: how many subsets were scored.
    """

    values: dict[str, Floats]
    errors: dict[str, Floats]
    num_subsets: int


def shapley(values: Mapping[Subset, npt.ArrayLike], players: Sequence[str]) -> dict[str, Floats]:
    """Exact Shapley values from the scores of all 2^M subsets.

    Args:
        values: subset of `players` → (row,) scores, the empty set included; other subsets are not read.
        players: the modalities that share the score, at least one, each once.

    Returns:
        name → (row,) float64, in units of the score; they sum to v(all) − v(∅).

    Raises:
        DataError: a subset is missing, or players repeat.

    Example:
        >>> game = {frozenset(): 0.0, frozenset("a"): 1.0, frozenset("b"): 0.0, frozenset("ab"): 3.0}
        >>> {name: float(share) for name, share in shapley(game, ["a", "b"]).items()}
        {'a': 2.0, 'b': 1.0}
    """
    _check_players(players)
    shares: dict[str, Floats] = {}
    for player in players:
        others = [name for name in players if name != player]
        total: Floats = np.zeros(())
        for size in range(len(players)):
            weight = 1.0 / (len(players) * comb(len(players) - 1, size))
            for chosen in combinations(others, size):
                without = frozenset(chosen)
                total = total + weight * (_score(values, without | {player}) - _score(values, without))
        shares[player] = total
    return shares


def shapley_by_permutations(
    value: Callable[[Subset], npt.ArrayLike],
    players: Sequence[str],
    *,
    num_pairs: int = 32,
    seed: int = 0,
) -> SampledContribution:
    """Shapley values estimated from antithetic pairs of orders, for more than about five modalities.

    A player's contribution is v(those before it and itself) − v(those before it), averaged over random orders (Castro
    et al. 2009). Each order is paired with its reverse (Mitchell et al. 2022), whose errors oppose: a game without
    interactions of more than two players is exact after one pair. The standard error is that of the pairs' means.

    Args:
        value: subset → (row,) scores; called once for each distinct subset, the empty one included.
        players: the modalities that share the score, at least one, each once.
        num_pairs: pairs of orders, at least 2; at most num_pairs · 2 (M − 1) + 2 subsets are scored.
        seed: the run's seed; pair k depends on (seed, k) alone.
    """
    _check_players(players)
    if num_pairs < 2:
        raise DataError(f"a standard error needs at least 2 pairs of orders, found num_pairs={num_pairs}")
    memory: dict[Subset, Floats] = {}

    def score(subset: Subset) -> Floats:
        if subset not in memory:
            memory[subset] = np.asarray(value(subset), dtype=np.float64)
        return memory[subset]

    mean: dict[str, Floats] = {name: np.zeros(()) for name in players}
    squares: dict[str, Floats] = {name: np.zeros(()) for name in players}
    ranks = Draws(seed, 0, np.arange(num_pairs)).bits("shapley", len(players))
    for pair in range(num_pairs):
        order = [players[position] for position in np.argsort(ranks[pair], kind="stable")]
        forward, backward = _gains(score, order), _gains(score, order[::-1])
        for name in players:
            gain = (forward[name] + backward[name]) / 2
            step = gain - mean[name]
            mean[name] = mean[name] + step / (pair + 1)
            squares[name] = squares[name] + step * (gain - mean[name])
    errors = {name: np.sqrt(squares[name] / (num_pairs * (num_pairs - 1))) for name in players}
    return SampledContribution(mean, errors, len(memory))


def _gains(score: Callable[[Subset], Floats], order: Sequence[str]) -> dict[str, Floats]:
    """What each player adds as it joins those before it."""
    gains: dict[str, Floats] = {}
    joined: Subset = frozenset()
    for name in order:
        gains[name] = score(joined | {name}) - score(joined)
        joined = joined | {name}
    return gains


def _score(values: Mapping[Subset, npt.ArrayLike], subset: Subset) -> Floats:
    if subset not in values:
        raise DataError(f"Shapley values need the score of every subset, also of {sorted(subset) or 'the empty set'}: "
                        "add it, or estimate with shapley_by_permutations")
    return np.asarray(values[subset], dtype=np.float64)


def _check_players(players: Sequence[str]) -> None:
    if len(players) == 0 or len(set(players)) != len(players):
        raise DataError(f"expected at least one modality, each once, found {list(players)!r}")
