"""Pages in the report's style: one self-contained HTML file each."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


def report_style() -> Markup:
    """The report's style sheet, so that all pages look alike."""
    page = files("sensorium.evaluation").joinpath("report.html.jinja").read_text("utf-8")
    return Markup(page.partition("<style>")[2].partition("</style>")[0])


def rendered(template: str, **values: Any) -> str:
    """A template of this folder with its values; `style` is the report's."""
    from sensorium.evaluation.plots import number_words, percent_words, signed

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters.update(number=number_words, percent=percent_words, signed=signed)
    text = files("sensorium.evaluation").joinpath(template).read_text("utf-8")
    return environment.from_string(text).render(style=report_style(), **values)
