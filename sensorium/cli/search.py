"""`sensorium search`: the rows of an index most like what is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli.given import AudioFile, Given, ImageFile, Text, VideoFile, given_row
from sensorium.cli.options import Json, listed, print_json

if TYPE_CHECKING:
    from sensorium.retrieval.index import Hit, Index

MOST_CHARACTERS = 40


def search(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="A folder that `sensorium index` made.")],
    given: Given = None,
    text: Text = None,
    image: ImageFile = None,
    audio: AudioFile = None,
    video: VideoFile = None,
    to: Annotated[str | None, typer.Option(help="The modality that is ranked; whole rows by default.")] = None,
    where: Annotated[str | None, typer.Option(help="Rank only rows for which this is true: \"year > 2020 AND ward = "
                                                   "'east'\".")] = None,
    number: Annotated[int, typer.Option("-k", "--number", help="How many rows.")] = 10,
    show: Annotated[list[str] | None, typer.Option("--show", help="Only these columns: a,b.")] = None,
    model: Annotated[Path | None, typer.Option(help="The model folder, where it is not where it was.")] = None,
    page: Annotated[Path | None, typer.Option(help="Write a page with pictures and players here.")] = None,
    json: Json = False,
) -> None:
    """Find the rows most like a text, a picture, a sound, cells of a table, or several of them together.

    Example: [bold]sensorium search idx --text "a red circle" --where "year > 2020" -k 5 --page found.html[/bold]
    """
    from sensorium.errors import DataError, RecipeError, unknown_name
    from sensorium.model import Model
    from sensorium.retrieval.building import require_model
    from sensorium.retrieval.identity import model_identity
    from sensorium.retrieval.index import MOST_HITS, Index
    from sensorium.retrieval.search import embedded, refuse_unaligned, unaligned_note

    index = Index.open(folder)
    if not 1 <= number <= MOST_HITS:
        raise RecipeError(f"-k {number}: expected 1…{MOST_HITS:,}")
    shown = listed(show)
    for column in shown:
        if column not in index.columns:
            raise RecipeError(f"--show: {unknown_name('column', column, list(index.columns))}")
    if to is not None and to not in index.modalities:
        raise RecipeError(f"--to: {unknown_name('modality', to, list(index.modalities))}")
    loaded = Model.load(_model_folder(index, model))
    require_model(folder, index.manifest, model_identity(loaded))
    row = given_row(loaded.schema, given, text=text, image=image, audio=audio, video=video)
    if not row:
        raise DataError(f"say what to search for: --given {' or '.join(loaded.schema.names)}=…, --text, --image …")
    vector, used = embedded(loaded, row)
    refuse_unaligned(index, used, to)
    note = unaligned_note(index, used, to)
    if note is not None:
        typer.echo(note, err=True)
    hits = index.search(vector, number, where, to)[0]
    if page is not None:
        from sensorium.retrieval.page import write_page

        write_page(page, loaded.schema, row, hits, name=folder.name, to=to, where=where, rows=len(index), used=used)
        typer.echo(f"page: {page}", err=True)
    if json:
        print_json({"ranked": to, "query": row, "where": where, "hits": [_plain(hit, shown) for hit in hits]})
    elif hits:
        typer.echo("\n".join(_table(hits, shown or tuple(index.columns), _id_name(index))))
    else:
        typer.echo("no row is found" + ("" if where is None else f" where {where}"), err=True)


def _model_folder(index: Index, given: Path | None) -> Path:
    """The model's folder. Raises ModelFolderError where it is nowhere."""
    from sensorium.errors import ModelFolderError

    folder = index.model_folder if given is None else given
    if folder is None:
        raise ModelFolderError(f"the index {str(index.folder)!r} does not say where its model is: --model runs/x")
    if given is None and not folder.is_dir():
        raise ModelFolderError(f"the model of the index {str(index.folder)!r} is no longer at {str(folder)!r}: --model "
                               f"runs/x")
    return folder


def _id_name(index: Index) -> str:
    return index.manifest.id_column or "id"


def _plain(hit: Hit, shown: tuple[str, ...]) -> dict[str, Any]:
    return hit.to_json() | {"row": {name: hit.row[name] for name in shown or hit.row}}


def _table(hits: list[Hit], columns: tuple[str, ...], own: str) -> list[str]:
    """A table of hits: place, score, id, then the columns; long cells are cut."""
    from sensorium.evaluation.words import aligned

    others = [name for name in columns if name != own]
    table = [["", "score", own, *others]]
    for place, hit in enumerate(hits, start=1):
        table.append([str(place), f"{hit.score:.3f}", _cut(hit.id), *(_cut(hit.row.get(name)) for name in others)])
    return aligned(table)


def _cut(value: Any) -> str:
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    words = "" if value is None else " ".join(str(value).split())
    return words if len(words) <= MOST_CHARACTERS else f"…{words[1 - MOST_CHARACTERS:]}" if "/" in words else (
        f"{words[:MOST_CHARACTERS - 1]}…")
