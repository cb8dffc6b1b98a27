"""`sensorium inspect`: what is in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Group, Groups, Ignore, Inputs, Json, Kinds, Tasks, listed, pairs, print_json


def inspect(
    table: Annotated[Path, typer.Argument(help="A CSV, TSV, Parquet or JSONL file, or a folder of class folders.")],
    target: Annotated[list[str] | None, typer.Option("--target", help="Columns to predict: a,b.")] = None,
    inputs: Inputs = None,
    ignore: Ignore = None,
    kind: Kinds = None,
    modality: Groups = None,
    group: Group = None,
    task: Tasks = None,
    strict: Annotated[bool, typer.Option(help="Make the first unreadable cell an error.")] = False,
    json: Json = False,
) -> None:
    """Say what every column is and why, what is missing and what cannot be read.

    Example: [bold]sensorium inspect photos.csv --target species[/bold]
    """
    from sensorium.data.inspect import inspect_table
    from sensorium.data.read import read

    data = read(table, targets=listed(target), inputs=listed(inputs) or None, ignore=listed(ignore), group=group,
                kinds=pairs(kind, "--kind", "note=text"),
                modalities={name: listed([members]) for name, members in
                            pairs(modality, "--modality", "vitals=hr,bp").items()},
                tasks=pairs(task, "--task", "age=regress"))
    found = inspect_table(data)
    if strict:
        found.samples.refuse_unreadable()
    if json:
        print_json(found.to_json())
        return
    for line in found.lines():
        typer.echo(line)
