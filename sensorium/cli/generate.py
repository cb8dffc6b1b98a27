"""`sensorium generate`: pictures from words, words from pictures, any modality that the model makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sensorium.cli.given import AudioFile, Given, ImageFile, Text, VideoFile, given_row
from sensorium.cli.options import Json, Outside, listed, print_json

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from PIL.Image import Image

    from sensorium.model import Model
    from sensorium.objectives import Generative

TOP_P, TEMPERATURE = 0.9, 1.0
SHOWN = 3


def generate(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    table: Annotated[Path | None, typer.Argument(help="A table: what is made is made for each of its rows.")] = None,
    to: Annotated[str | None, typer.Option(help="The column to make; by default the only one that can be made from "
                                               "what is given.")] = None,
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
                                                        "words are drawn from.")] = TOP_P,
    temperature: Annotated[float, typer.Option(help="Texts that are drawn: above 1 more varied.")] = TEMPERATURE,
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
    from sensorium.errors import DataError, RecipeError
    from sensorium.made import Sampling, check_number
    from sensorium.model import Model
    from sensorium.objectives import Paint

    model = Model.load(run)
    maker, row = _wish(model, to, Cells(given, text, image, audio, video))
    if (table is None) == (not row):
        raise DataError(f"name a table, or give what to make {maker.to_name!r} from: --given "
                        f"{' or '.join(name for name in model.schema.names if name not in maker.hidden)}=…"
                        f"{'' if table is None else ', not both'}")
    if isinstance(maker, Paint) and sample:
        raise RecipeError(f"--sample is for texts; {maker.to_name!r} is a picture: --guidance and --seed vary those")
    if not isinstance(maker, Paint) and guidance is not None:
        raise RecipeError(f"--guidance is for pictures; {maker.to_name!r} is text: --sample draws those")
    if not sample and (top_p, temperature) != (TOP_P, TEMPERATURE):
        raise RecipeError("--top-p and --temperature are for texts that are drawn: add --sample")
    if out.exists() and not out.is_dir():
        raise DataError(f"--out is a folder; {str(out)!r} is a file")
    check_number(number)
    rows = row if table is None else read(table, allow_outside=allow_outside)
    files = _files(maker.to_name, out, number, None if table is None else len(rows),
                   "png" if isinstance(maker, Paint) else "csv")
    if isinstance(maker, Paint) or (table is not None and not json):
        _refuse_taken(files, overwrite=overwrite)
    made = model.generate(maker.to_name, rows, n=number, seed=seed, guidance=guidance, beams=beams,
                          sampling=Sampling(top_p, temperature) if sample else None,
                          modalities=listed(modalities) or None)
    made = [made] if table is None else made
    if not isinstance(maker, Paint):
        _tell_texts(made, None if table is None else files[-1], maker.to_name, json=json)
        return
    _save(made, files)
    told = [[str(file) for file in files[start : start + number]] for start in range(0, len(made) * number, number)]
    whole = str(files[-1]) if len(files) > len(made) * number else None
    if json:
        print_json({"made": maker.to_name, "files": told, "sheet": whole})
        return
    for own in told if table is None else told[:SHOWN]:
        typer.echo("\n".join(own))
    if len(told) > SHOWN:
        typer.echo(f"… {len(told) * number:,} pictures in {out}")
    if whole is not None:
        typer.echo(f"side by side: {whole}")


@dataclass(frozen=True)
class Cells:
    """What is made from, as the options say it."""

    given: list[str] | None
    text: str | None
    image: Path | None
    audio: Path | None
    video: Path | None

    def row(self, model: Model, but: Collection[str]) -> dict[str, str]:
        """Column → cell; `but` is what is made."""
        return given_row(model.schema, self.given, text=self.text, image=self.image, audio=self.audio, video=self.video,
                         but=but, hint=f"{' and '.join(but)} is what is made")


def _wish(model: Model, to: str | None, cells: Cells) -> tuple[Generative, dict[str, str]]:
    """What is made, and from what; where nothing says what, it is the one modality that what is given can make."""
    from sensorium.errors import RecipeError
    from sensorium.made import maker_of

    makers = model.generative()
    if to is not None or len(makers) < 2:
        maker = maker_of(model, to)
        return maker, cells.row(model, maker.hidden)
    fitting, errors = [], []
    for maker in makers:
        own = {column for name in maker.hidden for column in model.schema.modality(name).columns}
        try:
            row = cells.row(model, maker.hidden)
        except RecipeError as error:
            errors.append(error)
            continue
        if row and not own & set(row):
            fitting.append((maker, row))
    if len(errors) == len(makers):
        raise errors[0]
    if len(fitting) != 1:
        raise RecipeError(f"name what to make: {' or '.join(f'--to {maker.to_name}' for maker in makers)}")
    return fitting[0]


def _files(name: str, folder: Path, number: int, num_rows: int | None, ending: str) -> list[Path]:
    """Each row's files: photo-1.png …, or photo-row3-1.png … of a table; last a sheet of all; or one table of texts."""
    stem = "".join(letter if letter.isalnum() else "_" for letter in name)
    if ending == "csv":
        return [folder / f"{stem}.csv"]
    rows = [""] if num_rows is None else [f"-row{row + 1}" for row in range(num_rows)]
    files = [folder / f"{stem}{row}-{place + 1}.png" for row in rows for place in range(number)]
    return [*files, folder / f"{stem}-all.png"] if len(files) > 1 else files


def _refuse_taken(files: Sequence[Path], *, overwrite: bool) -> None:
    from sensorium.errors import DataError

    there = next((file for file in files if file.exists()), None)
    if there is not None and not overwrite:
        raise DataError(f"{str(there)!r} is there already: choose another --out, or --overwrite to replace it")


def _save(made: Sequence[Sequence[Image]], files: Sequence[Path]) -> None:
    """Every picture to its file, and a sheet of all where there are several."""
    from sensorium.evaluation.sheet import sheet

    pictures = [picture for own in made for picture in own]
    for file, picture in zip(files, pictures, strict=False):
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
    if len(files) > len(pictures):
        sheet([list(own) for own in made]).save(files[-1])


def _tell_texts(made: Sequence[Sequence[str]], file: Path | None, name: str, *, json: bool) -> None:
    """Texts of one row to the terminal, those of a table to a file; or all of them as JSON."""
    if json:
        print_json({"made": name, "texts": made})
    elif file is None:
        typer.echo("\n".join(made[0]))
    else:
        _write_table(made, name, file)
        typer.echo(f"written: {file}")


def _write_table(made: Sequence[Sequence[str]], name: str, file: Path) -> None:
    """A CSV with a line a row: its number, from 1, then its texts."""
    import csv

    file.parent.mkdir(parents=True, exist_ok=True)
    most = max((len(own) for own in made), default=1)
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["row", *([name] if most == 1 else [f"{name} {place + 1}" for place in range(most)])])
        writer.writerows([row + 1, *own, *[""] * (most - len(own))] for row, own in enumerate(made))
