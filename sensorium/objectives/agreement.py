"""How well two modalities agree on held-out rows, independent of how sure they were trained to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MOST_ROWS = 2048
SCALES = np.geomspace(1.0, 200.0, 24)


@dataclass(frozen=True)
class Agreement:
    """Two modalities on the same rows.

    Args:
        loss: the contrastive loss (InfoNCE, both directions) at the best temperature, in nats.
        forth, back: the share of rows whose own counterpart is the most similar one, in either direction.
    """

    loss: float
    forth: float
    back: float


def agreement(first: Floats, second: Floats, keys: npt.NDArray[np.int64]) -> Agreement:
    """How well rows find their counterparts; at most 2,048 rows, evenly chosen, are compared.

    Args:
        first, second: (row, width) unit-length embeddings of the same rows.
        keys: (row, key) rows with an equal non-negative key in one column are right answers too, and no negatives.
    """
    step = -(-len(first) // MOST_ROWS)
    first, second, keys = first[::step], second[::step], keys[::step]
    similar = (first @ second.T).astype(np.float32)
    same = np.zeros(similar.shape, dtype=bool)
    for column in keys.T:
        same |= (column[:, None] == column) & (column >= 0)
    np.fill_diagonal(same, True)
    own = np.diag(similar).copy()
    others = np.where(same, -np.inf, similar)
    loss = min(_loss(own, others, scale) for scale in SCALES)
    best = np.where(same, similar, -np.inf)
    return Agreement(loss, float((best.max(axis=1) > others.max(axis=1)).mean()),
                     float((best.max(axis=0) > others.max(axis=0)).mean()))


def _loss(own: npt.NDArray[np.float32], others: npt.NDArray[np.float32], scale: float) -> float:
    """−log of the softmax of the own pair among itself and the others, the mean of both directions."""
    total = 0.0
    for axis in (0, 1):
        top = np.maximum(own, others.max(axis=axis))
        rest = np.exp(scale * (others - (top[None, :] if axis == 0 else top[:, None]))).sum(axis=axis)
        total += float(np.mean(np.log(np.exp(scale * (own - top)) + rest) + scale * (top - own)))
    return total / 2.0
