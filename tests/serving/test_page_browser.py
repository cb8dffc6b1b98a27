"""A person can do it: train, serve, open the page in a real browser, upload, and read the answer."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from worlds import write_small_world

from sensorium.cli.main import main

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEY = "a-key-of-this-test"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SPEECH = ("window.spoken = []; window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text } };"
          "Object.defineProperty(window, 'speechSynthesis', {value: {speaking: false, cancel() {}, "
          "speak(said) { window.spoken.push(said.text) }}})")
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_small_world(folder)
    return folder


@pytest.fixture(scope="module")
def address(world: Path) -> Iterator[str]:
    """Of a server of its own, of a model just trained, by the commands that the README gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sensorium", "train", str(world / "table.csv"), "--target", "kind", "--ignore",
                                    "size", "--out", str(world / "run"), "--epochs", "2", "--width", "32",
                                    "--allow-leak"])
        with pytest.raises(SystemExit, match="0"):
            main()
    log = world / "log"
    serve = [sys.executable, "-m", "sensorium.cli.main", "serve", str(world / "run"), "--port", "0"]
    with log.open("w") as opened, subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=opened, text=True,
                                                   env={**os.environ, "SENSORIUM_API_KEY": KEY}) as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, log.read_text()
        try:
            yield found[0]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    assert '"level": "error"' not in log.read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser here: install one of {', '.join(BROWSERS)}")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page, opened with the key; nothing may be fetched from anywhere else, and no script may fail."""
    with browser.new_context(http_credentials={"username": "me", "password": KEY}) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        asked: list[str] = []
        failed: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.add_init_script(SPEECH)
        page.goto(address)
        page.locator("#predict").wait_for()
        yield page
        assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()
        assert failed == []


def test_a_person_can_do_it(page: Page, world: Path) -> None:
    assert page.title() == "run · sensorium"
    assert page.get_by_role("tab").all_inner_texts() == ["Predict"]
    page.locator("#sample input[type=file]").first.set_input_files(world / "0.png")
    page.locator("#sample .image-frame img").wait_for()
    page.get_by_label("note · text").fill("this one looks red to me")
    page.get_by_label("hr · number").fill("60")
    page.locator("#predict").click()
    card = page.locator("#answer section").first
    card.wait_for()
    assert card.locator(".value").inner_text().split()[0] in ("ant", "bee", "cat")
    said = card.inner_text()
    assert "read: image, note, table · absent: sound" in said
    added = card.get_by_label("what each modality added").locator(".share > span").all_inner_texts()
    assert sorted(added) == ["image", "note", "table"]
    assert card.locator("h3").first.inner_text() == "kind"
    page.locator("#without table").first.wait_for()
    assert page.locator("#without table").first.locator("tbody tr").count() == 3
    page.locator("#where").click()
    page.locator("#drawn .over svg").wait_for()
    assert page.locator("#drawn mark, #drawn .read span").count() > 0
    card.get_by_role("button", name="read aloud").click()
    [spoken] = page.evaluate("window.spoken")
    assert spoken.startswith("kind: ")


def test_mistakes_are_one_line_and_nothing_is_lost(page: Page, world: Path) -> None:
    page.locator("#predict").click()
    wrong = page.locator("#answer [role=alert]")
    wrong.wait_for()
    assert wrong.inner_text().startswith("Nothing is given yet: fill one of the boxes (image, sound, note, hr")
    (world / "fake.png").write_text("no picture")
    page.locator("#sample input[type=file]").first.set_input_files(world / "fake.png")
    page.locator("#sample .image-frame").wait_for()
    page.get_by_label("note · text").fill("<img src=x onerror=alert(1)> red")
    page.get_by_label("bp · number").fill("a lot")
    page.locator("#predict").dblclick()
    told = page.locator("#answer .warn li")
    told.first.wait_for()
    assert [one.split(":")[0] for one in told.all_inner_texts()[:2]] == ["image", "bp"]
    assert page.get_by_label("note · text").input_value() == "<img src=x onerror=alert(1)> red"
    page.get_by_label("note · text").fill("green")
    page.locator("#answer.stale").first.wait_for()
    page.get_by_role("button", name="Empty all boxes").click()
    page.locator("#predict").click()
    wrong.wait_for()
    assert page.get_by_label("note · text").input_value() == ""


def test_without_the_key_there_is_no_page(browser: Browser, address: str) -> None:
    with browser.new_context() as context:
        assert context.request.get(f"{address}/page").status == 401
        assert context.request.get(f"{address}/page/config").headers["www-authenticate"].startswith("Basic")
