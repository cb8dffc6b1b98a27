"""WaveNet: causal, its reach is the formula's, fast convolution = naive loop, windows in seconds."""

from __future__ import annotations

import math

import pytest
import torch

from sensorium.data.kinds.base import Inputs
from sensorium.encoders.dilated import DilatedConv
from sensorium.encoders.wavenet import WaveNet, gabor_filters, mu_law, trailing_mean


def _small(**settings: object) -> WaveNet:
    torch.manual_seed(0)
    return WaveNet(rate=1000, max_seconds=1.0, width=16, num_filters=8, channels=8, **settings).double()


@pytest.mark.parametrize("companding", ["plain", "mu-law"])
def test_a_step_depends_on_nothing_later(companding: str) -> None:
    encoder = _small(dilations=(1, 2, 4), companding=companding)
    sound = 0.1 * torch.randn(1, 800, dtype=torch.float64)
    changed = sound.clone()
    changed[:, 400:] += 1.0
    mask = torch.ones(1, 800, dtype=torch.bool)
    steps, other = (encoder.steps(encoder.energies(one, mask)) for one in (sound, changed))
    assert encoder.hop == 8 and torch.equal(steps[:, :50], other[:, :50])
    assert (steps[:, 50] - other[:, 50]).abs().max() > 1e-3


@pytest.mark.parametrize(("kernel", "dilations"), [(2, (1, 2, 4)), (3, (1, 3)), (2, (1,))])
def test_the_receptive_field_is_the_formula(kernel: int, dilations: tuple[int, ...]) -> None:
    """The last step's gradient reaches exactly so many samples back, and the oldest of them matters."""
    encoder = _small(kernel=kernel, dilations=dilations)
    encoder.trail = 5
    torch.nn.init.normal_(encoder.front.weight)  # filters that begin at their first tap
    expected = encoder.front.size + encoder.hop * (encoder.trail - 1 + (kernel - 1) * sum(dilations))
    assert encoder.receptive_field == expected
    sound = torch.randn(1, 800, dtype=torch.float64, requires_grad=True)
    encoder.steps(encoder.energies(sound, torch.ones(1, 800, dtype=torch.bool)))[0, -1].sum().backward()
    assert sound.grad is not None
    reached = sound.grad[0].abs() > 1e-13
    assert 800 - int(reached.nonzero()[0, 0]) == encoder.receptive_field
    assert WaveNet(rate=1000, max_seconds=1.0, width=16).receptive_field == 32 + 8 * (63 + 127)


@pytest.mark.parametrize("causal", [True, False])
def test_dilated_convolution_equals_the_loop(causal: bool) -> None:
    conv = DilatedConv(2, 3, kernel=3, dilation=2, causal=causal).double()
    values = torch.randn(2, 9, 2, dtype=torch.float64)
    weight, bias = conv.conv.weight[:, :, 0], conv.conv.bias
    first = -4 if causal else -2
    expected = torch.zeros(2, 9, 3, dtype=torch.float64)
    for step in range(9):
        expected[:, step] = bias
        for tap in range(3):
            place = step + first + 2 * tap
            if 0 <= place < 9:
                expected[:, step] += values[:, place] @ weight[:, :, tap].T
    torch.testing.assert_close(conv(values), expected, atol=1e-12, rtol=0.0)


def test_trailing_mean_equals_the_loop() -> None:
    values = torch.randn(1, 7, 2, dtype=torch.float64)
    expected = torch.stack([values[:, max(0, step - 2):step + 1].mean(dim=1) for step in range(7)], dim=1)
    torch.testing.assert_close(trailing_mean(values, 3), expected, atol=1e-12, rtol=0.0)


def test_mu_law_is_the_standard_s() -> None:
    assert torch.allclose(mu_law(torch.tensor([[0.0, 1.0, -1.0]])), torch.tensor([[0.0, 1.0, -1.0]]))
    assert mu_law(torch.tensor([[0.01]])).item() == pytest.approx(math.log(1 + 2.55) / math.log(256))


def test_a_tone_is_loudest_in_its_own_filter_whatever_its_phase() -> None:
    rate, num_filters = 8000, 40
    filters = gabor_filters(num_filters, 256, rate)[:, 0].double()
    assert torch.allclose(filters.norm(dim=1), torch.ones(2 * num_filters, dtype=torch.float64), atol=1e-5)
    mel = 2595 * torch.log10(1 + torch.tensor([60.0, 0.48 * rate]) / 700)
    pitches = 700 * (10 ** (torch.linspace(*mel.tolist(), num_filters + 2) / 2595) - 1)[1:-1]
    for number in (8, 20, 35):
        energies = []
        for phase in (0.0, 1.0):
            tone = torch.sin(2 * torch.pi * pitches[number].double() * torch.arange(256) / rate + phase)
            energies.append((filters @ tone).square().reshape(2, num_filters).sum(dim=0))
        assert energies[0].argmax() == number
        assert torch.allclose(energies[0][number], energies[1][number], rtol=0.05)


def test_windows_have_one_length_in_seconds_and_end_with_the_sound() -> None:
    encoder = WaveNet(rate=1000, max_seconds=1.0, width=16)
    mask = torch.arange(1000) < torch.tensor([[1000], [130]])
    tokens = encoder(Inputs(0.1 * torch.randn(2, 1000), mask))
    assert tokens.span is not None
    short = tokens.span[1][tokens.mask[1]]
    torch.testing.assert_close(short, torch.tensor([[0.0, 0.048], [0.048, 0.096], [0.096, 0.13]]))
    long = WaveNet(rate=1000, max_seconds=8.0, width=16)
    sound = Inputs(torch.zeros(1, 8000), torch.ones(1, 8000, dtype=torch.bool))
    assert long.window * long.hop == 248 and long(sound).values.shape[1] == 33
