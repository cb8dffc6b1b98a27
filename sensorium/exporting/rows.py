"""The rows on which an exported model is compared with torch: the user's, the training table's, and made-up ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensorium.data.read import Data, as_samples
from sensorium.data.table import Table, read_table
from sensorium.errors import DataError
from sensorium.exporting.generated import made_up_samples
from sensorium.exporting.parity import Compared
from sensorium.model import Model
from sensorium.runtime.rows import Rows, decoded_rows

MOST_ROWS = 12
MADE_UP_ROWS = 5


def rows_to_compare(
    model: Model, table: str | Path | None = None, *, allow_outside: bool = False,
) -> tuple[list[Compared], tuple[str, ...]]:
    """Up to twelve real rows, if there are any to be had, and five made-up ones; and notes about that.

    Args:
        model: with a measured schema.
        table: the user's choice; None: the training table, if it is still there.
        allow_outside: whether its cells may name files outside its folder.

    Raises:
        DataError: the user's table cannot be read, or no row of it has anything that the model reads.
    """
    made_up = made_up_samples(model.schema, MADE_UP_ROWS)
    generated = Compared(f"{MADE_UP_ROWS} made-up rows", made_up, made_up)
    source = model.recipe.source if table is None else str(table)
    try:
        if source is None:
            raise DataError("the model does not say what it was trained on")
        outside = allow_outside or (table is None and model.recipe.data.allow_outside)
        real = _compared(model, read_table(source, allow_outside=outside))
    except DataError as error:
        if table is not None:
            raise
        return [generated], (f"compared on made-up rows only: {error}; --rows names a table",)
    return [real, generated], ()


def _compared(model: Model, table: Table) -> Compared:
    chosen = _spread(table, model)
    some = replace(table, frame=table.frame[chosen.astype(np.uint32)], notes=())
    own = as_samples(Data(some, model.recipe.data), model.schema)
    if not own.presence.any():
        raise DataError(f"{table.source!r}: nothing of its rows is readable")
    listed = Rows(tuple(some.frame.to_dicts()), table.root, table.allow_outside)
    return Compared(f"{len(chosen)} rows of {Path(table.source).name}", own, decoded_rows(listed, model.schema))


def _spread(table: Table, model: Model) -> npt.NDArray[np.int64]:
    """Rows from all over the table: first some that have each of the modalities, then any."""
    chosen: dict[int, None] = {}
    for modality in model.schema.modalities:
        names = [name for name in modality.columns if name in table.frame.columns]
        if names:
            there = np.flatnonzero(~table.frame[names[0]].is_null().to_numpy())
            chosen |= dict.fromkeys(there[np.linspace(0, len(there) - 1, min(2, len(there))).astype(int)].tolist())
    chosen |= dict.fromkeys(np.linspace(0, len(table) - 1, min(MOST_ROWS, len(table))).astype(int).tolist())
    return np.sort(np.array(list(chosen)[:MOST_ROWS], dtype=np.int64))
