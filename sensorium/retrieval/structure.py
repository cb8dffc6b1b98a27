"""Search structures of faiss: which one for how many vectors, how it is built, searched and kept in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import DataError, RecipeError, unknown_name
from sensorium.retrieval.exact import Bools, Places, Vectors, require_faiss

STRUCTURES = ("auto", "flat", "hnsw", "ivf", "ivfpq")
FLAT_VECTORS = 20_000
HNSW_BYTES = 1 << 30
LINKS, CONSTRUCTION = 32, 64
LADDERS = {"hnsw": (64, 96, 128, 192, 256, 384, 512, 1024),
           "ivf": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512), "ivfpq": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)}
"""What is tried of efSearch and nprobe until the wanted recall is reached."""
CANDIDATES = (20, 50, 125)
"""What is tried of how many times as many vectors as wanted are scored again, where scores are compressed."""
TRAINING_VECTORS = 40


def chosen_structure(asked: str, vectors: int, width: int) -> str:
    """flat, hnsw, ivf or ivfpq for this many vectors.

    Exact search up to 20,000; HNSW while that fits 1 GiB (vectors and links); beyond, compressed lists that are scored
    again by the vectors on disk.

    Raises:
        RecipeError: an unknown name.

    Example:
        >>> [chosen_structure("auto", number, 512) for number in (9_000, 100_000, 1_000_000)]
        ['flat', 'hnsw', 'ivfpq']
    """
    if asked not in STRUCTURES:
        raise unknown_name("structure", asked, list(STRUCTURES))
    if asked != "auto":
        return asked if vectors else "flat"
    if vectors <= FLAT_VECTORS:
        return "flat"
    return "hnsw" if vectors * (4 * width + 8 * LINKS + 20) <= HNSW_BYTES else "ivfpq"


def built(
    kind: str, width: int, num_vectors: int, blocks: Callable[[], Iterable[Vectors]], progress: Callable[[int], None],
) -> Any:
    """A faiss index over some vectors.

    Args:
        kind: hnsw, ivf or ivfpq.
        width: of a vector.
        num_vectors: that the blocks hold.
        blocks: gives the vectors, in order, a block at a time; asked for twice.
        progress: called with the vectors added so far.
    """
    faiss = require_faiss()
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = CONSTRUCTION
    else:
        index = _lists(kind, width, num_vectors)
        index.train(_training(blocks, num_vectors, max(TRAINING_VECTORS * index.nlist, 10_000)))
    extended(index, blocks(), progress)
    return index


def extended(index: Any, blocks: Iterable[Vectors], progress: Callable[[int], None]) -> None:
    """Add vectors to a faiss index."""
    for block in blocks:
        index.add(np.ascontiguousarray(block, dtype=np.float32))
        progress(int(index.ntotal))


def _lists(kind: str, width: int, num_vectors: int) -> Any:
    """An untrained index of inverted lists: about 4 √n of them; a byte a number, or a byte for eight numbers."""
    faiss = require_faiss()
    lists = max(1, min(round(4 * math.sqrt(num_vectors)), num_vectors // 39))
    quantizer = faiss.IndexFlatIP(width)
    if kind == "ivf":
        index = faiss.IndexIVFScalarQuantizer(quantizer, width, lists, faiss.ScalarQuantizer.QT_8bit,
                                              faiss.METRIC_INNER_PRODUCT)
    else:
        pieces = next(number for number in range(max(1, width // 8), 0, -1) if width % number == 0)
        bits = max(1, min(8, int(math.log2(max(2, num_vectors // 4)))))
        index = faiss.IndexIVFPQ(quantizer, width, lists, pieces, bits, faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.min_points_per_centroid = 1
    quantizer.this.disown()
    index.own_fields = True
    index.cp.min_points_per_centroid = 1
    return index


def _training(blocks: Callable[[], Iterable[Vectors]], num_vectors: int, most: int) -> Vectors:
    """At most so many vectors, evenly spread over all."""
    step = max(1, math.ceil(num_vectors / most))
    kept, base = [], 0
    for block in blocks():
        kept.append(np.array(block[-base % step :: step], dtype=np.float32))
        base += len(block)
    return np.concatenate(kept)


class Structure:
    """A faiss index in a file, mapped into memory.

    Args:
        path: the file.
        kind: hnsw, ivf or ivfpq.
        size: vectors in it.

    Raises:
        DataError: the file is damaged.
        FileNotFoundError: there is none.
    """

    def __init__(self, path: Path, kind: str, size: int) -> None:
        faiss = require_faiss()
        self.kind, self.size = kind, size
        if not path.exists():
            raise FileNotFoundError(str(path))
        try:
            self._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise DataError(f"{str(path)!r} is broken: faiss cannot read it") from error
        if int(self._index.ntotal) != size:
            raise DataError(f"{str(path)!r} is broken: {self._index.ntotal} vectors, expected {size}")

    @property
    def exact_scores(self) -> bool:
        """Whether its scores are those of the vectors themselves."""
        return self.kind == "hnsw"

    def search(self, queries: Vectors, k: int, effort: int, kept: Bools | None = None) -> tuple[Vectors, Places]:
        """(query, k) scores, falling, and the vectors' numbers; −inf and −1 where it found fewer.

        Args:
            queries: (query, width).
            k: how many.
            effort: efSearch or nprobe; where only some may be found, as much more as they are rarer.
            kept: (vector,) which may be found; None: all.
        """
        faiss = require_faiss()
        k = min(k, self.size)
        selector = None if kept is None else faiss.IDSelectorBitmap(np.packbits(kept[: self.size], bitorder="little"))
        share = 1.0 if kept is None else max(1, int(kept[: self.size].sum())) / self.size
        if self.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(efSearch=min(self.size, max(k, math.ceil(effort / share))),
                                                    sel=selector)
        else:
            parameters = faiss.SearchParametersIVF(nprobe=min(int(self._index.nlist), math.ceil(effort / share)),
                                                   sel=selector)
        scores, places = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k, params=parameters)
        return np.where(places < 0, -np.inf, scores).astype(np.float32), places


def check_recall(wanted: float) -> None:
    """Raise where a recall cannot be wanted."""
    if not 0.5 <= wanted <= 1.0:
        raise RecipeError(f"recall: expected a share in 0.5…1, found {wanted:g}")
