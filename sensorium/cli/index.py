"""`sensorium index`: a table's rows as an index that is searched by any of their modalities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli.options import Json, Outside, listed, print_json

if TYPE_CHECKING:
    from sensorium.retrieval.index import Index


def index(
    run: Annotated[Path | None, typer.Argument(help="A model folder.")] = None,
    table: Annotated[Path | None, typer.Argument(help="The table whose rows are indexed.")] = None,
    out: Annotated[Path, typer.Option(help="The folder of the index.")] = Path("idx"),
    add: Annotated[bool, typer.Option("--add", help="Add the rows to an index that is there; rows whose ids are in it "
                                                    "are replaced.")] = False,
    delete: Annotated[list[str] | None, typer.Option("--delete", help="Delete the rows of these ids: a,b.")] = None,
    ids: Annotated[str | None, typer.Option("--id", help="The column of ids; a column named id by default, else rows "
                                                         "are numbered.")] = None,
    structure: Annotated[str, typer.Option(help="auto (by size), flat (exact), hnsw, ivf or ivfpq.")] = "auto",
    recall: Annotated[float, typer.Option(help="The share of the exact 10 nearest that a structure is tuned to "
                                               "find.")] = 0.98,
    half: Annotated[bool, typer.Option("--half", help="Store vectors as float16: half the disk.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an index that is there.")] = False,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="Write ids, columns and vectors to this file "
                                                                   "too.")] = None,
    allow_outside: Outside = False,
    json: Json = False,
) -> None:
    """Embed the rows of a table and index them, or change an index; without a table, say what is in it.

    Stopped at any moment, the same command goes on where it stopped.

    Example: [bold]sensorium index runs/x data.csv --out idx[/bold] · [bold]sensorium index runs/x more.csv --out idx
    --add[/bold] · [bold]sensorium index --out idx --delete 17,18[/bold]
    """
    from sensorium.data.checks.findings import counted
    from sensorium.errors import RecipeError
    from sensorium.retrieval.index import Index
    from sensorium.training.console import Terminal

    wanted = listed(delete)
    _refuse(run, table, wanted, add=add, overwrite=overwrite, changed=structure != "auto" or recall != 0.98 or half)
    if delete is not None and not wanted:
        raise RecipeError("--delete: expected ids, as a,b")
    console = Terminal()
    if wanted:
        found = Index.open(out)
        found.delete(wanted, progress=True)
        console.say(f"{counted(len(set(wanted)), 'row')} deleted: {out}")
    elif table is None or run is None:
        found = Index.open(out)
    else:
        from sensorium.model import Model

        if add:
            found = Index.open(out)
            found.add(Model.load(run), table, id=ids, allow_outside=allow_outside, console=console)
        else:
            found = Index.build(Model.load(run), table, out, model_folder=run, id=ids, structure=structure,
                                recall=recall, half=half, overwrite=overwrite, allow_outside=allow_outside,
                                console=console)
    if parquet is not None:
        console.say(f"{found.export(parquet):,} rows: {parquet}")
    if json:
        print_json(facts(found))
    else:
        typer.echo("\n".join([f"index {out}", *(f"  {line}" for line in found.lines())]))


def _refuse(
    run: Path | None, table: Path | None, delete: tuple[str, ...], *, add: bool, overwrite: bool, changed: bool,
) -> None:
    """Raise for options that contradict each other."""
    from sensorium.errors import RecipeError

    if delete and (table is not None or add or overwrite):
        raise RecipeError("--delete needs no table, --add or --overwrite: sensorium index --out idx --delete a,b")
    if run is not None and table is None and not delete:
        raise RecipeError(f"name a model folder and a table: sensorium index {run} data.csv --out idx")
    if table is None and (add or overwrite):
        raise RecipeError(f"--{'add' if add else 'overwrite'} needs a model folder and a table: sensorium index runs/x "
                          f"data.csv --out idx")
    if add and overwrite:
        raise RecipeError("--add keeps what is there and --overwrite replaces it: ask for one of them")
    if add and changed:
        raise RecipeError("--structure, --recall and --half are settled when an index is made: leave them out of --add")


def facts(index: Index) -> dict[str, Any]:
    """What is in an index, as plain values."""
    manifest, sizes = index.manifest, index.sizes
    return {"rows": len(index), "width": index.width, "id": manifest.id_column, "columns": index.columns,
            "model": index.identity, "aligned": index.aligned, "spaces": [
                {"modality": name, "structure": one.kind, "vectors": sizes[name], "effort": one.effort,
                 "recall_at_10": one.recall, "queries": one.queries, "seconds": one.seconds}
                if (one := manifest.structures.get(name)) is not None else
                {"modality": name, "structure": "flat", "vectors": sizes[name],
                 "effort": None, "recall_at_10": 1.0, "queries": None, "seconds": None}
                for name in manifest.spaces]}
