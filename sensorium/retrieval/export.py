"""An index as one Parquet file: ids, columns, vectors."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import DataError
from sensorium.retrieval.columns import arrow_types
from sensorium.retrieval.rows import ID
from sensorium.retrieval.snapshot import Snapshot


def vector_column(space: str) -> str:
    """The column of a space's vectors."""
    return f"vector_{space}" if space else "vector"


def write_parquet(view: Snapshot, path: Path) -> int:
    """Write what is not deleted, a few thousand rows at a time; the file appears whole or not at all. The rows written.

    Raises:
        DataError: the name does not end in .parquet, or a column of the table has the name of one of vectors.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() not in (".parquet", ".pq"):
        raise DataError(f"vectors are exported as .parquet; found {str(path)!r}")
    types = arrow_types()
    own = "id" if "id" not in {name.lower() for name in view.manifest.columns} else "index_id"
    columns = {own: pa.string()} | {name: types[word] for name, word in view.manifest.columns.items()}
    taken = {own, *map(vector_column, view.spaces)} & set(view.manifest.columns)
    if taken:
        raise DataError(f"cannot export: the table has a column {sorted(taken)[0]!r}, which is to hold vectors or ids")
    lists = {vector_column(name): pa.list_(pa.float32(), view.manifest.width) for name in view.spaces}
    schema = pa.schema(list((columns | lists).items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    written = 0
    try:
        with pq.ParquetWriter(part, schema) as writer:
            for base, rows in zip(view.bases.tolist(), view.rows, strict=False):
                start = base
                for table in rows.parts():
                    kept = np.flatnonzero(view.alive[start : start + len(table)])
                    cells = table.take(kept).combine_chunks()
                    arrays = [cells.column(name) for name in (ID, *view.manifest.columns)]
                    arrays += [_lists(view, name, start + kept) for name in view.spaces]
                    writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
                    start += len(table)
                    written += len(kept)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return written


def _lists(view: Snapshot, name: str, positions: Any) -> Any:
    """The vectors of some rows as an Arrow array of lists; null where a row has none."""
    import pyarrow as pa

    vectors, there = view.vectors_at(name, positions)
    flat = pa.array(vectors.ravel(), pa.float32())
    return pa.FixedSizeListArray.from_arrays(flat, view.manifest.width, mask=pa.array(~there))


