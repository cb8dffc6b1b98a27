"""`sensorium evaluate`: every subset of modalities on rows the model has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Json, Outside, listed, print_json, refuse_input
from sensorium.cli.shots import Shots, shot_scores


def evaluate(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    table: Annotated[Path, typer.Argument(help="A table with the targets' columns.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the report; <run>/evaluation-<table>.html by "
                                                  "default.")] = None,
    baselines: Annotated[bool, typer.Option(help="Compare with the training table: shallow models fitted on it, "
                                                 "pictures that may be copied from it.")] = True,
    robustness: Annotated[bool, typer.Option(help="Damage each modality in turn, and let it be missing, and see how "
                                                  "the score falls.")] = True,
    information: Annotated[bool, typer.Option(help="See what pairs of modalities tell alike, alone, and only "
                                                   "together.")] = True,
    generated: Annotated[bool, typer.Option(help="Write and paint for the rows, where the model does, and compare with "
                                                 "what is true.")] = True,
    features: Annotated[Path | None, typer.Option(
        help="Painted pictures: compare them by what this pretrained picture encoder sees (a folder, as ResNet-50; "
             "about 0.1 seconds a picture).")] = None,
    judge: Annotated[Path | None, typer.Option(
        help="Pictures and captions: a model folder that says whether they fit what they were made from; trained with "
             "objective contrast on an image or a text column and some of these.")] = None,
    pictures: Annotated[int | None, typer.Option(help="Painted pictures: how many rows to paint for; 500, or fewer "
                                                      "where that takes long.")] = None,
    zero_shot: Annotated[str | None, typer.Option(
        help="Sort the rows into this column's classes by their names alone.")] = None,
    prompt: Annotated[list[str] | None, typer.Option(
        help="Zero-shot: a text with {} for the class, as 'a photo of {}'; several are averaged.")] = None,
    few_shot: Annotated[str | None, typer.Option(
        help="Learn this column's classes from a few examples of each.")] = None,
    examples: Annotated[Path | None, typer.Option(help="Few-shot: the table of the examples; the training table by "
                                                       "default.")] = None,
    modalities: Annotated[list[str] | None, typer.Option(
        "--modalities", help="Zero-shot and few-shot: read only these: a,b.")] = None,
    by: Annotated[list[str] | None, typer.Option(
        "--by", help="Score groups of rows too, by these columns of the table: a,b (a category, or a number in "
                     "quarters).")] = None,
    allow_outside: Outside = False,
    strict: Annotated[bool, typer.Option("--strict", help="Make the first unreadable cell an error.")] = False,
    json: Json = False,
) -> None:
    """Score a model: every subset of modalities, is fusion worth it, who contributes what, what finds what, the worst
    mistakes.

    Example: [bold]sensorium evaluate runs/species test.csv[/bold]
    """
    from sensorium.data.read import Data, as_samples
    from sensorium.data.table import read_table
    from sensorium.evaluation.evaluate import evaluate as score
    from sensorium.evaluation.evaluate import training_note
    from sensorium.evaluation.groups import check_columns
    from sensorium.evaluation.report import write_report
    from sensorium.evaluation.words import score_lines
    from sensorium.features import with_stored_features
    from sensorium.model import Model

    shots = Shots(zero_shot, few_shot, tuple(prompt or ()), examples, listed(modalities))
    shots.check()
    refuse_input(out, table)
    model = Model.load(run)
    data = Data(read_table(table, allow_outside=allow_outside), model.recipe.data)
    check_columns(listed(by), data.table)
    samples = as_samples(data, model.schema)
    if strict:
        samples.refuse_unreadable()
    samples = with_stored_features(model, samples)
    shot_lines, shot_json = shot_scores(model, samples, table, shots, allow_outside=allow_outside)
    evaluation = score(model, samples, baselines=baselines, by=listed(by), table=data.table, robustness=robustness,
                       information=information, generated=generated, features=features, judge=judge, pictures=pictures)
    evaluation.notes[:0] = training_note(model, table)
    report = out or run / f"evaluation-{table.stem}.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(write_report(model, evaluation, title=f"{run.name} on {table.name}",
                                   about=f"{evaluation.rows:,} rows of {table}"), encoding="utf-8")
    typer.echo(f"report: {report}", err=True)
    if json:
        print_json({**evaluation.to_json(), **shot_json, "report": str(report)})
        return
    for line in [*score_lines(evaluation), *shot_lines]:
        typer.echo(line)
    for cell in evaluation.unreadable[:20]:
        typer.echo(f"unreadable: {cell}", err=True)
