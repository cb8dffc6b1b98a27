"""`sensorium inspect`: what is in a table, and what is wrong with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli.options import (
    Group,
    Groups,
    Ignore,
    Inputs,
    Json,
    Kinds,
    Outside,
    Settings,
    Tasks,
    listed,
    pairs,
    print_json,
    settings_of,
)
from sensorium.errors import RecipeError

if TYPE_CHECKING:
    from sensorium.data.inspect import Inspection

COLOURS = {"serious": "bold red", "warning": "yellow", "note": "dim"}


def inspect(
    table: Annotated[Path, typer.Argument(help="A CSV, TSV, Parquet or JSONL file, or a folder of class folders.")],
    target: Annotated[list[str] | None, typer.Option("--target", help="Columns to predict: a,b.")] = None,
    inputs: Inputs = None,
    ignore: Ignore = None,
    kind: Kinds = None,
    modality: Groups = None,
    group: Group = None,
    task: Tasks = None,
    against: Annotated[Path | None, typer.Option(help="Another table, a test set, that should share nothing with "
                                                      "it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write a page with pictures: inspect.html.")] = None,
    fix: Annotated[Path | None, typer.Option(help="Write a cleaned copy here, and every change into a table beside "
                                                  "it.")] = None,
    near: Annotated[bool, typer.Option("--near", help="With --fix: what is nearly the same in two splits counts as the "
                                                      "same.")] = False,
    setting: Settings = None,
    allow_outside: Outside = False,
    strict: Annotated[bool, typer.Option(help="Make the first unreadable cell an error.")] = False,
    json: Json = False,
) -> None:
    """Say what every column is, and find what is broken, missing, repeated, leaking, mislabelled or far out.

    Example: [bold]sensorium inspect train.csv --target species --against test.csv --out inspect.html[/bold]
    """
    from sensorium.data.inspect import inspect_table
    from sensorium.data.read import read
    from sensorium.data.table import read_table

    if near and fix is None:
        raise RecipeError("--near says what --fix takes for the same: give --fix OUT.csv with it")
    originals = [str(path) for path in (table, against) if path is not None]
    if fix is not None:
        from sensorium.data.new_place import refuse_place

        refuse_place(fix, originals)
    data = read(table, targets=listed(target), inputs=listed(inputs) or None, ignore=listed(ignore), group=group,
                kinds=pairs(kind, "--kind", "note=text"),
                modalities={name: listed([members]) for name, members in
                            pairs(modality, "--modality", "vitals=hr,bp").items()},
                tasks=pairs(task, "--task", "age=regress"), settings=settings_of(setting), allow_outside=allow_outside)
    other = None if against is None else read_table(against, allow_outside=allow_outside)
    found = inspect_table(data, other)
    if strict:
        found.samples.refuse_unreadable()
    written: dict[str, Any] = {}
    if out is not None:
        written["page"] = _write_page(found, out)
    if fix is not None:
        written.update(_write_copy(found, fix, originals, near=near))
    if json:
        print_json({**found.to_json(), **written})
        return
    if sys.stdout.isatty():
        _print_tables(found)
    else:
        typer.echo("\n".join(found.lines()))
    for line in written.get("fixed", {}).get("said", ()):
        typer.echo(f"fixed: {line}")
    if out is None and found.findings:
        typer.echo("a page with pictures: --out inspect.html", err=True)


def _write_page(found: Inspection, out: Path) -> str:
    from sensorium.evaluation.inspection import write_inspection

    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(write_inspection(found), encoding="utf-8")
    typer.echo(f"page: {out}", err=True)
    return str(out)


def _write_copy(found: Inspection, fix: Path, originals: list[str], *, near: bool) -> dict[str, Any]:
    from sensorium.data.clean import cleaned
    from sensorium.data.new_place import write_cleaned

    cleaning = cleaned(found, fix, near=near)
    changes = write_cleaned(cleaning.frame, cleaning.changes, fix, originals)
    typer.echo(f"cleaned copy: {fix}, changes: {changes}", err=True)
    return {"fixed": {"table": str(fix), "changes": str(changes), "said": cleaning.lines()}}


def _print_tables(found: Inspection) -> None:
    """Tables with colours, for a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for line in found.content_lines():
        console.print(Text(line))
    if not found.findings:
        console.print(Text("\nNothing to find fault with.", style="green"))
        return
    lines = Table(title=f"{len(found.findings)} findings, the worst first", title_justify="left", show_lines=True)
    for name, most in (("", 9), ("about", 13), ("found", None), ("what to do", 44)):
        lines.add_column(name, max_width=most, overflow="fold")
    for finding in found.findings:
        where = finding.where(found.names)
        said = Text(finding.said).append(f"\n{where}" if where else "", style="dim")
        lines.add_row(Text(finding.severity, style=COLOURS[finding.severity]), finding.topic, said,
                      Text(finding.advice))
    console.print(lines)
