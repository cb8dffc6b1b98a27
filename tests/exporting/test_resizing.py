"""Resizing in the graph is Pillow's, to the level."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sensorium.data.kinds import ImageKind, VideoKind
from sensorium.exporting.resizing import Fitted

SIZES = ((24, 30), (100, 61), (17, 200), (32, 32), (64, 64), (5, 3))


def _pixels(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, channels), dtype=np.uint8)


def _fitted(kind: ImageKind, pixels: np.ndarray) -> np.ndarray:
    found = Fitted(kind)(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None])
    assert found.dtype == torch.float32
    return found[0].numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("resample", ["box", "bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize(("fit", "scaled"), [("cover", None), ("squash", None), ("squash", 40), ("crop", None),
                                             ("crop", 40), ("crop", 20)])
def test_pictures_of_any_size_become_those_of_pillow(fit: str, scaled: int | None, resample: str) -> None:
    kind = ImageKind(height=32, width=28, channels=3, fit=fit, scaled=scaled, resample=resample)
    off = [np.abs(_fitted(kind, pixels) - kind.decode(pixels)) for pixels in (_pixels(*size) for size in SIZES)]
    assert max(one.max() for one in off) <= 1 and np.mean([(one > 0).mean() for one in off]) < 1e-3


@pytest.mark.parametrize("resample", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
@pytest.mark.parametrize(("fit", "scaled"), [("cover", None), ("squash", None), ("squash", 40), ("crop", None),
                                             ("crop", 36)])
def test_what_has_the_size_stays_as_it_is(fit: str, scaled: int | None, resample: str) -> None:
    kind = ImageKind(height=32, width=28, channels=3, fit=fit, scaled=scaled, resample=resample)
    pixels = _pixels(32, 28)
    assert (_fitted(kind, pixels) == pixels).all()


def test_grey_pictures_and_frames() -> None:
    grey = ImageKind(height=20, width=20, channels=1)
    assert (_fitted(grey, _pixels(50, 40, 1)) == grey.decode(_pixels(50, 40, 1)[:, :, 0])).all()
    film = VideoKind(height=8, width=12, channels=3, rate=5.0, max_seconds=1.0)
    frames = np.stack([_pixels(16, 30), _pixels(16, 30)[::-1]])
    found = Fitted(film)(torch.from_numpy(frames.transpose(0, 3, 1, 2).copy())[None])
    assert (found[0].numpy().transpose(0, 2, 3, 1) == film.decode((frames, 5.0)).frames).all()
