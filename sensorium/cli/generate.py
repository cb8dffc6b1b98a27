"""`sensorium generate`: pictures from words, words from pictures, any modality that the model makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sensorium.cli.given import AudioFile, Given, ImageFile, Text, VideoFile, given_row
from sensorium.cli.options import Json, Outside, listed, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image


def generate(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    table: Annotated[Path | None, typer.Argument(help="A table: what is made is made for each of its rows.")] = None,
    to: Annotated[str | None, typer.Option(help="The column to make; the only one the model makes by default.")] = None,
    given: Given = None,
    text: Text = None,
    image: ImageFile = None,
    audio: AudioFile = None,
    video: VideoFile = None,
    number: Annotated[int, typer.Option("-n", "--number", help="How many of each.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed makes the same pictures.")] = 0,
    guidance: Annotated[float | None, typer.Option(
        help="Pictures: how closely they follow what they are made from; more is closer and less varied.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Texts: draw them instead of searching for the most "
                                                         "probable ones.")] = False,
    top_p: Annotated[float, typer.Option("--top-p", help="Texts that are drawn: the share of the probability that "
                                                        "words are drawn from.")] = 0.9,
    temperature: Annotated[float, typer.Option(help="Texts that are drawn: above 1 more varied.")] = 1.0,
    beams: Annotated[int, typer.Option(help="Texts that the search for the most probable ones keeps.")] = 4,
    modalities: Annotated[list[str] | None, typer.Option("--modalities", help="Read only these: a,b.")] = None,
    out: Annotated[Path, typer.Option(help="The folder for pictures; texts are written there only for a "
                                           "table.")] = Path("generated"),
    allow_outside: Outside = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures that are there.")] = False,
    json: Json = False,
) -> None:
    """Make pictures or texts from whatever is there.

    Example: [bold]sensorium generate runs/emoji --text "grinning cat" -n 4 --out cats[/bold]
    """
    from sensorium.data.read import read
    from sensorium.errors import DataError
    from sensorium.made import Sampling, maker_of
    from sensorium.model import Model
    from sensorium.objectives import Paint

    model = Model.load(run)
    maker = maker_of(model, to)
    row = given_row(model.schema, given, text=text, image=image, audio=audio, video=video, but=maker.hidden)
    if (table is None) == (not row):
        raise DataError(f"name a table, or give what to make {maker.to_name!r} from: --given "
                        f"{' or '.join(name for name in model.schema.names if name not in maker.hidden)}=…"
                        f"{'' if table is None else ', not both'}")
    sampling = Sampling(top_p, temperature) if sample else None
    rows = row if table is None else read(table, allow_outside=allow_outside)
    made = model.generate(maker.to_name, rows, n=number, seed=seed, guidance=guidance, sampling=sampling, beams=beams,
                          modalities=listed(modalities) or None)
    made = [made] if table is None else made
    if isinstance(maker, Paint):
        files = _saved(made, maker.to_name, out, overwrite=overwrite)
        if json:
            print_json({"made": maker.to_name, "files": files})
            return
        for own in files if table is None else files[:3]:
            typer.echo("\n".join(own))
        if table is not None and len(files) > 3:
            typer.echo(f"… {sum(map(len, files))} pictures in {out}")
        return
    if json:
        print_json({"made": maker.to_name, "texts": made})
    elif table is None:
        typer.echo("\n".join(made[0]))
    else:
        typer.echo(f"written: {_table(made, maker.to_name, out, overwrite=overwrite)}")


def _saved(made: Sequence[Sequence[Image]], name: str, folder: Path, *, overwrite: bool) -> list[list[str]]:
    """Each row's picture files: photo-1.png …, or photo-row3-1.png … of a table; a sheet of all beside them."""
    from sensorium.errors import DataError
    from sensorium.evaluation.sheet import sheet

    folder.mkdir(parents=True, exist_ok=True)
    stem = "".join(letter if letter.isalnum() else "_" for letter in name)
    several = len(made) > 1
    files = [[folder / f"{stem}{f'-row{row + 1}' if several else ''}-{number + 1}.png" for number in range(len(own))]
             for row, own in enumerate(made)]
    there = next((file for own in files for file in own if file.exists()), None)
    if there is not None and not overwrite:
        raise DataError(f"{str(there)!r} is there already: choose another --out, or --overwrite to replace it")
    for own, pictures in zip(files, made, strict=True):
        for file, picture in zip(own, pictures, strict=True):
            picture.save(file)
    if sum(map(len, files)) > 1:
        sheet([list(own) for own in made]).save(folder / f"{stem}-all.png")
    return [[str(file) for file in own] for own in files]


def _table(made: Sequence[Sequence[str]], name: str, folder: Path, *, overwrite: bool) -> Path:
    """A CSV with a line a row: row, then its texts."""
    import csv

    from sensorium.errors import DataError

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{''.join(letter if letter.isalnum() else '_' for letter in name)}.csv"
    if file.exists() and not overwrite:
        raise DataError(f"{str(file)!r} is there already: choose another --out, or --overwrite to replace it")
    most = max((len(own) for own in made), default=1)
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["row", *([name] if most == 1 else [f"{name} {place + 1}" for place in range(most)])])
        writer.writerows([row + 1, *own, *[""] * (most - len(own))] for row, own in enumerate(made))
    return file
