"""Point clouds: radar and LiDAR returns, x y [z] with features → scaled points in no order; an empty cloud is one."""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from sensorium.data.kinds.base import Cell, Html, Inputs, Padded
from sensorium.data.numeric.columns import Columns, read_columns
from sensorium.data.numeric.recordings import channel_scales, read_sample
from sensorium.errors import BadCell

if TYPE_CHECKING:
    from sensorium.keyed import Draws

Cloud = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.float64]
MOST_POINTS = 1024
MEASURED_POINTS = 4096
MOST_DEVIATIONS = 1e6
SHOWN_POINTS = 500
DESCRIBED_CELLS = 8
EXTENT = 2.0
_AXIS = re.compile(r"^(?:(?:pos|position|point)[_ .]?)?([xyz])(?:[_ .](?:m|mm|cm|pos|position)|[_ ]?[\[(]\w+[\])])?$")


class PointsKind(BaseModel):
    """Clouds of points with a place and features. Cells are NPY, NPZ, CSV, TSV or Parquet files, arrays or data frames.

    Columns called x, y and z are places and the other numbers features; without names the first `dimensions` columns
    are places. A point with a value that is missing is none. A file without any points is a cloud that is empty.

    Args:
        dimensions: 2 (seen from above) or 3; None until measured: whether most training clouds have a z, without names
            whether there is a third column.
        features: the columns besides places; numbers from `dimensions` where files name none. None until measured:
            those that at least half of the training clouds have.
        centre: the mean place of the training clouds' points; empty until measured.
        scale: their root mean square distance from it, over the root of the dimensions; None until measured.
        mean, std: of each feature over the training clouds; empty until measured.
        max_points: of larger clouds so many points are kept, drawn by their content. None until measured: as many as
            the largest of the training sample has, at most 1,024.
        augmentation: how far training clouds are varied, 0 = not at all.
        turn: by up to so many degrees a training cloud is turned about the vertical axis through the origin.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str] = "points"
    kind: Literal["points"] = "points"
    dimensions: Literal[2, 3] | None = None
    features: tuple[str, ...] | None = None
    centre: tuple[float, ...] = ()
    scale: float | None = Field(default=None, gt=0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    max_points: int | None = Field(default=None, ge=1, le=1 << 20)
    augmentation: float = Field(default=1.0, ge=0.0)
    turn: float = Field(default=0.0, ge=0.0, le=180.0)

    def measure(self, cells: Sequence[Cell]) -> PointsKind:
        """Dimensions, features, size and scales from a sample of cells."""
        found = [columns for columns, _ in read_sample(cells)]
        filled = [columns for columns in found if len(columns) and columns.names] or found
        dimensions: Literal[2, 3] = self.dimensions or _usual_dimensions(filled)
        features = self.features if self.features is not None else _usual_features(filled, dimensions)
        kind = self.model_copy(update={"dimensions": dimensions, "features": features})
        clouds = [cloud for columns in found if (cloud := kind._tried(columns)) is not None]
        some = [cloud[:: max(1, len(cloud) // MEASURED_POINTS)] for cloud in clouds]
        together = np.concatenate([np.zeros((0, 3 + len(features))), *some])
        centre = self.centre
        if len(centre) != 3:
            centre = tuple(together[:, :3].mean(axis=0).tolist()) if len(together) else (0.0, 0.0, 0.0)
        spread = _spread(together[:, :3] - np.array(centre), dimensions)
        update = {"centre": centre, "scale": self.scale or spread,
                  "max_points": self.max_points or min(MOST_POINTS, max([1, *map(len, clouds)]))}
        if len(self.mean) != len(features) or len(self.std) != len(features):
            mean, std = channel_scales([together[:, 3:]], len(features))
            update |= {"mean": mean, "std": std}
        return kind.model_copy(update=update)

    def _tried(self, columns: Columns) -> Numbers | None:
        try:
            return self._points(columns)
        except BadCell:
            return None

    def decode(self, cell: Cell) -> Cloud:
        """(point, 3 + feature) float32: scaled x y z (0 in two dimensions), standardised features; maybe no point."""
        assert self.scale is not None and self.max_points is not None
        points = self._points(read_columns(cell))
        if len(points) > self.max_points:
            key = hashlib.blake2b(np.ascontiguousarray(points).tobytes(), digest_size=8).digest()
            draws = np.random.default_rng(int.from_bytes(key, "little"))
            points = points[np.sort(draws.choice(len(points), self.max_points, replace=False))]
        middle = np.array([*self.centre, *self.mean])
        size = np.array([self.scale] * 3 + list(self.std))
        with np.errstate(over="ignore"):
            standard = np.clip((points - middle) / size, -MOST_DEVIATIONS, MOST_DEVIATIONS)
        return np.asarray(standard, dtype=np.float32)

    def _points(self, columns: Columns) -> Numbers:
        """(point, 3 + feature) as written, z = 0 in two dimensions, without points of which something is missing."""
        assert self.dimensions is not None and self.features is not None
        places = _places(columns, self.dimensions)
        if columns.named:
            wanted = [*places, *self.features]
        else:
            wanted = [*places, *columns.names[self.dimensions :]]
            if len(columns) and len(wanted) != self.dimensions + len(self.features):
                raise BadCell(f"{len(columns.names)} columns without names, expected {self.dimensions} places and "
                              f"{len(self.features)} features")
        if len(columns) == 0 and not columns.named:
            return np.zeros((0, 3 + len(self.features)))
        missing = [name for name in wanted if name not in columns.names]
        if missing:
            raise BadCell(f"no column of numbers {', '.join(map(repr, missing[:8]))} among "
                          f"{', '.join(map(repr, columns.names[:8]))}")
        points = columns.values[:, [columns.names.index(name) for name in wanted]]
        if self.dimensions == 2:
            points = np.insert(points, 2, 0.0, axis=1)
        return points[np.isfinite(points).all(axis=1)]

    def length(self, array: Cloud) -> int:
        """Points, at least 1: an empty cloud takes a place too."""
        return max(1, len(array))

    def pad(self, arrays: Sequence[Cloud]) -> Padded:
        """(row, point, 3 + feature) float32, padded with 0; mask (row, point), all False for an empty cloud."""
        lengths = np.array([len(array) for array in arrays])
        values = np.zeros((len(arrays), max(1, int(lengths.max())), arrays[0].shape[1]), dtype=np.float32)
        for row, array in enumerate(arrays):
            values[row, : lengths[row]] = array
        mask = np.arange(values.shape[1])[None, :] < lengths[:, None]
        return Padded(values, mask)

    def collate(self, arrays: Sequence[Cloud]) -> Inputs:
        """The same as tensors."""
        return self.pad(arrays).inputs()

    def augment(self, inputs: Inputs, draws: Draws) -> Inputs:
        """Nearer or farther, a little shaken, some points lost; turned about the vertical axis by up to `turn` degrees.

        At augmentation 1: distances from the origin by up to 10 %; every point and feature shaken by up to .03 and .1
        standard deviations; up to 20 % of the points lost, never all. Amounts above 3 count as 3.
        """
        if self.augmentation == 0:
            return inputs
        import torch

        assert inputs.mask is not None and self.scale is not None and self.features is not None
        amount = min(self.augmentation, 3.0)
        unit = torch.from_numpy(draws.uniform("points/move", 4, low=-1.0, high=1.0)).float()[:, :, None]
        origin = -torch.tensor(self.centre, dtype=torch.float32) / self.scale
        places = (inputs.values[..., :3] - origin) * torch.exp(0.1 * amount * unit[:, 0:1])
        angle = unit[:, 1:2, 0] * (self.turn * torch.pi / 180.0)
        across, ahead = places[..., 0], places[..., 1]
        turned = torch.stack([across * torch.cos(angle) - ahead * torch.sin(angle),
                              across * torch.sin(angle) + ahead * torch.cos(angle), places[..., 2]], dim=2)
        shaken = torch.from_numpy(draws.normal("points/shaken", *inputs.values.shape[1:])).float() * amount
        flat = torch.tensor([1.0, 1.0, float(self.dimensions == 3)])
        places = turned + origin + 0.03 * unit[:, 2:3].abs() * shaken[..., :3] * flat
        features = inputs.values[..., 3:] + 0.1 * unit[:, 2:3].abs() * shaken[..., 3:]
        drawn = torch.from_numpy(draws.uniform("points/lost", inputs.values.shape[1])).float()
        kept = inputs.mask & (drawn >= min(0.9, 0.2 * amount) * unit[:, 3].abs())
        kept = torch.where(kept.any(dim=1, keepdim=True), kept, inputs.mask)
        values = torch.cat([places, features], dim=2)
        return Inputs(torch.where(kept[:, :, None], values, 0.0), kept, inputs.span)

    def corrupt(self, inputs: Inputs, severity: float, draws: Draws) -> Inputs:
        """Clutter: this share of the points is elsewhere, uniformly within √3 scales, with normal features."""
        if severity == 0:
            return inputs
        import torch

        assert inputs.mask is not None
        points, columns = inputs.values.shape[1:]
        hit = torch.from_numpy(draws.uniform("points/hit", points) < severity) & inputs.mask
        places = draws.uniform("points/place", points, 3, low=-(3.0**0.5), high=3.0**0.5)
        if self.dimensions == 2:
            places[..., 2] = 0.0
        features = draws.normal("points/feature", points, columns - 3)
        clutter = torch.from_numpy(np.concatenate([places, features], axis=2)).float()
        return Inputs(torch.where(hit[:, :, None], clutter, inputs.values), inputs.mask, inputs.span)

    def show(self, array: Cloud) -> Html:
        """The cloud from above, the first feature in colour: blue where it is low, red where it is high."""
        assert self.scale is not None and self.features is not None
        step = max(1, len(array) // SHOWN_POINTS)
        raw = array[::step].astype(np.float64)
        colours = _colours(raw[:, 3]) if raw.shape[1] > 3 else ["#0b6e99"] * len(raw)
        dots = "".join(
            f'<circle cx="{50 + 45 * np.clip(x / EXTENT, -1, 1):.1f}" cy="{50 - 45 * np.clip(y / EXTENT, -1, 1):.1f}" '
            f'r="1.2" fill="{colour}"/>' for (x, y), colour in zip(raw[:, :2], colours, strict=True))
        side = 2 * EXTENT * self.scale
        told = f"{len(array)} points, {side:.4g} across" if len(array) else "an empty cloud"
        coloured = f", coloured by {html.escape(self.features[0])}" if self.features else ""
        return (f'<figure class="cloud"><svg class="points" viewBox="0 0 100 100" role="img" aria-label="{told}">'
                f'<rect width="100" height="100" fill="#f4f4f2"/>{dots}</svg>'
                f'<figcaption>{told}{coloured}</figcaption></figure>')

    def describe(self, array: Cloud) -> npt.NDArray[np.float32]:
        """Count, moments and quartiles of every column, and an 8 by 8 map from above: points and mean features."""
        points = array.astype(np.float64)
        columns = points.shape[1]
        count = np.log1p(len(points))
        if len(points) == 0:
            return np.zeros(1 + 5 * columns + 1 + DESCRIBED_CELLS**2 * (columns - 2), dtype=np.float32)
        quartiles = np.quantile(points, (0.25, 0.5, 0.75), axis=0)
        together = (points[:, 0] * points[:, 1]).mean() - points[:, 0].mean() * points[:, 1].mean()
        cells = np.clip((points[:, :2] + EXTENT) / (2 * EXTENT) * DESCRIBED_CELLS, 0, DESCRIBED_CELLS - 1).astype(int)
        flat = cells[:, 1] * DESCRIBED_CELLS + cells[:, 0]
        counts = np.bincount(flat, minlength=DESCRIBED_CELLS**2)
        sums = [np.bincount(flat, weights=points[:, column], minlength=DESCRIBED_CELLS**2)
                for column in range(3, columns)]
        means = [one / np.maximum(counts, 1) for one in sums]
        return np.concatenate([[count], points.mean(axis=0), points.std(axis=0), quartiles.ravel(), [together],
                               np.log1p(counts), *means]).astype(np.float32)


def axis_of(name: str) -> str:
    """The place that a column's name stands for: "x", "y", "z" or ""."""
    found = _AXIS.match(name.strip().lower())
    return found[1] if found else ""


