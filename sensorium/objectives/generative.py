"""Objectives that make one modality from any of the others: captions, pictures, answers in words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.data.batch import Aim, Batch
from sensorium.encoders.base import Tokens
from sensorium.keyed import Draws
from sensorium.objectives.base import Loss, Objective, View, mean_over_labelled, rows_of


@dataclass(frozen=True)
class Condition:
    """What something is made from.

    Args:
        vector: (batch, width) the fused subset.
        tokens: by modality, of the same rows.
        presence: (batch, modality) what may be read of each row.
    """

    vector: Float[Tensor, "batch width"]
    tokens: dict[str, Tokens]
    presence: Bool[Tensor, "batch modality"]

    def rows(self, chosen: Int[Tensor, "chosen"]) -> Condition:
        """The condition of some of the rows."""
        tokens = {name: Tokens(one.values[chosen], one.mask[chosen]) for name, one in self.tokens.items()}
        return Condition(self.vector[chosen], tokens, self.presence[chosen])


class Generative(Objective, ABC):
    """An objective that learns to make a modality, which it never reads, from any subset of the others.

    It needs no label, and is called once a step: with the step's sampled subset, or where that shows nothing it may
    read, with all that the row has.

    Args:
        name: of the objective.
        weight: its factor in the joint loss.
        to: the modality that is made.

    Attributes:
        score_word: what `judge` scores, where higher is better; None: nothing.
        adversarial: whether its loss says nothing about how good it is, so that nothing may stop by it.
    """

    learns_unlabelled = True
    adversarial: bool = False
    score_word: str | None = None

    def __init__(self, name: str, weight: float, to: str) -> None:
        super().__init__(name, weight)
        self.to_name = to
        self.hidden = frozenset({to})

    def condition(
        self, view: View, presence: Bool[Tensor, "batch modality"] | None = None,
    ) -> tuple[Condition | None, Int[Tensor, "kept"]]:
        """What may be read of each row (by default of this step's subset, filled up); None where no row has anything.

        Args:
            view: restricted to this objective.
            presence: read exactly this of each row.
        """
        chosen = view.filled(view.presence) if presence is None else presence
        fused, rows = view.fuse(chosen)
        if fused is None:
            return None, rows
        encoded = rows_of(view.encoded, rows)
        return Condition(fused.vector, encoded.tokens, view.allowed(chosen)[rows]), rows

    @abstractmethod
    def losses(self, condition: Condition, aim: Aim, draws: Draws) -> Float[Tensor, "batch"]:
        """Each row's loss; aim and draws are of the condition's rows."""

    @abstractmethod
    def judge(
        self, condition: Condition, aim: Aim, draws: Draws,
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]] | None:
        """Each row's loss on held-out rows, and its score (NaN without one); None where a loss would say nothing."""

    def forward(self, view: View, batch: Batch) -> Loss:
        """The mean loss over the rows that show something and have what is to be made."""
        found = self.aimed(view, batch)
        if found is None:
            nothing = sum((0.0 * parameter.sum() for parameter in self.parameters() if parameter.requires_grad),
                          torch.zeros((), device=batch.presence.device))
            total = mean_over_labelled(nothing.expand(1), torch.zeros(1, dtype=torch.bool, device=nothing.device))
            return Loss(total, {self.name: total})
        losses = self.losses(*found)
        total = mean_over_labelled(losses, torch.ones_like(losses, dtype=torch.bool))
        return Loss(total, {self.name: total})

    def aimed(
        self, view: View, batch: Batch, presence: Bool[Tensor, "batch modality"] | None = None,
    ) -> tuple[Condition, Aim, Draws] | None:
        """Condition, aim and draws of the rows that have both; None where no row has."""
        condition, rows = self.condition(view, presence)
        aim = batch.aims[self.to_name]
        common = np.intersect1d(rows.cpu().numpy(), aim.rows.cpu().numpy(), return_indices=True)
        if condition is None or len(common[0]) == 0:
            return None
        lot = 0 if batch.step is None else batch.step.lot
        kept = torch.from_numpy(common[1]).to(rows.device)
        chosen = rows[kept]
        return (condition.rows(kept), Aim(tuple(aim.arrays[place] for place in common[2].tolist()), chosen),
                Draws(lot, 0, batch.rows[chosen].cpu().numpy()))

