"""`sensorium predict`: answers for the rows of a table, a few thousand at a time."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli.options import Json, Outside, listed, print_json, refuse_input

if TYPE_CHECKING:
    from sensorium.answers import Answer
    from sensorium.cli.answer_columns import Column
    from sensorium.data.chunks import Chunks
    from sensorium.data.samples import Samples
    from sensorium.data.schema import Schema
    from sensorium.data.table import Table
    from sensorium.model import Model
    from sensorium.runtime.rows import Rows

ROWS_AT_ONCE = 2048
MOST_SHOWN = 20


def predict(
    run: Annotated[Path, typer.Argument(help="A model folder, or one that `sensorium export` wrote.")],
    table: Annotated[Path, typer.Argument(help="A table; columns may be missing, cells may be blank.")],
    out: Annotated[Path | None, typer.Option(help="Write a file here instead of standard output: .csv, .tsv, .parquet "
                                                  "or .jsonl.")] = None,
    modalities: Annotated[list[str] | None, typer.Option("--modalities", help="Use only these: a,b.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Add what each modality contributed.")] = False,
    attribute: Annotated[Path | None, typer.Option("--attribute", help="Write a page here that shows, for the first 24 "
                                                                       "rows, which places moved the answer.")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add every class's probability.")] = False,
    abstain: Annotated[bool, typer.Option("--abstain", help="Leave an answer blank where its confidence set is not one "
                                                          "class.")] = False,
    copy: Annotated[list[str] | None, typer.Option("--id", help="Copy these input columns into the answers: a,b; a "
                                                                "column named id by default.")] = None,
    allow_outside: Outside = False,
    strict: Annotated[bool, typer.Option("--strict", help="Make the first unreadable cell an error.")] = False,
    json: Json = False,
) -> None:
    """Predict every row from whatever is there; one line per row, in order. Any number of rows: they are read, decoded
    and answered 2,048 at a time.

    Example: [bold]sensorium predict runs/species new.csv --explain --out answers.parquet[/bold]
    """
    from sensorium.cli.answer_files import refuse_ending
    from sensorium.errors import RecipeError
    from sensorium.runtime.manifest import is_exported

    if json and out is not None:
        raise RecipeError("--json prints the answers and --out writes them to a file: ask for one of them")
    if out is not None:
        refuse_ending(out)
    refuse_input(out, table)
    refuse_input(attribute, table)
    used = listed(modalities) or None
    if is_exported(run):
        if attribute is not None:
            raise RecipeError("--attribute needs the model folder itself: an exported one has no gradients")
        schema, num_rows, parts = _exported_parts(run, table, used, explain=explain, strict=strict,
                                                  allow_outside=allow_outside)
    else:
        schema, num_rows, parts = _model_parts(run, table, used, attribute, explain=explain, strict=strict,
                                               allow_outside=allow_outside)
    if json:
        _print_all(parts, abstain=abstain)
        return
    _write(schema, num_rows, parts, out, used or schema.names, listed(copy),
           lambda copied: _columns(schema, copied, explain=explain, probabilities=probabilities, abstain=abstain))


def _model_parts(
    run: Path, table: Path, used: tuple[str, ...] | None, attribute: Path | None, *, explain: bool, strict: bool,
    allow_outside: bool,
) -> tuple[Schema, int, Iterator[Part]]:
    """The schema, the number of rows, and the answers of a model folder."""
    from sensorium.data.chunks import read_chunks
    from sensorium.model import Model

    model = Model.load(run)
    _refuse_aimless(model.schema, run)
    chunks = read_chunks(table, ROWS_AT_ONCE, allow_outside=allow_outside)
    parts = answered(model, chunks, modalities=used, explain=explain, strict=strict)
    if attribute is not None:
        parts = _with_page(parts, attribute, model, table, used, chunks.num_rows)
    return model.schema, chunks.num_rows, parts


def _exported_parts(
    run: Path, table: Path, used: tuple[str, ...] | None, *, explain: bool, strict: bool, allow_outside: bool,
) -> tuple[Schema, int, Iterator[Part]]:
    """The same of an exported folder, without torch and without a data frame."""
    from sensorium.runtime import Runtime
    from sensorium.runtime.rows import decoded_rows, read_rows

    runtime = Runtime.load(run)
    _refuse_aimless(runtime.schema, run)
    rows = read_rows(table, allow_outside=allow_outside)

    def parts() -> Iterator[Part]:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows.part(start, start + ROWS_AT_ONCE)
            samples = decoded_rows(some, runtime.schema)
            if strict:
                _numbered(samples, start).refuse_unreadable()
            yield Part(start, some, samples, runtime.answers(samples, modalities=used, explain=explain))

    return runtime.schema, len(rows), parts()


def _refuse_aimless(schema: Schema, run: Path) -> None:
    from sensorium.errors import DataError

    if not schema.targets:
        raise DataError(f"{str(run)!r} predicts no target: it was trained to "
                        "embed (Model.embed), to make something (generate) or to answer in words (ask)")


@dataclasses.dataclass(frozen=True)
class Part:
    """Some rows with their answers; `start` rows stand before them in the table."""

    start: int
    table: Table | Rows
    samples: Samples
    answers: list[dict[str, Answer]]


def answered(
    model: Model, chunks: Chunks, *, modalities: tuple[str, ...] | None = None, explain: bool = False,
    strict: bool = False,
) -> Iterator[Part]:
    """A table's parts, decoded and answered one after the other; rows are numbered as in the whole table."""
    from sensorium.data.decoding.workers import default_workers
    from sensorium.data.read import default_memory
    from sensorium.data.samples import decoded

    start = 0
    for table in chunks.parts:
        samples = decoded(table, model.schema, workers=default_workers(), memory_bytes=default_memory())
        if strict:
            _numbered(samples, start).refuse_unreadable()
        yield Part(start, table, samples, model.answers(samples, modalities=modalities, explain=explain))
        start += len(table)


