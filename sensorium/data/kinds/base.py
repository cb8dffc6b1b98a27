"""What a kind is: how a cell becomes an array, arrays become inputs, and a person looks at them.

Kinds import no torch at the top: the processes that decode cells stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sensorium.data.decoding.files import existing_file, first_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sensorium.keyed import Draws

__all__ = ["Array", "Cell", "Html", "Inputs", "Kind", "Padded", "existing_file", "first_line"]

Html = str
Cell = Any
"""A cell as it stands in a table: a path, bytes or arrays for media, a string, or a tuple of values for a table."""
Array = Any
"""A decoded cell: a numpy array, a string for text, a `Clip` for video, a `Recording` for series."""


@dataclass(frozen=True)
class Inputs:
    """What an encoder reads: the present rows of one modality, padded.

    Args:
        values: (row, …) the kind's tensor.
            image: uint8 or float (row, channel, height, width_px) in 0…255.
            audio: float (row, sample) in −1…1.
            text: int64 (row, token) token numbers.
            table: float (row, column) standardised numbers and category codes.
            video: uint8 or float (row, frame, channel, height, width_px) in 0…255.
            series: float (row, step, 2·channel): first the standardised readings, 0 where there is none; then 1.0
            where there is one, else 0.0.
            points: float (row, point, 3 + feature): x y z, centred and scaled (z = 0 in two dimensions), then
            standardised features.
        mask: (row, position) bool, True = real; None where every value is real (pictures). Positions are samples,
            tokens, columns, frames, steps or points. A row of points may have none: an empty cloud is present.
        span: (row, position, 2) where each position is, where the kind knows it: text: character offsets; video and
            series: seconds.
    """

    values: Tensor
    mask: Tensor | None = None
    span: Tensor | None = None

    def to(self, device: torch.device) -> Inputs:
        """The same inputs on another device."""
        return Inputs(
            self.values.to(device, non_blocking=True),
            None if self.mask is None else self.mask.to(device, non_blocking=True),
            None if self.span is None else self.span.to(device, non_blocking=True),
        )

    def __len__(self) -> int:
        return int(self.values.shape[0])


@dataclass(frozen=True)
class Padded:
    """What `Inputs` holds as arrays of numpy, for whatever reads it without torch."""

    values: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_] | None = None
    span: npt.NDArray[np.float32] | None = None

    def inputs(self) -> Inputs:
        """The same memory as tensors."""
        import torch

        return Inputs(torch.from_numpy(self.values), None if self.mask is None else torch.from_numpy(self.mask),
                      None if self.span is None else torch.from_numpy(self.span))


@runtime_checkable
class Kind(Protocol):
    """One kind of modality. Instances are frozen settings, saved with the schema as JSON."""

    name: ClassVar[str]

    def measure(self, cells: Sequence[Cell]) -> Kind:
        """Settings fitted to a sample of training cells (size, rate, vocabulary …); set ones are kept."""

    def decode(self, cell: Cell) -> Array:
        """The cell's array. Raises BadCell(reason): never returns a guess."""

    def length(self, array: Array) -> int:
        """Positions that `collate` gives the decoded cell (tokens, samples, frames, steps, points); else 1."""

    def pad(self, arrays: Sequence[Array]) -> Padded:
        """Padded arrays with masks for some decoded cells."""

    def collate(self, arrays: Sequence[Array]) -> Inputs:
        """The same as tensors."""

    def augment(self, inputs: Inputs, draws: Draws) -> Inputs:
        """A random variant with the same meaning, for training only; `draws.rows` are the cells' identities."""

    def corrupt(self, inputs: Inputs, severity: float, draws: Draws) -> Inputs:
        """A damaged copy: severity 0 = untouched … 1 = destroyed."""

    def show(self, array: Array) -> Html:
        """How a person looks at the decoded cell: self-contained HTML."""

    def describe(self, array: Array) -> Any:
        """(feature,) plain numbers about a cell, for shallow baselines; float32, fixed length; NaN = missing."""
