"""How a pretrained model's image processor makes pixels: the rule of size and filter, and the arithmetic behind it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sensorium.data.kinds import ImageKind
from sensorium.data.kinds.base import first_line
from sensorium.encoders.pretrained.quiet import quiet
from sensorium.errors import RecipeError

NO_CROP_FROM = 384
FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
PROBES = ((90, 61), (40, 97), (331, 420))
Filter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


@dataclass(frozen=True)
class PictureRule:
    """How pictures get their size.

    Args:
        height, width: pixels.
        fit, scaled, resample: as ImageKind has them.
        crop_share: ConvNeXt's rule, in which `scaled` is the size over this share, and from 384 pixels on nothing is
            cut; None for the others.
    """

    height: int
    width: int
    fit: Literal["squash", "crop"]
    scaled: int | None
    resample: Filter
    crop_share: float | None = None

    def resized(self, height: int, width: int) -> PictureRule:
        """The same rule for another size."""
        side = max(height, width)
        if self.crop_share is not None:
            return _convnext(height, width, side, self.crop_share, self.resample)
        scaled = None if self.scaled is None else round(self.scaled * side / max(self.height, self.width))
        return PictureRule(height, width, self.fit, scaled, self.resample)


@dataclass(frozen=True)
class PixelRule:
    """What becomes of the pixels 0…255: (factor · pixel − mean) / deviation, channel by channel.

    Args:
        factor: of every pixel.
        mean, deviation: a number for every channel.
        reversed_channels: blue, green, red instead of red, green, blue.
    """

    factor: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    reversed_channels: bool = False


def read_processor(folder: Path, name: str) -> Any:
    """transformers' Pillow image processor of a folder. Raises RecipeError where there is none."""
    from transformers import AutoImageProcessor

    try:
        with quiet():
            make: Any = AutoImageProcessor.from_pretrained  # untyped
            return make(folder, backend="pil", local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises OSError, ValueError, ImportError …
        raise RecipeError(f"{name!r} does not say how its pictures are prepared ({first_line(error)}): put its "
                          f"preprocessor_config.json into the folder") from error


def picture_rule(processor: Any, name: str, *, frames: bool = False) -> PictureRule:
    """The processor's rule of size, tried on pictures: the pixels are bit-equal to its own.

    Args:
        processor: of `read_processor`.
        name: of the model, for the error.
        frames: whether it takes videos.

    Raises:
        RecipeError: the processor does something else.
    """
    settings = processor.to_dict()
    size = {key: value for key, value in dict(settings["size"]).items() if value is not None}
    cut = dict(settings["crop_size"]) if settings.get("do_center_crop") and settings.get("crop_size") else None
    resample: Any = FILTERS[int(settings["resample"])]
    rule: PictureRule | None = None
    if settings.get("crop_pct") is not None and set(size) == {"shortest_edge"}:
        side = int(size["shortest_edge"])
        rule = _convnext(side, side, side, float(settings["crop_pct"]), resample)
    elif set(size) == {"shortest_edge"}:
        side = int(size["shortest_edge"])
        height, width = (side, side) if cut is None else (int(cut["height"]), int(cut["width"]))
        rule = PictureRule(height, width, "crop", side, resample)
    elif set(size) == {"height", "width"}:
        height, width = int(size["height"]), int(size["width"])
        if cut is None:
            rule = PictureRule(height, width, "squash", None, resample)
        elif height == width:
            rule = PictureRule(int(cut["height"]), int(cut["width"]), "squash", height, resample)
    if rule is None or not _agrees(rule, processor, frames=frames):
        raise RecipeError(f"{name!r} prepares its pictures in a way that sensorium does not have "
                          f"({type(processor).__name__}, size {size}): choose another model")
    return rule


def pixel_rule(processor: Any, name: str, *, frames: bool = False) -> PixelRule:
    """The processor's arithmetic on pixels, tried on a picture. Raises RecipeError where it does something else."""
    settings = processor.to_dict()
    rescaled, normalised = settings.get("do_rescale"), settings.get("do_normalize")
    mean, deviation = settings.get("image_mean"), settings.get("image_std")
    rule = PixelRule(
        float(settings["rescale_factor"]) if rescaled else 1.0,
        tuple(float(v) for v in mean) if normalised and mean else (0.0,),
        tuple(float(v) for v in deviation) if normalised and deviation else (1.0,),
        bool(settings.get("do_flip_channel_order", False)),
    )
    picture = _picture(24, 24)
    own = _processed(processor, picture, frames=frames, do_resize=False, do_center_crop=False)
    ours = picture[:, :, ::-1] if rule.reversed_channels else picture
    ours = (ours * rule.factor - np.array(rule.mean)) / np.array(rule.deviation)
    if own.shape != ours.shape or not np.allclose(own, ours, rtol=1e-4, atol=1e-4):
        raise RecipeError(f"{name!r} treats its pixels in a way that sensorium does not have "
                          f"({type(processor).__name__}): choose another model")
    return rule


def _convnext(height: int, width: int, side: int, share: float, resample: Filter) -> PictureRule:
    if side >= NO_CROP_FROM:
        return PictureRule(height, width, "squash", None, resample, share)
    return PictureRule(height, width, "crop", int(side / share), resample, share)


def _agrees(rule: PictureRule, processor: Any, *, frames: bool) -> bool:
    """Whether some pictures become the same pixels by our decoding and by the processor (square ones where nothing is
    cut to a square by it)."""
    kind = ImageKind(height=rule.height, width=rule.width, channels=3, fit=rule.fit, scaled=rule.scaled,
                     resample=rule.resample)
    for height, width in PROBES:
        picture = _picture(height, width)
        own = _processed(processor, picture, frames=frames, do_rescale=False, do_normalize=False)
        ours = kind.decode(picture)
        if own.shape != ours.shape or not (own == ours).all():
            return False
    return True


def _picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _processed(processor: Any, picture: npt.NDArray[np.uint8], *, frames: bool, **steps: bool) -> npt.NDArray[Any]:
    """(height, width, channel) what the processor makes of a picture, some of its steps left out."""
    from PIL import Image

    image = Image.fromarray(picture)
    pixels = processor([[image]] if frames else image, return_tensors="np", **steps)["pixel_values"]
    return np.moveaxis(np.asarray(pixels[0][0] if frames else pixels[0]), 0, -1)
