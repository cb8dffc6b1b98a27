"""Options that several verbs share, and how their words become values."""

from __future__ import annotations

import json
import sys
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from sensorium.errors import RecipeError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output; all else on standard "
                                                   "error.")]
Inputs = Annotated[list[str] | None, typer.Option("--inputs", help="The only columns that may be inputs: a,b.")]
Ignore = Annotated[list[str] | None, typer.Option("--ignore", help="Columns to leave out: a,b.")]
Kinds = Annotated[list[str] | None, typer.Option(
    "--kind", help="What a column is: note=text (text, image, audio, video, series, points, number, category, "
                   "date).")]
Groups = Annotated[list[str] | None, typer.Option(
    "--modality", help="Table columns as a modality of their own: vitals=hr,bp.")]
Group = Annotated[str | None, typer.Option(
    "--group", help="The column whose equal values stay together when rows are split: a speaker, a patient.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", help="A setting of a modality's kind: photo.height=112, clip.video.rate=12.5.")]
Outside = Annotated[bool, typer.Option("--allow-outside", help="Read also media files outside the table's folder.")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="A target's task: age=regress (classify, regress).")]


def listed(values: list[str] | None) -> tuple[str, ...]:
    """Comma-separated words of repeated options."""
    return tuple(word.strip() for value in values or () for word in value.split(",") if word.strip())


def pairs(values: list[str] | None, option: str, example: str) -> dict[str, str]:
    """name=value options as a dictionary."""
    found = {}
    for value in values or ():
        name, sign, right = value.partition("=")
        if not sign or not name.strip() or not right.strip():
            raise RecipeError(f"{option} {value!r}: expected {example}")
        found[name.strip()] = right.strip()
    return found


def settings_of(values: list[str] | None) -> dict[str, dict[str, Any]]:
    """modality.setting=value options as modality → setting → value."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in pairs(values, "--set", "photo.height=112").items():
        modality, sign, setting = name.rpartition(".")
        if not sign or not modality or not setting:
            raise RecipeError(f"--set {name}={value}: expected modality.setting=value, as photo.height=112")
        try:
            found.setdefault(modality, {})[setting] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {name}={value}: not a value") from error
    return found


def fusions_of(words: str | None) -> dict[str, Any]:
    """`--fusion` as fields of the recipe's model: one name, several to compare, or all."""
    from sensorium.recipe import FUSION_NAMES

    if words is None:
        return {}
    listed = [word.strip() for word in words.split(",") if word.strip()]
    names = list(FUSION_NAMES) if listed == ["all"] else listed
    if not names:
        raise RecipeError(f"--fusion {words!r}: expected a name, several, or all")
    return {"fusion": names[0], "compare": names if len(names) > 1 else []}


def frozen_of(values: list[str] | None) -> dict[str, int | None]:
    """`--freeze` as part → the first epochs in which it is not trained, None: never: photo=5, encoders."""
    found: dict[str, int | None] = {}
    for word in listed(values):
        name, sign, epochs = word.partition("=")
        if not name.strip() or (sign and not epochs.strip().isdigit()):
            raise RecipeError(f"--freeze {word!r}: expected a part, or a part and a number of epochs, as photo=5")
        found[name.strip()] = int(epochs) if sign else None
    return found


def expected(values: list[str] | None) -> dict[str, float]:
    """`--expect` as modality → share of rows that lack it: "audio missing 30%" or audio=0.3, separated by commas."""
    found = {}
    for word in listed(values):
        name, sign, share = word.partition("=")
        if not sign:
            name, _, share = word.replace(" is ", " ").partition(" missing")
        found[name.strip()] = share_of(share.removeprefix(" in "), f"--expect {word!r}", "'audio missing 30%'")
    return found


def share_of(text: str, option: str, example: str) -> float:
    """A share in 0…1, as .3 or 30%."""
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100.0 if number.endswith("%") else 1.0)
    except ValueError as error:
        raise RecipeError(f"{option}: expected {example}") from error
    if not 0.0 <= share <= 1.0:
        raise RecipeError(f"{option}: expected a share in 0…1 or a percentage, as {example}")
    return share


def merged(settings: dict[str, dict[str, Any]], more: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings of modalities with some of them replaced."""
    return {name: {**settings.get(name, {}), **more.get(name, {})} for name in {**settings, **more}}


def refuse_input(out: Path | None, table: Path) -> None:
    """Raise RecipeError where writing the output would replace the table that is read."""
    if out is not None and out.resolve() == table.resolve():
        raise RecipeError(f"{str(out)!r} is the table that is read: choose another file to write")


def print_json(values: Any) -> None:
    """One JSON object on standard output; numbers that are not defined are null."""
    json.dump(_finite(values), sys.stdout, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def _finite(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not isfinite(values) else values
