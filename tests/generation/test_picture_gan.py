"""Generator and discriminator: shapes, gradients everywhere, rows on their own, spectral norm 1, losses by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sensorium.errors import RecipeError
from sensorium.generation.adversarial import Game, discriminator_losses, generator_losses
from sensorium.generation.averaging import moving_average
from sensorium.generation.mismatch import mismatches
from sensorium.generation.painter import halvings
from sensorium.generation.picture_discriminator import PictureDiscriminator
from sensorium.generation.picture_generator import PictureGenerator

WIDTH, SIZE = 12, 16


def _drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _generator(size: int = SIZE, channels: int = 3) -> PictureGenerator:
    torch.manual_seed(0)
    return PictureGenerator(WIDTH, size=size, channels=channels, noise_width=5, base=8)


def _discriminator(size: int = SIZE, channels: int = 3) -> PictureDiscriminator:
    torch.manual_seed(0)
    return PictureDiscriminator(WIDTH, size=size, channels=channels, base=8)


@pytest.mark.parametrize("size", [16, 24, 32, 64, 72, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_side_that_is_a_multiple_of_eight(size: int, channels: int) -> None:
    generator, discriminator = _generator(size, channels), _discriminator(size, channels)
    assert generator.noise_shape == (5,)
    pictures = generator.paint(_drawn(2, WIDTH), _drawn(2, 5))
    assert pictures.shape == (2, channels, size, size) and pictures.abs().max() <= 1.0
    assert discriminator(pictures, _drawn(2, WIDTH)).shape == (2,)


def test_what_cannot_be_painted_is_refused() -> None:
    with pytest.raises(RecipeError, match="pictures of 30 pixels a side cannot be painted: choose a multiple of 8"):
        PictureGenerator(WIDTH, size=30, channels=3)
    with pytest.raises(RecipeError, match="pictures of 4 channels cannot be painted"):
        PictureDiscriminator(WIDTH, size=32, channels=4)
    assert [halvings(size) for size in (16, 24, 32, 40, 64, 120, 128)] == [2, 2, 3, 3, 4, 3, 5]


def test_every_parameter_gets_a_gradient() -> None:
    generator, discriminator = _generator(), _discriminator()
    generator_losses(discriminator(generator(_drawn(6, WIDTH), _drawn(6, 5)), _drawn(6, WIDTH))).mean().backward()
    for module in (generator, discriminator):
        for name, parameter in module.named_parameters():
            if name != "joint.2.bias":  # the last bias moves every logit alike: its gradient is the mean of −1
                assert parameter.grad is not None and parameter.grad.abs().sum() > 1e-8, name


def test_a_row_does_not_see_the_other_rows() -> None:
    generator, discriminator = _generator().double(), _discriminator().double().eval()
    condition, noise = _drawn(4, WIDTH).double(), _drawn(4, 5).double()
    pictures = generator(condition, noise)
    logits = discriminator(pictures, condition)
    wild = torch.cat([condition[:2], 50.0 - condition[2:]])
    others = generator(wild, torch.cat([noise[:2], 9.0 * noise[2:]]))
    torch.testing.assert_close(others[:2], pictures[:2], atol=1e-10, rtol=0.0)
    torch.testing.assert_close(discriminator(others, wild)[:2], logits[:2], atol=1e-10, rtol=0.0)
    assert not torch.allclose(others[2:], pictures[2:])
    torch.testing.assert_close(generator(condition[3:], noise[3:]), pictures[3:], atol=1e-10, rtol=0.0)


def test_condition_and_noise_both_matter_and_guidance_calms_the_noise() -> None:
    generator = _generator()
    condition, noise = _drawn(4, WIDTH), _drawn(4, 5)
    pictures = generator(condition, noise)
    assert (generator(condition.flip(0), noise) - pictures).abs().max() > 0.01
    assert (generator(condition, noise.flip(0)) - pictures).abs().max() > 0.01
    assert torch.equal(generator.paint(condition, noise), pictures)
    assert torch.equal(generator.paint(condition, noise, guidance=2.0), generator(condition, noise / 2.0))


def test_features_once_serve_any_condition() -> None:
    discriminator = _discriminator().eval()
    pictures, condition = _drawn(3, 3, SIZE, SIZE), _drawn(3, WIDTH)
    features = discriminator.features(pictures)
    assert torch.equal(discriminator.judge(features, condition), discriminator(pictures, condition))
    assert torch.equal(discriminator.judge(features, condition.flip(0)), discriminator(pictures, condition.flip(0)))
    assert not torch.allclose(discriminator(pictures, condition), discriminator(pictures, condition.flip(0)))


def test_spectral_norms_stay_at_one_while_weights_move() -> None:
    discriminator = _discriminator()
    optimiser = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    for step in range(30):
        optimiser.zero_grad()
        discriminator(_drawn(4, 3, SIZE, SIZE, seed=step), _drawn(4, WIDTH, seed=step)).square().mean().backward()
        optimiser.step()
    layers = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 11
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert 0.8 < norm < 1.05


def test_a_state_on_disk_is_the_whole_of_it() -> None:
    torch.manual_seed(1)
    generator, discriminator = _generator(), _discriminator()
    other = PictureGenerator(WIDTH, size=SIZE, channels=3, noise_width=5, base=8)
    judge = PictureDiscriminator(WIDTH, size=SIZE, channels=3, base=8)
    other.load_state_dict(generator.state_dict())
    judge.load_state_dict(discriminator.state_dict())
    condition, noise = _drawn(3, WIDTH), _drawn(3, 5)
    assert torch.equal(other(condition, noise), generator(condition, noise))
    for _ in range(2):  # each pass moves the estimate of the spectral norm, from the same place to the same place
        assert torch.equal(judge(other(condition, noise), condition), discriminator(other(condition, noise), condition))


def test_losses_on_hand_made_logits() -> None:
    matched, mismatched = torch.tensor([2.0, 0.0, -1.0]), torch.tensor([-2.0, 0.0, 9.0])
    painted = torch.tensor([-3.0, 1.0, 0.0])
    differs = torch.tensor([True, True, False])
    hinge = discriminator_losses(matched, mismatched, painted, differs, game="hinge")
    assert hinge.matched.tolist() == [0.0, 1.0, 2.0]
    assert hinge.mismatched.tolist() == [0.0, 1.0, 0.0]
    assert hinge.painted.tolist() == [0.0, 2.0, 1.0]
    assert hinge.rows.tolist() == [0.0, 1.0 + 0.5 + 1.0, 2.0 + 1.0]
    logistic = discriminator_losses(matched, mismatched, painted, differs, game="logistic")
    torch.testing.assert_close(logistic.matched, torch.log1p(torch.exp(-matched)))
    torch.testing.assert_close(logistic.mismatched[:2], torch.log1p(torch.exp(mismatched[:2])))
    torch.testing.assert_close(logistic.painted, torch.log1p(torch.exp(painted)))
    expected = logistic.matched + 0.5 * (logistic.mismatched + logistic.painted)
    torch.testing.assert_close(logistic.rows[:2], expected[:2])
    assert generator_losses(painted, game="hinge").tolist() == [3.0, -1.0, -0.0]
    torch.testing.assert_close(generator_losses(painted, game="logistic"), torch.log1p(torch.exp(-painted)))


@pytest.mark.parametrize("game", ["hinge", "logistic"])
def test_the_logit_of_no_mismatch_is_not_read(game: Game) -> None:
    mismatched = torch.tensor([0.0, torch.nan], requires_grad=True)
    losses = discriminator_losses(torch.zeros(2), mismatched, torch.zeros(2), torch.tensor([True, False]), game=game)
    losses.rows.sum().backward()
    assert losses.rows.isfinite().all()
    assert mismatched.grad.tolist() == [0.5 if game == "hinge" else 0.25, 0.0]


def test_no_mismatch_is_a_match() -> None:
    random = torch.Generator().manual_seed(0)
    for num_rows in (1, 2, 9, 40):
        for _ in range(20):
            keys = torch.randint(-1, 4, (num_rows, 3), generator=random)
            chosen = mismatches(keys, torch.rand(num_rows, generator=random))
            for row in range(num_rows):
                differ = [other for other in range(num_rows) if other != row and not any(
                    int(a) == int(b) >= 0 for a, b in zip(keys[row], keys[other], strict=True))]
                assert int(chosen[row]) in differ if differ else int(chosen[row]) == -1


def test_every_mismatch_is_as_likely() -> None:
    keys = torch.tensor([[0], [0], [1], [2], [-1]])
    draws = (0.0, 0.32, 0.34, 0.66, 0.67, 0.9999999, 1.0)
    found = torch.stack([mismatches(keys, torch.full((5,), draw)) for draw in draws])
    assert found[:, 0].tolist() == [2, 2, 3, 3, 4, 4, 4]
    assert found[:, 4].tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_the_moving_average_in_closed_form() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.register_buffer("count", torch.zeros(()))
    average = copy.deepcopy(model)
    with torch.no_grad():
        average.weight.fill_(0.0)
    expected = 0.0
    for step in range(40):
        with torch.no_grad():
            model.weight.fill_(float(step))
            model.count.fill_(step)
        moving_average(average, model, decay=0.7, step=step)
        kept = min(0.7, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * step
        assert average.weight.item() == pytest.approx(expected, rel=1e-5) and average.count.item() == step
    assert average.weight.grad is None and average.weight.requires_grad
