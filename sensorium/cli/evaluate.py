"""`sensorium evaluate`: every subset of modalities on rows the model has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Json, Outside, print_json


def evaluate(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    table: Annotated[Path, typer.Argument(help="A table with the targets' columns.")],
    out: Annotated[Path | None, typer.Option(help="Where to write the report; <run>/evaluation-<table>.html by "
                                                  "default.")] = None,
    baselines: Annotated[bool, typer.Option(help="Fit shallow models on the training table and score them "
                                                 "beside.")] = True,
    allow_outside: Outside = False,
    strict: Annotated[bool, typer.Option("--strict", help="Make the first unreadable cell an error.")] = False,
    json: Json = False,
) -> None:
    """Score a model: every subset of modalities, is fusion worth it, who contributes what, the worst mistakes.

    Example: [bold]sensorium evaluate runs/species test.csv[/bold]
    """
    from sensorium.data.read import as_samples
    from sensorium.evaluation.evaluate import evaluate as score
    from sensorium.evaluation.evaluate import training_note
    from sensorium.evaluation.report import write_report
    from sensorium.evaluation.words import score_lines
    from sensorium.model import Model

    model = Model.load(run)
    samples = as_samples(table, model.schema, allow_outside=allow_outside)
    if strict:
        samples.refuse_unreadable()
    evaluation = score(model, samples, baselines=baselines)
    evaluation.notes[:0] = training_note(model, table)
    report = out or run / f"evaluation-{table.stem}.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(write_report(model, evaluation, title=f"{run.name} on {table.name}",
                                   about=f"{evaluation.rows:,} rows of {table}"), encoding="utf-8")
    typer.echo(f"report: {report}", err=True)
    if json:
        print_json({**evaluation.to_json(), "report": str(report)})
        return
    for line in score_lines(evaluation):
        typer.echo(line)
    for cell in evaluation.unreadable[:20]:
        typer.echo(f"unreadable: {cell}", err=True)
