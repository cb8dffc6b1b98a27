"""Distil: answer as a teacher does. It has no weights, and nothing of the teacher is in the model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from sensorium.data.batch import Batch
from sensorium.errors import RecipeError
from sensorium.objectives.base import Loss, Objective, Predictor, View, mean_over_labelled


def distillation_losses(
    student: Float[Tensor, "batch class_"], teacher: Float[Tensor, "batch class_"], *, temperature: float,
) -> Float[Tensor, "batch"]:
    """τ² · KL(softmax(teacher / τ) ‖ softmax(student / τ)) of each row, in nats.

    τ² keeps the size of the gradient about the same for every τ; as τ grows, it becomes that of half the squared
    difference of centred logits over the number of classes.

    Args:
        student, teacher: logits, any real numbers.
        temperature: τ, above 0.

    Source: Hinton et al. 2015, "Distilling the knowledge in a neural network", section 2 (there a cross-entropy, which
    differs by the teacher's entropy, a constant).
    """
    wanted = F.log_softmax(teacher / temperature, dim=1)
    said = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * (wanted.exp() * (wanted - said)).sum(dim=1)


def imitation_losses(student: Float[Tensor, "batch"], teacher: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
    """Half the squared difference of standardised numbers of each row."""
    return 0.5 * (student - teacher).square()


@dataclass(frozen=True)
class Lesson:
    """What a teacher answers about one target, for every row of the student's table.

    Args:
        answers: (row, output) logits of the classes that both know, or (row, 1) numbers, standardised as the student's.
            Whatever stands in rows that are not known is not read.
        known: (row,) True where the teacher answers.
        columns: (output,) the student's outputs that these are answers to.
    """

    answers: Float[Tensor, "row output"]
    known: Bool[Tensor, "row"]
    columns: Int[Tensor, "output"]


class Distil(Objective):
    """Σ over targets of their weight times the mean loss over the rows that the teacher answers, labelled or not.

    It reads the heads that predict the targets, on this step's sampled subset of modalities, and has no weights of its
    own. Classes that only one of the two knows are left out of both softmaxes.

    Args:
        predictors: the heads of the model that learns; they stay the model's.
        lessons: target → what the teacher answers.
        weights: target → its weight in the joint loss.
        temperature: τ of `distillation_losses`.
        weight: λ of the objective.

    Raises:
        RecipeError: the teacher answers about none of the targets.
    """

    learns_unlabelled = True
    training_only = True

    def __init__(
        self, predictors: Sequence[Predictor], lessons: Mapping[str, Lesson], weights: Mapping[str, float], *,
        temperature: float = 2.0, weight: float = 1.0,
    ) -> None:
        super().__init__("distil", weight)
        taught = {one.name: one for one in predictors if one.name in lessons}
        if not taught:
            raise RecipeError(f"objective distil: the teacher answers about {', '.join(lessons) or 'nothing'}, and the "
                              f"targets are {', '.join(one.name for one in predictors) or 'none'}")
        self._predictors = taught  # a plain dictionary, so that they are not registered twice
        self._lessons = dict(lessons)
        self._weights = dict(weights)
        self.temperature = temperature

    def forward(self, view: View, batch: Batch) -> Loss:
        """The loss of this step's sampled subsets."""
        total = torch.zeros((), device=view.presence.device)
        for name, predictor in self._predictors.items():
            total = total + self._weights.get(name, 1.0) * self._one(predictor, self._lessons[name], view, batch)
        return Loss(total, {"distil": total})

    def _one(self, predictor: Predictor, lesson: Lesson, view: View, batch: Batch) -> Float[Tensor, ""]:
        """One target's loss; exactly 0, but attached, where the teacher answers nothing in these rows."""
        fused, rows = view.restricted(predictor).fuse()
        if fused is None:
            nothing = sum((0.0 * parameter.sum() for parameter in predictor.parameters()), rows.new_zeros(()))
            return mean_over_labelled(nothing.expand(1), torch.zeros(1, dtype=torch.bool, device=rows.device))
        where = batch.rows[rows].to(lesson.known.device)
        known = lesson.known[where].to(rows.device)
        answers = lesson.answers[where].to(rows.device)
        answers = torch.where(known[:, None], answers, 0.0)
        outputs = predictor.outputs(fused).float()[:, lesson.columns.to(rows.device)]
        losses = (imitation_losses(outputs[:, 0], answers[:, 0]) if outputs.shape[1] == 1 else
                  distillation_losses(outputs, answers, temperature=self.temperature))
        return mean_over_labelled(losses, known)
