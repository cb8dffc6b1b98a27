"""The page on the server's own FastAPI."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sensorium.errors import SensoriumError
from sensorium.evaluation.attribution_marks import style
from sensorium.serving.page.finding import ADDRESS, Files
from sensorium.serving.page.guard import Guard
from sensorium.serving.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI

T = TypeVar("T")
PATH = "/page"


def mount(app: FastAPI, service: Service, *, path: str = PATH) -> None:
    """Serve the page, and lead `/` to it.

    Uploads are kept in a folder of this process's own, for an hour, and are removed when it ends.

    Args:
        app: the server's.
        service: what the page uses, as the API does: the same limits, decoding and model.
        path: where the page is.

    Raises:
        SensoriumError: gradio is not installed.
    """
    try:
        folder = _uploads(app)
        import gradio as gr
    except ModuleNotFoundError as error:
        raise SensoriumError('the page needs gradio: install it with pip install "sensorium[page]"') from error
    from fastapi.responses import RedirectResponse, Response

    from sensorium.serving.page.layout import make_page
    from sensorium.serving.page.theme import theme

    most_bytes = int(service.limits.body_mb * 2**20)
    own = files("sensorium.serving.page")
    head = f"<style>{own.joinpath('style.css').read_text('utf-8')}{style()}</style>"
    script = f"<script>{own.joinpath('speech.js').read_text('utf-8')}</script>"

    @app.get("/", include_in_schema=False)
    def to_the_page() -> RedirectResponse:
        return RedirectResponse(path)

    found = Files(path)

    @app.get(f"{path}{ADDRESS}{{word}}", include_in_schema=False)
    def media(word: str) -> Response:
        return found.response(word)

    within_loop(lambda: gr.mount_gradio_app(
        app, make_page(service, folder, found), path, footer_links=[], run_history=False, max_file_size=most_bytes,
        ssr_mode=False, pwa=False, mcp_server=False, enable_monitoring=False, show_error=False, theme=theme(),
        head=head + script))
    app.add_middleware(Guard, path=path, folder=folder, most_bytes=most_bytes)


def within_loop(make: Callable[[], T]) -> T:
    """What a function makes while an event loop runs: outside of one, gradio makes loops of its own and leaves them."""
    async def made() -> T:
        return make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(made())
    return make()


def _uploads(app: FastAPI) -> Path:
    """A folder that only this process's user can read, where gradio puts what is uploaded; gone when the app is."""
    folder = tempfile.TemporaryDirectory(prefix="sensorium-page-", ignore_cleanup_errors=True)
    app.state.uploads = folder
    os.environ["GRADIO_TEMP_DIR"] = folder.name
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    return Path(folder.name).resolve()
