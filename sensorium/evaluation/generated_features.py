"""What pictures are compared by: a small thumbnail, or what a pretrained network sees in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from sensorium.data.kinds import ImageKind
from sensorium.encoders.pretrained import PretrainedEncoder, adapt_kind, describe_source
from sensorium.errors import RecipeError
from sensorium.made import pictured
from sensorium.recipe import EncoderOptions

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
AT_ONCE = 16


@dataclass(frozen=True)
class PictureFeatures:
    """Pictures as vectors.

    Args:
        name: what they are called in words.
        pretrained: whether a network sees them.
        of: (picture, height, width_px, channel) uint8 → (picture, feature).
    """

    name: str
    pretrained: bool
    of: Callable[[Pixels], Floats]


def plain_features() -> PictureFeatures:
    """A thumbnail of at most 784 values in 0…1: colours and where they are, nothing of what is shown."""
    kind = ImageKind()

    def of(pictures: Pixels) -> Floats:
        return np.stack([kind.describe(one) for one in pictures]).astype(np.float64)

    return PictureFeatures("thumbnails of the pictures", False, of)


def pretrained_features(folder: str | Path) -> PictureFeatures:
    """The mean token of a pretrained picture encoder.

    Args:
        folder: of a Hugging Face model, or its name on the hub.

    Raises:
        RecipeError: it is none, or encodes no pictures.
    """
    if not Path(folder).is_dir() and "/" not in str(folder):
        raise RecipeError(f"features: no folder {str(folder)!r}; expected that of a pretrained picture encoder, or "
                          f"owner/name on the Hugging Face hub")
    source = describe_source(str(folder))
    if "image" not in source.kinds:
        raise RecipeError(f"features: {source.name!r} is a {source.model_type} model for {' and '.join(source.kinds)}: "
                          f"expected one for image")
    kind = adapt_kind(ImageKind(), source)
    assert isinstance(kind, ImageKind)
    encoder = PretrainedEncoder(source, kind, 16, EncoderOptions(name=source.name)).eval()

    def of(pictures: Pixels) -> Floats:
        found = []
        with torch.inference_mode():
            for start in range(0, len(pictures), AT_ONCE):
                arrays = [kind.decode(pictured(one)) for one in pictures[start : start + AT_ONCE]]
                tokens = encoder.features(kind.collate(arrays))
                found.append(tokens.values.double().mean(dim=1).numpy())
        return np.concatenate(found)

    return PictureFeatures(f"features of {Path(source.name).name}", True, of)


def in_shape(arrays: list[Any], shape: tuple[int, int]) -> Pixels:
    """(picture, height, width_px, channel) decoded pictures stretched to a shape, as those that are painted are.

    Args:
        arrays: (height, width_px, channel) uint8.
        shape: (height, width_px).
    """
    stacked = np.stack(arrays)
    if stacked.shape[1:3] == shape:
        return stacked
    planes = torch.from_numpy(stacked).permute(0, 3, 1, 2).float()
    scaled = F.interpolate(planes, shape, mode="bilinear", antialias=True)
    return np.asarray(scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
