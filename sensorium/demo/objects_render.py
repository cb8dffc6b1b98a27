"""What a scene of objects looks like: antialiased shapes on a pale ground, each in its quarter of the picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensorium.demo.objects import COLOURS, NOTHING, SHAPES, Objects
from sensorium.demo.scene import Floats, Ints
from sensorium.errors import DataError

PICTURE_SIZES = (32, 64, 128)
"""Pixels a side."""
FINER = 6
"""Masks are drawn so many times finer, then averaged."""
PAINTS = np.array([(214, 38, 38), (246, 206, 36), (38, 158, 72), (44, 92, 216), (146, 62, 188), (36, 36, 42)],
                  dtype=np.float64) / 255.0
"""(colour, 3) red, green and blue in 0…1, in the order of COLOURS."""
REACHES = np.array([1.0, 1.2, 1.3, 1.4])
"""How far each shape's corners are from its centre, in radii: the four look equally large."""
assert len(PAINTS) == len(COLOURS) and len(REACHES) == len(SHAPES)


def object_pictures(objects: Objects, size: int = 32) -> npt.NDArray[np.uint8]:
    """(row, height, width_px, 3) uint8; the same scene at another size is the same picture, finer.

    What a colour, shape or place leaves open is drawn: shade, size within small or large, rotation, where in the
    quarter, the ground and its gradient.

    Raises:
        DataError: a size that is not one of PICTURE_SIZES.
    """
    if size not in PICTURE_SIZES:
        raise DataError(f"pictures of objects are {', '.join(map(str, PICTURE_SIZES))} pixels a side, found {size}")
    picture = _grounds(objects, size)
    covers = coverages(objects, size)
    paints = _paints(objects)
    for number in range(objects.colour.shape[1]):
        cover = covers[:, number, :, :, None]
        picture = picture * (1 - cover) + paints[:, number, None, None, :] * cover
    return np.asarray(np.rint(255.0 * np.clip(picture, 0.0, 1.0)), dtype=np.uint8)


def coverages(objects: Objects, size: int) -> Floats:
    """(row, object, height, width_px) how much of each pixel an object covers, 0…1; nothing where it is not there."""
    from PIL import Image, ImageDraw

    draws, count = objects.draws, objects.colour.shape[1]
    radius = np.where(objects.large, draws.uniform("look/large", count, low=0.15, high=0.172),
                      draws.uniform("look/small", count, low=0.115, high=0.135))
    reach = radius * REACHES[objects.shape]
    room = np.maximum(0.24 - reach, 0.02)[..., None] * draws.uniform("look/centre", count, 2, low=-1.0, high=1.0)
    centre = 0.25 + 0.5 * np.stack([objects.place % 2, objects.place // 2], axis=-1) + room
    turn = draws.uniform("look/turn", count, high=2 * np.pi)
    covers = np.zeros((len(objects), count, size, size))
    for row, number in zip(*np.nonzero(objects.colour != NOTHING), strict=True):
        corners = _outline(objects.shape[row, number], turn[row, number])
        corners = (centre[row, number] + reach[row, number] * corners) * size * FINER
        mask = Image.new("L", (size * FINER, size * FINER))
        ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in corners - 0.5], fill=255)
        covers[row, number] = np.asarray(mask.reduce(FINER)) / 255.0
    return covers


def _outline(shape: Ints, turn: Floats) -> Floats:
    """(corner, 2) the corners of a shape around 0 whose farthest corners are at distance 1, turned."""
    corners = (48, 4, 3, 10)[int(shape)]
    angle = turn + 2 * np.pi * np.arange(corners) / corners
    distance = np.where(np.arange(corners) % 2 == 1, 0.45, 1.0) if corners == 10 else np.ones(corners)
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


def _paints(objects: Objects) -> Floats:
    """(row, object, 3) each object's colour: lighter or darker than its name's, a little off its hue."""
    draws, count = objects.draws, objects.colour.shape[1]
    shade = draws.uniform("look/shade", count, 1, low=-0.16, high=0.16)
    hue = draws.uniform("look/hue", count, 3, low=-0.03, high=0.03)
    plain = PAINTS[objects.colour]
    return np.asarray(np.where(shade < 0, plain * (1 + shade), plain + shade * (1 - plain)) + hue)


def _grounds(objects: Objects, size: int) -> Floats:
    """(row, height, width_px, 3) a gradient in any direction between two pale colours."""
    draws = objects.draws
    pale = draws.uniform("look/pale", 2, 1, low=0.78, high=0.95) + draws.uniform("look/tint", 2, 3, low=-.05, high=.05)
    angle = draws.uniform("look/direction", 1, 1, high=2 * np.pi)
    pixel = (np.arange(size) + 0.5) / size - 0.5
    along = 0.5 + (np.cos(angle) * pixel[None, None, :] + np.sin(angle) * pixel[None, :, None]) / np.sqrt(2.0)
    return np.asarray(pale[:, None, None, 0] * (1 - along[..., None]) + pale[:, None, None, 1] * along[..., None])