def _places(columns: Columns, dimensions: int) -> list[str]:
    """The columns of places."""
    if not columns.named:
        return list(columns.names[:dimensions])
    by_axis = {axis_of(name): name for name in reversed((*columns.names, *columns.others))}
    return [by_axis.get(axis, axis) for axis in "xyz"[:dimensions]]


def _spread(places: Numbers, dimensions: int) -> float:
    """The root mean square of the coordinates; 1 where there is nothing but one place."""
    size = float(np.abs(places).max(initial=0.0))
    if size < 1e-9:
        return 1.0
    return size * float(np.sqrt(np.square(places / size).sum() / (len(places) * dimensions)))


def _usual_dimensions(found: Sequence[Columns]) -> Literal[2, 3]:
    """3 where most have a z, or a third column without a name."""
    flat = Counter(not any(axis_of(name) == "z" for name in (*columns.names, *columns.others)) if columns.named
                   else len(columns.names) < 3 for columns in found)
    return 2 if flat[True] > flat[False] else 3


def _usual_features(found: Sequence[Columns], dimensions: int) -> tuple[str, ...]:
    """The columns of numbers, besides places, that at least half of the clouds have."""
    counts = Counter(name for columns in found for name in (
        [name for name in columns.names if not axis_of(name)] if columns.named else columns.names[dimensions:]))
    return tuple(name for name, count in counts.items() if 2 * count >= len(found))


def _colours(values: Numbers) -> list[str]:
    """Blue to red by rank between the 5th and the 95th percentile."""
    low, high = np.quantile(values, (0.05, 0.95)) if len(values) else (0.0, 1.0)
    shares = np.clip((values - low) / (high - low), 0, 1) if high > low else np.full(len(values), 0.5)
    return [f"rgb({int(40 + 180 * share)},90,{int(220 - 180 * share)})" for share in shares]
