"""augment and corrupt: keyed by row, nothing at 0, meaning kept, noise alone at 1."""

from __future__ import annotations

import numpy as np
import torch

from sensorium.data.kinds.audio import AudioKind
from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.image import ImageKind
from sensorium.keyed import Draws

IMAGE = ImageKind(height=20, width=24, channels=3, flip=True)
AUDIO = AudioKind(rate=8000, max_seconds=1.0)
ROWS = np.array([11, 5, 42])


def _pictures() -> Inputs:
    generator = torch.Generator().manual_seed(0)
    return Inputs(torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8, generator=generator))


def _sounds() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [0.1 * generator.standard_normal(length).astype(np.float32) for length in (8000, 1000, 3777)]


def test_augmentation_zero_returns_the_inputs_unchanged() -> None:
    draws = Draws(0, 0, ROWS)
    pictures, sounds = _pictures(), AUDIO.collate(_sounds())
    assert IMAGE.model_copy(update={"augmentation": 0.0}).augment(pictures, draws) is pictures
    assert AUDIO.model_copy(update={"augmentation": 0.0}).augment(sounds, draws) is sounds


def test_a_picture_is_varied_by_its_own_key_alone() -> None:
    pictures = _pictures()
    together = IMAGE.augment(pictures, Draws(0, 3, ROWS)).values
    for row in range(3):
        alone = IMAGE.augment(Inputs(pictures.values[row : row + 1]), Draws(0, 3, ROWS[row : row + 1])).values
        torch.testing.assert_close(alone[0], together[row], atol=1e-3, rtol=0.0)
    assert not torch.equal(IMAGE.augment(pictures, Draws(0, 4, ROWS)).values, together)
    assert together.shape == pictures.values.shape and together.min() >= 0 and together.max() <= 255


def test_a_sound_is_varied_by_its_own_key_alone_whatever_the_padding() -> None:
    together = AUDIO.augment(AUDIO.collate(_sounds()), Draws(0, 3, ROWS))
    assert together.mask is not None
    for row, sound in enumerate(_sounds()):
        alone = AUDIO.augment(AUDIO.collate([sound]), Draws(0, 3, ROWS[row : row + 1]))
        assert alone.mask is not None
        length = alone.values.shape[1]
        assert int(together.mask[row].sum()) == length == int(alone.mask.sum())
        torch.testing.assert_close(alone.values[0], together.values[row, :length], atol=1e-5, rtol=0.0)
        assert (together.values[row, length:] == 0).all()


def test_what_lies_behind_a_sounds_end_is_never_read() -> None:
    inputs = AUDIO.collate(_sounds())
    assert inputs.mask is not None
    poisoned = Inputs(torch.where(inputs.mask, inputs.values, torch.nan), inputs.mask)
    draws = Draws(0, 0, ROWS)
    assert torch.equal(AUDIO.augment(poisoned, draws).values, AUDIO.augment(inputs, draws).values)
    assert torch.equal(AUDIO.corrupt(poisoned, 0.5, draws).values, AUDIO.corrupt(inputs, 0.5, draws).values)


def test_lengths_stay_near_and_strong_augmentation_stays_finite() -> None:
    inputs = AUDIO.collate(_sounds())
    assert inputs.mask is not None
    for amount in (0.1, 1.0, 5.0):
        varied = AUDIO.model_copy(update={"augmentation": amount}).augment(inputs, Draws(0, 0, ROWS))
        assert varied.mask is not None and varied.values.isfinite().all()
        ratio = varied.mask.sum(dim=1) / inputs.mask.sum(dim=1)
        assert ((ratio > 0.5) & (ratio < 2.0)).all()
        pictures = IMAGE.model_copy(update={"augmentation": amount}).augment(_pictures(), Draws(0, 0, ROWS))
        assert pictures.values.isfinite().all()


def test_a_silent_and_a_one_sample_sound_survive() -> None:
    inputs = AUDIO.collate([np.zeros(500, np.float32), np.ones(1, np.float32)])
    varied = AUDIO.augment(inputs, Draws(0, 0, ROWS[:2]))
    assert varied.mask is not None and varied.mask.any(dim=1).all() and varied.values.isfinite().all()


def test_a_mirrored_picture_appears_in_about_half_of_the_rows() -> None:
    ramp = torch.arange(24, dtype=torch.uint8).mul(10).expand(200, 3, 20, 24)
    varied = IMAGE.augment(Inputs(ramp), Draws(0, 0, np.arange(200))).values
    mirrored = (varied[..., :8].mean(dim=(1, 2, 3)) > varied[..., -8:].mean(dim=(1, 2, 3))).float().mean()
    assert 0.35 < mirrored < 0.65
    still = IMAGE.model_copy(update={"flip": False}).augment(Inputs(ramp), Draws(0, 0, np.arange(200))).values
    assert (still[..., :8].mean(dim=(1, 2, 3)) < still[..., -8:].mean(dim=(1, 2, 3))).all()


def test_corrupt_zero_is_bit_equal_and_one_is_noise_alone() -> None:
    draws = Draws(0, 0, ROWS)
    pictures, sounds = _pictures(), AUDIO.collate(_sounds())
    assert torch.equal(IMAGE.corrupt(pictures, 0.0, draws).values, pictures.values)
    assert torch.equal(AUDIO.corrupt(sounds, 0.0, draws).values, sounds.values)
    black = Inputs(torch.zeros_like(pictures.values))
    assert torch.equal(IMAGE.corrupt(pictures, 1.0, draws).values, IMAGE.corrupt(black, 1.0, draws).values)
    destroyed = AUDIO.corrupt(sounds, 1.0, draws).values
    assert abs(np.corrcoef(destroyed[0].numpy(), sounds.values[0].numpy())[0, 1]) < 0.05


def test_a_corrupted_sound_has_the_stated_signal_to_noise_ratio() -> None:
    sounds = AUDIO.collate(_sounds()[:1])
    noisy = AUDIO.corrupt(sounds, 0.5, Draws(0, 0, ROWS[:1])).values
    noise = noisy - 0.5**0.5 * sounds.values
    ratio = (0.5 * sounds.values.square().mean() / noise.square().mean()).item()
    assert 0.9 < ratio < 1.1
