"""Views of many rows as few rows with the same cross-products, without squaring a condition number."""

from __future__ import annotations

import numpy as np

from sensorium.alignment.blocks import Blocks, Floats
from sensorium.alignment.whitening import GramWhitening

MOST_RESIDUAL = 1e-10
"""A column that others explain but for this share of its length counts as depending on them."""


def centred_rows(blocks: Blocks) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
    """Per view its (row, width) centred rows and its (width,) mean; for views of more columns than rows."""
    rows = np.concatenate([block.copy() for block in blocks])
    origin = rows[0].copy()
    rows -= origin
    offset = rows.mean(axis=0)
    rows -= offset
    mean = origin + offset
    return (tuple(np.ascontiguousarray(rows[:, part]) for part in blocks.columns),
            tuple(mean[part] for part in blocks.columns))


def triangular_rows(blocks: Blocks, origin: Floats, offset: Floats) -> tuple[Floats, ...]:
    """Per view (all widths, width) rows whose cross-products, within and between views, are those of the centred rows.

    They are the columns of the triangular factor R of all views side by side, Z = QR: QᵀQ = 1, so ZᵀZ = RᵀR. Blocks of
    rows are factorised one after the other, each below the factor of those before: one pass, constant memory.

    Args:
        blocks: the views.
        origin, offset: (width,) whose sum is the mean; a row less origin is exactly 0 in constant columns.

    Source: sequential TSQR (Demmel, Grigori, Hoemmen, Langou 2012, section 3).
    """
    from scipy.linalg import qr

    width = sum(blocks.widths)
    factor = np.zeros((0, width))
    for block in blocks:
        block -= origin
        block -= offset
        stacked = np.concatenate([factor, block])
        factor = np.asarray(qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0])[:width]
    return tuple(np.ascontiguousarray(factor[:, part]) for part in blocks.columns)


def dependences_hold(blocks: Blocks, found: tuple[GramWhitening, ...], mean: Floats) -> bool:
    """Whether the columns that a Gram matrix takes for combinations of others are so in the rows, to ten digits."""
    for i, (one, columns) in enumerate(zip(found, blocks.columns)):
        if len(one.dropped) == 0:
            continue
        null = np.zeros((blocks.widths[i], len(one.dropped)))
        null[one.kept] = -one.combination
        null[one.dropped, np.arange(len(one.dropped))] = 1.0
        residual, length = np.zeros(len(one.dropped)), np.zeros(len(one.dropped))
        for block in blocks.only(i):
            block -= mean[columns]
            residual += ((block @ null) ** 2).sum(axis=0)
            length += (block[:, one.dropped] ** 2).sum(axis=0)
        if (residual > MOST_RESIDUAL**2 * length).any():
            return False
    return True
