"""Distil: the loss against a loop and its limits; rows and classes that the teacher does not know are never read."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.data.batch import Batch
from sensorium.data.schema import Target
from sensorium.encoders.base import Tokens
from sensorium.errors import RecipeError
from sensorium.fusion.base import Fused
from sensorium.objectives import Classify, Distil, Encoded, Lesson, Regress, View
from sensorium.objectives.distil import distillation_losses, imitation_losses
from sensorium.training.teaching import Answered

GENERATOR = torch.Generator().manual_seed(0)
KIND = Target(name="kind", task="classify", classes=("ant", "bee", "cat"), prior=(0.5, 0.3, 0.2))
SIZE = Target(name="size", task="regress", mean=5.0, std=2.0)


def test_the_loss_against_a_loop() -> None:
    student, teacher = (torch.randn(5, 4, generator=GENERATOR, dtype=torch.float64) for _ in range(2))
    found = distillation_losses(student, teacher, temperature=3.0)
    for row in range(5):
        p, q = ([math.exp(float(x) / 3.0) for x in one[row]] for one in (teacher, student))
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        assert abs(float(found[row]) - 9.0 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))) < 1e-12
    assert distillation_losses(teacher, teacher + 7.0, temperature=2.0).abs().max() < 1e-12  # logits have no zero


def test_the_loss_at_a_high_temperature_matches_centred_logits() -> None:
    student, teacher = (torch.randn(6, 5, generator=GENERATOR, dtype=torch.float64) for _ in range(2))
    gap = (student - student.mean(dim=1, keepdim=True)) - (teacher - teacher.mean(dim=1, keepdim=True))
    torch.testing.assert_close(distillation_losses(student, teacher, temperature=1e4), gap.square().mean(dim=1) / 2,
                               rtol=1e-3, atol=0)


def test_numbers_are_half_a_square() -> None:
    assert imitation_losses(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0])).tolist() == [0.0, 4.5]


def _view(vectors: Tensor) -> View:
    """Rows of one modality whose fused vector is given."""
    tokens = Tokens(vectors[:, None], torch.ones(len(vectors), 1, dtype=torch.bool))
    return View(Encoded({"m": tokens}, torch.ones(len(vectors), 1, dtype=torch.bool)),
                torch.ones(len(vectors), 1, dtype=torch.bool),
                lambda encoded, presence: Fused(encoded.tokens["m"].values[:, 0]), names=("m",))


def _batch(rows: list[int]) -> Batch:
    return Batch(torch.tensor(rows), torch.ones(len(rows), 1, dtype=torch.bool), {}, {})


def _lessons(known: list[bool]) -> dict[str, Lesson]:
    logits = torch.randn(len(known), 3, generator=GENERATOR)
    numbers = torch.randn(len(known), 1, generator=GENERATOR)
    mask = torch.tensor(known)
    return {"kind": Lesson(torch.where(mask[:, None], logits, torch.nan), mask, torch.tensor([0, 1, 2])),
            "size": Lesson(torch.where(mask[:, None], numbers, torch.nan), mask, torch.tensor([0]))}


def test_it_looks_answers_up_by_row_and_reads_no_unknown_one() -> None:
    heads = [Classify(KIND, 8), Regress(SIZE, 8)]
    lessons = _lessons([True, False, True, True, False])
    objective = Distil(heads, lessons, {"kind": 0.5, "size": 2.0}, temperature=2.0, weight=0.7)
    assert objective.weight == 0.7
    assert objective.learns_unlabelled and objective.training_only
    assert not list(objective.parameters()) and not objective.state_dict()  # the heads stay the model's
    vectors = torch.randn(4, 8, generator=GENERATOR, requires_grad=True)
    rows = [3, 1, 0, 4]
    loss = objective(_view(vectors), _batch(rows))
    kept = [0, 2]  # rows 3 and 0 of the table
    fused = Fused(vectors[kept])
    kind = distillation_losses(heads[0].outputs(fused), lessons["kind"].answers[[3, 0]], temperature=2.0).mean()
    size = imitation_losses(heads[1].outputs(fused)[:, 0], lessons["size"].answers[[3, 0], 0]).mean()
    torch.testing.assert_close(loss.total, 0.5 * kind + 2.0 * size)
    loss.total.backward()
    assert vectors.grad is not None
    assert vectors.grad[[1, 3]].abs().sum() == 0
    assert torch.isfinite(vectors.grad).all() and vectors.grad[kept].abs().sum() > 0


def test_nothing_known_is_exactly_zero_and_attached() -> None:
    heads = [Classify(KIND, 8), Regress(SIZE, 8)]
    loss = Distil(heads, _lessons([False] * 3), {})(_view(torch.randn(3, 8, generator=GENERATOR)), _batch([0, 1, 2]))
    assert loss.total.item() == 0.0
    loss.total.backward()
    assert all(parameter.grad is not None and not parameter.grad.any() for head in heads for parameter in
               head.parameters())


def test_classes_are_matched_by_name() -> None:
    teacher = Target(name="kind", task="classify", classes=("dog", "cat", "ant"), prior=(0.2, 0.3, 0.5))
    values = np.array([[9.0, 1.0, 2.0], [np.nan] * 3])
    lesson = Answered(teacher, values, balanced=False).lesson(KIND, balanced=False)
    assert lesson.columns.tolist() == [0, 2]  # ant and cat; nobody asks about dogs, nobody answers about bees
    assert lesson.answers[0].tolist() == [2.0, 1.0]
    assert lesson.known.tolist() == [True, False]
    adjusted = Answered(teacher, values, balanced=False).lesson(KIND, balanced=True)
    np.testing.assert_allclose(adjusted.answers[0], [2.0 - math.log(0.5), 1.0 - math.log(0.3)], rtol=1e-6)
    frequent = Answered(teacher, values, balanced=True).lesson(KIND, balanced=False)
    np.testing.assert_allclose(frequent.answers[0], [2.0 + math.log(0.5), 1.0 + math.log(0.3)], rtol=1e-6)
    numbers = Answered(SIZE, np.array([[9.0], [np.nan]]), balanced=False)
    assert numbers.lesson(Target(name="size", task="regress", mean=3.0, std=3.0), balanced=False).answers[0] == 2.0
    assert numbers.labels().mask.tolist() == [True, False]
    with pytest.raises(RecipeError, match=r"have 0 in common"):
        Answered(teacher, values, balanced=False).lesson(
            Target(name="kind", task="classify", classes=("x", "y")), balanced=False)
    with pytest.raises(RecipeError, match=r"to classify, here it is to regress"):
        Answered(teacher, values, balanced=False).lesson(SIZE, balanced=False)
    with pytest.raises(RecipeError, match="answers about kind, and the targets are size"):
        Distil([Regress(SIZE, 8)], {"kind": lesson}, {})
