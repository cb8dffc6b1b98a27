"""A table as rows to index: embedded a part at a time, each part kept on disk until the index has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.data.cache.digest import DIGEST_BYTES, content_digest
from sensorium.data.chunks import PARQUET, Chunks
from sensorium.data.decoding.workers import Refused, default_workers
from sensorium.data.notation import is_missing
from sensorium.data.read import default_memory
from sensorium.data.samples import Samples, decoded
from sensorium.data.sources import row_cells
from sensorium.data.table import Table, read_table
from sensorium.errors import DataError
from sensorium.retrieval.columns import storable
from sensorium.retrieval.durable import replace_file
from sensorium.retrieval.exact import Vectors
from sensorium.retrieval.manifest import WHOLE, Manifest
from sensorium.retrieval.rows import ID
from sensorium.retrieval.writing import Part

if TYPE_CHECKING:
    from sensorium.model import Model

ROWS_AT_ONCE = 1024
MOST_TOLD = 20


@dataclass
class Told:
    """What embedding found out on the way.

    Args:
        say: called with a line, each kind of line once.
        resumed: rows whose vectors were on disk already.
        unread: rows in which nothing is readable.
    """

    say: Callable[[str], None]
    resumed: int = 0
    unread: int = 0
    left_out: tuple[str, ...] = ()
    lines: int = 0


def embedded_parts(
    model: Model, chunks: Chunks, folder: Path, manifest: Manifest, progress: Callable[[int, int], None], told: Told,
) -> Iterator[Part]:
    """Parts of a table with their vectors, in order; the next one is decoded while one is embedded.

    Args:
        model: that embeds.
        chunks: of the table.
        folder: where embedded parts are kept: named by the model, their cells, and their files' sizes and times.
        manifest: of the index: its spaces and its column of ids.
        progress: called with (rows done, rows in all).
        told: filled on the way.
    """
    folder.mkdir(exist_ok=True)
    done = 0
    reader = iter(chunks.parts)

    def prepared() -> tuple[Table, Path, Samples | None] | None:
        table = next(reader, None)
        if table is None:
            return None
        check_columns(table, manifest)
        file = folder / f"{_digest(model, manifest, table)}.safetensors"
        samples = None if file.exists() else decoded(table, model.schema, workers=default_workers(),
                                                     memory_bytes=default_memory())
        return table, file, samples

    with ThreadPoolExecutor(1, thread_name_prefix="decode-ahead") as ahead:
        waiting = ahead.submit(prepared)
        while (found := waiting.result()) is not None:
            waiting = ahead.submit(prepared)
            table, file, samples = found
            vectors = _vectors(model, manifest, file, samples, done, told)
            told.unread += int(np.isnan(vectors[WHOLE]).any(axis=1).sum())
            ids = _ids(table, manifest, done)
            frame, words, left_out = storable(table.frame, _as_text(model, manifest))
            told.left_out = tuple(dict.fromkeys([*told.left_out, *left_out]))
            done += len(table)
            progress(done, chunks.num_rows)
            yield Part(ids, frame, words, vectors)


def _vectors(
    model: Model, manifest: Manifest, file: Path, samples: Samples | None, start: int, told: Told,
) -> dict[str, Vectors]:
    """Space → (row, width) of a part, from its file where it is there."""
    from safetensors.numpy import load, save

    if samples is None:
        told.resumed += 1
        kept = load(file.read_bytes())
        return {space: kept[str(number)] for number, space in enumerate(manifest.spaces)}
    _tell(samples, start, told)
    subsets = {space: frozenset(model.schema.names if space == WHOLE else [space]) for space in manifest.spaces}
    found = model.embeddings(samples, np.arange(len(samples)), list(dict.fromkeys(subsets.values())), complete=False)
    vectors = {space: found[subset] for space, subset in subsets.items()}
    replace_file(file, save({str(number): np.ascontiguousarray(vectors[space])
                             for number, space in enumerate(manifest.spaces)}))
    return vectors


def _tell(samples: Samples, start: int, told: Told) -> None:
    """Say what could not be read, the first twenty cells of a table."""
    for note in samples.notes if not start else ():
        if not note.startswith("unknown columns"):
            told.say(note)
    for cell in samples.unreadable[: max(0, MOST_TOLD - told.lines)]:
        told.say(f"unreadable: {replace(cell, row=cell.row + start)}")
        told.lines += 1


def check_columns(table: Table, manifest: Manifest) -> None:
    """Raise where a table lacks the column of ids, or has one that an index keeps for itself."""
    if ID in table.frame.columns:
        raise DataError(f"{table.source!r} has a column {ID!r}, which an index keeps for itself: rename it")
    if manifest.id_column is not None and manifest.id_column not in table.frame.columns:
        raise DataError(f"{table.source!r} has no column {manifest.id_column!r}, in which this index has its ids")


def check_ids(source: Path, column: str) -> None:
    """Look at a table's ids before any row is embedded.

    Raises:
        DataError: one is blank, or two are equal.
    """
    import pyarrow.parquet

    if source.is_file() and source.suffix.lower() in PARQUET:
        cells = pyarrow.parquet.read_table(source, columns=[column]).column(0).to_pylist()
    else:
        cells = read_table(source).frame[column].to_list()
    seen: dict[str, int] = {}
    for row, one in enumerate(named_ids(cells, column), start=1):
        if seen.setdefault(one, row) != row:
            raise DataError(f"rows {seen[one]} and {row} have the same id {one!r}: ids name one row each; choose "
                            f"another column, --id COLUMN")


def named_ids(cells: Sequence[Any], column: str, start: int = 0) -> list[str]:
    """The ids that stand in a column; `start` rows stand before these. Raises DataError where one is blank."""
    for row, cell in enumerate(cells, start=start + 1):
        if is_missing(cell):
            raise DataError(f"row {row} has no id: column {column!r} is blank there")
    return [str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip() for cell in cells]


def _ids(table: Table, manifest: Manifest, start: int) -> list[str]:
    """The rows' ids: of their column, else numbers."""
    if manifest.id_column is None:
        first = manifest.next_number + start
        return [str(number) for number in range(first, first + len(table))]
    return named_ids(table.frame[manifest.id_column].to_list(), manifest.id_column, start)


