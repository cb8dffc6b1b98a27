"""Uncertainty weighting: its formula, its optimum, and losses that are not there."""

from __future__ import annotations

import math

import torch

from sensorium.objectives.weighting import MOST, UncertaintyWeighting


def test_by_hand_and_gradient() -> None:
    weighting = UncertaintyWeighting(["a", "b"])
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([0.5, -1.0]))
    loss = torch.tensor(2.0, requires_grad=True)
    total = weighting("b", loss)
    assert abs(float(total.detach()) - (math.e * 2.0 - 0.5)) < 1e-6
    total.backward()
    assert abs(float(loss.grad) - math.e) < 1e-6  # type: ignore[arg-type]
    torch.testing.assert_close(weighting.log_variances.grad, torch.tensor([0.0, 0.5 - 2.0 * math.e]))
    assert abs(weighting.weights()["a"] - math.exp(-0.5)) < 1e-6


def test_the_optimum_weighs_by_one_over_twice_the_loss() -> None:
    weighting = UncertaintyWeighting(["small", "large"])
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.2)
    for _ in range(2000):
        optimizer.zero_grad()
        total = weighting("small", torch.tensor(0.1)) + weighting("large", torch.tensor(3.0))
        total.backward()
        optimizer.step()
    found = weighting.weights()
    assert abs(found["small"] - 5.0) < 0.01 and abs(found["large"] - 1 / 6) < 0.001


def test_a_loss_that_is_not_there_leaves_its_weight_alone() -> None:
    weighting = UncertaintyWeighting(["a"])
    weighting("a", torch.tensor(0.0)).backward()
    assert weighting.log_variances.grad is not None and not weighting.log_variances.grad.any()


def test_weights_are_bounded() -> None:
    weighting = UncertaintyWeighting(["a"])
    with torch.no_grad():
        weighting.log_variances.fill_(-50.0)
    assert abs(weighting.weights()["a"] - math.exp(MOST)) < 1e-3
    assert abs(float(weighting("a", torch.tensor(1.0)).detach()) - (math.exp(MOST) - MOST / 2)) < 1e-3
