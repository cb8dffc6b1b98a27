"""The least joint information: known tables, a general solver beside, the certificate, tables with many zeros."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from sensorium.errors import DataError
from sensorium.metrics.broja import entropy, union_information


def _marginals(joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return joint.sum(axis=3), joint.sum(axis=2)


def _told(joint: np.ndarray) -> np.ndarray:
    """I(T; X, Y) of (table, t, x, y), by its definition."""
    return entropy(joint.sum(axis=(2, 3)), (1,)) + entropy(joint.sum(axis=1), (1, 2)) - entropy(joint, (1, 2, 3))


def _by_a_general_solver(joint: np.ndarray) -> float:
    """The same program given to SLSQP, in bits."""
    shape = joint.shape

    def value(flat: np.ndarray) -> float:
        return float(_told(np.maximum(flat, 0).reshape(1, *shape))[0])

    def miss(flat: np.ndarray) -> np.ndarray:
        table = flat.reshape(shape)
        return np.concatenate([(table.sum(2) - joint.sum(2)).ravel(), (table.sum(1) - joint.sum(1))[:, :-1].ravel()])

    start = np.einsum("tx,ty->txy", joint.sum(2), joint.sum(1) / joint.sum((1, 2))[:, None])
    return float(minimize(value, start.ravel(), method="SLSQP", bounds=[(0, 1)] * joint.size,
                          constraints={"type": "eq", "fun": miss}, options={"maxiter": 500, "ftol": 1e-12}).fun)


@pytest.mark.parametrize("concentration", [1.0, 0.2])
def test_a_general_solver_finds_the_same(concentration: float) -> None:
    joints = np.random.default_rng(0).dirichlet(np.full(18, concentration), size=4).reshape(4, 2, 3, 3)
    found = union_information(*_marginals(joints))
    for joint, bits in zip(joints, found.bits):
        reference = _by_a_general_solver(joint)
        assert bits <= reference + 1e-6
        assert bits == pytest.approx(reference, abs=2e-4)


def test_the_minimum_is_a_joint_distribution_with_these_marginals() -> None:
    joints = np.random.default_rng(0).dirichlet(np.full(60, 0.3), size=20).reshape(20, 3, 4, 5)
    found = union_information(*_marginals(joints))
    assert found.joint.min() >= 0
    np.testing.assert_allclose(found.joint.sum(axis=3), joints.sum(axis=3), atol=1e-12)
    np.testing.assert_allclose(found.joint.sum(axis=2), joints.sum(axis=2), atol=1e-12)
    np.testing.assert_allclose(_told(found.joint), found.bits, atol=1e-9)
    assert (found.gap <= 1e-7).all()
    assert (found.bits <= _told(joints) + 1e-7).all()


def test_no_coupling_with_these_marginals_tells_less() -> None:
    """Moves that keep both marginals, (x, y) + (x', y') − (x, y') − (x', y) for one t, never go lower."""
    random = np.random.default_rng(0)
    joint = random.dirichlet(np.full(27, 0.5)).reshape(1, 3, 3, 3)
    found = union_information(*_marginals(joint))
    for _ in range(300):
        t, (x, x2), (y, y2) = random.integers(3), random.permutation(3)[:2], random.permutation(3)[:2]
        moved = found.joint.copy()
        far = min(moved[0, t, x, y2], moved[0, t, x2, y]) * random.random()
        moved[0, t, x, y] += far
        moved[0, t, x2, y2] += far
        moved[0, t, x, y2] -= far
        moved[0, t, x2, y] -= far
        assert _told(moved)[0] >= found.bits[0] - 2e-7


def test_the_bound_is_below_every_coupling() -> None:
    """value − gap is a proven lower bound also where the method is stopped early."""
    joints = np.random.default_rng(1).dirichlet(np.full(27, 0.5), size=30).reshape(30, 3, 3, 3)
    exact = union_information(*_marginals(joints)).bits
    rough = union_information(*_marginals(joints), tolerance=0.01)
    assert (rough.gap <= 0.01).all() and rough.gap.max() > 1e-4
    assert (rough.bits - rough.gap <= exact + 1e-9).all()
    assert (rough.bits >= exact - 1e-7).all()


def test_many_at_once_are_each_alone() -> None:
    joints = np.random.default_rng(2).dirichlet(np.full(24, 0.3), size=12).reshape(12, 2, 3, 4)
    together = union_information(*_marginals(joints)).bits
    apart = [union_information(*_marginals(joint[None])).bits[0] for joint in joints]
    np.testing.assert_allclose(together, apart, atol=1e-9)


def test_swapping_sources_and_relabelling_changes_nothing() -> None:
    joint = np.random.default_rng(3).dirichlet(np.full(60, 0.3)).reshape(1, 3, 4, 5)
    with_x, with_y = _marginals(joint)
    bits = union_information(with_x, with_y).bits[0]
    assert union_information(with_y, with_x).bits[0] == pytest.approx(bits, abs=2e-7)
    shuffled = union_information(with_x[:, [2, 0, 1]][:, :, [3, 1, 0, 2]], with_y[:, [2, 0, 1]]).bits[0]
    assert shuffled == pytest.approx(bits, abs=2e-7)


def test_counts_with_many_zeros_and_tiny_cells() -> None:
    random = np.random.default_rng(0)
    counts = random.multinomial(300, random.dirichlet(np.full(1000, 0.1)), size=4).reshape(4, 10, 10, 10) / 300
    tiny = random.dirichlet(np.full(27, 0.03), size=50).reshape(50, 3, 3, 3)
    nearly = np.zeros((1, 2, 2, 2))
    nearly[0, 0, 0, 0], nearly[0, 1, 1, 1], nearly[0, 0, 1, 1] = 0.5, 0.5 - 1e-9, 1e-9
    for joints in (counts, tiny, nearly):
        assert (union_information(*_marginals(joints)).gap <= 1e-7).all()


def test_a_system_that_becomes_singular_on_the_way() -> None:
    """Forty rows of learned numbers: so many cells vanish at once that a Newton step has no unique solution."""
    with_x = [[3, 1, 0, 0, 0, 0, 3, 0, 0, 1, 0, 0], [0, 1, 1, 0, 1, 1, 0, 0, 0, 0, 2, 0],
              [0, 0, 0, 2, 0, 0, 0, 2, 3, 0, 0, 0], [0, 0, 0, 1, 0, 3, 0, 0, 0, 0, 1, 0],
              [0, 0, 0, 0, 2, 0, 0, 2, 1, 0, 0, 3], [0, 2, 1, 0, 0, 0, 1, 0, 0, 2, 0, 0]]
    with_y = [[1, 0, 3, 0, 0, 1, 0, 0, 0, 1, 1, 1], [0, 2, 0, 2, 0, 0, 1, 1, 0, 0, 0, 0],
              [0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 3, 1], [0, 1, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0],
              [0, 1, 0, 1, 0, 2, 0, 1, 2, 1, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 2]]
    found = union_information(np.array([with_x]) / 40, np.array([with_y]) / 40)
    assert (found.gap <= 1e-7).all()


def test_some_twenty_steps_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.metrics.broja.MAX_STEPS", 26)
    random = np.random.default_rng(0)
    for concentration in (10.0, 1.0, 0.1):
        joints = random.dirichlet(np.full(140, concentration), size=20).reshape(20, 4, 5, 7)
        assert (union_information(*_marginals(joints)).gap <= 1e-7).all()


def test_values_and_targets_that_never_occur_change_nothing() -> None:
    joint = np.random.default_rng(4).dirichlet(np.ones(8)).reshape(1, 2, 2, 2)
    padded = np.zeros((1, 4, 3, 5))
    padded[:, 1:3, 1:, 2:4] = joint
    expected = union_information(*_marginals(joint)).bits
    np.testing.assert_allclose(union_information(*_marginals(padded)).bits, expected, atol=2e-7)


@pytest.mark.parametrize(("with_x", "with_y", "words"), [
    (np.ones((1, 2, 2)) / 4, np.ones((1, 3, 2)) / 6, "for the same tables and targets"),
    (np.ones((1, 2, 2)) / 4, np.array([[[0.3, 0.3], [0.2, 0.2]]]), "the same P"),
    (np.ones((1, 2, 2)), np.ones((1, 2, 2)), "summing to 1"),
    (np.array([[[1.5, -0.5]]]), np.ones((1, 1, 1)), "not below 0"),
    (np.full((1, 30, 30), 1 / 900), np.full((1, 30, 30), 1 / 900), "1,800 cells, more than 1,200"),
])
def test_what_is_refused(with_x: np.ndarray, with_y: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        union_information(with_x, with_y)
