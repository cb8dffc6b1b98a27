"""Random changes to pictures that gradients pass through, so that few pictures are not learned by heart."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

NUM_DRAWS = 7
SHIFT = 0.125
CUTOUT = 0.5
CHANGES = frozenset({"colour", "shift", "cutout"})


def diff_augment(
    pictures: Float[Tensor, "batch channel height width_px"], draws: Float[Tensor, "batch 7"], *,
    changes: frozenset[str] = CHANGES,
) -> Float[Tensor, "batch channel height width_px"]:
    """Change pictures at random: the same kind of change for real and for generated ones, whenever either is judged.

    Colour: brightness ± 0.5, saturation times 0…2, contrast times 0.5…1.5. Shift: up to an eighth of the side, each
    way, what comes in is 0 (grey). Cutout: a square of half the side, its centre anywhere, is 0.

    Args:
        pictures: in −1…1; the result may leave that range.
        draws: uniform in 0…1.
        changes: some of "colour", "shift" and "cutout".

    Example:
        >>> pictures = torch.ones(1, 1, 4, 4)
        >>> diff_augment(pictures, torch.full((1, 7), 0.5), changes=frozenset({"cutout"}))[0, 0].tolist()
        [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]

    Source: Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training", section 3.
    """
    if "colour" in changes:
        pictures = _recoloured(pictures, draws[:, :3])
    if "shift" in changes:
        pictures = _shifted(pictures, draws[:, 3:5])
    if "cutout" in changes:
        pictures = _cut(pictures, draws[:, 5:7])
    return pictures


def _recoloured(pictures: Tensor, draws: Tensor) -> Tensor:
    brightness, saturation, contrast = (draws[:, place, None, None, None] for place in range(3))
    pictures = pictures + (brightness - 0.5)
    grey = pictures.mean(dim=1, keepdim=True)
    pictures = grey + (pictures - grey) * (2.0 * saturation)
    middle = pictures.mean(dim=(1, 2, 3), keepdim=True)
    return middle + (pictures - middle) * (contrast + 0.5)


def _shifted(pictures: Tensor, draws: Tensor) -> Tensor:
    """Whole pixels, −reach … reach down and across, each as likely."""
    for axis in (2, 3):
        side = pictures.shape[axis]
        reach = int(side * SHIFT + 0.5)
        moved = torch.floor(draws[:, axis - 2] * (2 * reach + 1)).clamp(max=2 * reach).long() - reach
        source = torch.arange(side, device=pictures.device) - moved[:, None]
        pattern = "batch side -> batch 1 side 1" if axis == 2 else "batch side -> batch 1 1 side"
        places = rearrange(source, pattern)
        taken = pictures.gather(axis, places.clamp(0, side - 1).expand_as(pictures))
        pictures = torch.where((places >= 0) & (places < side), taken, 0.0)
    return pictures


def _cut(pictures: Tensor, draws: Tensor) -> Tensor:
    inside = []
    for axis in (2, 3):
        side = pictures.shape[axis]
        length = int(side * CUTOUT + 0.5)
        centre = torch.floor(draws[:, axis - 2, None] * (side + 1 - length % 2))
        pixel = torch.arange(side, device=pictures.device)
        first = centre - length // 2
        inside.append((pixel >= first) & (pixel < first + length))
    hole = rearrange(inside[0], "batch height -> batch 1 height 1") & rearrange(
        inside[1], "batch width_px -> batch 1 1 width_px")
    return torch.where(hole, 0.0, pictures)
