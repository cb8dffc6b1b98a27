"""The tab that predicts: answers, what would change without a modality, and which places moved the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
from markupsafe import Markup

from sensorium.evaluation.attribution_marks import HATCH
from sensorium.serving.page.answer_words import tell_all
from sensorium.serving.page.attributing import attribution_part
from sensorium.serving.page.rendering import error_line, line, rendered
from sensorium.serving.page.sample import FRESH, Sample
from sensorium.serving.page.without import answers_without, tables_without
from sensorium.serving.service import Service

NOTHING_YET = "The answer will stand here."


def predict_tab(service: Service, sample: Sample) -> None:
    """Lay out the tab, inside whatever is being laid out."""
    explains = "explain" in service.abilities
    targets = [target.name for target in service.schema.targets]
    start = gr.Button("Predict", variant="primary", elem_id="predict")
    answer = gr.HTML(line(NOTHING_YET, "empty"), apply_default_css=False, elem_id="answer", elem_classes="results")
    without = gr.HTML(apply_default_css=False, elem_id="without", elem_classes="results")

    def predict(*payloads: Any) -> Iterator[tuple[Markup, Markup]]:
        yield from predicted(service, sample, payloads)

    start.click(predict, sample.boxes, [answer, without], preprocess=False, js=FRESH, api_visibility="private",
                show_progress_on=answer, concurrency_limit=None)
    if not explains:
        return
    with gr.Row():
        which = gr.Dropdown(targets, value=targets[0], label="target", visible=len(targets) > 1, min_width=120)
        where = gr.Button("Show which places moved the answer", elem_id="where")
    drawn = gr.HTML(apply_default_css=False, elem_id="drawn", elem_classes="results")
    where.click(lambda target, *payloads: attribution_part(service, target, lambda: sample.row(payloads)),
                [which, *sample.boxes], drawn, preprocess=False, js=FRESH, api_visibility="private",
                concurrency_limit=None)


def predicted(service: Service, sample: Sample, payloads: Any) -> Iterator[tuple[Markup, Markup]]:
    """The answers as soon as they are there; then what would change without a modality."""
    nothing = Markup("")
    try:
        row = sample.row(payloads)
        [answers] = service.predict([row], explain=True)
        targets = service.schema.targets
        told = rendered("answers.html.jinja", {"told": tell_all(answers, targets, service.schema.names),
                                               "hatch": HATCH})
    except Exception as error:
        yield error_line(error), nothing
        return
    yield told, nothing
    try:
        others = answers_without(service, row, answers)
        alone = f"Only {', '.join(next(iter(answers.values())).modalities)} is there: nothing can be left out."
        yield told, (rendered("without.html.jinja", {"tables": tables_without(targets, answers, others)}) if others
                     else line(alone, "empty"))
    except Exception as error:
        yield told, error_line(error)
