"""Making and changing an index: from a table and a model, or from vectors that are there already."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.data.chunks import Chunks, read_chunks
from sensorium.data.schema import Schema
from sensorium.data.table import Table
from sensorium.errors import DataError, ModelFolderError
from sensorium.retrieval.columns import storable
from sensorium.retrieval.durable import remove
from sensorium.retrieval.embedding import ROWS_AT_ONCE, Told, check_columns, check_ids, embedded_parts
from sensorium.retrieval.exact import require_faiss
from sensorium.retrieval.identity import model_identity
from sensorium.retrieval.manifest import (
    MANIFEST,
    PARTS,
    WHOLE,
    Indexed,
    Manifest,
    ModelFacts,
    Place,
    has_manifest,
    read_manifest,
)
from sensorium.retrieval.structure import check_recall, chosen_structure
from sensorium.retrieval.structuring import Progress
from sensorium.retrieval.writing import Origin, Part, added, deleted, exclusively, refuse_unknown
from sensorium.training.console import Console

if TYPE_CHECKING:
    from sensorium.model import Model

VECTORS_AT_ONCE = 16_384


def build(
    model: Model, source: Path, folder: Path, *, model_folder: Path | None, id_column: str | None, structure: str,
    recall: float, half: bool, overwrite: bool, allow_outside: bool, console: Console,
) -> Manifest:
    """Index a table; see `Index.build`."""
    require_faiss()
    chosen_structure(structure, 0, model.embedding_width)
    check_recall(recall)
    refuse_taken(folder, overwrite=overwrite)
    manifest = Manifest(
        model=ModelFacts(identity=model_identity(model), aligned=model.aligned,
                         folder=None if model_folder is None else Place.of(model_folder, folder)),
        modalities=indexed(model.schema), spaces=(*model.schema.names, WHOLE), width=model.embedding_width, half=half,
        structure=structure, wanted=recall)
    first, chunks = _opened(model, source, allow_outside)
    names = first.frame.columns
    if id_column is not None:
        refuse_unknown(id_column, names)
    else:
        id_column = next((name for name in names if name.lower() == "id"), None)
    state = manifest.model_copy(update={"id_column": id_column})
    check_columns(first, state)
    if id_column is not None:
        check_ids(source, id_column)
    with exclusively(folder):
        state = _after(folder, state, overwrite=overwrite)
        return _add(model, chunks, first.root, folder, state, allow_outside, console)


def add(model: Model, source: Path, folder: Path, *, id_column: str | None, allow_outside: bool,
        console: Console) -> Manifest:
    """Add a table's rows to an index; see `Index.add`."""
    require_faiss()
    read_manifest(folder)
    first, chunks = _opened(model, source, allow_outside)
    with exclusively(folder):
        manifest = read_manifest(folder)
        require_model(folder, manifest, model_identity(model))
        if id_column is not None and id_column != manifest.id_column:
            kept = "are the rows' numbers" if manifest.id_column is None else f"stand in {manifest.id_column!r}"
            raise DataError(f"--id {id_column}: the ids of the index {str(folder)!r} {kept}")
        check_columns(first, manifest)
        if manifest.id_column is not None:
            check_ids(source, manifest.id_column)
        return _add(model, chunks, first.root, folder, manifest, allow_outside, console)


def remove_rows(folder: Path, ids: Sequence[str], console: Console) -> Manifest:
    """Delete rows by id; see `Index.delete`."""
    read_manifest(folder)
    with exclusively(folder), _told(console) as progress:
        return deleted(folder, read_manifest(folder), ids, progress)


def from_vectors(
    folder: Path, vectors: Mapping[str, npt.NDArray[np.floating[Any]]], rows: pl.DataFrame | None, *,
    ids: Sequence[str] | None, structure: str, recall: float, half: bool, overwrite: bool, console: Console,
) -> Manifest:
    """Index vectors of any origin; see `Index.from_vectors`."""
    require_faiss()
    check_recall(recall)
    chosen_structure(structure, 0, 1)
    shapes = {name: np.shape(own) for name, own in vectors.items()}
    if WHOLE not in vectors or any(len(shape) != 2 or shape != shapes[WHOLE] for shape in shapes.values()):
        raise DataError(f"vectors: expected arrays (row, width) of one shape, '' for whole rows among them; found "
                        f"{shapes}")
    count, width = shapes[WHOLE]
    if count == 0:
        raise DataError("vectors: expected one row at least, found none")
    for what, found in (("rows", rows), ("ids", ids)):
        if found is not None and len(found) != count:
            raise DataError(f"{what}: expected {count:,}, one a vector; found {len(found):,}")
    refuse_taken(folder, overwrite=overwrite)
    state = Manifest(model=None, modalities=(), spaces=(*(name for name in vectors if name != WHOLE), WHOLE),
                     width=width, half=half, structure=structure, wanted=recall)

    def parts() -> Iterator[Part]:
        frame = pl.DataFrame({}) if rows is None else rows
        for start in range(0, count, VECTORS_AT_ONCE):
            stop = min(count, start + VECTORS_AT_ONCE)
            some, words, _ = storable(frame.slice(start, stop - start), ())
            own = [str(number + 1) for number in range(start, stop)] if ids is None else list(map(str, ids[start:stop]))
            yield Part(own, some, words, {name: np.asarray(array[start:stop], dtype=np.float32)
                                          for name, array in vectors.items()})

    with exclusively(folder), _told(console) as progress:
        state = _after(folder, state, overwrite=overwrite)
        return added(folder, state, parts(), Origin(folder, "vectors"), progress, replacing=False)


