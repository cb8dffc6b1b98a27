"""`sensorium ask`: one question about one sample, or a talk in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli.given import AudioFile, Given, ImageFile, Text, VideoFile, given_row
from sensorium.cli.options import Json, listed, print_json

if TYPE_CHECKING:
    from sensorium.answers import Answer
    from sensorium.model import Model

SHOWN = 3
LEAST_SHOWN = 0.01


def ask(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    question: Annotated[str | None, typer.Argument(help="The question; left out: a talk, a question a line.")] = None,
    given: Given = None,
    text: Text = None,
    image: ImageFile = None,
    audio: AudioFile = None,
    video: VideoFile = None,
    spoken: Annotated[Path | None, typer.Option("--spoken", help="A sound file that asks, instead of the "
                                                                "question.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Which target answers, where there are "
                                                               "several.")] = None,
    evidence: Annotated[bool, typer.Option("--evidence/--no-evidence", help="Say what the answer was read "
                                                                           "from.")] = True,
    page: Annotated[Path | None, typer.Option(help="Write a page here that shows which places moved the "
                                                   "answer.")] = None,
    modalities: Annotated[list[str] | None, typer.Option("--modalities", help="Read only these: a,b.")] = None,
    json: Json = False,
) -> None:
    """Answer a question about a sample, with how sure the answer is and what it was read from.

    Example: [bold]sensorium ask runs/shapes --image scene.png "what colour is the circle?"[/bold]
    """
    from sensorium.errors import DataError, RecipeError
    from sensorium.model import Model

    model = Model.load(run)
    if not model.asking:
        raise RecipeError("this model answers no questions: train one with --objective answer")
    about = given_row(model.schema, given, text=text, image=image, audio=audio, video=video, but=model.asking)
    used = listed(modalities) or None
    if question is not None and spoken is not None:
        raise DataError("the question is given twice: as text and with --spoken")
    if question is None and spoken is None:
        if json or page is not None:
            raise DataError("name the question: --json and --page are about one")
        _talk(model, about, target, used, evidence=evidence)
        return
    asked: Any = question if spoken is None else _sound(spoken)
    answer, lines = answered(model, asked, about, target, used, evidence=evidence, page=page)
    if json:
        print_json({"answer": answer.value, "probability": answer.probability, "probabilities": answer.probabilities,
                    "confidence_set": answer.confidence_set, "modalities": answer.modalities,
                    "contributions": answer.contributions, "unlike": answer.unlike, "evidence": lines})
        return
    typer.echo("\n".join(said(answer, lines)))
    if page is not None:
        typer.echo(f"page: {page}", err=True)


def answered(
    model: Model, question: Any, about: dict[str, str], target: str | None, modalities: tuple[str, ...] | None, *,
    evidence: bool, page: Path | None = None,
) -> tuple[Answer, list[str]]:
    """The answer and its evidence, a line a modality."""
    from sensorium.asked import question_row, question_samples
    from sensorium.evaluation.attribution_page import write_attribution_page
    from sensorium.evaluation.evidence import evidence_lines

    answer = model.ask(question, about, target=target, explain=evidence, modalities=modalities)
    lines: list[str] = []
    if evidence or page is not None:
        samples = question_samples(model, question_row(model, question, about), modalities=modalities)
        lines = evidence_lines(model, samples, answer, target=target, modalities=modalities) if evidence else []
        if page is not None:
            write_attribution_page(model, samples, page, title=str(question), modalities=modalities, of=1)
    return answer, lines


def said(answer: Answer, evidence: list[str]) -> list[str]:
    """What a person reads: the answer with its probability, what else it could be, what it was read from."""
    if answer.probabilities is None:
        lines = [str(answer.value)]
    else:
        ranked = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])
        others = [f"{name} {share:.0%}" for name, share in ranked
                  if name != answer.value and share >= LEAST_SHOWN][:SHOWN]
        lines = [f"{answer.value}  ({answer.probability:.0%}{'; ' if others else ''}"
                 f"{', '.join(others)})"]
    if answer.confidence_set is not None and not answer.decided:
        lines.append(f"  not sure: {' or '.join(answer.confidence_set) or 'nothing is likely enough'}")
    if answer.unlike:
        lines.append("  this sample is unlike the training data: do not rely on the answer")
    return lines + [f"  {line}" for line in evidence]


def _sound(path: Path) -> Path:
    from sensorium.errors import DataError

    if not path.is_file():
        raise DataError(f"--spoken: no file at {str(path)!r}")
    return path.resolve()


def _talk(
    model: Model, about: dict[str, str], target: str | None, modalities: tuple[str, ...] | None, *, evidence: bool,
) -> None:
    """Questions from the terminal until an empty line; `column=value` changes what they are about."""
    from sensorium.errors import SensoriumError

    about = dict(about)
    columns = [column for modality in model.schema.modalities for column in modality.columns
               if modality.name not in model.asking and modality.name in model.read]
    typer.echo(f"Ask about the sample; {' or '.join(f'{column}=…' for column in columns)} changes it; an empty line "
               f"ends.", err=True)
    while True:
        typer.echo("> ", err=True, nl=False)
        line = sys.stdin.readline()
        if not line.strip():
            return
        column, sign, value = line.strip().partition("=")
        try:
            if sign and column.strip() in columns:
                about |= given_row(model.schema, [line.strip()])
                typer.echo(f"{column.strip()}: {value.strip()}", err=True)
                continue
            answer, lines = answered(model, line.strip(), about, target, modalities, evidence=evidence)
            typer.echo("\n".join(said(answer, lines)))
        except SensoriumError as error:  # a talk goes on after a mistake
            typer.echo(f"sensorium: {error}", err=True)
