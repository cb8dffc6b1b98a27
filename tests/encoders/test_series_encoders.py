"""Series encoders: gaps are not readings of 0, patches cover every step, blocks see as far as they say."""

from __future__ import annotations

import pytest
import torch

from sensorium.data.kinds.base import Inputs
from sensorium.encoders.base import Encoder
from sensorium.encoders.series import RecordingNorm, SeriesPatches, SeriesTCN


def _recordings(num_rows: int, num_steps: int, num_channels: int) -> Inputs:
    torch.manual_seed(0)
    readings = torch.randn(num_rows, num_steps, num_channels)
    start = torch.arange(num_steps)[:, None] * 0.02
    span = torch.cat([start, start + 0.02], dim=1).expand(num_rows, num_steps, 2)
    return Inputs(torch.cat([readings, torch.ones_like(readings)], dim=2),
                  torch.ones(num_rows, num_steps, dtype=torch.bool), span)


def _both(num_channels: int, max_steps: int) -> list[Encoder]:
    return [SeriesPatches(num_channels=num_channels, max_steps=max_steps, width=16),
            SeriesTCN(num_channels=num_channels, max_steps=max_steps, width=16)]


@pytest.mark.parametrize("max_steps", [3, 70, 1000])
def test_no_more_than_48_tokens_and_every_step_is_seen(max_steps: int) -> None:
    for encoder in _both(2, max_steps):
        recordings = _recordings(1, max_steps, 2)
        values = recordings.values.clone().requires_grad_()
        tokens = encoder(Inputs(values, recordings.mask, recordings.span))
        assert 1 <= tokens.values.shape[1] <= 48
        tokens.values.pow(3).sum().backward()
        assert values.grad is not None and (values.grad[:, :, :2].abs().sum(dim=2) > 0).float().mean() > 0.9


def test_where_there_is_no_reading_nothing_is_read() -> None:
    recordings = _recordings(2, 30, 2)
    gaps = recordings.values.clone()
    gaps[:, 10:15, 0], gaps[:, 10:15, 2] = 0.0, 0.0
    tainted = gaps.clone()
    tainted[:, 10:15, 0] = torch.nan
    for encoder in _both(2, 30):
        values = encoder(Inputs(gaps, recordings.mask, recordings.span)).values
        assert torch.equal(values, encoder(Inputs(tainted, recordings.mask, recordings.span)).values)
        zeros = gaps.clone()
        zeros[:, 10:15, 2] = 1.0  # readings of 0 are something else
        assert (encoder(Inputs(zeros, recordings.mask, recordings.span)).values - values).abs().max() > 1e-3


def test_patches_are_a_set_with_seconds() -> None:
    """Whole strides in another order, their seconds with them, give the same tokens in that order."""
    torch.manual_seed(0)
    encoder = SeriesPatches(num_channels=1, max_steps=24, width=16).double()
    assert encoder.stride == 4
    recordings = _recordings(1, 24, 1)
    assert recordings.mask is not None and recordings.span is not None
    there = recordings.values.double()
    for layer in (encoder.embed, encoder.shape[0]):
        weight = layer.weight.data.unflatten(1, (8, 2))
        weight[:, :2], weight[:, 6:] = 0.0, 0.0  # read the stride itself, not the steps on either side
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    steps = (order[:, None] * 4 + torch.arange(4)).flatten()
    moved = encoder(Inputs(there[:, steps], recordings.mask, recordings.span[:, steps]))
    torch.testing.assert_close(moved.values, encoder(Inputs(there, recordings.mask, recordings.span)).values[:, order],
                               atol=1e-10, rtol=0.0)


def test_recording_norm_equals_the_loop_over_real_steps() -> None:
    torch.manual_seed(0)
    norm = RecordingNorm(16).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    values, mask = torch.randn(2, 9, 16, dtype=torch.float64) + 3.0, torch.arange(9) < torch.tensor([[9], [4]])
    found = norm(values, mask)
    for row, length in ((0, 9), (1, 4)):
        for group in (slice(0, 8), slice(8, 16)):
            real = values[row, :length, group]
            expected = (real - real.mean()) / (real.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(found[row, :length, group], expected * norm.weight[group] + norm.bias[group],
                                       atol=1e-12, rtol=1e-10)
        assert not found[row, length:].any()
