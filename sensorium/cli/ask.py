"""`sensorium ask`: one question about one sample, or a talk in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli.given import AudioFile, Given, ImageFile, Text, VideoFile, given_row, media_columns
from sensorium.cli.options import Json, listed, print_json

if TYPE_CHECKING:
    from sensorium.answers import Answer
    from sensorium.model import Model

SHOWN = 3
LEAST_SHOWN = 0.01
MOST_LIKELY = 5


def ask(
    run: Annotated[Path, typer.Argument(help="A model folder.")],
    question: Annotated[str | None, typer.Argument(help="The question; without it, and without --spoken, a talk: a "
                                                        "question a line.")] = None,
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
    about = given_row(model.schema, given, text=text, image=image, audio=audio, video=video, but=model.asking,
                      hint="what asks is the question, or --spoken FILE")
    used = listed(modalities) or None
    if question is not None and spoken is not None:
        raise DataError("the question is given twice: as text and with --spoken")
    if question is None and spoken is None:
        if json or page is not None:
            raise DataError("name the question: --json and --page are about one")
        _talk(model, about, target, used, evidence=evidence)
        return
    if page is not None and not model.schema.targets:
        raise DataError("--page: it shows what moved an answer that is chosen among classes; this model writes its "
                        "answers")
    asked: Any = question if spoken is None else _sound(spoken, "--spoken")
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
            write_attribution_page(model, samples, page, title=str(question), target=target, modalities=modalities)
    return answer, lines


def said(answer: Answer, evidence: list[str]) -> list[str]:
    """What a person reads: the answer with its probability, what else it could be, what it was read from."""
    if answer.probabilities is None:
        lines = [f"{answer.value:.4g}" if isinstance(answer.value, float) else str(answer.value)]
        if answer.interval is not None:
            lines[0] += f"  ({answer.interval[0]:.4g} to {answer.interval[1]:.4g})"
    else:
        ranked = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])
        others = [f"{name} {share:.0%}" for name, share in ranked
                  if name != answer.value and share >= LEAST_SHOWN][:SHOWN]
        assert answer.probability is not None
        probable = f"{answer.probability:.0%}" if answer.probability >= LEAST_SHOWN / 2 else "under 1%"
        lines = [f"{answer.value}  ({probable}{'; ' if others else ''}{', '.join(others)})"]
    if answer.confidence_set is not None and not answer.decided:
        likely = list(answer.confidence_set[:MOST_LIKELY])
        more = len(answer.confidence_set) - len(likely)
        likely += [f"one of {more} others"] if more else []
        lines.append(f"  not sure: {' or '.join(likely) or 'nothing is likely enough'}")
    if answer.unlike:
        lines.append("  this sample is unlike the training data: do not rely on the answer")
    return lines + [f"  {line}" for line in evidence]


def _sound(path: Path, what: str) -> Path:
    from sensorium.errors import DataError

    if path == Path():
        raise DataError(f"{what}: name a sound file")
    if not path.is_file():
        raise DataError(f"{what}: no file at {str(path)!r}")
    return path.resolve()


def _talk(
    model: Model, about: dict[str, str], target: str | None, modalities: tuple[str, ...] | None, *, evidence: bool,
) -> None:
    """Questions from the terminal until an empty line; `column=value` changes what they are about, or asks aloud."""
    from sensorium.errors import SensoriumError

    about = dict(about)
    asking = {column for modality in model.schema.modalities for column in modality.columns
              if modality.name in model.asking}
    sounds = asking & set(media_columns(model.schema))
    columns = [column for modality in model.schema.modalities for column in modality.columns
               if modality.name not in model.asking and modality.name in model.read]
    typer.echo(_how_to_talk(columns, sorted(sounds), set(media_columns(model.schema)), typed=asking > sounds), err=True)
    while True:
        typer.echo("> ", err=True, nl=False)
        line = sys.stdin.readline()
        if not line.strip():
            return
        column, sign, value = (part.strip() for part in line.partition("="))
        try:
            if sign and column in columns:
                changed = given_row(model.schema, [line.strip()]) if value else {}
                about.pop(column, None)
                about |= changed
                typer.echo(f"{column}: {value or 'left out'}", err=True)
                continue
            question: Any = _sound(Path(value), column) if sign and column in sounds else line.strip()
            answer, lines = answered(model, question, about, target, modalities, evidence=evidence)
            typer.echo("\n".join(said(answer, lines)))
        except SensoriumError as error:  # a talk goes on after a mistake
            typer.echo(f"sensorium: {error}", err=True)


def _how_to_talk(columns: list[str], sounds: list[str], media: set[str], *, typed: bool) -> str:
    """What a person can type: `picture=FILE` where a column holds files."""
    ways = [*(["a question"] if typed else []), *(f"{column}=FILE to ask aloud" for column in sounds)]
    changes = [f"{column}={'FILE' if column in media else '…'}" for column in columns]
    return (f"Type {' or '.join(ways)}; {' or '.join(changes)} {'says' if len(changes) == 1 else 'say'} what it is "
            f"about; an empty line ends.")
