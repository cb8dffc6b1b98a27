"""`sensorium generate`: pictures from words, words from pictures, any modality that the model makes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sensorium.cli.given import AudioFile, Given, ImageFile, Text, VideoFile, given_row
from sensorium.cli.options import Json, Outside, listed, print_json

if TYPE_CHECKING:
    from collections.abc import Collection

    from sensorium.cli.made_files import MadeFiles
    from sensorium.made import Wish
    from sensorium.model import Model
    from sensorium.objectives import Generative

TOP_P, TEMPERATURE = 0.9, 1.0


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
    rerank: Annotated[bool, typer.Option("--rerank", help="Texts: make many and order them also by how near objective "
                                                         "contrast finds them to what they are about.")] = False,
    modalities: Annotated[list[str] | None, typer.Option("--modalities", help="Read only these: a,b.")] = None,
    out: Annotated[Path, typer.Option(help="The folder for pictures; texts are written there only for a "
                                           "table.")] = Path("generated"),
    copy: Annotated[list[str] | None, typer.Option("--id", help="Of a table: copy these of its columns beside what is "
                                                                "made: a,b; a column named id by default.")] = None,
    allow_outside: Outside = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace pictures that are there.")] = False,
    json: Json = False,
) -> None:
    """Make pictures or texts from whatever is there.

    Example: [bold]sensorium generate runs/emoji --text "grinning cat" -n 4 --out cats[/bold]
    """
    from sensorium.cli.made_files import MadeFiles
    from sensorium.cli.made_rows import make_rows
    from sensorium.errors import DataError
    from sensorium.made import Sampling, Wish, columns_said
    from sensorium.model import Model
    from sensorium.objectives import Paint

    model = Model.load(run)
    maker, row = _wish(model, to, Cells(given, text, image, audio, video))
    if (table is None) == (not row):
        reads = [name for name in model.schema.names if name not in maker.hidden]
        raise DataError(f"name a table, or give what to make {maker.to_name!r} from: --given "
                        f"{columns_said(model.schema, reads)}=…{'' if table is None else ', not both'}")
    paints = isinstance(maker, Paint)
    _refuse_meaningless(maker, paints=paints, sample=sample, guidance=guidance, drawn=(top_p, temperature),
                        ids=listed(copy), table=table)
    if out.exists() and not out.is_dir():
        raise DataError(f"--out is a folder; {str(out)!r} is a file")
    wish = Wish(number, seed, guidance, Sampling(top_p, temperature) if sample else None, beams, rerank,
                listed(modalities) or None)
    wish.check(model, maker)
    files = MadeFiles(maker.to_name, out, number, pictures=paints)
    if table is not None:
        make_rows(model, maker, table, wish, files, ids=listed(copy), allow_outside=allow_outside, overwrite=overwrite,
                  json=json)
        return
    _make_one(model, maker, row, wish, files, overwrite=overwrite, json=json)


def _make_one(
    model: Model, maker: Generative, row: dict[str, str], wish: Wish, files: MadeFiles, *, overwrite: bool, json: bool,
) -> None:
    """Pictures to files, texts to the terminal."""
    import numpy as np

    from sensorium.cli.made_rows import what_was_not_read
    from sensorium.made import samples_of

    if files.pictures:
        files.refuse_taken([None], overwrite=overwrite)
    samples = samples_of(model, maker, row)
    made = wish.of_rows(model, maker, samples, np.arange(1))[0]
    for line in what_was_not_read(maker, samples, notes=False):
        typer.echo(line, err=True)
    if not files.pictures:
        if json:
            print_json({"made": maker.to_name, "texts": [made]})
        else:
            typer.echo("\n".join(made))
        return
    told = files.save(None, made)
    sheet = files.save_sheet([made])
    if json:
        print_json({"made": maker.to_name, "files": [told], "sheet": sheet})
        return
    typer.echo("\n".join(told))
    if sheet is not None:
        typer.echo(f"side by side: {sheet}")


def _refuse_meaningless(
    maker: Generative, *, paints: bool, sample: bool, guidance: float | None, drawn: tuple[float, float],
    ids: tuple[str, ...], table: Path | None,
) -> None:
    """Raise RecipeError for options that say nothing about what is made."""
    from sensorium.errors import RecipeError

    if paints and sample:
        raise RecipeError(f"--sample is for texts; {maker.to_name!r} is a picture: --guidance and --seed vary those")
    if not paints and guidance is not None:
        raise RecipeError(f"--guidance is for pictures; {maker.to_name!r} is text: --sample draws those")
    if not sample and drawn != (TOP_P, TEMPERATURE):
        raise RecipeError("--top-p and --temperature are for texts that are drawn: add --sample")
    if ids and table is None:
        raise RecipeError("--id copies columns of a table: name one")


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
