"""Which way the views are whitened: through Gram matrices where these are safe, else through rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.alignment.blocks import Blocks, Floats, columns_of
from sensorium.alignment.compress import centred_rows, dependences_hold, triangular_rows
from sensorium.alignment.moments import Moments, gather
from sensorium.alignment.ridge import Solve, choose_ridges
from sensorium.alignment.whitening import MOST_CONDITION, Whitened, from_moments, from_rows
from sensorium.errors import AlignmentError


@dataclass(frozen=True)
class Fitted:
    """Whitened views, the ridges they were whitened with, and what cross-validation found (None where not asked)."""

    whitened: Whitened
    ridges: tuple[float, ...]
    tried: dict[str, Floats] | None


def whiten_views(blocks: Blocks, ridges: tuple[float, ...] | None, *, folds: int, solve: Solve) -> Fitted:
    """Whiten views that can be read again.

    Views of fewer rows than columns are decomposed as they are. All others are read once for their moments; where a
    view is too ill-conditioned for its Gram matrix, or has columns that may or may not depend on others, once or twice
    more, for a QR factorisation that decides.

    Args:
        blocks: the views.
        ridges: per view; None = chosen by cross-validation.
        folds: of the cross-validation.
        solve: from whitened views to weights, for the cross-validation.

    Raises:
        AlignmentError: numbers are not finite, or a view is constant.
    """
    if blocks.count <= sum(blocks.widths):
        return _whiten_wide(blocks, ridges, folds=folds, solve=solve)
    parts = gather(blocks, folds if ridges is None else 1)
    total = parts[0].joined(parts[1:])
    refuse_constant(blocks.names, [total.squares[part] for part in blocks.columns], total.count)
    tried = None
    if ridges is None:
        ridges, tried = choose_ridges(parts, blocks.widths, solve, features=blocks.widths)
    whitened, found = from_moments(total, blocks.names, blocks.widths, ridges)
    if max(one.condition for one in found) > MOST_CONDITION \
            or not dependences_hold(blocks, found, total.mean):
        rows = triangular_rows(blocks, total.origin, total.offset)
        whitened = from_rows(rows, blocks.names, whitened.means, total.count, ridges)
    return Fitted(whitened, ridges, tried)


def whiten_orthogonal(
    features: Blocks, means: Sequence[Floats], ridges: tuple[float, ...] | None, *, folds: int, solve: Solve,
) -> Fitted:
    """Whiten centred rows whose columns are orthogonal, such as kernel principal components; see `whiten_views`.

    Args:
        features: the centred rows of each view.
        means: per view the (width,) means that its columns had.
        ridges, folds, solve: as in `whiten_views`.
    """
    tried = None
    if ridges is None:
        parts = gather(features, folds)
        ridges, tried = choose_ridges(parts, features.widths, solve, features=features.widths)
    scales = [np.sqrt(np.einsum("rf,rf->f", rows, rows) + (features.count - 1) * ridge)
              for rows, ridge in zip(features.views, ridges)]
    transforms = tuple(np.diag(1.0 / scale) for scale in scales)
    bases = tuple(rows / scale for rows, scale in zip(features.views, scales))
    whitened = Whitened(features.names, features.count, tuple(means), transforms, rows=features.views, bases=bases)
    return Fitted(whitened, ridges, tried)


def whiten_parts(
    parts: list[Moments], names: Sequence[str], widths: Sequence[int], ridges: tuple[float, ...] | None, *,
    solve: Solve,
) -> Fitted:
    """Whiten views of which only moments are left, one for each fold; see `whiten_views`."""
    total = parts[0].joined(parts[1:])
    refuse_constant(names, [total.squares[part] for part in columns_of(widths)], total.count)
    tried = None
    if ridges is None:
        ridges, tried = choose_ridges(parts, widths, solve, features=widths)
    return Fitted(from_moments(total, names, widths, ridges)[0], ridges, tried)


def refuse_constant(names: Sequence[str], scatters: Sequence[Floats], count: int) -> None:
    """Raise an AlignmentError for a view in which nothing varies; `scatters` has each view's Σ (x − x̄)² by column."""
    for name, scatter in zip(names, scatters):
        if not scatter.any():
            raise AlignmentError(f"view {name} is constant: none of its {len(scatter)} columns varies over {count} "
                                 f"rows, so nothing can correlate with it")


def _whiten_wide(blocks: Blocks, ridges: tuple[float, ...] | None, *, folds: int, solve: Solve) -> Fitted:
    rows, means = centred_rows(blocks)
    refuse_constant(blocks.names, [np.einsum("rf,rf->f", part, part) for part in rows], blocks.count)
    tried = None
    if ridges is None:
        turned = [_rotated(part) for part in rows]
        small = Blocks.of(turned, blocks.names)
        parts = gather(small, folds)
        ridges, tried = choose_ridges(parts, small.widths, solve, features=blocks.widths)
    return Fitted(from_rows(rows, blocks.names, means, blocks.count, ridges), ridges, tried)


def _rotated(rows: Floats) -> Floats:
    """Centred rows in at most as many columns as rows, with the same inner products between rows."""
    from scipy.linalg import svd

    left, values, _ = svd(rows, full_matrices=False, check_finite=False)
    return np.asarray(left * values)
