"""The page has a tab for everything that the model can do, and each says what the service says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from served import IDENTITY, small_engine
from worlds import write_pairs, write_small_world

import sensorium as sm
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.serving.engine import ModelEngine
from sensorium.serving.page.ask_tab import Turn, answered
from sensorium.serving.page.finding import Files
from sensorium.serving.page.generate_tab import made_part
from sensorium.serving.page.given import fields_of
from sensorium.serving.page.layout import make_page
from sensorium.serving.page.mounting import within_loop
from sensorium.serving.page.predict_tab import predicted
from sensorium.serving.page.rendering import FAILED
from sensorium.serving.page.sample import Sample
from sensorium.serving.page.search_tab import found_part
from sensorium.serving.service import Service

QUESTION = "what is on the left please"
TINY = {"model": {"width": 32}, "training": {"epochs": 1, "batch_size": 16, "workers": 0, "refit": "never"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def predicting(folder: Path) -> Service:
    return Service(small_engine(folder / "small"))


@pytest.fixture(scope="module")
def asking(folder: Path) -> Service:
    """Asked in text about a picture."""
    lines = write_pairs(folder / "asked", rows=40).read_text().splitlines()[1:]
    asked = ["picture,question,answer"]
    for place, line in enumerate(lines):
        picture, _, answer = line.split(",")
        asked.append(f"{picture},{QUESTION if place % 2 else 'which colour is first'},{answer}")
    (folder / "asked" / "asked.csv").write_text("\n".join(asked))
    recipe = Recipe.checked({**TINY, "objectives": {"answer": {"question": "question"}},
                             "data": {"targets": ["answer"]}})
    return service_of(sm.fit(folder / "asked" / "asked.csv", recipe, progress=False))


@pytest.fixture(scope="module")
def making(folder: Path) -> Service:
    """Makes words of pictures."""
    recipe = Recipe.checked({**TINY, "objectives": {"caption": {}}, "data": {"inputs": ["picture", "words"]}})
    return service_of(sm.fit(write_pairs(folder / "pairs", rows=40), recipe, progress=False))


def service_of(model: Model) -> Service:
    return Service(ModelEngine(model, IDENTITY))


def sample_of(service: Service, folder: Path) -> Sample:
    names = [name for name in service.schema.names if name not in service.engine.asking]
    return Sample(fields_of(service.schema, names), [], folder)


def payloads(sample: Sample, **given: Any) -> list[Any]:
    return [given.get(field.column) for field in sample.fields]


def file(path: Path) -> dict[str, str]:
    return {"path": str(path)}


def config_of(service: Service, folder: Path) -> dict[str, Any]:
    return within_loop(lambda: make_page(service, folder, Files("/page")).get_config_file())


def tabs_of(service: Service, folder: Path) -> list[str]:
    config = config_of(service, folder)
    return [one["props"]["label"] for one in config["components"] if one["type"] == "tabitem"]


def test_there_is_a_tab_for_what_the_model_can_do(
    predicting: Service, asking: Service, making: Service, folder: Path,
) -> None:
    assert tabs_of(predicting, folder) == ["Predict"]
    assert tabs_of(asking, folder) == ["Ask"]
    assert tabs_of(making, folder) == ["Generate"]


def test_every_column_has_an_empty_box(predicting: Service, folder: Path) -> None:
    config = config_of(predicting, folder)
    boxes = {one["props"].get("label"): one["props"].get("value") for one in config["components"]}
    for label in ("image · picture", "note · text", "hr · number", "bp · number"):
        assert boxes[label] in (None, "")
    assert boxes["ward"] == ""
    assert any(str(label).startswith("sound · its first") for label in boxes)
    assert config["analytics_enabled"] is False and config["dependencies"]
    assert all(one["api_visibility"] == "private" for one in config["dependencies"])


def test_predictions_then_what_would_change(predicting: Service, folder: Path) -> None:
    sample = sample_of(predicting, folder)
    given = payloads(sample, image=file(folder / "small" / "0.png"), note="red", hr="70")
    first, second = predicted(predicting, sample, given)
    [answers] = predicting.predict([sample.row(given)])
    assert f'<p class="value">{answers["kind"].value}' in first[0]
    assert "What each modality added" in first[0] and "absent: sound" in first[0]
    assert first[1] == "" and "What would change without one" in second[1]
    alone = list(predicted(predicting, sample, payloads(sample, note="red")))[-1]
    assert "Only note is there: nothing can be left out." in alone[1]
    [(said, nothing)] = predicted(predicting, sample, payloads(sample))
    assert "Nothing is given yet: fill one of the boxes (image, sound" in said and nothing == ""
    broken = list(predicted(predicting, sample, payloads(sample, note="red", hr="many")))[-1][0]
    assert "Could not be read, and counts as absent" in broken and "hr: not a number" in broken


def test_a_bug_is_one_line_too(predicting: Service, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(predicting, "predict", broken)
    sample = sample_of(predicting, folder)
    [(said, _)] = predicted(predicting, sample, payloads(sample, note="red"))
    assert FAILED[1:] in said and "inside" not in said


def test_a_talk_keeps_what_was_said(asking: Service, folder: Path) -> None:
    sample = sample_of(asking, folder)
    given = payloads(sample, picture=file(folder / "asked" / "0.png"))
    first, second = answered(asking, sample, (), "", (QUESTION, None), given)
    answer = asking.ask(QUESTION, sample.row(given))
    [turn] = first[0]
    assert isinstance(turn, Turn) and turn.told.value == str(answer.value) and turn.evidence is None
    assert first[1:4] == ("", None, "") and QUESTION in first[4] and 'role="log"' in first[4]
    [turn] = second[0]
    assert {line.split()[0] for line in turn.evidence or ()} == {"picture", "question"}
    assert "Read from: " in second[4]
    for again in answered(asking, sample, second[0], "answer", (QUESTION, None), given):
        assert len(again[0]) == 2 and again[4].count('class="turn"') == 2


@pytest.mark.parametrize(("asked", "shown", "words"), [
    (("", None), True, "The question is blank"),
    (("what " * 300, None), True, "Question: a text of"),
    ((QUESTION, None), False, "Nothing to answer the question from: give picture"),
    ((QUESTION, {"path": "/etc/passwd"}), True, "not a file that was uploaded here"),
])
def test_a_question_that_cannot_be_answered_loses_nothing(
    asking: Service, folder: Path, asked: tuple[str, Any], shown: bool, words: str,
) -> None:
    sample = sample_of(asking, folder)
    given = payloads(sample, picture=file(folder / "asked" / "0.png") if shown else None)
    before: tuple[Any, ...] = ("kept",)
    [(turns, *_, wrong, talk)] = answered(asking, sample, before, "", asked, given)
    assert turns == before and "update" in str(talk)
    assert words in wrong, wrong


def test_texts_are_made_of_what_is_given(making: Service, folder: Path) -> None:
    sample = sample_of(making, folder)
    given = payloads(sample, picture=file(folder / "pairs" / "0.png"), words="never read, however long " * 10_000)
    page = made_part(making, sample, ("", 3, 0, 0), given)
    assert page == made_part(making, sample, ("words", 3, 0, 0), given)
    assert page.count("<li>") == 3 and "read: picture" in page
    assert "Nothing is given yet" in made_part(making, sample, ("", 1, 0, 0), payloads(sample))
    nothing = made_part(making, sample, ("", 1, 0, 0), payloads(sample, words="only what is made"))
    assert 'role="alert"' in nothing and "Nothing to " in nothing


def test_what_was_found_is_shown(predicting: Service, folder: Path) -> None:
    table = write_small_world(folder / "indexed", rows=12)
    engine = predicting.engine
    assert isinstance(engine, ModelEngine)
    index = sm.Index.build(engine.model, table, folder / "idx", progress=False)
    service = Service(engine, index)
    assert tabs_of(service, folder) == ["Predict", "Search"]
    sample = sample_of(service, folder)
    given = payloads(sample, image=file(folder / "indexed" / "0.png"))
    page = found_part(service, sample, Files("/page"), ("", 3, "kind = 'bee'"), given)
    assert page.count('<article class="card"') == 3 and page.count("<dd>bee</dd>") == 3
    assert 'src="/page/media/' in page and "3 found" in page and "Whole samples are ranked by image alone" in page
    assert "Nothing was found" in found_part(service, sample, Files("/page"), ("", 3, "hr > 1000"), given)
    assert "Unknown column" in found_part(service, sample, Files("/page"), ("", 3, "year > 2"), given)
