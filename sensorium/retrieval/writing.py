"""Changing an index: new files first, then the manifest that names them; then files that no state needs are swept."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from sensorium.errors import DataError, unknown_name
from sensorium.retrieval.columns import joined_type
from sensorium.retrieval.durable import LOCK, force, force_folder, remove, writing
from sensorium.retrieval.exact import Vectors
from sensorium.retrieval.manifest import (
    MANIFEST,
    PARTS,
    Manifest,
    Place,
    SegmentFacts,
    has_manifest,
    read_manifest,
    write_manifest,
)
from sensorium.retrieval.rows import ID, RowsWriter
from sensorium.retrieval.snapshot import Snapshot, rows_file, vectors_file
from sensorium.retrieval.structuring import Progress, with_structures

DELETED_SHARE = 0.3
"""Where more of an index is deleted, it is rewritten without that."""


@dataclass(frozen=True)
class Part:
    """Some rows to add.

    Args:
        ids: (row,) their ids.
        frame: of `storable`.
        words: column → what it holds, of `storable`.
        vectors: space → (row, width), NaN where a row has none.
    """

    ids: Sequence[str]
    frame: pl.DataFrame
    words: Mapping[str, str]
    vectors: Mapping[str, Vectors]


@dataclass
class Origin:
    """Where rows come from: the folder that their paths start from, and what was read."""

    root: Path
    source: str
    allow_outside: bool = False
    notes: list[str] = field(default_factory=list)


@contextmanager
def exclusively(folder: Path) -> Iterator[None]:
    """Hold the lock of an index that may not be there yet, and sweep what a writer that died has left."""
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder):
        sweep(folder)
        try:
            yield
        except OSError as error:
            sweep(folder)
            if error.filename is None:  # a full disk
                raise DataError(f"cannot write to the index {str(folder)!r}: {error.strerror or error}") from error
            raise
        except BaseException:
            sweep(folder)
            raise


def sweep(folder: Path) -> None:
    """Remove files that the present state does not need; parts that were embedded stay."""
    needed = read_manifest(folder).files if has_manifest(folder) else set()
    for path in folder.iterdir():
        if path.name not in {*needed, MANIFEST, LOCK, PARTS} and _ours(path.name):
            remove(path)


def _ours(name: str) -> bool:
    return name.startswith(("segment-", "structure-", "deleted-", f".{MANIFEST}."))


def added(
    folder: Path, manifest: Manifest, parts: Iterable[Part], origin: Origin, progress: Progress, *,
    replacing: bool = True,
) -> Manifest:
    """Add rows; those whose ids are there take the place of the old ones.

    Args:
        folder: locked.
        manifest: the present state, or a first one without rows.
        parts: the rows.
        origin: where they come from.
        progress: told of structures.
        replacing: whether ids may be there already; False where they are new by their make.
    """
    segment, words, ids = _write_segment(folder, manifest, parts, origin)
    columns = dict(manifest.columns)
    for name, word in words.items():
        columns[name] = joined_type(columns[name], word) if name in columns else word
    state = manifest.model_copy(update={
        "generation": manifest.generation + 1, "segments": (*manifest.segments, segment), "columns": columns,
        "next_number": manifest.next_number + segment.num_rows,
        "notes": tuple(dict.fromkeys([*manifest.notes, *origin.notes]))})
    if replacing and manifest.segments:
        before = Snapshot(folder, manifest, structures=False)
        places = before.positions_of(ids)
        state = _with_deleted(folder, state, before, places[places >= 0])
    return finished(folder, state, progress)


def deleted(folder: Path, manifest: Manifest, ids: Sequence[str], progress: Progress) -> Manifest:
    """Delete rows by id. Raises DataError where no row has one of them: nothing is deleted then."""
    before = Snapshot(folder, manifest, structures=False)
    distinct = list(dict.fromkeys(ids))
    places = before.positions_of(distinct)
    missing = [one for one, place in zip(distinct, places.tolist(), strict=True) if place < 0]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"no row of the index has the id {missing[0]!r}{more}: nothing was deleted")
    state = _with_deleted(folder, manifest.model_copy(update={"generation": manifest.generation + 1}), before, places)
    return finished(folder, state, progress)


def finished(folder: Path, state: Manifest, progress: Progress) -> Manifest:
    """Rewrite what is mostly deleted, bring the structures up to date, and make this the state that is read."""
    if state.num_deleted > DELETED_SHARE * state.num_positions:
        state = _rewritten(folder, state)
    state = with_structures(folder, state, progress)
    for name in state.files:
        if not (folder / name).exists():
            raise DataError(f"{str(folder / name)!r} is missing")
    write_manifest(folder, state)
    sweep(folder)
    return state


def _write_segment(
    folder: Path, manifest: Manifest, parts: Iterable[Part], origin: Origin,
) -> tuple[SegmentFacts, dict[str, str], list[str]]:
    """A segment's folder; what its columns hold; its ids."""
    name = f"segment-{secrets.token_hex(6)}"
    (folder / name).mkdir()
    rows = RowsWriter(folder / name)
    ids: list[str] = []
    with _VectorFiles(folder / name, manifest) as files:
        for part in parts:
            files.write(part, len(ids))
            rows.write(part.ids, part.frame, part.words)
            ids += part.ids
    words = rows.close()
    force_folder(folder / name)
    _refuse_repeated(ids)
    return SegmentFacts(name=name, num_rows=len(ids), root=Place.of(origin.root, folder), source=origin.source,
                        allow_outside=origin.allow_outside, vectors=files.counts), words, ids


