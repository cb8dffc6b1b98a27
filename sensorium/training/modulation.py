"""Modality balance while training: a modality that learns faster than the others is slowed (OGM-GE)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.keyed import Draws
from sensorium.model import Model

Floats = npt.NDArray[np.float64]
ENCODER = "encoders."


def coefficients(told: Floats, counted: Floats, alpha: float) -> Floats:
    """What each modality's steps are multiplied by.

        k_m = 1 − tanh(α · ρ_m) where ρ_m > 1, else 1;    ρ_m = s_m / mean of s over the other modalities

    Args:
        told: (modality,) sums of the probability of the truth, each modality alone.
        counted: (modality,) rows summed over; a modality without rows is not compared and keeps 1.
        alpha: strength, 0 or more.

    Returns:
        (modality,) in 0…1.

    Source: Peng et al. 2022, equations 8 to 10 (with several modalities: against the mean of the others).
    """
    known = counted > 0
    factors = np.ones(len(told))
    if known.sum() < 2:
        return factors
    scores = told / np.maximum(counted, 1)
    for place in np.flatnonzero(known):
        others = known & (np.arange(len(told)) != place)
        ratio = scores[place] / max(float(scores[others].mean()), 1e-12)
        if ratio > 1.0:
            factors[place] = 1.0 - np.tanh(alpha * ratio)
    return factors


def everywhere(alone: Tensor) -> Floats:
    """(modality, 2) the sums of all processes."""
    total = alone.detach().clone()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
    return np.asarray(total.double().cpu().numpy())


def modulate(model: Model, optimizer: torch.optim.Optimizer, alone: Tensor, draws: Draws) -> Floats:
    """Slow the encoders of the modalities that are ahead, for one optimiser step; returns the coefficients.

    The learning rate of an encoder is multiplied by its coefficient: with plain gradient descent that is the same as
    multiplying its gradient, as the source does, and with AdamW, whose steps do not depend on the scale of gradients,
    it is what gives the same slower steps. Noise of each weight's own gradient deviation is added where gradients were
    slowed, as the source does to keep the noise that helps to generalise.

    Args:
        model: with gradients.
        optimizer: with groups that know their `encoder` (a modality's place) and have this step's learning rate.
        alone: (modality, 2) of the step's `Loss`.
        draws: keyed by the step alone, so that every process draws the same noise.
    """
    sums = everywhere(alone)
    factors = coefficients(sums[:, 0], sums[:, 1], model.recipe.training.ogm_ge)
    slowed = np.flatnonzero(factors < 1.0)
    for group in optimizer.param_groups:
        place = group["encoder"]
        if place is not None:
            group["lr"] = group["lr"] * float(factors[place])
    for place in slowed.tolist():
        generator = torch.Generator().manual_seed(int(draws.integers(f"ogm_ge/{place}", high=2**31)[0]))
        for parameter in model.encoders[place].parameters():
            if parameter.grad is not None and parameter.grad.ndim >= 2:
                noise = torch.randn(parameter.grad.shape, generator=generator).to(parameter.grad)
                parameter.grad.add_(noise * parameter.grad.std())
    return factors


def encoder_place(name: str) -> int | None:
    """The place of the modality whose encoder a parameter is of; None for the rest of the model."""
    return int(name.removeprefix(ENCODER).partition(".")[0]) if name.startswith(ENCODER) else None