def _with_page(
    parts: Iterator[Part], page: Path, model: Model, table: Path, used: tuple[str, ...] | None, num_rows: int,
) -> Iterator[Part]:
    """The same parts; when the first one has been used, a page about its first rows is written."""
    from sensorium.evaluation.attribution_page import write_attribution_page

    for part in parts:
        yield part
        if part.start == 0:
            notes = write_attribution_page(model, part.samples, page, title=table.name, modalities=used, of=num_rows)
            typer.echo(f"attribution: {page}{''.join(f'; {note}' for note in notes)}", err=True)


def _numbered(samples: Samples, start: int) -> Samples:
    """The same with unreadable cells numbered as in the whole table."""
    if not start:
        return samples
    return dataclasses.replace(samples, cells={name: dataclasses.replace(one, unreadable=tuple(
        dataclasses.replace(cell, row=cell.row + start) for cell in one.unreadable))
        for name, one in samples.cells.items()})


def _columns(
    schema: Schema, copied: tuple[str, ...], *, explain: bool, probabilities: bool, abstain: bool,
) -> list[Column]:
    from sensorium.cli.answer_columns import answer_columns

    return answer_columns(schema, copied, explain=explain, probabilities=probabilities, abstain=abstain)


def _write(
    schema: Schema, num_rows: int, parts: Iterator[Part], out: Path | None, used: tuple[str, ...],
    asked: tuple[str, ...], columns_of: Callable[[tuple[str, ...]], list[Column]],
) -> None:
    """Append each part's answers to the file, or to standard output."""
    from sensorium.cli.answer_columns import columns_to_copy
    from sensorium.cli.answer_files import CsvWriter, partial_path, whole_or_partial
    from sensorium.training.console import Terminal

    first = next(parts)
    copied = columns_to_copy(asked, _names(first.table), schema)
    columns = columns_of(copied)
    console = Terminal()
    said = _Said(num_rows)
    opened = nullcontext(CsvWriter(sys.stdout, columns)) if out is None else whole_or_partial(
        out, columns, _types(first.table, copied, out))
    done = 0
    try:
        with opened as writer, console.bar("predicting") as bar:
            for part in _chained(first, parts):
                for line in said.lines(part):
                    console.say(line)
                writer.write(_rows(part, copied, used))
                done = part.start + len(part.answers)
                if done < num_rows:
                    bar(done, num_rows, "rows")
    except BaseException:
        if out is not None and done:
            console.say(f"stopped after {done:,} of {num_rows:,} rows: their answers are in {partial_path(out)}")
        raise
    if out is not None:
        console.say(f"{done:,} predictions: {out}")


