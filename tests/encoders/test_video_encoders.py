"""Video encoders: normalisation over real frames equals the loop and the fast path; motion; irregular times."""

from __future__ import annotations

import torch

from sensorium.data.kinds.base import Inputs
from sensorium.encoders.video import ClipNorm, VideoFrames, VideoR2Plus1D


def _clips(num_rows: int, num_frames: int) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (num_rows, num_frames, 1, 16, 16), dtype=torch.uint8, generator=generator)
    start = torch.arange(num_frames)[:, None] * 0.1
    span = torch.cat([start, start + 0.1], dim=1).expand(num_rows, num_frames, 2)
    return Inputs(values, torch.ones(num_rows, num_frames, dtype=torch.bool), span)


def test_clip_norm_equals_the_loop_over_real_frames() -> None:
    torch.manual_seed(0)
    norm = ClipNorm(16).double()
    torch.nn.init.normal_(norm.norm.weight)
    torch.nn.init.normal_(norm.norm.bias)
    maps, mask = torch.randn(2, 16, 5, 3, 2, dtype=torch.float64) + 3.0, torch.arange(5) < torch.tensor([[5], [2]])
    found = norm(torch.where(mask[:, None, :, None, None], maps, torch.nan), mask)
    for row, length in ((0, 5), (1, 2)):
        for group in (slice(0, 8), slice(8, 16)):
            real = maps[row, group, :length]
            expected = (real - real.mean()) / (real.var(correction=0) + 1e-5).sqrt()
            expected = expected * norm.norm.weight[group, None, None, None] + norm.norm.bias[group, None, None, None]
            torch.testing.assert_close(found[row, group, :length], expected, atol=1e-12, rtol=1e-10)
        assert not found[row, :, length:].any()


def test_clip_norm_s_fast_path_is_the_slow_one_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    norm, mask = ClipNorm(16).double(), torch.ones(2, 4, dtype=torch.bool)
    gradients = []
    for given in (mask, None):
        maps = torch.linspace(-2, 3, 2 * 16 * 4 * 6, dtype=torch.float64).sin().reshape(2, 16, 4, 3, 2).requires_grad_()
        norm.zero_grad()
        out = norm(maps, given)
        out.pow(3).sum().backward()
        gradients.append([out, maps.grad, norm.norm.weight.grad.clone(), norm.norm.bias.grad.clone()])
    for slow, fast in zip(*gradients, strict=True):
        torch.testing.assert_close(slow, fast, atol=1e-10, rtol=1e-8)


def test_still_pictures_and_their_reverse_differ_only_by_time() -> None:
    """Order is known through seconds alone: frames and seconds reversed together are the same set."""
    torch.manual_seed(0)
    encoder, clips = VideoFrames(height=16, width_px=16, channels=1, width=16).double(), _clips(2, 6)
    assert clips.mask is not None and clips.span is not None
    values = encoder(clips).values
    back = encoder(Inputs(clips.values.flip(1), clips.mask, clips.span.flip(1))).values
    torch.testing.assert_close(back.flip(1), values, atol=1e-10, rtol=0.0)
    swapped = encoder(Inputs(clips.values.flip(1), clips.mask, clips.span)).values
    assert (swapped.flip(1) - values).abs().mean() > 0.01


def test_convolutions_over_time_see_the_neighbouring_frames() -> None:
    encoder, clips = VideoR2Plus1D(height=16, width_px=16, channels=1, width=16), _clips(1, 40)
    changed = clips.values.clone()
    changed[:, 0] = 255 - changed[:, 0]
    # group norm over the clip carries a little everywhere; the frames near by change most
    away = (encoder(Inputs(changed, clips.mask, clips.span)).values - encoder(clips).values).abs().mean(dim=2)[0]
    assert away[:3].mean() > 5 * away[10:].mean()


def test_two_frames_make_a_token_of_their_seconds() -> None:
    clips = _clips(1, 5)
    tokens = VideoR2Plus1D(height=16, width_px=16, channels=1, width=16)(clips)
    expected = torch.tensor([[0.0, 0.2], [0.2, 0.4], [0.4, 0.5]])
    assert tokens.span is not None
    torch.testing.assert_close(tokens.span[0], expected)
