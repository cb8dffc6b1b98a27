"""The tab that searches the index with the sample: what was found, as pictures, players, texts and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from sensorium.serving.page.finding import Files, found_cards
from sensorium.serving.page.rendering import error_line, line, rendered
from sensorium.serving.page.sample import FRESH, Sample
from sensorium.serving.service import Service

NOTHING_YET = "What is nearest to the sample will stand here."
MOST_HITS = 48
UNALIGNED = ("Whole samples are ranked by {} alone, and this model was not trained to compare modalities: the order "
             "means little (train with --objective contrast).")


def search_tab(service: Service, sample: Sample, files: Files) -> None:
    """Lay out the tab, inside whatever is being laid out."""
    assert service.index is not None
    names = service.index.modalities if service.index.aligned else ()
    with gr.Row():
        to = gr.Dropdown([("whole samples", ""), *((name, name) for name in names)], value="", label="compare with",
                         min_width=140, visible=bool(names))
        k = gr.Slider(1, min(MOST_HITS, service.limits.hits), value=min(12, service.limits.hits), step=1,
                      label="how many", min_width=140)
    where = gr.Textbox(label="only rows where", placeholder="year > 2020 and kind = 'cat'", max_lines=1)
    start = gr.Button("Search", variant="primary", elem_id="search")
    shown = gr.HTML(line(NOTHING_YET, "empty"), apply_default_css=False, elem_id="found", elem_classes="results")
    for event in (start.click, where.submit):
        event(lambda *given: found_part(service, sample, files, given[:3], given[3:]), [to, k, where, *sample.boxes],
              shown, preprocess=False, js=FRESH, api_visibility="private", concurrency_limit=None)


def found_part(
    service: Service, sample: Sample, files: Files, options: Sequence[Any], payloads: Sequence[Any],
) -> Markup:
    """What was found, or one line that says why nothing was.

    Args:
        service: what searches.
        sample: the boxes.
        files: where media of the rows are fetched.
        options: the modality that is ranked ("": whole samples), how many, and the condition.
        payloads: of the boxes.
    """
    to, k, where = options
    try:
        found = service.search(sample.row(payloads), k=min(int(k), MOST_HITS), where=(where or "").strip() or None,
                               to=to or None)
        assert service.index is not None
        cards = found_cards(found.hits, service.schema, service.index.root, files)
        part = not service.index.aligned and set(found.used) != set(service.index.modalities)
        note = UNALIGNED.format(" + ".join(found.used)) if part else ""
        return rendered("found.html.jinja", {"cards": cards, "read": found.used, "unreadable": found.unreadable,
                                             "note": note})
    except Exception as error:
        return error_line(error)
