"""A stand-in for an aligned model: a cell's embedding is the sum of fixed random vectors, one a word."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from sensorium.data.cells import Arrays, Cells
from sensorium.data.kinds import AudioKind, ImageKind, TextKind
from sensorium.data.samples import Labels, Samples
from sensorium.data.schema import Modality, Schema, Target

KINDS = {"text": TextKind(), "image": ImageKind(), "audio": AudioKind()}
WIDTH = 64


def schema_of(classes: tuple[str, ...] = (), **kinds: str) -> Schema:
    """Modality → kind; with a target "kind" where classes are given, and a target "size"."""
    targets = (Target(name="kind", task="classify", classes=classes),) if classes else ()
    modalities = tuple(Modality(name=name, columns=(name,), kind=KINDS[kind]) for name, kind in kinds.items())
    return Schema(modalities=modalities, targets=(*targets, Target(name="size", task="regress")))


def samples_of(
    schema: Schema, columns: dict[str, list[str | None]], *, kind: Sequence[int | None] = (),
    groups: Sequence[int] | None = None,
) -> Samples:
    """Rows of cells that are all texts, whatever their kind; equal texts are one cell. "a;b" is two cells."""
    cells = {}
    for modality in schema.modalities:
        lists = [[] if cell is None else cell.split(";") for cell in columns[modality.name]]
        texts = list(dict.fromkeys(cell for row in lists for cell in row))
        of_row = np.full((len(lists), max(1, *map(len, lists))), -1, dtype=np.int64)
        for row, own in enumerate(lists):
            of_row[row, : len(own)] = [texts.index(cell) for cell in own]
        cells[modality.name] = Cells(modality.kind, of_row, np.arange(len(texts)), Arrays(texts, modality.kind, ()),
                                     np.ones(len(texts), dtype=np.int64), 0, ())
    presence = np.stack([(cells[name].cells_of_row >= 0).any(axis=1) for name in schema.names], axis=1)
    labels = {}
    if len(kind):
        labels["kind"] = Labels(np.array([-1 if one is None else one for one in kind]),
                                np.array([one is not None for one in kind]), {}, ())
    return Samples(schema, cells, labels, None if groups is None else np.array(groups), presence, ())


def word_vector(text: str, width: int = WIDTH) -> np.ndarray:
    """The sum of the words' vectors."""
    return sum((np.random.default_rng(zlib.crc32(word.encode())).normal(size=width) for word in text.split()),
               np.zeros(width))


class WordEmbedder:
    """Satisfies `sensorium.evaluation.embedder.Embedder`. A collapsed one embeds everything alike.

    Of a list of cells in a row that is given to `embed`, it reads the first.
    """

    def __init__(self, schema: Schema, *, aligned: bool = True, collapsed: bool = False) -> None:
        self.schema = schema
        self.aligned = aligned
        self.similarity_scale: float | None = None
        self.collapsed = collapsed
        self.rows_read = 0

    def embeddings(
        self, samples: Samples, rows: np.ndarray, subsets: Sequence[frozenset[str]], *, complete: bool = True,
    ) -> dict[frozenset[str], np.ndarray]:
        self.rows_read += len(rows)
        found = {}
        for subset in subsets:
            columns = np.isin(samples.schema.names, list(subset))
            there = samples.presence[rows][:, columns]
            kept = there.all(axis=1) if complete else there.any(axis=1)
            vectors = np.full((len(rows), WIDTH), np.nan, dtype=np.float32)
            for place in np.flatnonzero(kept):
                texts = [text for name in subset for cell in samples.cells[name].cells_of_row[rows[place]] if cell >= 0
                         for text in samples.cells[name].arrays.get([cell])]
                vectors[place] = self._unit(" ".join(texts))
            found[subset] = vectors
        return found

    def embed(
        self, rows: Sequence[dict[str, Any]], *, modalities: Collection[str] | None = None, root: str = ".",
    ) -> np.ndarray:
        [name] = modalities or self.schema.names
        [column] = self.schema.modality(name).columns
        separator = self.schema.modality(name).separator
        cells = [row[column] for row in rows]
        lists = [cell if isinstance(cell, list) else cell.split(separator) if separator else [cell] for cell in cells]
        return np.stack([self._unit(own[0]) for own in lists])

    def _unit(self, text: str) -> np.ndarray:
        vector = np.ones(WIDTH) if self.collapsed else word_vector(text)
        return (vector / np.linalg.norm(vector) if text.split() else np.full(WIDTH, np.nan)).astype(np.float32)
