"""`sensorium predict`: answers for the rows of a table."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli.options import Json, Outside, listed, print_json

if TYPE_CHECKING:
    from sensorium.answers import Answer
    from sensorium.data.samples import Samples


def predict(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    table: Annotated[Path, typer.Argument(help="A table; columns may be missing, cells may be blank.")],
    out: Annotated[Path | None, typer.Option(help="Write a CSV file here instead of standard output.")] = None,
    modalities: Annotated[list[str] | None, typer.Option("--modalities", help="Use only these: a,b.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Add what each modality contributed.")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add every class's probability.")] = False,
    abstain: Annotated[bool, typer.Option("--abstain", help="Leave an answer blank where its confidence set is not one "
                                                          "class.")] = False,
    allow_outside: Outside = False,
    strict: Annotated[bool, typer.Option("--strict", help="Make the first unreadable cell an error.")] = False,
    json: Json = False,
) -> None:
    """Predict every row from whatever is there; one line per row, in order.

    Example: [bold]sensorium predict runs/species new.csv --explain --out answers.csv[/bold]
    """
    from sensorium.data.read import as_samples
    from sensorium.errors import DataError
    from sensorium.model import Model

    model = Model.load(run)
    if not model.schema.targets:
        raise DataError(f"{str(run)!r} predicts nothing: it was trained without a target, to embed (Model.embed)")
    samples = as_samples(table, model.schema, allow_outside=allow_outside)
    if strict:
        samples.refuse_unreadable()
    answers = model.answers(samples, modalities=listed(modalities) or None, explain=explain)
    for note in [*samples.notes, *(f"unreadable: {cell}" for cell in samples.unreadable[:20])]:
        typer.echo(note, err=True)
    if json:
        print_json({"rows": len(answers), "predictions": [
            {name: _plain(answer, abstain=abstain) for name, answer in row.items()} for row in answers],
            "unreadable": [vars(cell) for cell in samples.unreadable]})
        return
    lines = _lines(answers, samples, explain=explain, probabilities=probabilities, abstain=abstain)
    if out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(lines)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    typer.echo(f"{len(answers)} predictions: {out}", err=True)


def _plain(answer: Answer, *, abstain: bool) -> dict[str, Any]:
    return {"value": None if abstain and not answer.decided else answer.value,
            "confidence_set": None if answer.confidence_set is None else list(answer.confidence_set),
            "interval": None if answer.interval is None else list(answer.interval),
            "probabilities": answer.probabilities, "modalities": list(answer.modalities),
            "contributions": answer.contributions, "from_prior": not answer.modalities,
            "unreadable": list(answer.unreadable)}


def _set_words(classes: tuple[str, ...] | None) -> str:
    """The classes of a confidence set between bars; "" where there is none, "nothing" where none is likely enough."""
    return "" if classes is None else "|".join(classes) or "nothing"


def _lines(
    answers: list[dict[str, Answer]], samples: Samples, *, explain: bool, probabilities: bool, abstain: bool,
) -> Iterable[list[Any]]:
    """A header and a line per row."""
    schema = samples.schema
    header = ["row"]
    for target in schema.targets:
        header.append(target.name)
        if target.task == "classify":
            header.append(f"{target.name}_probability")
            header.append(f"{target.name}_set")
            header += [f"{target.name}={label}" for label in target.classes] if probabilities else []
        else:
            header += [f"{target.name}_low", f"{target.name}_high"]
        header += [f"{target.name}_from_{name}" for name in schema.names] if explain else []
    unreadable: dict[int, list[str]] = {}
    for cell in samples.unreadable:
        unreadable.setdefault(cell.row, []).append(f"{cell.column}: {cell.reason}")
    yield [*header, "modalities", "unreadable"]
    for number, row in enumerate(answers, start=1):
        line: list[Any] = [number]
        for target in schema.targets:
            answer = row[target.name]
            line.append("" if abstain and not answer.decided else answer.value)
            if answer.probabilities is None:
                line += ["", ""] if answer.interval is None else [float(f"{end:.6g}") for end in answer.interval]
            else:
                line.append(round(answer.probability or 0.0, 6))
                line.append(_set_words(answer.confidence_set))
                line += [round(p, 6) for p in answer.probabilities.values()] if probabilities else []
            if explain:
                line += [float(f"{(answer.contributions or {}).get(name, 0.0):.6g}") for name in schema.names]
        used = next(iter(row.values())).modalities if row else ()
        yield [*line, "+".join(used) or "none (training distribution)", "; ".join(unreadable.get(number, []))]
