"""An index of embeddings in a folder: made, changed, searched, exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.errors import DataError, RecipeError
from sensorium.retrieval.exact import Places, Vectors
from sensorium.retrieval.manifest import WHOLE, Manifest, read_manifest
from sensorium.retrieval.snapshot import opened
from sensorium.training.console import Console, Quiet, Terminal

if TYPE_CHECKING:
    from sensorium.model import Model

RECALL = 0.98
MOST_HITS = 10_000


@dataclass(frozen=True)
class Hit:
    """A row that was found.

    Args:
        id: its id.
        score: the inner product of unit-length vectors, −1…1.
        modality: what of it was compared with the query; "" for the whole row.
        row: its cells by column; media as absolute paths, dates as text.
    """

    id: str
    score: float
    modality: str
    row: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Index:
    """An index as it was opened last; others may change the folder meanwhile, and `refresh` looks again.

    Each row has a vector for each of its modalities and one for all it has together. Any number of threads may search.

    Args:
        folder: of the index.

    Raises:
        DataError: there is none, or it is damaged.

    Example: sm.Index.open("idx").search(model.embed({"note": "dry cough"}), k=5, where="year > 2020")
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._view = opened(self.folder)

    @classmethod
    def open(cls, folder: str | Path) -> Index:
        """Open an index. Its files are mapped into memory, not read."""
        return cls(folder)

    @classmethod
    def build(
        cls, model: Model, source: str | Path, folder: str | Path, *, model_folder: str | Path | None = None,
        id: str | None = None, structure: str = "auto", recall: float = RECALL, half: bool = False,
        overwrite: bool = False, allow_outside: bool = False, progress: bool = True, console: Console | None = None,
    ) -> Index:
        """Embed a table and index it. Stopped at any moment, the same call goes on where it stopped.

        Args:
            model: that embeds.
            source: the path of a table.
            folder: of the index.
            model_folder: where the model is saved, so that `sensorium search` finds it.
            id: the column of ids; None: a column named id, else rows are numbered.
            structure: auto (by size), flat, hnsw, ivf or ivfpq.
            recall: the share of the exact 10 nearest that structures are tuned to find.
            half: store vectors as float16: half the disk, scores good to three digits.
            overwrite: replace an index that is there.
            allow_outside: read also media files outside the table's folder.
            progress: whether to show it.
            console: where to; None: the terminal.

        Raises:
            DataError: the table cannot be read, ids are blank or repeated, or something is there already.
            RecipeError: an unknown structure, or a recall out of range.
        """
        from sensorium.retrieval.building import build

        build(model, Path(source), Path(folder), model_folder=None if model_folder is None else Path(model_folder),
              id_column=id, structure=structure, recall=recall, half=half, overwrite=overwrite,
              allow_outside=allow_outside, console=_console(console, progress))
        return cls(folder)

    @classmethod
    def from_vectors(
        cls, folder: str | Path, vectors: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]],
        rows: pl.DataFrame | None = None, *, ids: Sequence[str] | None = None, structure: str = "auto",
        recall: float = RECALL, half: bool = False, overwrite: bool = False, progress: bool = False,
    ) -> Index:
        """Index vectors that are there already, of any origin.

        Args:
            folder: of the index.
            vectors: (row, width) of unit length, NaN where a row has none; or such arrays by modality, "" for whole
                rows. Mapped arrays are read a part at a time.
            rows: what stands beside them.
            ids: (row,) of the rows; None: they are numbered from 1.
            structure, recall, half, overwrite: as of `build`.
            progress: whether to show it.

        Example:
            >>> import tempfile
            >>> index = Index.from_vectors(tempfile.mkdtemp(), np.eye(3), pl.DataFrame({"year": [2019, 2020, 2021]}))
            >>> [hit.id for hit in index.search(np.eye(3)[1:2], where="year > 2019", k=1)[0]]
            ['2']
        """
        from sensorium.retrieval.building import from_vectors

        named = vectors if isinstance(vectors, Mapping) else {WHOLE: vectors}
        from_vectors(Path(folder), named, rows, ids=ids, structure=structure, recall=recall, half=half,
                     overwrite=overwrite, console=_console(None, progress))
        return cls(folder)

    def add(
        self, model: Model, source: str | Path, *, allow_outside: bool = False, id: str | None = None,
        progress: bool = True, console: Console | None = None,
    ) -> None:
        """Add a table's rows; those whose ids are in the index take the place of the old ones.

        Raises:
            ModelFolderError: the index was made with another model.
            DataError: as of `build`, or another process is writing.
        """
        from sensorium.retrieval.building import add

        add(model, Path(source), self.folder, id_column=id, allow_outside=allow_outside,
            console=_console(console, progress))
        self.refresh()

    def delete(self, ids: Sequence[str], *, progress: bool = False, console: Console | None = None) -> None:
        """Delete rows by id. Raises DataError where the index lacks one of them; nothing is deleted then."""
        from sensorium.retrieval.building import remove_rows

        given: Any = ids
        if isinstance(given, str | bytes) or not isinstance(given, Iterable):  # "17" is not rows 1 and 7
            raise DataError(f"ids to delete: expected a list of them, found {given!r}")
        remove_rows(self.folder, [str(one) for one in given], _console(console, progress))
        self.refresh()

    def refresh(self) -> bool:
        """Look whether the index was changed, and open what it is now; True where it was."""
        if read_manifest(self.folder).generation == self._view.manifest.generation:
            return False
        self._view = opened(self.folder)
        return True

    def nearest(
        self, queries: npt.NDArray[Any], k: int = 10, *, where: str | None = None, to: str | None = None,
        effort: int | None = None,
    ) -> tuple[Vectors, Places]:
        """As `search`, as arrays: (query, k) scores and row positions, −inf and −1 where there are fewer.

        Args:
            queries, k, where, to: as of `search`.
            effort: efSearch or nprobe of the structure; None: what the wanted recall needs.
        """
        return self._view.nearest(_checked(queries, k, self.width), k, where, to, effort)

    def search(
        self, queries: npt.NDArray[Any], k: int = 10, where: str | None = None, to: str | None = None,
    ) -> list[list[Hit]]:
        """The rows most like each query, the best first; fewer than k where there are no more.

        Args:
            queries: (query, width) unit-length embeddings.
            k: how many, 1…10,000.
            where: a condition on the columns, in SQL: "year > 2020 AND ward = 'east'"; rows are chosen by it first.
            to: the modality that is ranked; None: whole rows.

        Raises:
            RecipeError: an unknown modality or column, or k out of range.
            DataError: queries of another width, or a condition that is not one expression.
        """
        view = self._view
        scores, positions = view.nearest(_checked(queries, k, self.width), k, where, to, None)
        distinct = np.unique(positions[positions >= 0])
        cells = dict(zip(distinct.tolist(), view.cells(distinct.tolist()), strict=True))
        return [[Hit(cells[place][0], float(score), to or WHOLE, dict(cells[place][1]))
                 for score, place in zip(own, places, strict=True) if place >= 0]
                for own, places in zip(scores.tolist(), positions.tolist(), strict=True)]

    def vector(self, id: str, modality: str | None = None) -> Vectors | None:
        """(width,) what is indexed of a row: of one modality, or of the whole row; None where it has none.

        Raises:
            DataError: no row has this id.
        """
        space = self._view.space(modality)
        [position] = self._view.positions_of([id])
        if position < 0:
            raise DataError(f"no row of the index has the id {id!r}")
        number = int(np.searchsorted(space.positions, position))
        if number == len(space) or space.positions[number] != position:
            return None
        return np.asarray(space.at(np.array([number]))[0])

    def export(self, path: str | Path) -> int:
        """Write ids, columns and vectors as one Parquet file, which vector databases load; the number of rows.

        Columns `vector` (whole rows) and `vector_<modality>` are lists of float32 of one length, null where a row has
        none.
        """
        from sensorium.retrieval.export import write_parquet

        return write_parquet(self._view, Path(path))

    def __len__(self) -> int:
        return len(self._view)

    @property
    def manifest(self) -> Manifest:
        """What the index consists of."""
        return self._view.manifest

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self.manifest.width

    @property
    def modalities(self) -> tuple[str, ...]:
        """What can be ranked besides whole rows."""
        return tuple(name for name in self.manifest.spaces if name != WHOLE)

    @property
    def sizes(self) -> dict[str, int]:
        """Modality → vectors that can be found; "" for whole rows."""
        return {name: int(self._view.alive[one.positions].sum()) for name, one in self._view.spaces.items()}

    @property
    def columns(self) -> dict[str, str]:
        """Column → what it holds: whole, number, flag, date, time, text or texts."""
        return dict(self.manifest.columns)

    @property
    def identity(self) -> str | None:
        """`model_identity` of the model it was made with."""
        return None if self.manifest.model is None else self.manifest.model.identity

    @property
    def aligned(self) -> bool:
        """Whether vectors of different modalities can be compared."""
        return self.manifest.model is None or self.manifest.model.aligned

    @property
    def model_folder(self) -> Path | None:
        """Where the model is; None where it was not saved."""
        facts = self.manifest.model
        return None if facts is None or facts.folder is None else facts.folder.found(self.folder)

    @property
    def root(self) -> Path:
        """Where the paths of the table that was indexed first start from."""
        return next(iter(self._view.roots.values()), self.folder)

    def lines(self) -> list[str]:
        """What a person wants to know about it, a line each."""
        facts, sizes = self.manifest, self.sizes
        lines = [f"{len(self):,} rows, {facts.width} numbers a vector"
                 f"{' (float16)' if facts.half else ''}; ids: {facts.id_column or 'numbers'}"]
        for name in facts.spaces:
            found = facts.structures.get(name)
            how = "searched exactly" if found is None else (
                f"{found.kind}, effort {found.effort}: recall@10 {found.recall:.3f} measured on {found.queries} rows"
                f"{'' if found.recall >= facts.wanted else f', below the wanted {facts.wanted:g}'}")
            lines.append(f"{name or 'whole rows'}: {sizes[name]:,} vectors, {how}")
        return lines


def _checked(queries: npt.NDArray[Any], k: int, width: int) -> Vectors:
    """(query, width) queries as they are searched with."""
    vectors = np.atleast_2d(np.asarray(queries, dtype=np.float32))
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise DataError(f"queries: expected (query, {width}), as the index has them; found {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise DataError("queries: a vector is not finite, as of a row in which nothing is readable")
    if not 1 <= k <= MOST_HITS:
        raise RecipeError(f"k: expected 1…{MOST_HITS:,}, found {k}")
    return vectors


def _console(console: Console | None, progress: bool) -> Console:
    if console is not None:
        return console
    return Terminal() if progress else Quiet()
