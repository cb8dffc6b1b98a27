"""The tab that makes pictures and texts from the sample."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from sensorium.data.kinds import ImageKind
from sensorium.errors import DataError
from sensorium.serving.page.rendering import error_line, line, rendered
from sensorium.serving.page.sample import FRESH, Sample
from sensorium.serving.service import Service

if TYPE_CHECKING:
    from PIL.Image import Image

NOTHING_YET = "What is made will stand here. The box of what is made is not read."


def generate_tab(service: Service, sample: Sample) -> None:
    """Lay out the tab, inside whatever is being laid out."""
    made = list(service.engine.made)
    paints = [name for name in made if isinstance(service.schema.modality(name).kind, ImageKind)]
    to = gr.Radio([("what is not given", ""), *((one, one) for one in made)], value="", label="make",
                  visible=len(made) > 1, elem_id="make")
    n = gr.Slider(1, service.limits.made, value=min(4, service.limits.made), step=1, label="how many")
    with gr.Accordion("Other pictures", open=False, visible=bool(paints)):
        seed = gr.Slider(0, 1000, value=0, step=1, label="seed: the same one makes the same pictures")
        guidance = gr.Slider(0, 10, value=0, step=0.1, label="guidance: how closely they follow (0: the model's own)")
    start = gr.Button("Generate", variant="primary", elem_id="generate")
    shown = gr.HTML(line(NOTHING_YET, "empty"), apply_default_css=False, elem_id="made", elem_classes="results")
    start.click(lambda *given: made_part(service, sample, given[:4], given[4:]), [to, n, seed, guidance, *sample.boxes],
                shown, preprocess=False, js=FRESH, api_visibility="private", concurrency_limit=None)


def made_part(service: Service, sample: Sample, options: Sequence[Any], payloads: Sequence[Any]) -> Markup:
    """What was made, or one line that says why nothing was.

    Args:
        service: what makes.
        sample: the boxes.
        options: what ("": what is not given), how many, the seed, the guidance (0: the model's own).
        payloads: of the boxes.
    """
    to, n, seed, guidance = options
    try:
        given = sample.row(payloads)
        chosen = to or _not_given(service, given)
        hidden = service.schema.modality(chosen).columns
        row = {column: cell for column, cell in given.items() if column not in hidden}
        found = service.generate(row, to=chosen, n=int(n), seed=int(seed), guidance=float(guidance) or None,
                                 beams=max(4, int(n)))
        texts = [one for one in found.made if isinstance(one, str)]
        pictures = [data_url(one) for one in found.made if not isinstance(one, str)]
        return rendered("made.html.jinja", {"to": found.to, "texts": texts, "pictures": pictures, "read": found.used,
                                            "unreadable": found.unreadable, "seed": int(seed)})
    except Exception as error:
        return error_line(error)


def _not_given(service: Service, row: Mapping[str, Any]) -> str:
    """The one modality that can be made and is not in the row."""
    made = service.engine.made
    missing = [name for name in made if not set(service.schema.modality(name).columns) & set(row)]
    if len(made) > 1 and len(missing) != 1:
        raise DataError(f"choose what to make: {' or '.join(made)}")
    return missing[0] if len(made) > 1 else made[0]


def data_url(picture: Image) -> str:
    """A picture of Pillow as a PNG inside the page."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
