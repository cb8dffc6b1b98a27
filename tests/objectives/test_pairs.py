"""Which subsets a step contrasts: disjoint, shown by enough rows, the same wherever the step is computed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from sensorium.objectives.pairs import drawn_pair, single_pairs


def test_two_modalities_are_always_clip() -> None:
    presence = np.array([[True, True], [True, False], [True, True]])
    assert {drawn_pair(presence, lot) for lot in range(20)} == {((0,), (1,))}


def test_every_disjoint_pair_is_drawn_equally_often() -> None:
    presence = np.ones((4, 3), dtype=bool)
    drawn = Counter(drawn_pair(presence, lot) for lot in range(6000))
    assert len(drawn) == 12  # 3³ assignments, minus 2 · 2³ − 1 with an empty side
    assert all(abs(count - 500) < 110 for count in drawn.values())
    for pair in drawn:
        assert pair is not None
        assert not set(pair[0]) & set(pair[1])


def test_a_pair_is_one_that_two_rows_can_show() -> None:
    presence = np.array([[True, True, False], [True, True, False], [False, True, True], [True, False, True]])
    assert {frozenset(pair) for lot in range(50) if (pair := drawn_pair(presence, lot))} == {frozenset({(0,), (1,)})}
    assert drawn_pair(np.eye(3, dtype=bool), 0) is None
    assert drawn_pair(np.ones((5, 1), dtype=bool), 0) is None


def test_pairs_and_anchor() -> None:
    presence = np.ones((3, 3), dtype=bool)
    assert single_pairs(presence) == [((0,), (1,)), ((0,), (2,)), ((1,), (2,))]
    assert single_pairs(presence, 1) == [((1,), (0,)), ((1,), (2,))]
    presence[1:, 2] = False
    assert single_pairs(presence) == [((0,), (1,))]