def refuse_taken(folder: Path, *, overwrite: bool) -> None:
    """Raise where making an index would destroy something."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"--out is a folder; {str(folder)!r} is a file")
    if has_manifest(folder):
        if not overwrite:
            raise DataError(f"{str(folder)!r} is an index already: --add adds rows to it, --overwrite replaces it")
    elif folder.exists() and not (folder / PARTS).is_dir() and any(
            not path.name.startswith(("segment-", "structure-", "lock", f".{MANIFEST}")) for path in folder.iterdir()):
        raise DataError(f"{str(folder)!r} is there already and is no index: choose another --out")


def _after(folder: Path, state: Manifest, *, overwrite: bool) -> Manifest:
    """A first state of a locked folder, counted on from the one that it replaces."""
    refuse_taken(folder, overwrite=overwrite)
    if not has_manifest(folder):
        return state
    return state.model_copy(update={"generation": read_manifest(folder).generation})


def require_model(folder: Path, manifest: Manifest, identity: str) -> None:
    """Raise where vectors of this model cannot be compared with those of the index."""
    if manifest.model is None:
        raise ModelFolderError(f"the index {str(folder)!r} holds vectors of no sensorium model: search it by vectors")
    if manifest.model.identity != identity:
        made = "" if manifest.model.folder is None else f" ({manifest.model.folder.found(folder)})"
        raise ModelFolderError(f"the index {str(folder)!r} was made with model {manifest.model.identity[:12]}{made}, "
                               f"this is model {identity[:12]}: use that one, or index the table with this one")


def indexed(schema: Schema) -> tuple[Indexed, ...]:
    """The modalities of a schema as an index remembers them."""
    return tuple(Indexed(name=one.name, kind=one.kind.name, columns=one.columns, separator=one.separator)
                 for one in schema.modalities)


def _add(
    model: Model, chunks: Chunks, root: Path, folder: Path, state: Manifest, allow_outside: bool, console: Console,
) -> Manifest:
    """Embed and add; the parts that were embedded are removed when the index has them."""
    told = Told(_once(console.say))
    origin = Origin(root, chunks.source, allow_outside)
    with console.bar("embedding") as bar, _told(console) as progress:
        parts = embedded_parts(model, chunks, folder / PARTS, state,
                               lambda done, total: bar(done, total, "rows"), told)
        manifest = added(folder, state, parts, origin, progress, replacing=state.id_column is not None)
    remove(folder / PARTS)
    if told.resumed:
        console.say(f"{told.resumed} parts of {ROWS_AT_ONCE:,} rows were embedded before and were not embedded again")
    if told.left_out:
        console.say(f"not kept beside the vectors: {', '.join(map(repr, told.left_out))} (bytes, or lists of numbers)")
    if told.unread:
        console.say(f"{told.unread:,} rows have nothing that can be read: no search finds them")
    return manifest


def _once(say: Callable[[str], None]) -> Callable[[str], None]:
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return tell


def _opened(model: Model, source: Path, allow_outside: bool) -> tuple[Table, Chunks]:
    """The first part of a table, and the table in parts, that one before the others.

    Raises:
        DataError: it has no column that the model reads.
    """
    chunks = read_chunks(source, ROWS_AT_ONCE, allow_outside=allow_outside)
    parts = iter(chunks.parts)
    first = next(parts)
    columns = [column for one in model.schema.modalities for column in one.columns]
    if not set(columns) & set(first.frame.columns):
        raise DataError(f"nothing in {chunks.source!r} can be indexed: the model reads {', '.join(columns)}, the table "
                        f"has {', '.join(first.frame.columns)}")
    return first, replace(chunks, parts=chain([first], parts))


@contextmanager
def _told(console: Console) -> Iterator[Progress]:
    """A progress function on the console."""
    with console.bar("indexing") as bar:
        yield lambda what, done, total: bar(done, total, what)
