"""From a batch's distinct cells to tokens in its rows."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from sensorium.data.batch import Packed
from sensorium.encoders.base import StagedEncoder, Tokens


def encoded_cells(encoder: nn.Module, packed: Packed) -> Tokens:
    """The cells' tokens; stored features are projected only."""
    if packed.stored:
        assert isinstance(encoder, StagedEncoder)
        return encoder.project(Tokens(packed.inputs.values, _known(packed.inputs.mask), packed.inputs.span))
    encoded: Tokens = encoder(packed.inputs)
    return encoded


def _known(mask: Tensor | None) -> Tensor:
    assert mask is not None
    return mask


def placed(tokens: Tokens, packed: Packed, num_rows: int) -> Tokens:
    """Cells' tokens in the batch's rows: repeated where rows share a cell, side by side where a row has several,
    masked where a row has none."""
    count = len(packed.rows)
    values, mask, span = tokens.values, tokens.mask, tokens.span
    if packed.cells.shape[1] > 1:
        there = packed.cells >= 0
        cells = packed.cells.clamp(min=0)
        values, span = _side_by_side(values[cells]), None if span is None else _side_by_side(span[cells])
        mask = _side_by_side(mask[cells] & there[:, :, None])
    elif count != len(mask) or bool((packed.cells[:, 0] != torch.arange(count, device=packed.cells.device)).any()):
        cells = packed.cells[:, 0]
        values, mask, span = values[cells], mask[cells], None if span is None else span[cells]
    if count == num_rows:
        return Tokens(values, mask, span)
    return Tokens(_scattered(values, packed.rows, num_rows), _scattered(mask, packed.rows, num_rows),
                  None if span is None else _scattered(span, packed.rows, num_rows))


def _side_by_side(values: Tensor) -> Tensor:
    """(row, slot, token, …) → (row, slot · token, …)."""
    return rearrange(values, "row slot token ... -> row (slot token) ...")


def _scattered(values: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    return values.new_zeros((num_rows, *values.shape[1:])).index_copy(0, rows, values)
