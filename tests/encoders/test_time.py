"""Seconds as sinusoids; windows over steps equal their naive loops."""

from __future__ import annotations

import math

import torch

from sensorium.encoders.time import NUM_PERIODS, TimeEncoding, window_means, window_peaks, window_spans, windows


def test_only_the_centre_of_the_span_is_read() -> None:
    encode = TimeEncoding(16)
    one, two = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.4, 1.6]]])
    torch.testing.assert_close(encode(one), encode(two))
    assert (encode(one) - encode(one + 0.1)).abs().max() > 0.01


def test_the_sinusoids_are_those_of_the_equation() -> None:
    encode = TimeEncoding(2 * NUM_PERIODS).double()
    torch.nn.init.eye_(encode.project.weight)
    torch.nn.init.zeros_(encode.project.bias)
    found = encode(torch.tensor([[[1.2, 1.4]]], dtype=torch.float64))[0, 0].tolist()
    for number in (0, 7, NUM_PERIODS - 1):
        period = 0.05 * (256 / 0.05) ** (number / (NUM_PERIODS - 1))
        assert math.isclose(found[number], math.sin(2 * math.pi * 1.3 / period), abs_tol=1e-4)
        assert math.isclose(found[NUM_PERIODS + number], math.cos(2 * math.pi * 1.3 / period), abs_tol=1e-4)


def test_neighbouring_times_are_alike_and_all_times_differ() -> None:
    torch.manual_seed(0)
    seconds = torch.linspace(0.0, 30.0, 601)[None, :, None].expand(1, 601, 2)
    codes = TimeEncoding(64)(seconds)[0]
    away = torch.cdist(codes, codes) + 100.0 * torch.eye(601)
    assert away.min() > 0.05
    assert away[300, 301] < away[300, 320] and away[300, 301] < away[300, 500]


def test_masked_seconds_are_not_read() -> None:
    mask = torch.tensor([[True, False]])
    codes = TimeEncoding(8)(torch.tensor([[[0.0, 1.0], [torch.nan, torch.nan]]]), mask)
    assert codes.isfinite().all()


def test_windows_equal_the_loop() -> None:
    torch.manual_seed(0)
    values, mask = torch.randn(2, 7, 3, dtype=torch.float64), torch.rand(2, 7) < 0.6
    mask[1, 3:6] = False  # a window with nothing in it
    span = torch.stack([torch.arange(7.0), torch.arange(7.0) + 1], dim=-1).expand(2, 7, 2)
    tainted = torch.where(mask[:, :, None], values, torch.nan)
    means, peaks = window_means(tainted, mask, 3), window_peaks(tainted, mask, 3)
    spans, real = window_spans(torch.where(mask[:, :, None], span, torch.nan), mask, 3), windows(mask, 3)
    assert means.shape == peaks.shape == (2, 3, 3)
    for row in range(2):
        for token in range(3):
            steps = [step for step in range(3 * token, min(7, 3 * token + 3)) if mask[row, step]]
            assert bool(real[row, token]) == bool(steps)
            if not steps:
                assert not means[row, token].any() and not peaks[row, token].any() and not spans[row, token].any()
                continue
            torch.testing.assert_close(means[row, token], values[row, steps].mean(dim=0))
            torch.testing.assert_close(peaks[row, token], values[row, steps].amax(dim=0))
            assert spans[row, token].tolist() == [steps[0], steps[-1] + 1]
