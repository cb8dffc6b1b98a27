"""Losses against naive references, and the contract of objectives."""

from __future__ import annotations

import math

import pytest
import torch

from sensorium.data.schema import Target
from sensorium.objectives import Classify, Regress
from sensorium.objectives.base import mean_over_labelled
from sensorium.objectives.classify import classification_losses
from sensorium.objectives.regress import regression_losses

GENERATOR = torch.Generator().manual_seed(0)


def test_classification_against_a_loop() -> None:
    logits = torch.randn(7, 4, generator=GENERATOR, dtype=torch.float64)
    truth = torch.tensor([0, 1, 2, 3, 0, 1, -1])
    log_prior = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))
    found = classification_losses(logits, truth, label_smoothing=0.2, log_prior=log_prior)
    for row in range(7):
        adjusted = [float(logits[row, c]) + math.log((c + 1) / 10) for c in range(4)]
        total = math.log(sum(math.exp(a) for a in adjusted))
        wanted = [0.05 + 0.8 * (c == int(truth[row])) for c in range(4)]
        expected = sum(w * (total - a) for w, a in zip(wanted, adjusted, strict=True)) if truth[row] >= 0 else 0.0
        assert abs(float(found[row]) - expected) < 1e-12


def test_logit_adjustment_learns_the_balanced_posterior() -> None:
    """With one constant input the logits learn nothing but the prior; the adjustment takes exactly it away."""
    truth = torch.tensor([0] * 90 + [1] * 10)
    prior = torch.tensor([0.9, 0.1])
    logits = torch.zeros(1, 2, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=1.0)
    for _ in range(500):
        optimizer.zero_grad()
        classification_losses(logits.expand(100, 2), truth, log_prior=prior.log()).mean().backward()
        optimizer.step()
    torch.testing.assert_close(logits.softmax(dim=1), torch.tensor([[0.5, 0.5]]), atol=1e-3, rtol=0)


def test_regression_is_half_a_square_then_linear() -> None:
    error = torch.tensor([0.0, 1.0, -2.0, 3.0])
    torch.testing.assert_close(regression_losses(error, torch.zeros(4)), torch.tensor([0.0, 0.5, 2.0, 4.0]))


def test_mean_over_labelled_never_reads_the_others() -> None:
    losses = torch.tensor([1.0, 3.0, torch.nan], requires_grad=True)
    mean = mean_over_labelled(losses, torch.tensor([True, True, False]))
    assert mean.item() == 2.0
    mean.backward()
    assert losses.grad is not None
    assert losses.grad.tolist() == [0.5, 0.5, 0.0]
    nothing = mean_over_labelled(torch.ones(2, requires_grad=True), torch.zeros(2, dtype=torch.bool))
    assert nothing.item() == 0.0
    nothing.backward()


@pytest.mark.parametrize("name", ["classify", "regress"])
def test_contract(name: str) -> None:
    target = Target(name="t", task="classify" if name == "classify" else "regress", classes=("a", "b", "c"), mean=5.0,
                    std=2.0, weight=0.3)
    objective = Classify(target, 8) if name == "classify" else Regress(target, 8)
    assert objective.name == "t"
    assert objective.weight == 0.3
    assert objective.hidden == frozenset()
    assert objective.needs == frozenset()
    outputs = torch.randn(5, 3 if name == "classify" else 1, generator=GENERATOR)
    truth = torch.tensor([0, 1, 2, 0, 1]) if name == "classify" else torch.tensor([5.0, 7.0, 3.0, 4.0, 6.0])
    losses = objective.losses(outputs, truth)
    assert losses.shape == (5,)
    assert (losses >= 0).all()


def test_regress_standardises_the_truth() -> None:
    objective = Regress(Target(name="t", task="regress", mean=5.0, std=2.0), 8)
    assert objective.losses(torch.tensor([[1.0]]), torch.tensor([7.0])).item() == 0.0
