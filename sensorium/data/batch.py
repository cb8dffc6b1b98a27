"""Batches: packed inputs of the present rows, presence masks and targets, as tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.data.cache.store import StoredTokens
from sensorium.data.cells import numbered
from sensorium.data.kinds.base import Inputs, Kind
from sensorium.data.samples import Samples
from sensorium.keyed import Draws

HIDDEN_TOKENS = 0.3
HIDDEN_CHANNELS = 0.6
NOISE_LEVELS = 4


@dataclass(frozen=True)
class Packed:
    """One modality of a batch: its distinct cells, and which rows have them.

    Args:
        inputs: (cell, …) each distinct cell of the batch once: what its kind collates, or stored features (cell,
            token, feature).
        rows: (present,) int64 positions in the batch of the rows that have the modality, increasing.
        cells: (present, slot) int64 which cells each of these rows has, −1 = nothing: several where cells are lists.
        stored: whether the inputs are a frozen encoder's stored features, to be projected only.
    """

    inputs: Inputs
    rows: Tensor
    cells: Tensor
    stored: bool = False

    def to(self, device: torch.device) -> Packed:
        """The same on another device."""
        return Packed(self.inputs.to(device), self.rows.to(device), self.cells.to(device), self.stored)


@dataclass(frozen=True)
class TargetValues:
    """A target of a batch: values (batch,) int64 class numbers or float64 numbers in original units; mask (batch,)."""

    values: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Step:
    """What all processes that share a training step know alike, for draws that concern the whole step.

    Args:
        lot: a number drawn for the step.
        presence: (row, modality) bool of all rows of the step.
    """

    lot: int
    presence: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Aim:
    """What is to be made of one modality: the first cell of each row that has any, as its kind decodes it.

    Args:
        arrays: a picture as uint8 (height, width_px, channel), a text as a string.
        rows: (present,) int64 their positions in the batch, increasing.
    """

    arrays: tuple[Any, ...]
    rows: Tensor


@dataclass(frozen=True)
class Batch:
    """Some rows of a table.

    Args:
        rows: (batch,) int64 row numbers in the table: the rows' identities.
        presence: (batch, modality) bool in the schema's order.
        inputs: by modality; a modality that no row of the batch has is left out.
        targets: by target.
        identities: (batch, modality) int64 of each row's first cell in the table, −1: no cell; None: not known.
        step: of training.
        aims: by modality, of those that an objective makes.
    """

    rows: Tensor
    presence: Tensor
    inputs: Mapping[str, Packed]
    targets: Mapping[str, TargetValues]
    identities: Tensor | None = None
    step: Step | None = None
    aims: Mapping[str, Aim] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.presence.shape[0])

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.rows.to(device), self.presence.to(device),
            {name: packed.to(device) for name, packed in self.inputs.items()},
            {name: TargetValues(t.values.to(device), t.mask.to(device)) for name, t in self.targets.items()},
            None if self.identities is None else self.identities.to(device), self.step,
            {name: Aim(aim.arrays, aim.rows.to(device)) for name, aim in self.aims.items()})


@dataclass(frozen=True)
class Augmentation:
    """Training variants: drawn by (seed, epoch, cell).

    Args:
        seed: the run's.
        epoch: the pass over the data.
        noise: modality → the worst damage, in 0…1 of its kind's `corrupt`; half of its cells are damaged up to that.
        thin: hide some tokens and channels of stored features.
    """

    seed: int
    epoch: int
    noise: Mapping[str, float] = field(default_factory=dict)
    thin: bool = True


def make_batch(
    samples: Samples, rows: npt.NDArray[np.int64], augmentation: Augmentation | None = None, step: Step | None = None,
    *, unread: Collection[str] = (), aims: Collection[str] = (),
) -> Batch:
    """The batch of some rows of the table; augmented only where asked for.

    Args:
        samples: the decoded table.
        rows: (batch,) row numbers.
        augmentation: for training; rows that share a cell share its variant within an epoch.
        step: for training; these rows may be one process's share of it.
        unread: modalities that nothing reads: they are in the presence, but not in the inputs.
        aims: modalities that an objective makes.
    """
    inputs: dict[str, Packed] = {}
    for name in samples.schema.names:
        if name in unread:
            continue
        cells = samples.cells[name]
        wanted = cells.cells_of_row[rows]
        present = np.flatnonzero((wanted >= 0).any(axis=1))
        if len(present) == 0:
            continue
        distinct, which = numbered(wanted[present])
        draws = None if augmentation is None else Draws(augmentation.seed, augmentation.epoch,
                                                        cells.identities[distinct])
        if cells.stored is not None:
            collated = _features(cells.stored, distinct)
            collated = collated if augmentation is None or draws is None or not augmentation.thin else _thinned(
                collated, draws)
        else:
            collated = cells.kind.collate(cells.arrays.get(distinct.tolist()))
            if draws is not None and augmentation is not None:
                collated = cells.kind.augment(collated, draws)
                collated = damaged(cells.kind, collated, augmentation.noise.get(name, 0.0), draws)
        inputs[name] = Packed(collated, torch.from_numpy(present), torch.from_numpy(which), cells.stored is not None)
    return Batch(torch.from_numpy(rows), torch.from_numpy(samples.presence[rows]), inputs,
                 target_values(samples, rows), torch.from_numpy(samples.identities(rows)), step,
                 {name: _aim(samples, name, rows) for name in aims})


def _aim(samples: Samples, name: str, rows: npt.NDArray[np.int64]) -> Aim:
    first = samples.cells[name].cells_of_row[rows, 0]
    present = np.flatnonzero(first >= 0)
    return Aim(tuple(samples.cells[name].arrays.get(first[present].tolist())), torch.from_numpy(present))


def damaged(kind: Kind, inputs: Inputs, worst: float, draws: Draws) -> Inputs:
    """Half of the cells as they are, the others damaged by one of four equally likely amounts, the last the worst.

    Args:
        kind: what the cells are.
        inputs: collated cells.
        worst: the largest severity, in 0…1; 0: nothing is damaged.
        draws: keyed by the cells.
    """
    if worst == 0.0:
        return inputs
    amount = draws.integers("noise/amount", high=2 * NOISE_LEVELS) - (NOISE_LEVELS - 1)  # 1 … 4 where it is positive
    values = inputs.values
    for level in range(1, NOISE_LEVELS + 1):
        hit = np.flatnonzero(amount == level)
        if len(hit):
            rows = torch.from_numpy(hit)
            part = Inputs(inputs.values[rows], None if inputs.mask is None else inputs.mask[rows],
                          None if inputs.span is None else inputs.span[rows])
            hurt = kind.corrupt(part, worst * level / NOISE_LEVELS, Draws(draws.seed, draws.epoch, draws.rows[hit]))
            values = values.to(hurt.values.dtype).index_copy(0, rows, hurt.values)
    return Inputs(values, inputs.mask, inputs.span)


def target_values(samples: Samples, rows: npt.NDArray[np.int64]) -> dict[str, TargetValues]:
    """Every target that the table has, of some rows."""
    return {name: TargetValues(torch.from_numpy(labels.values[rows]), torch.from_numpy(labels.mask[rows]))
            for name, labels in samples.labels.items()}


def _features(stored: StoredTokens, cells: npt.NDArray[np.int64]) -> Inputs:
    """The stored features of some cells, as 32-bit numbers."""
    found = stored.get(cells)
    return Inputs(torch.from_numpy(found.values).float(), torch.from_numpy(found.mask),
                  None if found.span is None else torch.from_numpy(found.span))


def _thinned(features: Inputs, draws: Draws) -> Inputs:
    """Stored features with some tokens hidden, never a cell's last one, and some channels of all its tokens at 0.

    Thousands of channels from a frozen encoder are learned by heart in a few epochs; hiding some of them acts as a
    strong penalty on the weights that read them (Srivastava et al. 2014, section 9.1). What is left keeps its mean.
    """
    assert features.mask is not None
    num_tokens, num_channels = features.values.shape[1:]
    kept = features.mask & torch.from_numpy(draws.uniform("stored/token", num_tokens) >= HIDDEN_TOKENS)
    kept = torch.where(kept.any(dim=1, keepdim=True), kept, features.mask)
    channels = torch.from_numpy(draws.uniform("stored/channel", num_channels) >= HIDDEN_CHANNELS)
    return Inputs(features.values * (channels / (1.0 - HIDDEN_CHANNELS)).float()[:, None], kept, features.span)


def prefetch(samples: Samples, rows: npt.NDArray[np.int64]) -> None:
    """Start decoding what these rows need and is not in memory."""
    for name in samples.schema.names:
        if samples.cells[name].stored is not None:
            continue
        wanted = samples.cells[name].cells_of_row[rows]
        samples.cells[name].arrays.prefetch(np.unique(wanted[wanted >= 0]).tolist())
