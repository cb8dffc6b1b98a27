"""Functions from rows to finitely many features whose inner products are a kernel, exactly or nearly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sensorium.alignment.blocks import Floats
from sensorium.alignment.kernels import Kernel
from sensorium.errors import AlignmentError

LEAST_EIGENVALUE = 1e-12


class FeatureMap(Protocol):
    """From (row, feature) rows to (row, width) features whose inner products are the kernel's values."""

    @property
    def width(self) -> int:
        """The number of features."""

    def __call__(self, rows: Floats) -> Floats:
        """(row, width) features; `rows` may be overwritten."""


@dataclass(frozen=True)
class Landmarks:
    """Features K(x, landmarks) · coefficients: exact where all training rows are landmarks, else Nyström's.

    Source: Williams and Seeger (2001, "Using the Nyström method to speed up kernel machines").
    """

    kernel: Kernel
    rows: Floats
    coefficients: Floats

    @property
    def width(self) -> int:
        return int(self.coefficients.shape[1])

    def __call__(self, rows: Floats) -> Floats:
        return np.asarray(self.kernel(rows, self.rows) @ self.coefficients)


@dataclass(frozen=True)
class Fourier:
    """Features √(2 / width) · cos(x · frequencies + phases), whose inner products are an rbf kernel's on average.

    Source: Rahimi and Recht (2007, "Random features for large-scale kernel machines", algorithm 1).
    """

    frequencies: Floats
    phases: Floats

    @property
    def width(self) -> int:
        return len(self.phases)

    def __call__(self, rows: Floats) -> Floats:
        angles = rows @ self.frequencies
        angles += self.phases
        np.cos(angles, out=angles)
        angles *= np.sqrt(2.0 / self.width)
        return np.asarray(angles)


def fourier_map(kernel: Kernel, num_inputs: int, num_features: int, draws: np.random.RandomState) -> Fourier:
    """Random Fourier features of an rbf kernel on rows of `num_inputs` features."""
    if kernel.name != "rbf":
        raise AlignmentError(f"approximation='fourier' is for the rbf kernel, found {kernel.name!r}: use 'nystroem'")
    frequencies = draws.normal(scale=np.sqrt(2.0 * kernel.gamma), size=(num_inputs, num_features))
    return Fourier(frequencies, draws.uniform(0.0, 2.0 * np.pi, size=num_features))


def nystroem_map(kernel: Kernel, rows: Floats, name: str) -> Landmarks:
    """Nyström's features, with some (row, feature) rows as landmarks."""
    from scipy.linalg import eigh

    if kernel.name == "precomputed":
        raise AlignmentError("approximation='nystroem' evaluates the kernel at landmarks: it cannot be 'precomputed'")
    values, vectors = eigh(_symmetric(kernel(rows, rows), name), check_finite=False)
    keep = _positive(values, name)
    return Landmarks(kernel, rows, vectors[:, keep] / np.sqrt(values[keep]))


def exact_map(kernel: Kernel, rows: Floats, name: str) -> tuple[Landmarks, Floats, Floats]:
    """The features that kernel principal components are, all of them.

    Returns:
        Their map, the (width,) mean of the training rows' features, and the (row, width) centred features, whose
        columns are orthogonal.

    Source: Schölkopf, Smola, Müller (1998, "Nonlinear component analysis as a kernel eigenvalue problem").
    """
    from scipy.linalg import eigh

    gram = _symmetric(kernel(rows, rows), name)
    means = gram.mean(axis=0)
    gram -= means
    gram -= means[:, None] - means.mean()
    values, vectors = eigh(gram, check_finite=False, overwrite_a=True)
    keep = _positive(values, name)
    lengths = np.sqrt(values[keep])
    found = Landmarks(kernel, rows, vectors[:, keep] / lengths)
    return found, means @ found.coefficients, vectors[:, keep] * lengths


def _positive(values: Floats, name: str) -> npt.NDArray[np.intp]:
    """The numbers of the eigenvalues that are not 0 but for rounding, from large to small."""
    largest = float(values[-1])
    if largest <= 0 or values[0] < -1e-6 * largest:
        raise AlignmentError(f"the kernel of view {name} is not positive semidefinite, or constant: its eigenvalues go "
                             f"from {values[0]:.3g} to {largest:.3g}")
    return np.flatnonzero(values > LEAST_EIGENVALUE * largest)[::-1]


def _symmetric(gram: Floats, name: str) -> Floats:
    """A copy, after checking that it is a finite symmetric matrix."""
    if gram.shape[0] != gram.shape[1]:
        raise AlignmentError(f"a precomputed kernel is a square matrix of (row, row) values; {name} is {gram.shape}")
    if not np.isfinite(gram).all():
        raise AlignmentError(f"the kernel of view {name} has values that are not finite")
    if np.abs(gram - gram.T).max() > 1e-8 * np.abs(gram).max():
        raise AlignmentError(f"the kernel of view {name} is not symmetric: values differ by up to "
                             f"{np.abs(gram - gram.T).max():.3g} from those with rows exchanged")
    return gram.copy()
