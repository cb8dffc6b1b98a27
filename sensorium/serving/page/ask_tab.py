"""The tab that answers questions: a talk about the sample, with what each answer was read from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from markupsafe import Markup

from sensorium.data.kinds import TextKind
from sensorium.errors import DataError
from sensorium.evaluation.attribution_marks import HATCH
from sensorium.serving.page.answer_words import Told, tell
from sensorium.serving.page.attributing import attribution_part
from sensorium.serving.page.given import uploaded
from sensorium.serving.page.rendering import error_line, line, rendered
from sensorium.serving.page.sample import FRESH, Sample
from sensorium.serving.page.sounds import player
from sensorium.serving.service import Service

MOST_TURNS = 40
NOTHING_YET = "Questions and answers will stand here, the last one first."


@dataclass(frozen=True)
class Turn:
    """A question with its answer.

    Args:
        question: a text, or a sound file's bytes.
        target: the target that answered; None: the answer was written, or of the first target.
        told: the answer in words.
        evidence: what it was read from, a line a modality; None while that is not known.
    """

    question: str | bytes
    target: str | None
    told: Told
    evidence: tuple[str, ...] | None = None

    @property
    def asked(self) -> Markup:
        """The question as a person asked it."""
        return Markup("“{}”").format(self.question) if isinstance(self.question, str) else player(self.question)


def ask_tab(service: Service, sample: Sample) -> None:
    """Lay out the tab, inside whatever is being laid out."""
    asking = [service.schema.modality(name) for name in service.schema.names if name in service.engine.asking]
    typed = any(isinstance(one.kind, TextKind) for one in asking)
    spoken = not all(isinstance(one.kind, TextKind) for one in asking)
    targets = [target.name for target in service.schema.targets]
    turns = gr.State((), time_to_live=3600)
    which = gr.Dropdown([("what the model answers first", ""), *((one, one) for one in targets)], value="",
                        label="answered by", visible=len(targets) > 1)
    question = gr.Textbox(label="question", placeholder="what is in the picture?", max_lines=4, visible=typed,
                          elem_id="question")
    sound = gr.Audio(label="or a question asked aloud", type="filepath", sources=["microphone", "upload"], buttons=[],
                     editable=False, visible=spoken, elem_id="spoken")
    start = gr.Button("Ask", variant="primary", elem_id="ask")
    wrong = gr.HTML(apply_default_css=False, elem_id="ask-error")
    talk = gr.HTML(line(NOTHING_YET, "empty"), apply_default_css=False, elem_id="talk")
    inputs = [turns, which, question, sound, *sample.boxes]

    def ask(so_far: tuple[Turn, ...], target: str, text: str, aloud: Any, *payloads: Any) -> Iterator[tuple[Any, ...]]:
        yield from answered(service, sample, so_far, target, (text, aloud), payloads)

    for event in (start.click, question.submit):
        event(ask, inputs, [turns, question, sound, wrong, talk], preprocess=False, js=FRESH, api_visibility="private",
              show_progress_on=talk, concurrency_limit=None)
    if "explain" not in service.abilities:
        return
    where = gr.Button("Show which places moved the last answer", elem_id="where")
    drawn = gr.HTML(apply_default_css=False, elem_id="drawn", elem_classes="results")

    def attributed(so_far: tuple[Turn, ...], *payloads: Any) -> Markup:
        if not so_far:
            return line("Ask something first.")
        last = so_far[0]
        return attribution_part(service, last.target, lambda: service.engine.place_question(
            last.question, sample.row(payloads, may_be_empty=True)))

    where.click(attributed, [turns, *sample.boxes], drawn, preprocess=False, js=FRESH, api_visibility="private",
                concurrency_limit=None)


def answered(
    service: Service, sample: Sample, so_far: tuple[Turn, ...], target: str, asked: tuple[str, Any],
    payloads: Sequence[Any],
) -> Iterator[tuple[Any, ...]]:
    """The talk with the answer, as soon as it is there; then with what it was read from.

    Args:
        service: what answers.
        sample: the boxes.
        so_far: the talk, the last turn first.
        target: which target answers; "": the model's first.
        asked: the typed text, and where the spoken question was uploaded.
        payloads: of the boxes.
    """
    text, aloud = asked
    kept = (so_far, gr.skip(), gr.skip())
    try:
        question = uploaded("question", aloud, sample.folder) if aloud is not None else (text or "")
        if aloud is not None and (text or "").strip():
            raise DataError("the question is given twice, typed and spoken: empty one of the two")
        row = sample.row(payloads, may_be_empty=True)
        answer = service.ask(question, row, target=target or None)
        chosen = next((one for one in service.schema.targets if (one.name == target if target else
                                                                 str(answer.value) in one.classes)), None)
        names = [name for name in service.schema.names if name not in service.engine.asking]
        turn = Turn(question, None if chosen is None else chosen.name, replace(tell(answer, chosen, names), target=""))
    except Exception as error:
        yield *kept, error_line(error), gr.skip()
        return
    nothing = Markup("")
    if chosen is None or not chosen.classes or "explain" not in service.abilities:
        turns = (replace(turn, evidence=()), *so_far)[:MOST_TURNS]
        yield turns, "", None, nothing, talk_part(turns)
        return
    turns = (turn, *so_far)[:MOST_TURNS]
    yield turns, "", None, nothing, talk_part(turns)
    try:
        from sensorium.evaluation.evidence import told_lines

        found = service.explain([service.engine.place_question(question, row)], target=chosen.name,
                                class_=str(answer.value))
        [told] = found.attributions
        lines = told_lines(found.samples, answer, {} if told is None else told.tokens)
        turns = (replace(turn, evidence=tuple(lines)), *so_far)[:MOST_TURNS]
        yield turns, gr.skip(), gr.skip(), nothing, talk_part(turns)
    except Exception as error:
        yield turns, gr.skip(), gr.skip(), error_line(error), talk_part(turns)


def talk_part(turns: Sequence[Turn]) -> Markup:
    """The talk, the last turn first and with all that is known of it, the others short."""
    return rendered("talk.html.jinja", {"turns": turns, "hatch": HATCH})
