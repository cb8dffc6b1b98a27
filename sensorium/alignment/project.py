"""Features of views in the coordinates of weights, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.alignment.blocks import Blocks, Floats, Map
from sensorium.alignment.moments import gather
from sensorium.alignment.ridge import total_correlation


def projected(view: Blocks, mean: Floats, weights: Floats) -> Floats:
    """(row, k) float64: (features − mean) · weights; only a block of rows is copied at a time.

    Args:
        view: one view's (row, feature) features.
        mean, weights: (feature,) and (feature, k).

    Raises:
        AlignmentError: a number is NaN or infinite.
    """
    found = np.empty((view.count, weights.shape[1]))
    start = 0
    for block in view:
        block -= mean
        np.matmul(block, weights, out=found[start : start + len(block)])
        start += len(block)
    return found


def variates_correlation(features: Blocks, means: Sequence[Floats], weights: Sequence[Floats]) -> float:
    """The total correlation of the variates of new rows of several views; see `total_correlation`."""
    maps = tuple(_variates(change, mean, part) for change, mean, part in zip(features.maps, means, weights))
    widths = tuple(part.shape[1] for part in weights)
    variates = Blocks(features.views, features.names, maps, widths)
    [moments] = gather(variates)
    return total_correlation(moments.scatter, widths, [np.eye(width) for width in widths])


def _variates(change: Map | None, mean: Floats, weights: Floats) -> Map:
    def variates(rows: Floats) -> Floats:
        features = rows if change is None else change(rows)
        features -= mean
        return np.asarray(features @ weights)

    return variates
