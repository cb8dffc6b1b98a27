"""The views that deep CCA reads: aligned arrays or tensors of any shape, rows first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.errors import AlignmentError

Floats = npt.NDArray[np.float64]
View = npt.NDArray[np.generic] | Tensor


def views_of(X: View | Sequence[View], Y: View | None) -> list[View]:
    """All views, from a list of them or from the first and the second.

    Raises:
        AlignmentError: fewer than 2 views, different numbers of rows, cells that are not numbers.
    """
    given = list(X) if Y is None and isinstance(X, list | tuple) else [X] if Y is None else [X, Y]
    views: list[View] = [view if isinstance(view, Tensor) else np.asarray(view) for view in given]
    if len(views) < 2:
        raise AlignmentError(f"a correlation needs at least 2 views, found {len(views)}")
    for place, view in enumerate(views):
        if view.ndim < 2 or (isinstance(view, np.ndarray) and view.dtype.kind not in "fiub"):
            raise AlignmentError(f"view {place}: expected real numbers in two or more axes, rows first; found shape "
                                 f"{tuple(view.shape)} of {view.dtype}")
    lengths = [len(view) for view in views]
    if len(set(lengths)) > 1:
        raise AlignmentError(f"views must have the same rows, found {lengths} rows")
    return views


def check_finite(views: Sequence[View], *, first: int = 0) -> None:
    """Raise an AlignmentError where a view has NaN or infinite numbers; `first` is the number of the first one."""
    for place, view in enumerate(views, start=first):
        finite = torch.isfinite(view).all() if isinstance(view, Tensor) else np.isfinite(view).all()
        if not bool(finite):
            raise AlignmentError(f"view {place} of shape {tuple(view.shape)} holds NaN or infinite numbers")


def rows_of(view: View, rows: npt.NDArray[np.int64] | slice, device: torch.device) -> Tensor:
    """Some rows of a view as a tensor; floating numbers become float32."""
    if isinstance(view, Tensor):
        chosen = view[rows] if isinstance(rows, slice) else view[torch.from_numpy(rows)]
    else:
        chosen = torch.from_numpy(np.array(view[rows]))
    return chosen.to(device, torch.float32) if chosen.is_floating_point() else chosen.to(device)
