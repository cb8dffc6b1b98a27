"""One state of an index, opened: every file of it is mapped, so that it stays readable whatever is written later."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.data.decoding.paths import TableFolder
from sensorium.data.sources import is_blank, json_items
from sensorium.errors import BadCell, DataError, unknown_name
from sensorium.retrieval.exact import Bools, Places, Stored, Vectors
from sensorium.retrieval.manifest import WHOLE, Manifest, SegmentFacts, read_manifest
from sensorium.retrieval.rows import ID, Rows
from sensorium.retrieval.space import Space
from sensorium.retrieval.structure import Structure
from sensorium.retrieval.where import matching

MASKS_KEPT = 16
COLUMN_BYTES = 512 << 20
TEXT_KINDS = ("text", "table")


def vectors_file(space: int) -> str:
    """The file of a space's vectors in a segment."""
    return f"{space}.vectors"


def rows_file(space: int) -> str:
    """The file that says which rows of a segment the vectors are of."""
    return f"{space}.rows"


class Snapshot:
    """An index as it was when it was opened.

    Args:
        folder: of the index.
        manifest: its state; None: the present one.
        structures: whether to open the search structures too.

    Raises:
        DataError: a file is damaged.
        FileNotFoundError: a file was swept by a writer since the manifest was read: read it again.
    """

    def __init__(self, folder: Path, manifest: Manifest | None = None, *, structures: bool = True) -> None:
        self.folder = folder
        self.manifest = manifest = read_manifest(folder) if manifest is None else manifest
        self.bases = np.cumsum([0, *(segment.num_rows for segment in manifest.segments)])
        self.rows = [Rows(folder / segment.name, segment.num_rows, manifest.columns) for segment in manifest.segments]
        self.alive = np.ones(manifest.num_positions, dtype=bool)
        if manifest.deleted is not None:
            self.alive[np.fromfile(folder / manifest.deleted, dtype=np.int64)] = False
            if int((~self.alive).sum()) != manifest.num_deleted:
                raise DataError(f"{str(folder / manifest.deleted)!r} is broken")
        self.spaces = {name: self._space(number, name, structures) for number, name in enumerate(manifest.spaces)}
        self._masks: OrderedDict[str, Bools] = OrderedDict()
        self._columns: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.manifest.num_positions - self.manifest.num_deleted

    def _space(self, number: int, name: str, structures: bool) -> Space:
        parts, positions = [], []
        for base, segment in zip(self.bases.tolist(), self.manifest.segments, strict=False):
            vectors, rows = mapped(self.folder / segment.name, number, segment.vectors[name], self.manifest)
            parts.append(vectors)
            positions.append(rows + base)
        where = np.concatenate(positions) if positions else np.zeros(0, dtype=np.int64)
        facts = self.manifest.structures.get(name)
        if facts is None or not structures:
            return Space(parts, where)
        return Space(parts, where, Structure(self.folder / facts.name, facts.kind, facts.size), facts.effort,
                     facts.candidates)

    def space(self, to: str | None) -> Space:
        """The vectors of a modality, or of whole rows where None. Raises RecipeError for an unknown one."""
        if to is None:
            return self.spaces[WHOLE]
        names = [name for name in self.manifest.spaces if name != WHOLE]
        if to not in names:
            raise unknown_name("modality to rank", to, names)
        return self.spaces[to]

    def nearest(
        self, queries: Vectors, k: int, where: str | None, to: str | None, effort: int | None,
    ) -> tuple[Vectors, Places]:
        """(query, k) scores and positions of rows; −inf and −1 where there are fewer."""
        space = self.space(to)
        return space.nearest(queries, k, self.allowed(where), effort=effort)

    def allowed(self, where: str | None) -> Bools | None:
        """(position,) which rows are there and fulfil a condition; None: all."""
        if where is None:
            return None if not self.manifest.num_deleted else self.alive
        with self._lock:
            known = self._masks.get(where)
        if known is None:
            names = list(self.manifest.columns)
            if "id" not in {name.lower() for name in names}:
                names.append("id")
            known = matching(where, names, len(self.alive), self.column) & self.alive
            with self._lock:
                self._masks[where] = known
                while len(self._masks) > MASKS_KEPT:
                    self._masks.popitem(last=False)
        return known

    def column(self, name: str) -> Any:
        """A column of all positions as an Arrow array; `id` where no column has that name: the rows' ids."""
        import pyarrow as pa

        with self._lock:
            known = self._columns.get(name)
        if known is None:
            inside = name if name in self.manifest.columns else ID
            arrays = [chunk for rows in self.rows for chunk in rows.column(inside).chunks]
            known = pa.chunked_array(arrays) if arrays else pa.chunked_array([pa.array([], pa.string())])
            with self._lock:
                self._columns[name] = known
                while sum(one.nbytes for one in self._columns.values()) > COLUMN_BYTES:
                    self._columns.popitem(last=False)
        return known

    def positions_of(self, ids: Sequence[str]) -> Places:
        """(id,) where each id is, −1 where no row that is there has it."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = np.full(len(ids), -1, dtype=np.int64)
        wanted = pa.array(list(ids), pa.string())
        for base, rows in zip(self.bases.tolist(), self.rows, strict=False):
            places = pc.index_in(rows.column(ID), value_set=wanted).to_numpy(zero_copy_only=False)
            here = np.flatnonzero(~np.isnan(places.astype(np.float64)))
            here = here[self.alive[base + here]]
            found[places[here].astype(np.int64)] = base + here
        return found

    def vectors_at(self, name: str, positions: Places) -> tuple[Vectors, Bools]:
        """(position, width) vectors of a space, NaN where a row has none; and which have one."""
        space = self.spaces[name]
        found = np.full((len(positions), self.manifest.width), np.nan, dtype=np.float32)
        numbers = np.searchsorted(space.positions, positions)
        there = numbers < len(space)
        there[there] = space.positions[numbers[there]] == positions[there]
        if there.any():
            found[there] = space.at(numbers[there])
        return found, there

    def cells(self, positions: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
        """The id and the cells of some rows; the cells of media are absolute paths."""
        wanted = np.asarray(positions, dtype=np.int64)
        found: list[tuple[str, dict[str, Any]]] = [("", {})] * len(wanted)
        segments = np.searchsorted(self.bases, wanted, side="right") - 1
        for number in np.unique(segments).tolist():
            own = np.flatnonzero(segments == number)
            rows = self.rows[number].at((wanted[own] - self.bases[number]).tolist())
            self._locate(rows, self.manifest.segments[number])
            for place, row in zip(own.tolist(), rows, strict=True):
                found[place] = str(row.pop(ID)), row
        return found

    def _locate(self, rows: Sequence[dict[str, Any]], segment: SegmentFacts) -> None:
        """Replace names of files by absolute paths; what may not be read by None."""
        folder = TableFolder(self.roots[segment.name], allow_outside=segment.allow_outside)
        media = {column: one.separator for one in self.manifest.modalities if one.kind not in TEXT_KINDS
                 for column in one.columns if column in self.manifest.columns}
        for row in rows:
            for column, separator in media.items():
                row[column] = _located(row[column], separator, folder)

    @cached_property
    def roots(self) -> dict[str, Path]:
        """Segment → the folder that its paths start from."""
        return {segment.name: segment.root.found(self.folder) for segment in self.manifest.segments}


def _located(value: Any, separator: str, folder: TableFolder) -> Any:
    if isinstance(value, list):
        cells = value
    elif isinstance(value, str) and separator:
        cells = json_items(value) if separator == "json" else value.split(separator)
    else:
        cells = [value]
    found = []
    for cell in cells:
        if is_blank(cell):
            continue
        try:
            found.append(folder.located(str(cell)))
        except BadCell:
            continue
    return found if len(found) > 1 else found[0] if found else None


def mapped(folder: Path, number: int, count: int, manifest: Manifest) -> tuple[Stored, Places]:
    """The vectors of a space in a segment, and their rows, as mapped files.

    Raises:
        DataError: a file is cut short.
        FileNotFoundError: there is none.
    """
    dtype = np.dtype(np.float16 if manifest.half else np.float32)
    if not count:
        return np.zeros((0, manifest.width), dtype=dtype), np.zeros(0, dtype=np.int64)
    files = folder / vectors_file(number), folder / rows_file(number)
    for file, size in zip(files, (count * manifest.width * dtype.itemsize, count * 8), strict=True):
        if file.stat().st_size != size:
            raise DataError(f"{str(file)!r} is broken: {file.stat().st_size} bytes, expected {size}")
    vectors = np.memmap(files[0], dtype=dtype, mode="r", shape=(count, manifest.width))
    rows = np.memmap(files[1], dtype=np.int64, mode="r", shape=(count,))
    return np.asarray(vectors), np.asarray(rows)


def opened(folder: Path) -> Snapshot:
    """The present state; once more where a writer swept files between reading the manifest and opening them."""
    for attempt in range(5):
        manifest = read_manifest(folder)
        try:
            return Snapshot(folder, manifest)
        except FileNotFoundError as error:
            missing = error
            if attempt and read_manifest(folder).generation == manifest.generation:
                break
    raise DataError(f"the index {str(folder)!r} is broken: {missing.filename or missing} is missing") from missing
