"""The losses of a matching-aware GAN: pure functions of the discriminator's logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

Game = Literal["hinge", "logistic"]


@dataclass(frozen=True)
class DiscriminatorLosses:
    """What the discriminator loses by each row.

    Args:
        matched: (batch,) by real pictures with their own condition, whose logits should be high.
        mismatched: (batch,) by real pictures with another row's condition, low; 0 in rows without such a row.
        painted: (batch,) by generated pictures with the condition they were painted for, low.
        rows: (batch,) matched + (mismatched + painted) / 2; matched + painted in rows without a mismatch.
    """

    matched: Float[Tensor, "batch"]
    mismatched: Float[Tensor, "batch"]
    painted: Float[Tensor, "batch"]
    rows: Float[Tensor, "batch"]


def discriminator_losses(
    matched: Float[Tensor, "batch"], mismatched: Float[Tensor, "batch"], painted: Float[Tensor, "batch"],
    differs: Bool[Tensor, "batch"], *, game: Game = "hinge",
) -> DiscriminatorLosses:
    """Real and matching up; real and mismatching, and painted and matching, down, each half.

    Hinge: max(0, 1 − l) up, max(0, 1 + l) down. Logistic: ln(1 + exp(−l)) up, ln(1 + exp(l)) down.

    Args:
        matched: logits of real pictures with their own condition.
        mismatched: logits of the same pictures with another row's condition; not read where `differs` is False.
        painted: logits of generated pictures with their condition.
        differs: True where the row has a mismatching condition.
        game: the kind of loss.

    Example:
        >>> two, none = torch.tensor([2.0, 0.5]), torch.tensor([True, False])
        >>> discriminator_losses(two, -two, torch.zeros(2), none).rows.tolist()
        [0.5, 1.5]

    Source: Tao et al. 2022, "DF-GAN", equation 2; the three kinds of pairs: Reed et al. 2016.
    """
    up = F.relu(1.0 - matched) if game == "hinge" else F.softplus(-matched)
    down_real, down_painted = (F.relu(1.0 + logits) if game == "hinge" else F.softplus(logits)
                               for logits in (torch.where(differs, mismatched, 0.0), painted))
    down_real = torch.where(differs, down_real, 0.0)
    rows = up + torch.where(differs, 0.5, 1.0) * down_painted + 0.5 * down_real
    return DiscriminatorLosses(up, down_real, down_painted, rows)


def generator_losses(painted: Float[Tensor, "batch"], *, game: Game = "hinge") -> Float[Tensor, "batch"]:
    """What the generator loses by each row: −l (hinge) or ln(1 + exp(−l)) (logistic), which pull the logits up.

    Args:
        painted: logits of generated pictures with their condition.
        game: the kind of loss.
    """
    return -painted if game == "hinge" else F.softplus(-painted)
