"""Kernels: inner products of rows in a space of features that is never written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.alignment.blocks import Array, Blocks, Floats
from sensorium.errors import AlignmentError, unknown_name

KERNELS = ("linear", "rbf", "poly", "precomputed")


@dataclass(frozen=True)
class Kernel:
    """A kernel function.

    linear: xᵀy; rbf: exp(−gamma‖x − y‖²); poly: (gamma xᵀy + coef0)^degree; precomputed: rows are its values.

    Args:
        name: one of these, or a callable from (row a, feature) and (row b, feature) to (row a, row b) values.
        gamma: above 0, for rbf and poly.
        degree, coef0: for poly.
    """

    name: str | Callable[[Any, Any], Any]
    gamma: float = 1.0
    degree: float = 3.0
    coef0: float = 1.0

    def __call__(self, a: Floats, b: Floats) -> Floats:
        """(row a, row b) values of the kernel between (row, feature) rows."""
        if callable(self.name):
            values = np.asarray(self.name(a, b), dtype=np.float64)
            if values.shape != (len(a), len(b)):
                raise AlignmentError(f"the kernel gave an array of shape {values.shape} for arrays of {len(a)} and "
                                     f"{len(b)} rows: expected ({len(a)}, {len(b)})")
            return values
        if self.name == "precomputed":
            return a
        if self.name == "linear":
            return np.asarray(a @ b.T)
        if self.name == "poly":
            return np.asarray((self.gamma * (a @ b.T) + self.coef0) ** self.degree)
        centre = b.mean(axis=0)
        a, b = a - centre, b - centre
        inner = a @ b.T
        inner *= -2.0
        inner += np.einsum("rf,rf->r", a, a)[:, None]
        inner += np.einsum("rf,rf->r", b, b)
        np.maximum(inner, 0.0, out=inner)
        inner *= -self.gamma
        return np.asarray(np.exp(inner, out=inner))


def kernels_of(kernel: Any, gamma: Any, degree: float, coef0: float, views: Sequence[Array],
               names: Sequence[str]) -> tuple[Kernel, ...]:
    """Per view its kernel, from one setting or one for each view.

    Args:
        kernel: a name of KERNELS or a callable, or one for each view.
        gamma: "scale" = 1 / (features · variance of all numbers of the view), a number above 0, or one for each view.
        degree, coef0: of poly kernels.
        views: (row, feature) each.
        names: what errors call them.

    Raises:
        AlignmentError: an unknown kernel, or a gamma that is none of these.
    """
    names_of = kernel if isinstance(kernel, tuple | list) else (kernel,) * len(views)
    gammas = gamma if isinstance(gamma, tuple | list) else (gamma,) * len(views)
    if len(names_of) != len(views) or len(gammas) != len(views):
        raise AlignmentError(f"expected one kernel and one gamma, or {len(views)} (one for each view); found kernel="
                             f"{kernel!r}, gamma={gamma!r}")
    found = []
    for name, value, view, called in zip(names_of, gammas, views, names):
        if not callable(name) and name not in KERNELS:
            raise AlignmentError(str(unknown_name("kernel", str(name), list(KERNELS))) + " Or pass a callable.")
        if isinstance(value, str) and value == "scale":
            value = _scale(view, called) if name in ("rbf", "poly") else 1.0
        if not isinstance(value, int | float | np.integer | np.floating) or not 0 < value < np.inf:
            raise AlignmentError(f"expected gamma to be a number above 0 or 'scale', found {value!r}")
        found.append(Kernel(name, float(value), float(degree), float(coef0)))
    return tuple(found)


def _scale(view: Array, name: str) -> float:
    """1 / (features · variance of all numbers of a view)."""
    total, squares, origin = 0.0, 0.0, float(view[0, 0])
    for block in Blocks.of((view,), (name,)):
        block -= origin
        total += float(block.sum())
        squares += float(np.einsum("rf,rf->", block, block))
    variance = squares / view.size - (total / view.size) ** 2
    return 1.0 / (view.shape[1] * variance) if variance > 0 else 1.0
