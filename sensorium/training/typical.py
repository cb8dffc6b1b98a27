"""Typical tokens: what a modality's encoder says on average, the baseline from which attribution starts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.data.batch import make_batch
from sensorium.data.samples import Samples
from sensorium.encoders.base import Tokens
from sensorium.model import Model
from sensorium.placing import encoded_cells

MOST_ROWS = 512
MOST_POSITIONS = 256
FEWEST_CELLS = 8
ROWS_AT_ONCE = 128


def typical_tokens(model: Model, samples: Samples, rows: npt.NDArray[np.int64]) -> dict[str, Tensor]:
    """The mean token at each place of a cell (a part of the picture, a column, the third token of a text …).

    A token that is the same in every row, because of where it is, is then its own baseline and gets no attribution.
    Places that fewer than 8 cells have get the mean of all tokens.

    Args:
        model: whose encoders are asked.
        samples: a decoded table.
        rows: (row,) row numbers, training rows best; at most 512 of them, evenly chosen, are read.

    Returns:
        modality → (place + 1, width) float32; the last one is the mean of all tokens, for whatever lies beyond. A
        modality that none of the rows has is left out.
    """
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, min(MOST_ROWS, len(rows))).astype(int))]
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    model.eval()
    with torch.no_grad():
        for start in range(0, len(chosen), ROWS_AT_ONCE):
            batch = make_batch(samples, chosen[start : start + ROWS_AT_ONCE]).to(model.device)
            for name, encoder in zip(model.schema.names, model.encoders, strict=True):
                if name in batch.inputs:
                    _add(sums, counts, name, encoded_cells(encoder, batch.inputs[name]))
    return {name: _means(sums[name], counts[name]) for name in sums if float(counts[name].sum()) > 0}


def _add(sums: dict[str, Tensor], counts: dict[str, Tensor], name: str, tokens: Tokens) -> None:
    """Add a batch's cells; what lies beyond the last place is added there."""
    values = torch.where(tokens.mask[:, :, None], tokens.values, 0.0).double().sum(dim=0).cpu()
    number = tokens.mask.double().sum(dim=0).cpu()
    if name not in sums:
        sums[name] = values.new_zeros(MOST_POSITIONS + 1, values.shape[1])
        counts[name] = number.new_zeros(MOST_POSITIONS + 1)
    place = torch.arange(len(values)).clamp(max=MOST_POSITIONS)
    sums[name].index_add_(0, place, values)
    counts[name].index_add_(0, place, number)


def _means(sums: Tensor, counts: Tensor) -> Tensor:
    everywhere = sums.sum(dim=0) / counts.sum()
    known = counts >= FEWEST_CELLS
    known[MOST_POSITIONS] = False
    last = int(known.nonzero().max()) + 1 if bool(known.any()) else 0
    means = torch.where(known[:, None], sums / counts.clamp(min=1.0)[:, None], everywhere)
    return torch.cat([means[:last], everywhere[None]]).float()
