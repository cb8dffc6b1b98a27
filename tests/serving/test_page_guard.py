"""Of gradio's server only what the page needs can be reached, and nothing fetches a URL."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from sensorium.serving.asgi import Receive, Scope, Send
from sensorium.serving.page.guard import JOIN, UPLOAD, Guard

LIMIT = 1000


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """What is behind the guard: answers with the body it was given."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def ask(folder: Path, method: str, path: str, content: bytes | None = None, **guard: Any) -> httpx.Response:
    async def one() -> httpx.Response:
        transport = httpx.ASGITransport(Guard(echo, "/page", folder, LIMIT, **guard))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, content=content)

    return asyncio.run(one())


@pytest.mark.parametrize("path", ["/page", "/page/", "/page/config", "/page/assets/a.js", "/page/theme.css",
                                  "/page/gradio_api/queue/data?session_hash=a", "/page/media/abc", "/predict",
                                  "/pages"])
def test_what_the_page_needs_passes(tmp_path: Path, path: str) -> None:
    assert ask(tmp_path, "GET", path).status_code == 200


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/page/gradio_api/proxy=https://example.org"), ("GET", "/page/gradio_api/file=https://example.org/a"),
    ("GET", "/page/gradio_api/file=/etc/passwd"), ("GET", "/page/gradio_api/file/etc/passwd"),
    ("GET", "/page/monitoring"), ("GET", "/page/gradio_api/runs"), ("GET", "/page/gradio_api/deep_link"),
    ("POST", "/page/gradio_api/call/predict"), ("POST", "/page/gradio_api/run/predict"), ("POST", "/page/login"),
    ("POST", "/page/gradio_api/process_recording"), ("POST", "/page/gradio_api/vibe-edit"), ("PUT", "/page/config"),
    ("GET", "/page/custom_component/x/client/component/index.js"), ("POST", "/page/gradio_api/component_server")])
def test_everything_else_is_not_there(tmp_path: Path, method: str, path: str) -> None:
    response = ask(tmp_path, method, path)
    assert (response.status_code, response.json()["error"]["what"]) == (404, "the page has nothing here")


def test_uploads_can_be_fetched_and_no_link_out_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    (tmp_path / "secret").write_text("s")
    (folder / "link").symlink_to(tmp_path / "secret")
    assert ask(folder, "GET", f"/page/gradio_api/file={folder}/a.png").status_code == 200
    for path in (f"{folder}/../secret", f"{folder}/link", f"{tmp_path}/secret"):
        assert ask(folder, "GET", f"/page/gradio_api/file={path}").status_code == 404


def test_calls_may_name_only_uploaded_files(tmp_path: Path) -> None:
    def joined(*data: Any) -> httpx.Response:
        return ask(tmp_path, "POST", f"/page{JOIN}", json.dumps({"data": data}).encode())

    fine = joined("text", None, 3, {"path": str(tmp_path / "a.png"), "url": "http://here/x", "meta": {}})
    assert fine.status_code == 200 and fine.json()["data"][0] == "text"
    for path in ("https://example.org/a.png", "/etc/passwd", "a.png", str(tmp_path / ".." / "b"), 3):
        for value in ({"path": path}, [{"video": {"path": path}}], {"a": [{"b": {"path": path}}]}):
            response = joined(value)
            assert response.status_code == 422
            assert response.json()["error"]["what"] == "only files that were uploaded here are read"
    for body in (b"no json", b"\xff", b"[" * 400 + b"]" * 400 + b"x"):
        assert ask(tmp_path, "POST", f"/page{JOIN}", body).status_code == 422


def test_bodies_are_limited(tmp_path: Path) -> None:
    assert ask(tmp_path, "POST", f"/page{JOIN}", b" " * (LIMIT + 1)).status_code == 413
    assert ask(tmp_path, "POST", f"/page{UPLOAD}", b"x" * LIMIT).content == b"x" * LIMIT
    with pytest.raises(AssertionError):  # the app behind it sees a connection that ends, and answers nothing
        ask(tmp_path, "POST", f"/page{UPLOAD}", b"x" * (LIMIT + 1))
    (tmp_path / "kept").write_bytes(b"x" * 11)
    full = ask(tmp_path, "POST", f"/page{UPLOAD}", b"x", most_kept=10)
    assert full.status_code == 503 and "as many uploads as it has room for" in full.json()["error"]["what"]
