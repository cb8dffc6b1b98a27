"""HTML of the page's results, from the templates in this folder; everything a person or a file said is escaped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from markupsafe import Markup

from sensorium.errors import SensoriumError

log = logging.getLogger("sensorium.serving.page")
FAILED = "the server could not answer this, and its log says why: what is in the boxes is kept"


class _Folder(BaseLoader):
    """Templates beside this file."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        """The template's text."""
        file = files("sensorium.serving.page").joinpath(template)
        if not file.is_file():
            raise TemplateNotFound(template)
        return file.read_text("utf-8"), None, None


@cache
def _environment() -> Environment:
    return Environment(loader=_Folder(), autoescape=True, trim_blocks=True, lstrip_blocks=True,
                       undefined=StrictUndefined)


def rendered(template: str, values: dict[str, Any]) -> Markup:
    """A template with its values, as a part of the page."""
    return Markup(f'<div class="sm">{_environment().get_template(template).render(values)}</div>')


def line(text: str, look: str = "error") -> Markup:
    """One line: an error, a warning ("warn") or a quiet word ("empty")."""
    role = 'role="alert"' if look == "error" else 'role="status"'
    return Markup('<div class="sm"><p class="{}" {}>{}</p></div>').format(look, Markup(role), text)


def error_line(error: Exception) -> Markup:
    """What went wrong, for a person: the sentence of an error that its user can mend, else where to look."""
    if isinstance(error, SensoriumError):
        text = " ".join(str(error).split())
        return line(text[:1].upper() + text[1:])
    log.error("the page: %s", type(error).__name__, exc_info=error)
    return line(FAILED[:1].upper() + FAILED[1:])
