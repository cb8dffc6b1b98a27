"""Temperature scaling: planted temperatures come back, degenerate inputs give 1."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics.calibration import apply_temperature, fit_temperature
from sensorium.metrics.classification import ece, log_loss


def _planted(temperature: float, num_rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax at `temperature` is the true distribution of the classes."""
    random = np.random.default_rng(0)
    honest = 2.0 * random.normal(size=(num_rows, 5))
    truth = np.array([random.choice(5, p=row) for row in apply_temperature(honest, 1.0)])
    return honest * temperature, truth


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_recovers_a_planted_temperature(temperature: float) -> None:
    logits, truth = _planted(temperature)
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(temperature, rel=0.05)
    if temperature != 1:
        assert ece(truth, apply_temperature(logits, found)) < 0.03 < ece(truth, apply_temperature(logits, 1.0))


def test_no_other_temperature_has_a_lower_log_loss() -> None:
    logits, truth = _planted(2.0, 500)
    best = log_loss(truth, apply_temperature(logits, fit_temperature(logits, truth)))
    for other in np.geomspace(0.05, 20, 200):
        assert log_loss(truth, apply_temperature(logits, other)) >= best - 1e-9


def test_scale_and_shift() -> None:
    """The temperature follows the logits' scale and ignores a constant added to a row."""
    logits, truth = _planted(1.0, 500)
    base = fit_temperature(logits, truth)
    assert fit_temperature(3 * logits, truth) == pytest.approx(3 * base, rel=1e-4)
    shift = np.random.default_rng(1).normal(size=(500, 1))
    assert fit_temperature(logits + 100 * shift, truth) == pytest.approx(base, rel=1e-4)
    assert fit_temperature(np.log(apply_temperature(logits, 1.0)), truth) == pytest.approx(base, rel=1e-4)


def test_stays_within_its_bounds() -> None:
    random = np.random.default_rng(0)
    noise, truth = 1e3 * random.normal(size=(300, 3)), random.integers(0, 3, 300)
    assert fit_temperature(noise, truth) == pytest.approx(20.0, rel=1e-3)
    logits, truth = _planted(1.0, 500)
    assert fit_temperature(1e-4 * logits, truth) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize(
    ("logits", "truth"),
    [
        (np.zeros((0, 3)), np.zeros(0, dtype=np.int64)),
        (np.ones((4, 1)), np.zeros(4, dtype=np.int64)),
        (np.ones((4, 3)), np.array([0, 1, 2, 0])),
        (np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([0, 1])),
        (np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([-1, -1])),
    ],
    ids=["no rows", "one class", "equal scores", "no row wrong", "unseen only"],
)
def test_nothing_to_fit_is_one(logits: np.ndarray, truth: np.ndarray) -> None:
    assert fit_temperature(logits, truth) == 1.0


def test_unseen_classes_are_left_out() -> None:
    logits, truth = _planted(2.0, 400)
    mixed = truth.copy()
    mixed[::2] = -1
    assert fit_temperature(logits, mixed) == fit_temperature(logits[1::2], truth[1::2])


def test_probabilities() -> None:
    logits = np.array([[1000.0, 0.0, -1000.0], [0.0, 0.0, -np.inf]])
    np.testing.assert_array_equal(apply_temperature(logits, 1.0), [[1, 0, 0], [0.5, 0.5, 0]])
    random = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(apply_temperature(random, 1e9), 0.25, atol=1e-8)
    np.testing.assert_allclose(apply_temperature(random, 0.3).sum(axis=1), 1)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(DataError, match=r"\(2, 3\) and \(3,\)"):
        fit_temperature(np.zeros((2, 3)), np.zeros(3, dtype=np.int64))
    with pytest.raises(DataError, match="class number 3 has no column"):
        fit_temperature(np.zeros((1, 3)), np.array([3]))
    with pytest.raises(DataError, match="not finite"):
        fit_temperature(np.array([[0.0, np.nan]]), np.array([0]))
    with pytest.raises(DataError, match=r"above 0, found 0\.0"):
        apply_temperature(np.zeros((1, 2)), 0.0)
