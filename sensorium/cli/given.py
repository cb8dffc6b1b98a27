"""What one sample has, from options: `--given note="a red circle"`, or `--text`, `--image` … where that is clear."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sensorium.cli.options import pairs
from sensorium.errors import DataError, RecipeError, unknown_name

if TYPE_CHECKING:
    from sensorium.data.schema import Schema

Given = Annotated[list[str] | None, typer.Option(
    "--given", help="What a column holds: note='a red circle', photo=a.jpg; as often as there are columns.")]
Text = Annotated[str | None, typer.Option("--text", help="The same for the only text column.")]
ImageFile = Annotated[Path | None, typer.Option("--image", help="The same for the only image column.")]
AudioFile = Annotated[Path | None, typer.Option("--audio", help="The same for the only audio column.")]
VideoFile = Annotated[Path | None, typer.Option("--video", help="The same for the only video column.")]


def given_row(
    schema: Schema, words: list[str] | None, *, text: str | None = None, image: Path | None = None,
    audio: Path | None = None, video: Path | None = None, but: Collection[str] = (), hint: str = "",
) -> dict[str, str]:
    """Column → cell; files as whole paths, so that it does not matter where they lie.

    Args:
        schema: of the model.
        words: of `--given`.
        text, image, audio, video: of the options of these names.
        but: modalities that these do not mean: what is made, or asks.
        hint: what to say of those, where there is no other of the kind.

    Raises:
        RecipeError: an unknown column, or no single column of a kind.
        DataError: a file that is not there, or a blank value.
    """
    columns = schema.columns
    media = media_columns(schema)
    row: dict[str, str] = {}
    for column, value in pairs(words, "--given", "note='a red circle'").items():
        if column not in columns:
            raise RecipeError(f"--given {column}={value}: {unknown_name('column', column, columns)}")
        row[column] = value
    for kind, cell in (("text", text), ("image", image), ("audio", audio), ("video", video)):
        if cell is None:
            continue
        if not str(cell).strip():
            raise DataError(f"--{kind} is blank")
        column = _only(schema, kind, but, hint)
        if column in row:
            raise RecipeError(f"--{kind}: {column!r} is given twice")
        row[column] = str(cell)
    for column, value in row.items():
        if column in media:
            if not Path(value).is_file():
                raise DataError(f"{column}: no file at {value!r}")
            row[column] = str(Path(value).resolve())
    return row


def media_columns(schema: Schema) -> list[str]:
    """The columns whose cells are files."""
    return [column for modality in schema.modalities if modality.kind.name not in {"text", "table"}
            for column in modality.columns]


def _only(schema: Schema, kind: str, but: Collection[str], hint: str) -> str:
    """The column of the only modality of a kind."""
    every = [one for one in schema.modalities if one.kind.name == kind]
    fitting = [one for one in every if one.name not in but]
    if len(fitting) == 1:
        return fitting[0].columns[0]
    if fitting:
        raise RecipeError(f"--{kind}: this model reads several of that kind: --given "
                          f"{' or '.join(one.columns[0] for one in fitting)}=…")
    raise RecipeError(f"--{kind}: this model reads no {'other ' if every else ''}{kind}"
                      f"{f': {hint}' if every and hint else ''}")
