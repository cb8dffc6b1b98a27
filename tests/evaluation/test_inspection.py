"""The page of an inspection: whole, self-contained, safe, with what shows each finding."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from planted import RATE, clean_world, picture, sound, write

from sensorium.data.inspect import Inspection, inspect_table
from sensorium.data.read import read
from sensorium.data.table import read_table
from sensorium.evaluation import inspection
from sensorium.evaluation.inspection import write_inspection

VOID = {"meta", "br", "img", "input", "hr", "link"}
EVIL = "<script>alert(1)</script> & more of it in here"


class _Page(HTMLParser):
    """Collects tags, attributes and text, and checks that what opens closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID and tag not in {"rect", "line", "circle"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"rect", "line", "circle"}:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    folder = tmp_path_factory.mktemp("page")
    train = clean_world(folder, rows=40)
    test = clean_world(folder, seed=7, rows=30)
    picture(4).save(folder / "same.png")
    soundfile.write(folder / "quiet.wav", 0.3 * sound(6), RATE)
    Image.new("RGB", (48, 48), (9, 9, 200)).save(folder / "blue.png")
    test["photo"][0], test["cry"][2] = "same.png", "quiet.wav"
    train["photo"][7], train["photo"][8] = "blue.png", "none.png"
    train["note"][0], train["ward"][10], train["hr"][11] = EVIL, "<b>east</b>", "9000"
    train["cry"][12:22] = [""] * 10
    test_table = write(folder, test, "test.csv")
    return inspect_table(read(write(folder, train), targets="label", group="owner"), read_table(test_table))


def test_it_is_whole_self_contained_and_safe(found: Inspection) -> None:
    text = write_inspection(found)
    page = _Page(text)
    said = " ".join(" ".join(page.text).split())
    for finding in found.findings:
        assert " ".join(finding.said.split()) in said and finding.advice in said
    for tag, attributes in page.found:
        assert tag not in {"script", "link", "iframe"}
        for name in ("src", "href"):
            assert re.match(r"data:|#", attributes.get(name) or "#"), (tag, attributes)
    assert "url(" not in text and "@import" not in text
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    links = [str(attributes["href"])[1:] for tag, attributes in page.found if tag == "a"]
    assert len(ids) == len(set(ids)) and set(links) <= set(ids)
    assert "prefers-color-scheme: dark" in text and EVIL in said


def test_findings_are_shown_side_by_side(found: Inspection) -> None:
    page = _Page(write_inspection(found))
    pictures = [str(attributes["src"]) for tag, attributes in page.found if tag == "img"]
    assert max(pictures.count(one) for one in pictures) >= 2  # the picture of both tables
    assert sum(tag == "audio" for tag, _ in page.found) >= 2
    said = " ".join(" ".join(page.text).split())
    assert "row 5 of table.csv" in said and "row 1 of test.csv" in said and "of one colour" in said
    assert "photo, cry" not in said and "by chance" in said


def test_the_page_keeps_its_budget(found: Inspection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "MEDIA_CHARACTERS", 20_000)
    text = write_inspection(found)
    assert "it would make this page too large" in text and len(text) < 120_000


def test_tables_without_targets_or_findings_have_a_page(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = write(tmp_path, {"size": [f"{value:.4f}" for value in random.normal(size=40)]})
    text = write_inspection(inspect_table(read(table)))
    assert "Nothing to find fault with." in text and "<h2>Targets" not in text
    regressed = write(tmp_path, {"size": [f"{value:.4f}" for value in random.normal(size=40)],
                                 "y": [f"{value:.4f}" for value in random.normal(size=40)]}, "r.csv")
    assert "A number from" in write_inspection(inspect_table(read(regressed, targets="y")))
