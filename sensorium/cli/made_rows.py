"""`sensorium generate RUN TABLE`: something for every row of a table that shows anything to make it from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sensorium.cli.options import print_json

if TYPE_CHECKING:
    from sensorium.cli.made_files import MadeFiles
    from sensorium.data.samples import Samples
    from sensorium.made import Wish
    from sensorium.model import Model
    from sensorium.objectives import Generative

AT_ONCE = 64
SHOWN, NAMED, MOST_SHOWN = 3, 5, 20
SHEET_ROWS = 40


def make_rows(
    model: Model, maker: Generative, table: Path, wish: Wish, files: MadeFiles, *, ids: tuple[str, ...],
    allow_outside: bool, overwrite: bool, json: bool,
) -> None:
    """Make something for each row and write it; rows that show nothing are told, and left blank.

    Raises:
        DataError: a file is there already, a column to copy is not, or no row shows anything.
    """
    import numpy as np

    from sensorium.cli.answer_columns import columns_to_copy, copied_cells
    from sensorium.data.read import as_samples, read
    from sensorium.errors import DataError
    from sensorium.made import makeable, nothing_to_make
    from sensorium.training.console import Terminal

    data, console = read(table, allow_outside=allow_outside), Terminal()
    copied = columns_to_copy(ids, data.table.frame.columns, model.schema)
    copied = copied if ids else tuple(name for name in copied if name not in files.headers)
    files.refuse_repeated(copied)
    if files.pictures or not json:
        files.refuse_taken(range(len(data.table)), overwrite=overwrite, read=table)
    samples = as_samples(data, model.schema)
    rows = np.arange(len(samples))
    can = makeable(model, maker, samples, rows, wish.modalities)
    if not can.any():
        why = nothing_to_make(model, maker, samples, 0, wish.modalities)
        raise DataError(why if len(rows) == 1 else f"in none of {len(rows):,} rows there is anything to make "
                                                   f"{maker.to_name} from: {why}")
    for line in what_was_not_read(maker, samples):
        console.say(line)
    if not can.all():
        left = (np.flatnonzero(~can) + 1).tolist()
        console.say(f"{len(left):,} of {len(rows):,} rows show nothing to make {maker.to_name} from and are left "
                    f"blank: row {', '.join(map(str, left[:NAMED]))}{' …' if len(left) > NAMED else ''}")
    made: list[list[str]] = [[] for _ in rows]
    shown: list[list[Any]] = []
    usable = rows[can]
    with console.bar("making") as bar:
        for start in range(0, len(usable), AT_ONCE):
            part = usable[start : start + AT_ONCE]
            for row, own in zip(part.tolist(), wish.of_rows(model, maker, samples, part), strict=True):
                made[row] = files.save(row, own) if files.pictures else own
                shown += [own] if files.pictures and len(shown) < SHEET_ROWS else []
            if len(usable) > AT_ONCE:
                bar(start + len(part), len(usable), "rows")
    cells = copied_cells(data.table.frame, copied)
    if files.pictures or not json:
        files.save_table(cells, made)
    _tell(maker, files, made, files.save_sheet(shown), cells if copied else None, json=json)


def what_was_not_read(maker: Generative, samples: Samples, *, notes: bool = True) -> Iterator[str]:
    """A line for each thing that was not read as it stands; what stands in the column that is made is no matter.

    Args:
        maker: what makes something of the rows.
        samples: the decoded rows.
        notes: also what is to be said of whole columns.
    """
    hidden = {column for name in maker.hidden for column in samples.schema.modality(name).columns}
    cells = [note for name in samples.schema.names if name not in maker.hidden for note in samples.cells[name].notes]
    about = [*(f"modality {name!r}" for name in maker.hidden), *samples.cells[maker.to_name].notes]
    yield from [note for note in samples.notes if not any(one in note for one in about)] if notes else cells
    unread = [cell for cell in samples.unreadable if cell.column not in hidden]
    for cell in unread[:MOST_SHOWN]:
        yield f"unreadable: {cell}"


def _tell(
    maker: Generative, files: MadeFiles, made: list[list[str]], sheet: str | None, copied: list[dict[str, Any]] | None,
    *, json: bool,
) -> None:
    """Where things are, or all of them as JSON."""
    if json:
        beside = {} if copied is None else {"copied": copied}
        print_json({"made": maker.to_name, **beside, **(
            {"files": made, "sheet": sheet} if files.pictures else {"texts": made})})
        return
    whole = [own for own in made if own]
    if files.pictures:
        for own in whole[:SHOWN]:
            typer.echo("\n".join(own))
        if len(whole) > SHOWN:
            typer.echo(f"… {sum(map(len, whole)):,} pictures in {files.folder}")
        if sheet is not None:
            few = f" (the first {SHEET_ROWS} rows)" if len(whole) > SHEET_ROWS else ""
            typer.echo(f"side by side{few}: {sheet}")
    typer.echo(f"written: {files.table}")