def _refuse_repeated(ids: Sequence[str]) -> None:
    """Raise where two rows have one id."""
    seen: dict[str, int] = {}
    for row, one in enumerate(ids, start=1):
        if seen.setdefault(one, row) != row:
            raise DataError(f"rows {seen[one]} and {row} have the same id {one!r}: ids name one row each; choose "
                            f"another column, --id COLUMN")


class _VectorFiles:
    """The files of a segment's vectors, written part by part."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._dtype = np.float16 if manifest.half else np.float32
        self._width = manifest.width
        self.counts = dict.fromkeys(manifest.spaces, 0)
        self._files: dict[str, tuple[IO[bytes], IO[bytes]]] = {
            space: ((folder / vectors_file(number)).open("wb"), (folder / rows_file(number)).open("wb"))
            for number, space in enumerate(manifest.spaces)}

    def __enter__(self) -> _VectorFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for pair in self._files.values():
            for file in pair:
                file.close()

    def write(self, part: Part, start: int) -> None:
        """Append the vectors of rows that begin at `start`."""
        for space, (vectors, rows) in self._files.items():
            own = part.vectors[space]
            assert own.shape == (len(part.ids), self._width), (space, own.shape)
            there = np.flatnonzero(np.isfinite(own).all(axis=1))
            vectors.write(np.ascontiguousarray(own[there], dtype=self._dtype).data)
            rows.write((there + start).astype(np.int64).data)
            self.counts[space] += len(there)


def _with_deleted(folder: Path, state: Manifest, before: Snapshot, places: np.ndarray) -> Manifest:
    """The state with these positions deleted too."""
    if not len(places):
        return state
    gone = np.union1d(np.flatnonzero(~before.alive), places).astype(np.int64)
    name = f"deleted-{secrets.token_hex(6)}"
    with (folder / name).open("wb") as file:
        gone.tofile(file)
        file.flush()
    force(folder / name)
    return state.model_copy(update={"deleted": name, "num_deleted": len(gone)})


def _rewritten(folder: Path, state: Manifest) -> Manifest:
    """The state in segments without what was deleted, and without structures."""
    before = Snapshot(folder, state, structures=False)
    segments = []
    for base, facts, rows in zip(before.bases.tolist(), state.segments, before.rows, strict=False):
        alive = before.alive[base : base + facts.num_rows]
        if alive.all():
            segments.append(facts)
            continue
        if not alive.any():
            continue
        parts = _kept_parts(before, rows.parts(), base, alive)
        origin = Origin(facts.root.found(folder), facts.source, facts.allow_outside)
        segment, _, _ = _write_segment(folder, state, parts, origin)
        segments.append(segment)
    return state.model_copy(update={"segments": tuple(segments), "deleted": None, "num_deleted": 0, "structures": {}})


def _kept_parts(before: Snapshot, tables: Iterable[Any], base: int, alive: np.ndarray) -> Iterator[Part]:
    """The rows of a segment that are not deleted, as parts to write anew."""
    start = 0
    for table in tables:
        kept = np.flatnonzero(alive[start : start + len(table)])
        frame = pl.from_arrow(table.take(kept))
        assert isinstance(frame, pl.DataFrame)
        vectors = {name: before.vectors_at(name, base + start + kept)[0] for name in before.spaces}
        if len(kept):
            yield Part(frame[ID].to_list(), frame.drop(ID), dict(before.manifest.columns), vectors)
        start += len(table)


def refuse_unknown(name: str, columns: Sequence[str]) -> None:
    """Raise where a column is not in a table."""
    if name not in columns:
        raise DataError(f"--id: {unknown_name('column', name, list(columns))}")
