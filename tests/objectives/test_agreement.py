"""How well two modalities agree, against loops."""

from __future__ import annotations

import math

import numpy as np

from sensorium.objectives.agreement import SCALES, agreement


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_against_a_loop() -> None:
    random = np.random.default_rng(0)
    first = _unit(random.standard_normal((9, 4)))
    second = _unit(first + 0.7 * random.standard_normal((9, 4)))
    keys = np.full((9, 2), -1)
    keys[[2, 5], 0] = 7
    same = {(2, 5), (5, 2)}
    similar = (first @ second.T).astype(np.float32)

    def loss(scale: float) -> float:
        total = 0.0
        for row in range(9):
            for matrix in (similar, similar.T):
                terms = [math.exp(scale * matrix[row, other]) for other in range(9) if (row, other) not in same]
                total += -math.log(math.exp(scale * matrix[row, row]) / sum(terms))
        return total / 18

    found = agreement(first, second, keys)
    assert abs(found.loss - min(loss(scale) for scale in SCALES)) < 1e-5
    hits = [max(similar[row, other] for other in range(9) if other == row or (row, other) in same)
            > max(similar[row, other] for other in range(9) if other != row and (row, other) not in same)
            for row in range(9)]
    assert found.forth == np.mean(hits)


def test_the_best_temperature_makes_it_blind_to_how_sure_it_is() -> None:
    random = np.random.default_rng(1)
    perfect = _unit(random.standard_normal((50, 16)))
    keys = np.full((50, 1), -1)
    assert agreement(perfect, perfect, keys).loss < 1e-3
    assert agreement(perfect, perfect, keys).back == 1.0
    chance = agreement(perfect, _unit(random.standard_normal((50, 16))), keys)
    assert abs(chance.loss - math.log(50)) < 0.1
    collapsed = np.ones((50, 4)) / 2
    assert agreement(collapsed, collapsed, keys).forth == 0.0  # no tie is won


def test_only_right_answers() -> None:
    vectors = _unit(np.random.default_rng(2).standard_normal((5, 3)))
    found = agreement(vectors, vectors, np.zeros((5, 1), dtype=np.int64))
    assert found.loss == 0.0
    assert found.forth == 1.0
