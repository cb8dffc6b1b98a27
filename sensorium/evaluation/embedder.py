"""What retrieval, zero-shot and few-shot need of a model: embeddings of any subset of modalities."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sensorium.data.read import Data
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import AlignmentError, RecipeError, unknown_name
from sensorium.metrics.bootstrap import Estimate

Subset = frozenset[str]
Rows = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


class Embedder(Protocol):
    """The part of `sensorium.model.Model` that is evaluated here."""

    schema: Schema

    @property
    def aligned(self) -> bool:
        """Whether embeddings of different modalities are in one space."""

    @property
    def similarity_scale(self) -> float | None:
        """What similarities were multiplied by in training, 1 / temperature; None where it learned none."""

    def embeddings(
        self, samples: Samples, rows: Rows, subsets: Sequence[Subset], *, complete: bool = True,
    ) -> dict[Subset, Vectors]:
        """Subset → (row, width) unit-length embeddings, NaN where a row lacks part of it (or, where not `complete`,
        all of it)."""

    def embed(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | str | Path, *,
        modalities: str | Collection[str] | None = None, root: str | Path = ".",
    ) -> Vectors:
        """(row, width) unit-length embeddings of a user's rows; NaN where nothing is readable."""


def require_aligned(model: Embedder, what: str) -> None:
    """Raise where embeddings of different modalities cannot be compared."""
    if not model.aligned:
        raise AlignmentError(f"{what} compares embeddings of different modalities, and those of this model are not in "
                             f"one space: train it with --objective contrast, or align it with sensorium.align")


def subset_of(schema: Schema, names: str | Collection[str]) -> tuple[str, ...]:
    """Modalities in the schema's order.

    Raises:
        AlignmentError: none is named.
        RecipeError: a name is unknown.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in schema.names:
            raise RecipeError(str(unknown_name("modality", name, list(schema.names))))
    if not wanted:
        raise AlignmentError(f"expected at least one modality of {', '.join(schema.names)}, found none")
    return tuple(name for name in schema.names if name in wanted)


def known(vectors: Vectors) -> npt.NDArray[np.bool_]:
    """(row,) whether a row has an embedding."""
    return np.asarray(~np.isnan(vectors).any(axis=1))


def estimate_json(value: Estimate) -> dict[str, float | None]:
    """An estimate as plain values; None where a number is not defined."""
    return {key: None if not np.isfinite(number) else float(f"{number:.9g}")
            for key, number in (("value", value.value), ("low", value.low), ("high", value.high))}


def metrics_json(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    """Metrics as plain values."""
    return {name: estimate_json(value) for name, value in metrics.items()}
