"""`sensorium compare`: trained models against each other on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Json, Outside, print_json, refuse_input


def compare(
    paths: Annotated[list[Path], typer.Argument(help="Two model folders or more, then a table with the targets' "
                                                     "columns.")],
    out: Annotated[Path | None, typer.Option(help="Write a page (HTML) here.")] = None,
    allow_outside: Outside = False,
    json: Json = False,
) -> None:
    """Compare models on the same rows: paired differences of every score with intervals, where they disagree, what each
    costs.

    Example: [bold]sensorium compare runs/a runs/b test.csv --out comparison.html[/bold]
    """
    from sensorium.errors import DataError
    from sensorium.evaluation.comparing import compare as compared
    from sensorium.evaluation.comparison_page import comparison_lines, write_comparison

    *runs, table = paths
    if (table / "schema.json").is_file():
        raise DataError(f"{str(table)!r} is a model folder: name the table to compare on last, sensorium compare "
                        f"{' '.join(map(str, paths))} test.csv")
    if len(runs) < 2:
        raise DataError(f"compare needs two model folders and a table, found {len(runs)} before {str(table)!r}")
    refuse_input(out, table)
    found = compared(runs, table, allow_outside=allow_outside)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        title = (" against " if len(runs) == 2 else ", ").join(one.name for one in found.models)
        page = write_comparison(found, title=title, about=f"{found.rows:,} rows of {table}")
        out.write_text(page, encoding="utf-8")
        typer.echo(f"page: {out}", err=True)
    if json:
        print_json({**found.to_json(), "page": None if out is None else str(out)})
        return
    for line in comparison_lines(found):
        typer.echo(line)
