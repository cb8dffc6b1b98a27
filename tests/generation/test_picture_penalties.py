"""Penalties against finite differences, augmentation against loops and gradcheck."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sensorium.generation.augmentation import CHANGES, NUM_DRAWS, diff_augment
from sensorium.generation.penalties import matching_penalties, r1_penalties
from sensorium.generation.picture_discriminator import PictureDiscriminator

SIZE, WIDTH, STEP = 16, 4, 1e-5


def _tiny() -> tuple[PictureDiscriminator, Tensor, Tensor]:
    torch.manual_seed(0)
    discriminator = PictureDiscriminator(WIDTH, size=SIZE, channels=1, base=2).double().eval()
    random = torch.Generator().manual_seed(0)
    pictures = torch.randn(2, 1, SIZE, SIZE, generator=random, dtype=torch.float64)
    return discriminator, pictures, torch.randn(2, WIDTH, generator=random, dtype=torch.float64)


def _slopes(judge: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """(number,) ∂ logit / ∂ each number of one row's input, by differences, one number at a time."""
    steps = STEP * torch.eye(at.numel(), dtype=at.dtype).view(-1, *at.shape)
    return ((judge(at + steps) - judge(at - steps)) / (2 * STEP)).detach()


def _naive(discriminator: PictureDiscriminator, pictures: Tensor, condition: Tensor, name: str) -> Tensor:
    return torch.stack([_naive_of_one(discriminator, *pair, name) for pair in zip(pictures, condition, strict=True)])


def _naive_of_one(discriminator: PictureDiscriminator, picture: Tensor, known: Tensor, name: str) -> Tensor:
    square = _slopes(lambda moved: discriminator(moved, known.expand(len(moved), -1)), picture).square().sum()
    if name == "r1":
        return square
    features = discriminator.features(picture[None]).expand(WIDTH, -1, -1, -1)
    square = square + _slopes(lambda moved: discriminator.judge(features, moved), known).square().sum()
    return square**3 if name == "matching" else square


def _fast(discriminator: PictureDiscriminator, pictures: Tensor, condition: Tensor, name: str) -> Tensor:
    pictures, condition = pictures.clone().requires_grad_(), condition.clone().requires_grad_()
    logits = discriminator(pictures, condition)
    if name == "r1":
        return r1_penalties(logits, pictures)
    return matching_penalties(logits, pictures, condition, power=6.0 if name == "matching" else 2.0)


@pytest.mark.parametrize("name", ["r1", "matching", "squared"])
def test_penalties_are_the_slopes_by_differences_and_so_is_their_gradient(name: str) -> None:
    discriminator, pictures, condition = _tiny()
    found = _fast(discriminator, pictures, condition, name)
    torch.testing.assert_close(found, _naive(discriminator, pictures, condition, name), atol=0.0, rtol=1e-5)
    found.sum().backward()
    for part, place in (("from_picture", 3), ("joint.0", 5), ("widen", 1)):
        weight = discriminator.get_parameter(f"{part}.parametrizations.weight.original")
        with torch.no_grad():
            weight.view(-1)[place] += 1e-4
            above = _naive(discriminator, pictures, condition, name).sum()
            weight.view(-1)[place] -= 2e-4
            below = _naive(discriminator, pictures, condition, name).sum()
            weight.view(-1)[place] += 1e-4
        by_difference = (above - below) / 2e-4
        assert weight.grad.view(-1)[place].item() == pytest.approx(by_difference.item(), rel=1e-3, abs=1e-7)


def test_penalties_of_a_linear_judge_in_closed_form() -> None:
    pictures, condition = torch.ones(2, 1, 2, 2, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    logits = 2.0 * pictures.sum(dim=(1, 2, 3)) + 3.0 * condition.sum(dim=1)
    assert r1_penalties(logits, pictures).tolist() == [16.0, 16.0]
    assert matching_penalties(logits, pictures, condition, power=2.0).tolist() == [43.0, 43.0]
    assert matching_penalties(logits, pictures, condition).tolist() == [43.0**3, 43.0**3]


def test_gradients_pass_through_the_augmentation() -> None:
    random = torch.Generator().manual_seed(0)
    pictures = torch.randn(2, 3, 8, 8, generator=random, dtype=torch.float64, requires_grad=True)
    draws = torch.rand(2, NUM_DRAWS, generator=random, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda given: diff_augment(given, draws), pictures)
    assert torch.autograd.gradgradcheck(lambda given: diff_augment(given, draws[:1]), pictures[:1, :1, :4, :4])


def test_shifts_and_holes_as_by_hand() -> None:
    pictures = torch.arange(64.0).view(1, 1, 8, 8) + 1.0
    for down, across, rows, columns in ((0.0, 0.5, -1, 0), (0.5, 0.99, 0, 1), (1.0, 0.2, 1, -1)):
        draws = torch.full((1, NUM_DRAWS), 0.5)
        draws[0, 3], draws[0, 4] = down, across
        moved = diff_augment(pictures, draws, changes=frozenset({"shift"}))[0, 0]
        for row in range(8):
            for column in range(8):
                inside = 0 <= row - rows < 8 and 0 <= column - columns < 8
                assert moved[row, column] == (pictures[0, 0, row - rows, column - columns] if inside else 0.0)
    draws = torch.tensor([[0.5] * 5 + [0.0, 0.999]])
    hole = diff_augment(pictures, draws, changes=frozenset({"cutout"}))[0, 0] == 0.0
    assert hole[:2, 6:].all() and int(hole.sum()) == 4


def test_the_middle_of_all_draws_changes_no_colour_and_no_place() -> None:
    pictures = torch.rand(2, 3, 8, 8)
    middle = torch.full((2, NUM_DRAWS), 0.5)
    torch.testing.assert_close(diff_augment(pictures, middle, changes=CHANGES - {"cutout"}), pictures)
    assert torch.equal(diff_augment(pictures, middle, changes=frozenset()), pictures)


def test_colours_as_by_hand_and_every_row_by_its_own_draws() -> None:
    pictures = torch.rand(2, 3, 4, 4)
    draws = torch.tensor([[0.5] * NUM_DRAWS, [0.9, 0.25, 0.8, 0.5, 0.5, 0.5, 0.5]])
    found = diff_augment(pictures, draws, changes=frozenset({"colour"}))
    torch.testing.assert_close(found[0], pictures[0])
    brighter = pictures[1] + 0.4
    greyer = 0.5 * brighter + 0.5 * brighter.mean(dim=0)
    torch.testing.assert_close(found[1], greyer.mean() + 1.3 * (greyer - greyer.mean()))