def _as_text(model: Model, manifest: Manifest) -> set[str]:
    """Columns whose strings stay strings."""
    media = {column for one in model.schema.modalities if one.kind.name != "table" for column in one.columns}
    return media | ({manifest.id_column} if manifest.id_column else set())


def _digest(model: Model, manifest: Manifest, table: Table) -> str:
    """What a part's vectors depend on: the model, the cells, and of files their size and time."""
    assert manifest.model is not None
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    hasher.update(json.dumps([manifest.model.identity, manifest.spaces, len(table)]).encode())
    for modality in model.schema.modalities:
        media = modality.kind.name not in ("text", "table")
        present = [name for name in modality.columns if name in table.frame.columns]
        hasher.update(json.dumps([modality.name, present]).encode())
        if not present:
            continue
        for cells in row_cells(table, modality):
            hasher.update(f"{len(cells)}".encode())
            for cell in cells:
                hasher.update(_cell(cell, media=media).encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()


def _cell(cell: Any, *, media: bool) -> str:
    if isinstance(cell, Refused):
        return f"refused {cell.reason}\x1f"
    if isinstance(cell, Path) or (media and isinstance(cell, str)):
        try:
            found = Path(cell).stat()
        except (OSError, ValueError):
            return f"{cell} nothing\x1f"
        return f"{cell} {found.st_size} {found.st_mtime_ns}\x1f"
    if isinstance(cell, str):
        return f"{len(cell)} {cell}"
    if isinstance(cell, tuple):
        return f"{cell!r}\x1f"
    try:
        return content_digest(cell)
    except TypeError:
        return f"{cell!r}\x1f"