def _chained(first: Part, others: Iterator[Part]) -> Iterator[Part]:
    yield first
    yield from others


def _rows(part: Part, copied: tuple[str, ...], used: tuple[str, ...]) -> list[Any]:
    from sensorium.cli.answer_columns import AnswerRow, unread_cells

    return [AnswerRow(part.start + place + 1, answers, cells, unread) for place, (answers, cells, unread) in enumerate(
        zip(part.answers, _cells(part.table, copied), unread_cells(part.samples, used), strict=True))]


def _names(table: Table | Rows) -> tuple[str, ...]:
    """The columns of the input."""
    from sensorium.runtime.rows import Rows

    return table.columns() if isinstance(table, Rows) else tuple(table.frame.columns)


def _cells(table: Table | Rows, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each row's cells of some columns."""
    from sensorium.cli.answer_columns import copied_cells
    from sensorium.runtime.rows import Rows

    if isinstance(table, Rows):
        return [{name: row.get(name) for name in names} for row in table.rows]
    return copied_cells(table.frame, names)


def _types(table: Table | Rows, names: tuple[str, ...], out: Path) -> Any:
    """The Arrow schema of some columns, which only Parquet needs."""
    from sensorium.runtime.rows import Rows

    if out.suffix.lower() not in (".parquet", ".pq"):
        return None
    from sensorium.cli.answer_files import copied_types
    from sensorium.data.table import table_of_rows
    from sensorium.errors import RecipeError

    try:
        return copied_types(table_of_rows(table.rows).frame if isinstance(table, Rows) else table.frame, names)
    except ModuleNotFoundError as error:
        raise RecipeError(f"writing Parquet needs {error.name}, which is not installed: choose .csv, .tsv or .jsonl"
                          ) from error


class _Said:
    """What has been told of a table's parts: each kind of note once, the first unreadable cells."""

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._notes: set[str] = set()
        self._cells = 0

    def lines(self, part: Part) -> Iterator[str]:
        """Notes of a sort not heard yet (their counts are those of the rows they come from), unreadable cells."""
        stop = part.start + len(part.answers)
        where = "" if stop - part.start == self._num_rows else f"rows {part.start + 1:,} to {stop:,}: "
        for note in part.samples.notes:
            sort = re.sub(r"\d+|\(.*\)", "", note)
            if sort not in self._notes:
                yield where + note
            self._notes.add(sort)
        for cell in part.samples.unreadable[: MOST_SHOWN - self._cells]:
            yield f"unreadable: {dataclasses.replace(cell, row=cell.row + part.start)}"
            self._cells += 1


def _print_all(parts: Iterator[Part], *, abstain: bool) -> None:
    """One JSON object with every answer."""
    predictions: list[dict[str, Any]] = []
    unreadable: list[dict[str, Any]] = []
    for part in parts:
        predictions += [{name: _plain(answer, abstain=abstain) for name, answer in row.items()} for row in part.answers]
        unreadable += [{**vars(cell), "row": cell.row + part.start} for cell in part.samples.unreadable]
        if not part.start:
            for line in [*part.samples.notes, *map("unreadable: {}".format, part.samples.unreadable[:MOST_SHOWN])]:
                typer.echo(line, err=True)
    print_json({"rows": len(predictions), "predictions": predictions, "unreadable": unreadable})


def _plain(answer: Answer, *, abstain: bool) -> dict[str, Any]:
    return {"value": None if abstain and not answer.decided else answer.value,
            "confidence_set": None if answer.confidence_set is None else list(answer.confidence_set),
            "interval": None if answer.interval is None else list(answer.interval),
            "probabilities": answer.probabilities, "modalities": list(answer.modalities),
            "contributions": answer.contributions, "from_prior": not answer.modalities, "unlike": answer.unlike,
            "unreadable": list(answer.unreadable)}
