"""`sensorium train`: from a table to a trained, evaluated, explained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli.objectives import objectives_of
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
    expected,
    frozen_of,
    fusions_of,
    listed,
    merged,
    pairs,
    print_json,
    settings_of,
    share_of,
)
from sensorium.cli.repeated import Asked, Beside

if TYPE_CHECKING:
    from sensorium.model import Model
    from sensorium.recipe import Recipe
    from sensorium.training.prepare import Prepared

NOT_ASKED = Asked()


def train(
    table: Annotated[Path | None, typer.Argument(
        help="A CSV, TSV, Parquet or JSONL file, or a folder of class folders; may stand in the recipe.")] = None,
    target: Annotated[list[str] | None, typer.Option("--target", help="Columns to predict: a,b.")] = None,
    out: Annotated[Path | None, typer.Option(help="The model folder to write; runs/<table> by default.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe (YAML); options given here override it.")] = None,
    inputs: Inputs = None,
    ignore: Ignore = None,
    kind: Kinds = None,
    modality: Groups = None,
    group: Group = None,
    task: Tasks = None,
    objective: Annotated[list[str] | None, typer.Option(
        "--objective", help="Learn besides: contrast (any modality finds any other) or correlate, to align; caption "
                            "(write a text column), paint (an image column), answer (a column asks about the others); "
                            "with options: contrast.mode=pairs, paint.method=gan.")] = None,
    weight: Annotated[list[str] | None, typer.Option(
        help="A target's or objective's weight in the joint loss: age=0.5, contrast=0.3.")] = None,
    encoder: Annotated[list[str] | None, typer.Option(
        "--encoder", help="A modality's encoder: photo=vgg, photo=FOLDER or note=OWNER/NAME (pretrained).")] = None,
    tune: Annotated[list[str] | None, typer.Option(
        "--tune", help="What is trained of a pretrained encoder: photo=frozen, =finetune or =lora.")] = None,
    encoders: Annotated[Path | None, typer.Option(
        "--encoders", help="A folder of pretrained models: each modality takes the first of its kind.")] = None,
    setting: Settings = None,
    allow_outside: Outside = False,
    fusion: Annotated[str | None, typer.Option(
        help="How modalities are fused: attention, concat, two_stream, gated, cross_attention, bottleneck, "
             "transformer, tensor, low_rank or experts; several (a,b) or all are compared, the best by validation is "
             "kept.")] = None,
    width: Annotated[int | None, typer.Option(help="The common width of all tokens.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows; by default as the size asks.")] = None,
    minutes: Annotated[float | None, typer.Option(help="A time budget instead of epochs, refit included.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="AdamW's highest learning rate.")] = None,
    balance: Annotated[bool | None, typer.Option("--balance/--no-balance",
                                                 help="Let rare classes count as much as frequent ones.")] = None,
    expect: Annotated[list[str] | None, typer.Option(
        "--expect", help="What rows will lack in use, as 'audio missing 30%'; training and validation follow "
                         "it.")] = None,
    noise: Annotated[list[str] | None, typer.Option(
        "--noise", help="The worst damage expected in use, in 0…1: audio=0.5 (a sound at 0 dB); half of the training "
                        "cells are damaged up to that.")] = None,
    weighting: Annotated[str | None, typer.Option(
        help="How objectives are weighed: fixed, or uncertainty (learned).")] = None,
    singles: Annotated[bool | None, typer.Option(
        "--singles/--no-singles", help="Whether each step also scores one modality of every row alone.")] = None,
    ogm_ge: Annotated[float | None, typer.Option(
        "--ogm-ge", help="Slow a modality that learns faster than the others: the strength, as 0.5.")] = None,
    impute: Annotated[bool | None, typer.Option(
        "--impute/--no-impute", help="Learn to impute absent modalities from the present ones; kept only where "
                                     "held-out rows say that it helps.")] = None,
    refit: Annotated[str | None, typer.Option(help="Train once more on training and validation rows: auto, always, "
                                                   "never.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every draw.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode media.")] = None,
    memory_gb: Annotated[float | None, typer.Option("--memory", help="Gigabytes of decoded media to keep.")] = None,
    teacher: Annotated[Path | None, typer.Option(
        help="A model folder whose answers are learned, also on rows without a label.")] = None,
    modalities: Annotated[list[str] | None, typer.Option(
        "--modalities", help="The only modalities that are inputs: audio,note.")] = None,
    init: Annotated[Path | None, typer.Option(help="A model folder to begin with: what both have in common is taken "
                                                   "over.")] = None,
    freeze: Annotated[list[str] | None, typer.Option(
        "--freeze", help="What is not trained: a modality, encoders, fusion or all (but the heads); photo=5: in the "
                         "first 5 epochs.")] = None,
    against_scratch: Annotated[bool | None, typer.Option(
        "--against-scratch/--no-against-scratch", help="Also train without teacher, init and freeze, and say the "
                                                       "difference.")] = None,
    folds: Annotated[int | None, typer.Option("--folds", help="Cross-validate first: so many models, each scored on "
                                                              "the rows it was trained without.")] = None,
    folds_only: Annotated[bool, typer.Option("--folds-only", help="Leave out the model trained on all rows.")] = False,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Train from so many seeds on one split, and say how much "
                                                              "the scores vary; the first model is kept.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a killed run stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model folder that is there.")] = False,
    allow_leak: Annotated[bool, typer.Option("--allow-leak", help="Train although an input gives the target "
                                                                  "away.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Make the first unreadable cell an error.")] = False,
    json: Json = False,
) -> None:
    """Train one model over all columns of a table, and write a report.

    Example: [bold]sensorium train photos.csv --target species --out runs/species[/bold]
    """
    from sensorium.errors import DataError
    from sensorium.recipe import Recipe

    chosen = Recipe.read(recipe) if recipe is not None else Recipe()
    weights = {name: _number(value, name) for name, value in pairs(weight, "--weight", "age=0.5").items()}
    distil = None if "distil" in (listed(target) or chosen.data.targets) else weights.pop("distil", None)
    learnt = objectives_of(chosen, objective, weights, targets=listed(target) or chosen.data.targets)
    chosen = chosen.changed(
        "data", targets=listed(target) or None, only=listed(modalities) or None,
        inputs=listed(inputs) or None, ignore=listed(ignore) or None,
        kinds=pairs(kind, "--kind", "note=text") or None, group=group,
        tasks=pairs(task, "--task", "age=regress") or None,
        modalities={name: listed([members]) for name, members in pairs(modality, "--modality", "vitals=hr,bp").items()}
        or None, weights=weights or None, allow_outside=allow_outside or None,
        settings=merged(chosen.data.settings, settings_of(setting)) or None)
    chosen = chosen.changed("model", **fusions_of(fusion), width=width, impute=impute,
                            encoders=_encoders(chosen, pairs(encoder, "--encoder", "photo=FOLDER"),
                                               pairs(tune, "--tune", "photo=finetune")) or None)
    chosen = chosen.changed("objectives", **learnt)
    chosen = chosen.changed("training", epochs=epochs, minutes=minutes, batch_size=batch_size, balance=balance,
                            learning_rate=learning_rate, refit=refit, seed=seed, workers=workers, memory_gb=memory_gb,
                            expect=expected(expect) or None, weighting=weighting, singles=singles, ogm_ge=ogm_ge,
                            noise={name: share_of(worst, f"--noise {name}={worst}", "audio=0.5") for name, worst in
                                   pairs([*listed(noise)], "--noise", "audio=0.5").items()} or None)
    chosen = chosen.changed("transfer", teacher=_path(teacher), init=_path(init), weight=distil,
                            freeze=frozen_of(freeze) or None,
                            against_scratch=against_scratch)
    source = table if table is not None else chosen.source
    if source is None:
        raise DataError("no table given: name a file, a folder of class folders, or a recipe with a source")
    folder = out or Path("runs") / Path(source).resolve().stem
    run(str(source), chosen, folder, encoders=encoders, resume=resume, overwrite=overwrite, allow_leak=allow_leak,
        strict=strict, json=json, asked=Asked(folds, seeds, folds_only))


def run(
    source: str, recipe: Recipe, folder: Path, *, resume: bool, overwrite: bool, allow_leak: bool, strict: bool,
    json: bool, encoders: Path | None = None, asked: Asked = NOT_ASKED,
) -> None:
    """Train, evaluate on held-out rows, write the model folder with its report; with folds or seeds those first."""
    from sensorium.cli.encoders import with_matched_encoders
    from sensorium.data.read import Data
    from sensorium.data.table import read_table
    from sensorium.evaluation.held_out import HeldOut
    from sensorium.folder import refuse_taken
    from sensorium.training.console import Terminal
    from sensorium.training.fit import fit
    from sensorium.training.teaching import taught

    asked.check(resume=resume)
    asked.clear(folder, overwrite=overwrite)
    refuse_taken(folder, overwrite=overwrite)
    console = Terminal()
    data = taught(Data(read_table(source, allow_outside=recipe.data.allow_outside), recipe.with_texts(recipe.data)),
                  recipe)
    for line in str(data).splitlines():
        console.say(line)
    recipe = with_matched_encoders(recipe, data, encoders, console)
    beside = Beside(asked, data, recipe, console)
    beside.run(allow_leak=allow_leak, strict=strict)
    if asked.folds_only:
        for file in beside.write(folder):
            console.say(f"written: {file}")
        if json:
            print_json({"model": None, "cross_validated": beside.facts()})
        return

    def on_chosen(model: Model, prepared: Prepared) -> None:
        held_out.evaluate(model, prepared)
        beside.add(model, prepared)

    held_out = HeldOut(console, data.table)
    model = fit(data, beside.recipe, out=folder, resume=resume, allow_leak=allow_leak, strict=strict, console=console,
                on_chosen=on_chosen, apart=beside.apart)
    beside.note(model)
    try:
        page = held_out.report(model, title=folder.name)
    except BaseException:  # hours of training outlive a page that fails
        console.say(f"the report failed; the model without it: {model.save(folder, overwrite=overwrite)}")
        raise
    saved = model.save(folder, report=page, overwrite=overwrite)
    report = None if page is None else str(saved / "report.html")
    for line in [*held_out.lines(), *beside.lines(), *(f"written: {file}" for file in beside.write(saved))]:
        console.say(line)
    console.say(f"model: {saved}")
    console.say("no report: there were no held-out rows to score" if report is None else f"report: {report}")
    if json:
        print_json({"model": str(saved), "report": report, "facts": _plain(model.facts),
                    "held_out": None if held_out.evaluation is None else held_out.evaluation.to_json()})


def _encoders(recipe: Recipe, names: dict[str, str], tunes: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The recipe's encoders with those of the options."""
    from sensorium.errors import RecipeError

    chosen = {modality: one.model_dump() for modality, one in recipe.model.encoders.items()}
    for modality, name in names.items():
        chosen[modality] = {**chosen.get(modality, {}), "name": name}
    for modality, tune in tunes.items():
        if modality not in chosen:
            raise RecipeError(f"--tune {modality}={tune}: name the pretrained encoder too, --encoder {modality}=FOLDER")
        chosen[modality]["tune"] = tune
    return chosen


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != "held_out"}


def _number(text: str, name: str) -> float:
    from sensorium.errors import RecipeError

    try:
        return float(text)
    except ValueError as error:
        raise RecipeError(f"--weight {name}={text}: expected a number") from error
