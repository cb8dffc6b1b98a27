"""LogMelEncoder: padding and rows never matter, loudness does not either, spans are seconds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sensorium.data.kinds.audio import AudioKind
from sensorium.data.kinds.base import Inputs
from sensorium.encoders import audio
from sensorium.encoders.audio import HURRY, LogMel, LogMelEncoder, hurried, stretch


def _sounds(rate: int, seconds: tuple[float, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(max(1, int(rate * s))).astype(np.float32) for s in seconds]


@pytest.mark.parametrize(("rate", "longest"), [(4000, 0.1), (8000, 1.5), (16000, 4.0)])
def test_padding_and_other_rows_change_nothing(rate: int, longest: float) -> None:
    kind = AudioKind(rate=rate, max_seconds=longest)
    encoder = LogMelEncoder.build(kind, 32)
    sounds = _sounds(rate, (longest, 0.1, longest / 2, longest / 3))
    together = encoder(kind.collate(sounds))
    for row, sound in enumerate(sounds):
        alone = encoder(kind.collate([sound]))
        torch.testing.assert_close(alone.values[0], together.values[row], atol=1e-5, rtol=1e-5)


def test_what_lies_behind_the_end_is_never_read() -> None:
    kind = AudioKind(rate=8000, max_seconds=1.0)
    encoder = LogMelEncoder.build(kind, 32)
    inputs = kind.collate(_sounds(8000, (1.0, 0.4)))
    assert inputs.mask is not None
    poisoned = Inputs(torch.where(inputs.mask, inputs.values, torch.nan), inputs.mask)
    assert torch.equal(encoder(poisoned).values, encoder(inputs).values)
    encoder(poisoned).values.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_one_sample_and_silence_are_finite() -> None:
    kind = AudioKind(rate=8000, max_seconds=1.0)
    inputs = kind.collate([np.ones(1, np.float32), np.zeros(4000, np.float32)])
    assert LogMelEncoder.build(kind, 16)(inputs).values.isfinite().all()


def test_a_louder_sound_is_the_same_sound() -> None:
    kind = AudioKind(rate=8000, max_seconds=1.0)
    encoder = LogMelEncoder.build(kind, 16)
    (sound,) = _sounds(8000, (0.5,))
    quiet, loud = encoder(kind.collate([0.05 * sound])).values, encoder(kind.collate([0.8 * sound])).values
    torch.testing.assert_close(quiet, loud, atol=1e-3, rtol=1e-3)


def test_each_band_has_mean_zero_and_a_tone_lands_in_its_band() -> None:
    rate = 8000
    time = torch.arange(rate) / rate
    sound = torch.where(time < 0.5, torch.sin(2 * torch.pi * 500 * time), torch.sin(2 * torch.pi * 2500 * time))
    frames = LogMel(rate, 40)(sound[None], torch.ones(1, rate, dtype=torch.bool))
    assert frames.means.shape == (1, 40)
    assert frames.pace[0].sum() == 100
    torch.testing.assert_close(frames.values[0, :100].mean(dim=0), torch.zeros(40), atol=1e-5, rtol=0.0)
    assert frames.values[0, 20].argmax() < frames.values[0, 80].argmax()


def test_stretch_is_linear_interpolation_up_and_averaging_down() -> None:
    ramp = torch.arange(6.0)[None, :, None]
    pace = torch.ones(1, 6)
    assert torch.allclose(stretch(ramp, pace, 6), ramp)
    down = stretch(ramp, pace, 2)[0, :, 0]
    assert torch.allclose(down, torch.tensor([1.0, 4.0]), atol=0.3)
    up = stretch(ramp, torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]), 12)[0, :, 0]  # only frames 0, 1, 2 are real
    assert up[0] == 0.0 and up[-1] == 2.0 and torch.all(up.diff() >= 0)


def test_the_pace_is_slow_from_the_first_to_the_last_frame_that_sounds() -> None:
    power = torch.tensor([[0.0, 0.001, 3.0, 0.0, 3.0, 0.01, 9.0], [0.0] * 7])
    assert hurried(power, torch.tensor([6, 4])).tolist() == [pytest.approx([HURRY, HURRY, 1, 1, 1, HURRY, 0]),
                                                             [1, 1, 1, 1, 0, 0, 0]]


def test_hurried_frames_take_their_share_of_the_output() -> None:
    """20 frames at a tenth of the pace count as 2 of 12, and what they hold is averaged."""
    frames = torch.cat([torch.tensor([-1.0, 1.0]).repeat(10), torch.full((10,), 5.0)])[None, :, None]
    out = stretch(frames, torch.cat([torch.full((20,), 0.1), torch.ones(10)])[None], 12)[0, :, 0]
    assert out[0].abs() < 0.1 and 0.0 <= out[1] < 1.0 and out[3:].tolist() == pytest.approx([5.0] * 9)


def _picture(sound: torch.Tensor) -> torch.Tensor:
    frames = LogMel(8000, 40)(sound[None], torch.ones(1, len(sound), dtype=torch.bool))
    return stretch(frames.values, frames.pace, 48).flatten()


def test_silence_around_a_sound_hardly_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """.4 s of faint noise before and .2 s behind leave the picture of a sound of .5 s as it was."""
    parts = [torch.sin(2 * torch.pi * pitch * torch.arange(1000) / 8000) for pitch in (300, 1500, 700, 2500)]
    noise = 0.01 * torch.from_numpy(_sounds(8000, (1.1,))[0])
    word = torch.cat(parts) + noise[:4000]
    longer = torch.cat([noise[:3200], word, noise[-1600:]])

    def likeness() -> float:
        return float(torch.corrcoef(torch.stack([_picture(word), _picture(longer)]))[0, 1])

    assert likeness() > 0.8
    monkeypatch.setattr(audio, "HURRY", 1.0)
    assert likeness() < 0.4


def test_spans_lie_where_it_sounds() -> None:
    sound = torch.cat([torch.zeros(4000), torch.from_numpy(_sounds(8000, (0.5,))[0]), torch.zeros(4000)])
    encoder = LogMelEncoder(rate=8000, max_seconds=2.0, width=16)
    frames = encoder.logmel(sound[None], torch.ones(1, 12000, dtype=torch.bool))
    span = encoder(Inputs(sound[None], torch.ones(1, 12000, dtype=torch.bool))).span
    assert span is not None
    parts, ends = span[0, :-1], frames.pace[0].cumsum(0)
    assert parts[0, 0] == 0.0 and parts[-1, 1] == 1.5
    for number, start in enumerate(parts[1:, 0].tolist(), start=1):  # before it: so many tokens' part of the pace
        whole = int(start / 0.01 + 1e-4)
        before = float(ends[whole - 1] + frames.pace[0, whole] * (start / 0.01 - whole))
        assert before == pytest.approx(float(ends[-1]) * number / len(parts), abs=1e-3)
        assert 0.48 < start < 1.02


def test_spans_are_equal_parts_in_seconds() -> None:
    kind = AudioKind(rate=8000, max_seconds=1.0)
    span = LogMelEncoder.build(kind, 16)(kind.collate(_sounds(8000, (1.0, 0.25)))).span
    assert span is not None and span[:, 0, 0].tolist() == [0.0, 0.0]
    assert span[:, -1].tolist() == [[0.0, 1.0], [0.0, 0.25]]  # the timbre
    span = span[:, :-1]
    assert span[:, -1, 1].tolist() == [1.0, 0.25]
    assert torch.equal(span[:, 1:, 0], span[:, :-1, 1])


def test_every_parameter_gets_a_gradient_and_filters_are_saved() -> None:
    kind = AudioKind(rate=8000, max_seconds=1.0)
    encoder = LogMelEncoder.build(kind, 32)
    encoder(kind.collate(_sounds(8000, (1.0, 0.4)))).values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert {"logmel.filters", "logmel.window"} <= set(encoder.state_dict())


def test_steady_tones_of_different_pitch_differ() -> None:
    """Frames lose each band's mean; of a steady sound that mean is all there is, so the tokens must keep it."""
    encoder = LogMelEncoder(rate=8000, max_seconds=1.0, width=16)
    time = torch.arange(8000) / 8000
    sounds = torch.stack([torch.sin(2 * torch.pi * pitch * time) for pitch in (300.0, 900.0)])
    values = encoder(Inputs(sounds, torch.ones_like(sounds, dtype=torch.bool))).values
    assert (values[0] - values[1]).abs().max() > 0.1
