"""Flow matching: straight lines in closed form, guidance by its equation, and the contract of a painter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sensorium.generation.flow import flow_losses, flow_sample, middling_times
from sensorium.generation.picture_flow import PictureFlow

WIDTH, SIZE = 12, 16


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _flow(size: int = SIZE, channels: int = 3) -> PictureFlow:
    torch.manual_seed(0)
    return PictureFlow(WIDTH, size=size, channels=channels, base=8, steps=3)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_straight_line_is_followed_to_its_end(steps: int) -> None:
    pictures, noise = torch.rand(3, 1, 4, 4) * 2 - 1, _drawn(3, 1, 4, 4)
    found = flow_sample(lambda *_: pictures - noise, _drawn(3, 2), noise, steps=steps)
    torch.testing.assert_close(found, pictures)


def test_heun_s_error_falls_with_the_square_of_the_step() -> None:
    noise, none = 0.3 * torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    ends = [float(flow_sample(lambda at, time, *_: at * (1 - time[:, None, None, None]) ** 2, none, noise, steps=steps))
            for steps in (10, 20, 40)]
    errors = [abs(end - 0.3 * torch.exp(torch.tensor(1 / 3, dtype=torch.float64)).item()) for end in ends]
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(4.0, rel=0.25)


def test_a_network_that_says_nothing_makes_noise_of_half_the_deviation() -> None:
    flow = _flow().double()
    torch.nn.init.zeros_(flow.to_picture.weight)
    torch.nn.init.zeros_(flow.to_picture.bias)
    noise = 0.5 * _drawn(2, 3, SIZE, SIZE).double()
    found = flow_sample(flow, _drawn(2, WIDTH).double(), noise, steps=100)
    torch.testing.assert_close(found, (0.5 * noise).clamp(-1.0, 1.0), atol=1e-3, rtol=0.0)


def test_losses_by_hand() -> None:
    pictures, noise = torch.full((2, 1, 2, 2), 0.5), torch.full((2, 1, 2, 2), -1.5)
    time, condition, dropped = torch.tensor([0.0, 0.75]), _drawn(2, 3), torch.tensor([True, False])
    seen = []

    def velocity(*given: Tensor) -> Tensor:
        seen.extend(given)
        return torch.tensor([2.0, 5.0])[:, None, None, None].expand(2, 1, 2, 2)

    assert flow_losses(velocity, pictures, condition, noise, time, dropped).tolist() == [0.0, 9.0]
    assert seen[0][:, 0, 0, 0].tolist() == [-1.5, 0.0]
    assert seen[1:] == [time, condition, dropped]


def test_guidance_by_its_equation() -> None:
    flow = _flow()
    condition, noise = _drawn(2, WIDTH), _drawn(2, 3, SIZE, SIZE)
    time, none = torch.zeros(2), torch.tensor([False, False])
    told, untold = flow(noise, time, condition, none), flow(noise, time, condition, ~none)
    for guidance in (0.0, 1.0, 2.5):
        found = flow_sample(flow, condition, noise, steps=1, guidance=guidance)
        expected = (noise + untold + guidance * (told - untold)).clamp(-1.0, 1.0)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(told, untold)


def test_what_is_dropped_is_not_read() -> None:
    flow = _flow()
    noise, time, dropped = _drawn(2, 3, SIZE, SIZE), torch.rand(2), torch.tensor([True, False])
    condition = _drawn(2, WIDTH)
    found = flow(noise, time, condition, dropped)
    poisoned = torch.where(dropped[:, None], torch.nan, condition).requires_grad_()
    assert torch.equal(flow(noise, time, poisoned, dropped), found)
    flow(noise, time, poisoned, dropped).square().sum().backward()
    assert (poisoned.grad[0] == 0).all() and poisoned.grad[1].abs().sum() > 0


@pytest.mark.parametrize("size", [16, 24, 32, 64, 72, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_side_that_is_a_multiple_of_eight(size: int, channels: int) -> None:
    flow = _flow(size, channels)
    assert flow.noise_shape == (channels, size, size)
    with torch.no_grad():
        assert flow(_drawn(2, *flow.noise_shape), torch.rand(2), _drawn(2, WIDTH), torch.zeros(2, dtype=torch.bool)
                    ).shape == (2, channels, size, size)


def test_the_finest_maps_reach_the_picture_without_the_coarse_ones() -> None:
    flow = _flow(32)
    flow.middle.register_forward_hook(lambda module, given, maps: torch.zeros_like(maps))
    flow.down[1].register_forward_hook(lambda module, given, maps: torch.zeros_like(maps))
    noise, none = _drawn(1, 3, 32, 32), torch.tensor([False])
    with torch.no_grad():
        found = [flow(given, torch.zeros(1), torch.zeros(1, WIDTH), none) for given in (noise, noise.flip(3))]
    assert not torch.allclose(found[0], found[1])


def test_every_parameter_gets_a_gradient() -> None:
    flow = _flow(32)
    noise, pictures = _drawn(6, 3, 32, 32), _drawn(6, 3, 32, 32, seed=1)
    dropped = torch.arange(6) < 2
    losses = flow_losses(flow, pictures, _drawn(6, WIDTH), noise, middling_times(_drawn(6)), dropped)
    assert losses.shape == (6,)
    losses.mean().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 1e-8, name


def test_a_row_does_not_see_the_other_rows_and_noise_decides() -> None:
    flow = _flow().double()
    condition, noise = _drawn(4, WIDTH).double(), _drawn(4, 3, SIZE, SIZE).double()
    pictures = flow.paint(condition, noise, guidance=1.5)
    assert pictures.abs().max() <= 1.0 and pictures.requires_grad is False
    others = flow.paint(torch.cat([condition[:2], 50.0 - condition[2:]]), torch.cat([noise[:2], 9 * noise[2:]]),
                        guidance=1.5)
    torch.testing.assert_close(others[:2], pictures[:2], atol=1e-10, rtol=0.0)
    assert torch.equal(flow.paint(condition, noise, guidance=1.5), pictures)
    assert not torch.allclose(flow.paint(condition, noise.flip(0), guidance=1.5), pictures)
    assert not torch.allclose(flow.paint(condition.flip(0), noise, guidance=1.5), pictures)


def test_a_state_on_disk_is_the_whole_of_it() -> None:
    flow, other = _flow(), PictureFlow(WIDTH, size=SIZE, channels=3, base=8, steps=3)
    condition, noise = _drawn(2, WIDTH), _drawn(2, 3, SIZE, SIZE)
    assert not torch.equal(other.paint(condition, noise), flow.paint(condition, noise))
    other.load_state_dict(flow.state_dict())
    assert torch.equal(other.paint(condition, noise), flow.paint(condition, noise))


def test_middling_times_are_in_between() -> None:
    times = middling_times(_drawn(4000))
    assert times.min() > 0 and times.max() < 1 and times.mean() == pytest.approx(0.5, abs=0.02)
    assert ((times > 0.25) & (times < 0.75)).float().mean() > 0.65
