"""Pictures of any size → the size an encoder reads, in the graph, pixel for pixel as Pillow resamples them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.data.kinds import ImageKind, VideoKind

PRECISION = 1 << 22
SUPPORT = {"box": 0.5, "bilinear": 1.0, "hamming": 1.0, "bicubic": 2.0, "lanczos": 3.0}
NEGLIGIBLE = 1e-12


class Fitted(nn.Module):
    """`sensorium.data.kinds.image.fitted` for tensors: scaled with antialiasing, and the centre cut out.

    A picture that has the wanted size already counts as fitted and stays as it is, to the bit. Weights are whole
    multiples of 2⁻²² and every pass is rounded to whole levels, as in Pillow; only `nearest` may take the other of two
    equally near pixels.

    Args:
        kind: measured.

    Example:
        >>> fitted = Fitted(ImageKind(height=8, width=8, channels=3))
        >>> fitted(torch.zeros(2, 3, 20, 31, dtype=torch.uint8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, kind: ImageKind | VideoKind) -> None:
        super().__init__()
        assert kind.height is not None and kind.width is not None
        self.height, self.width, self.fit, self.scaled = kind.height, kind.width, kind.fit, kind.scaled
        self.resample = kind.resample

    def forward(self, pictures: Tensor) -> Tensor:
        """(row, …, channel, height, width_px) of any size in 0…255 → floats of the wanted size, whole levels."""
        across, down = self._maps(pictures.shape[-2], pictures.shape[-1])
        levels = pictures.double()
        levels = _rounded(torch.einsum("...hw,ow->...ho", levels, across))
        levels = _rounded(torch.einsum("...hw,oh->...ow", levels, down))
        return levels.float()

    def _maps(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """(width out, width in) and (height out, height in) weights."""
        tall, wide = _number(height), _number(width)
        zero = torch.zeros((), dtype=torch.float64)
        if self.fit == "cover":
            live_wide = torch.where(wide * self.height >= tall * self.width, self.width / self.height * tall, wide)
            live_tall = torch.where(wide * self.height >= tall * self.width, tall, wide * self.height / self.width)
            left, top = (wide - live_wide) * 0.5, (tall - live_tall) * 0.5
            return (self._map(width, left, left + live_wide, _number(self.width), self.width, zero),
                    self._map(height, top, top + live_tall, _number(self.height), self.height, zero))
        if self.fit == "squash":
            between = (self.height, self.width) if self.scaled is None else (self.scaled, self.scaled)
            scaled_tall, scaled_wide = _number(between[0]), _number(between[1])
        else:
            short = float(min(self.height, self.width) if self.scaled is None else self.scaled)
            long = torch.floor(short * torch.maximum(tall, wide) / torch.minimum(tall, wide))
            scaled_wide = torch.where(wide <= tall, short, long)
            scaled_tall = torch.where(wide <= tall, long, short)
        done = (tall == self.height) & (wide == self.width)
        scaled_tall, scaled_wide = torch.where(done, tall, scaled_tall), torch.where(done, wide, scaled_wide)
        return (self._map(width, zero, wide, scaled_wide, self.width,
                          torch.floor((scaled_wide - self.width) / 2)),
                self._map(height, zero, tall, scaled_tall, self.height,
                          torch.floor((scaled_tall - self.height) / 2)))

    def _map(
        self, size: int, start: Tensor, stop: Tensor, scaled: Tensor, kept: int, first: Tensor,
    ) -> Float[Tensor, "out in"]:
        """What each of `kept` places, from `first` of the `scaled` ones on, takes from the `size` there are.

        Source: Pillow's Resample.c, precompute_coeffs and normalize_coeffs_8bpc.
        """
        start, stop = (edge.float().double() for edge in (start, stop))  # Pillow takes them in single precision
        scale = (stop - start) / scaled
        stretch = scale.clamp(min=1.0)
        reach = SUPPORT.get(self.resample, 0.0) * stretch
        place = torch.arange(kept, dtype=torch.float64)[:, None] + first
        inside = (place >= 0) & (place < scaled)
        centre = start + (place + 0.5) * scale
        source = torch.arange(size, dtype=torch.float64)[None, :]
        if self.resample == "nearest":
            return ((torch.floor(centre) == source) & inside).double()
        read = (source >= torch.floor(centre - reach + 0.5)) & (source < torch.floor(centre + reach + 0.5))
        weights = torch.where(read, _filter(self.resample, (source - centre + 0.5) / stretch), 0.0)
        weights = weights / weights.sum(dim=1, keepdim=True)
        whole = weights.sign() * torch.floor(0.5 + weights.abs() * PRECISION)
        return torch.where(inside, whole / PRECISION, 0.0)


def _number(size: int) -> Tensor:
    """A size, which a graph knows only when it runs, as a number."""
    return torch.full((), 1.0, dtype=torch.float64) * size


def _rounded(levels: Tensor) -> Tensor:
    """Whole levels in 0…255, halves up."""
    return torch.floor(levels + 0.5).clamp(0.0, 255.0)


def _filter(name: str, x: Tensor) -> Tensor:
    """Pillow's filters."""
    near = x.abs()
    if name == "box":
        return ((x > -0.5) & (x <= 0.5)).double()
    if name == "bilinear":
        return (1.0 - near).clamp(min=0.0)
    if name == "hamming":
        return torch.where(near < 1.0, _sinc(x) * (0.54 + 0.46 * torch.cos(math.pi * x)), 0.0)
    if name == "bicubic":
        inner = (1.5 * near - 2.5) * near * near + 1.0
        outer = (((near - 5.0) * near + 8.0) * near - 4.0) * -0.5
        return torch.where(near < 1.0, inner, torch.where(near < 2.0, outer, 0.0))
    return torch.where(near < 3.0, _sinc(x) * _sinc(x / 3.0), 0.0)


def _sinc(x: Tensor) -> Tensor:
    angle = math.pi * x
    still = x.abs() < NEGLIGIBLE
    return torch.where(still, 1.0, torch.sin(angle) / torch.where(still, 1.0, angle))
