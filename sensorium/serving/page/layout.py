"""The whole page: one sample's boxes, and a tab for everything that the model can do with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from sensorium.serving.page.finding import Files
from sensorium.serving.page.sample import Sample, make_sample
from sensorium.serving.service import Service

if TYPE_CHECKING:
    from gradio import Blocks

WAITING_CALLS = 64


def make_page(service: Service, folder: Path, files: Files) -> Blocks:
    """The page of a service; uploads lie in the folder, and files that searches find have addresses."""
    import gradio as gr

    from sensorium.serving.page.ask_tab import ask_tab
    from sensorium.serving.page.generate_tab import generate_tab
    from sensorium.serving.page.predict_tab import predict_tab
    from sensorium.serving.page.search_tab import search_tab

    tabs: dict[str, Callable[[Service, Sample], None]] = {
        "ask": ask_tab, "predict": predict_tab, "generate": generate_tab,
        "search": lambda service, sample: search_tab(service, sample, files)}
    abilities = service.abilities - ({"predict"} if "ask" in service.abilities else set())
    page: Blocks
    with gr.Blocks(title=f"{service.identity.id} · sensorium", analytics_enabled=False, fill_width=False,
                   delete_cache=(300, 3600)) as page:
        gr.HTML(header(service), apply_default_css=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320, elem_id="sample"):
                sample = make_sample(service, folder)
            with gr.Column(scale=7, min_width=320), gr.Tabs():
                for ability, lay_out in tabs.items():
                    if ability in abilities:
                        with gr.Tab(ability.capitalize(), id=ability):
                            lay_out(service, sample)
    page.queue(max_size=WAITING_CALLS, api_open=False)
    return page


def header(service: Service) -> Markup:
    """Which model it is, and what it does, in a sentence."""
    schema = service.schema
    says = [f"{target.name} ({len(target.classes)} classes)" if target.classes else f"{target.name} (a number)"
            for target in schema.targets]
    parts = [f"reads any of {', '.join(schema.names)}"]
    if says:
        parts.append(f"{'answers questions with' if service.engine.asking else 'predicts'} {', '.join(says)}")
    elif service.engine.asking:
        parts.append("answers questions in words")
    parts += [f"makes {', '.join(service.engine.made)}"] if service.engine.made else []
    identity = service.identity
    return Markup('<div class="sm"><h1>{}</h1><p class="quiet">{} · version {}</p></div>').format(
        identity.id, "; ".join(parts), identity.version)
