"""Searching an index by what a sample has: any subset of its modalities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.data.read import as_samples
from sensorium.errors import AlignmentError, DataError
from sensorium.retrieval.building import require_model
from sensorium.retrieval.exact import Vectors
from sensorium.retrieval.identity import model_identity
from sensorium.retrieval.index import Hit, Index

if TYPE_CHECKING:
    from sensorium.model import Model


def find(
    model: Model, index: Index, given: Mapping[str, Any], k: int = 10, where: str | None = None, to: str | None = None,
    *, root: str | Path = ".", identity: str | None = None,
) -> list[Hit]:
    """The rows of an index most like what is given, the best first.

    Args:
        model: the one that the index was made with.
        index: the index.
        given: column → cell, as for `Model.predict`; all that is given searches together.
        k: how many.
        where: a condition on the columns, as of `Index.search`.
        to: the modality that is ranked; None: whole rows.
        root: the folder that paths in `given` start from.
        identity: `model_identity(model)`, where it is known already; it takes a moment to find out.

    Raises:
        ModelFolderError: the index was made with another model.
        AlignmentError: the model's modalities are not in one space, and another one than the given one is ranked.
        DataError: nothing is given, or it cannot be read.

    Example: find(model, sm.Index.open("idx"), {"note": "dry cough"}, where="year > 2020", to="photo")
    """
    require_model(index.folder, index.manifest, model_identity(model) if identity is None else identity)
    vector, used = embedded(model, given, root=root)
    refuse_unaligned(index, used, to)
    return index.search(vector, k, where, to)[0]


def embedded(model: Model, given: Mapping[str, Any], *, root: str | Path = ".") -> tuple[Vectors, tuple[str, ...]]:
    """(1, width) the embedding of what is given, and the modalities it was made from.

    Raises:
        DataError: nothing is given, or a cell cannot be read.
        RecipeError: not one name is a column that the model reads.
    """
    row: Any = given
    if not isinstance(row, Mapping):
        raise DataError(f"what is given: expected a dictionary of column and cell, found {type(row).__name__}")
    if not given:
        raise DataError("nothing to search with")
    model.schema.refuse_strangers(given)
    samples = as_samples([dict(given)], model.schema, root=root)
    samples.refuse_unreadable()
    used = tuple(name for name, there in zip(model.schema.names, samples.presence[0].tolist(), strict=True) if there)
    if not used:
        raise DataError("nothing to search with: what is given is blank")
    subset = frozenset(model.schema.names)
    return model.embeddings(samples, np.zeros(1, dtype=np.int64), [subset], complete=False)[subset], used


def refuse_unaligned(index: Index, used: tuple[str, ...], to: str | None) -> None:
    """Raise where one modality would be ranked by another that it cannot be compared with."""
    if to is not None and used != (to,) and not index.aligned:
        raise AlignmentError(f"{to!r} cannot be ranked by {' + '.join(used)}: the model was not trained to compare "
                             f"modalities (--objective contrast, or sensorium.align); search whole rows, or give "
                             f"{to!r} alone")


def unaligned_note(index: Index, used: tuple[str, ...], to: str | None) -> str | None:
    """What to say of a search among whole rows by less than a row, where modalities are not in one space."""
    if to is None and not index.aligned and set(used) != set(index.modalities):
        return (f"whole rows are ranked by {' + '.join(used)} alone, and this model was not trained to compare "
                f"modalities: the order means little (--objective contrast)")
    return None
