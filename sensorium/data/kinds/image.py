"""Pictures: files, bytes, PIL images or arrays → uint8 arrays of one size."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sensorium.data.decoding.quiet import without_warnings
from sensorium.data.kinds.base import Cell, Html, Inputs, Padded, existing_file, first_line
from sensorium.errors import BadCell

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from sensorium.keyed import Draws

Pixels = npt.NDArray[np.uint8]
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may open: no format whose reader starts other programs (EPS) or reads other files."""
MOST_PIXELS = 89_478_485
MOST_BYTES = 256 << 20
DESCRIBED_VALUES = 784
LONGEST_ASPECT = 20


class ImageKind(BaseModel):
    """Pictures of one size. EXIF rotation is applied, alpha composited on white, 16-bit and CMYK mapped to 8-bit.

    A picture is scaled to cover (height, width) and its centre is cut out; small ones are scaled up. Pretrained models
    set `fit`, `scaled` and `resample` to what they were trained on.

    Args:
        height, width: pixels; None until measured: the median shape of the training pictures, at most `max_side`.
        channels: 1 (all training pictures are grey) or 3; None until measured.
        max_side: the longest side that `measure` may choose.
        augmentation: how far training pictures are varied, 0 = not at all.
        flip: whether a mirrored picture means the same.
        fit: how a picture gets its size: scaled to cover it and cut; squashed to it; or its shorter side scaled to
            `scaled` pixels and the centre cut out, black where the picture is smaller.
        scaled: pixels of the side that is scaled before the centre is cut out; squash: of both sides; None: no cut.
        resample: Pillow's filter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "image"
    kind: Literal["image"] = "image"
    height: int | None = Field(default=None, ge=4)
    width: int | None = Field(default=None, ge=4)
    channels: Literal[1, 3] | None = None
    max_side: int = Field(default=96, ge=8)
    augmentation: float = Field(default=1.0, ge=0.0)
    flip: bool = False
    fit: Literal["cover", "squash", "crop"] = "cover"
    scaled: int | None = Field(default=None, ge=4)
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"

    def measure(self, cells: Sequence[Cell]) -> ImageKind:
        """Size and channels from a sample of cells: the median shape, 1 channel where all are grey."""
        shapes: list[tuple[int, int]] = []
        grey = True
        for cell in cells:
            try:
                picture = _open(cell)
                grey = grey and _is_grey(picture)
                with without_warnings("PIL"):
                    turned = picture.getexif().get(0x0112, 1) >= 5
            except Exception:  # a cell that cannot be read says so when it is decoded
                continue
            shapes.append(picture.size if turned else (picture.size[1], picture.size[0]))
        if not shapes:
            return self.model_copy(update={"height": self.height or 64, "width": self.width or 64,
                                           "channels": self.channels or 3})
        height, width = np.median(np.array(shapes), axis=0)
        shrink = min(1.0, self.max_side / max(height, width))
        return self.model_copy(update={
            "height": self.height or max(8, round(height * shrink)),
            "width": self.width or max(8, round(width * shrink)),
            "channels": self.channels or (1 if grey else 3),
        })

    def decode(self, cell: Cell) -> Pixels:
        """(height, width, channel) uint8."""
        from PIL import ImageOps

        assert self.height is not None and self.width is not None and self.channels is not None
        picture = _open(cell)
        mode = "L" if self.channels == 1 else "RGB"
        try:
            with without_warnings("PIL"):
                if self.fit == "cover":
                    picture.draft(mode, (self.width, self.height))
                picture = ImageOps.exif_transpose(picture)
                picture = fitted(_eight_bit(picture, mode), (self.width, self.height), fit=self.fit,
                                 scaled=self.scaled, resample=self.resample)
        except BadCell:
            raise
        except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ValueError … on broken files
            raise BadCell(f"broken picture ({first_line(error)})") from error
        return np.asarray(picture, dtype=np.uint8).reshape(self.height, self.width, self.channels)

    def length(self, array: Pixels) -> int:
        """1: pictures are not padded."""
        return 1

    def pad(self, arrays: Sequence[Pixels]) -> Padded:
        """(row, channel, height, width_px) uint8, 0…255; no mask: every pixel is real."""
        height, width, channels = arrays[0].shape
        values = np.empty((len(arrays), channels, height, width), dtype=np.uint8)
        for row, array in enumerate(arrays):
            values[row] = array.transpose(2, 0, 1)
        return Padded(values)

    def collate(self, arrays: Sequence[Pixels]) -> Inputs:
        """The same as tensors."""
        return self.pad(arrays).inputs()

    def augment(self, inputs: Inputs, draws: Draws) -> Inputs:
        """Turned, zoomed, shifted, in another light, a little noisy; mirrored in half of the cases if `flip`.

        At augmentation 1: up to 10 degrees, 10 % zoom, 8 % of the side, contrast by 20 %, light by 25 levels,
        uniform noise of up to 40 levels. Outside, the border continues. Amounts above 3 count as 3 for light and noise.
        """
        if self.augmentation == 0:
            return inputs
        import torch

        pictures = moved(inputs.values.float(), draws, self.augmentation, flip=self.flip)
        light = torch.from_numpy(draws.uniform("image/light", 3, low=-1.0, high=1.0)).float()[:, :, None, None, None]
        amount = min(self.augmentation, 3.0)
        means = pictures.mean(dim=(1, 2, 3), keepdim=True)
        pictures = means.lerp(pictures, torch.exp2(0.3 * amount * light[:, 0])).add_(25.0 * amount * light[:, 1])
        pictures.addcmul_(uniform_noise(draws, pictures.shape[1:]), 40.0 * amount * light[:, 2].abs())
        return Inputs(pictures.clamp_(0.0, 255.0), inputs.mask, inputs.span)

    def corrupt(self, inputs: Inputs, severity: float, draws: Draws) -> Inputs:
        """(1 − severity) · picture + severity · uniform noise over the whole range; float unless untouched."""
        if severity == 0:
            return inputs
        noise = 127.5 + 127.5 * uniform_noise(draws, inputs.values.shape[1:])
        return Inputs((1.0 - severity) * inputs.values.float() + severity * noise, inputs.mask, inputs.span)

    def show(self, array: Pixels) -> Html:
        """A PNG inside the page, enlarged where it is tiny."""
        from PIL import Image

        squeezed = array[:, :, 0] if array.shape[2] == 1 else array
        buffer = io.BytesIO()
        Image.fromarray(squeezed).save(buffer, format="PNG")
        data = base64.b64encode(buffer.getvalue()).decode()
        return (f'<img class="picture" alt="picture, {array.shape[1]} by {array.shape[0]} pixels" '
                f'src="data:image/png;base64,{data}">')

    def describe(self, array: Pixels) -> npt.NDArray[np.float32]:
        """A thumbnail of at most 784 values in 0…1."""
        from PIL import Image

        height, width, channels = array.shape
        shrink = min(1.0, (DESCRIBED_VALUES / (height * width * channels)) ** 0.5)
        size = (max(1, int(width * shrink)), max(1, int(height * shrink)))
        planes = [Image.fromarray(np.ascontiguousarray(array[:, :, c])).resize(size, Image.Resampling.BOX)
                  for c in range(channels)]
        return np.concatenate([np.asarray(plane, dtype=np.float32).ravel() / 255.0 for plane in planes])


def fitted(picture: Image, size: tuple[int, int], *, fit: str, scaled: int | None, resample: str) -> Image:
    """A picture of this (width, height): see `fit`, `scaled` and `resample` of ImageKind.

    Bit for bit what transformers' Pillow processors give: the longer side rounded down, the centre's corner too.
    """
    from PIL import Image, ImageOps

    width, height = size
    method = Image.Resampling[resample.upper()]
    if fit == "cover":
        return picture if picture.size == size else ImageOps.fit(picture, size, method)
    if fit == "squash":
        between = size if scaled is None else (scaled, scaled)
    else:
        picture = _not_too_long(picture)
        short = min(size) if scaled is None else scaled
        long = int(short * max(picture.size) / min(picture.size))
        between = (short, long) if picture.width <= picture.height else (long, short)
    picture = picture.resize(between, method)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture if picture.size == size else picture.crop((left, top, left + width, top + height))


def _not_too_long(picture: Image) -> Image:
    """The middle of a picture over 20 times as long as wide: scaled by its short side, it could fill the memory."""
    width, height = (min(own, LONGEST_ASPECT * other) for own, other in (picture.size, picture.size[::-1]))
    if picture.size == (width, height):
        return picture
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def uniform_noise(draws: Draws, shape: Sequence[int], *, purpose: str = "image/noise") -> Tensor:
    """(row, \\*shape) uniform noise in −1…1; eight 8-bit numbers from every draw, which is quick."""
    import torch

    count = math.prod(shape)
    bits = draws.bits(purpose, -(-count // 8)).astype("<u8", copy=False).view("<i1")[:, :count]
    return torch.from_numpy(bits.astype(np.float32)).add_(0.5).div_(127.5).reshape(len(bits), *shape)


def moved(pictures: Tensor, draws: Draws, amount: float, *, flip: bool) -> Tensor:
    """Every picture turned, zoomed, stretched and shifted by its own draws, bilinear, its border continued.

    Args:
        pictures: (row, plane, height, width_px) float; all planes of a row (colours, frames) move alike.
    """
    import torch
    from torch.nn import functional as F

    unit = torch.from_numpy(draws.uniform("image/move", 5, low=-1.0, high=1.0)).float()
    angle = 0.18 * amount * unit[:, 0]
    scale = torch.exp(0.1 * amount * unit[:, 1:3])
    shift = 0.16 * amount * unit[:, 3:5]
    aspect = pictures.shape[2] / pictures.shape[3]
    mirror = torch.ones(len(unit))
    if flip:
        mirror = torch.from_numpy(np.where(draws.uniform("image/flip") < 0.5, -1.0, 1.0)).float()
    cosine, sine = torch.cos(angle), torch.sin(angle)
    across = torch.stack([mirror * scale[:, 0] * cosine, -aspect * scale[:, 0] * sine, shift[:, 0]], dim=1)
    down = torch.stack([mirror * scale[:, 1] * sine / aspect, scale[:, 1] * cosine, shift[:, 1]], dim=1)
    grid = F.affine_grid(torch.stack([across, down], dim=1), list(pictures.shape), align_corners=False)
    moved: Tensor = F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return moved


def _open(cell: Cell) -> Image:
    """The picture with its header read, pixels not yet."""
    from PIL import Image, UnidentifiedImageError

    try:
        if isinstance(cell, Image.Image):
            return cell
        if isinstance(cell, np.ndarray):
            if cell.dtype.kind == "f":
                raise BadCell(f"a picture as an array of {cell.dtype}: expected whole numbers 0…255 (uint8)")
            return Image.fromarray(cell)
        if not isinstance(cell, bytes):
            file = existing_file(cell)
            if file.stat().st_size > MOST_BYTES:
                raise BadCell(f"a picture of {file.stat().st_size:,} bytes: at most {MOST_BYTES:,} are read")
            cell = file.read_bytes()
        with without_warnings("PIL"):
            picture = Image.open(io.BytesIO(cell), formats=FORMATS)
        if picture.width * picture.height > MOST_PIXELS:
            raise BadCell(f"a picture of {picture.width} by {picture.height} pixels: at most {MOST_PIXELS:,} are read")
        return picture
    except BadCell:
        raise
    except UnidentifiedImageError as error:
        raise BadCell("not a picture that Pillow can read (as PNG, JPEG, GIF, WebP, BMP, TIFF or PNM)") from error
    except Exception as error:
        raise BadCell(f"broken picture ({first_line(error)})") from error


def _is_grey(picture: Image) -> bool:
    return picture.mode in {"1", "L", "LA", "I", "F"} or picture.mode.startswith("I;16")


def _eight_bit(picture: Image, mode: str) -> Image:
    """8-bit grey or RGB: 16-bit values divided by 257, alpha on white, palettes and CMYK converted."""
    from PIL import Image

    if picture.mode == "I" or picture.mode.startswith("I;16") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float32)
        top = float(values.max(initial=0.0))
        if not math.isfinite(top):
            raise BadCell("a picture with values that are not finite")
        scale = 1.0 / 257.0 if top > 255 else (255.0 if picture.mode == "F" and top <= 1.0 else 1.0)
        values = np.multiply(values, np.float32(scale))
        picture = Image.fromarray(np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8))
    elif picture.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in picture.info:
        overlay = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", overlay.size, (255, 255, 255, 255)), overlay)
    return picture.convert(mode)
