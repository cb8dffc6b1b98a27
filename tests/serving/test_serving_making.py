"""Questions, pictures and captions over HTTP: the same as the model says itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from served import IDENTITY, coded, running
from worlds import write_pairs

import sensorium as sm
from sensorium.demo import write_qa
from sensorium.errors import SensoriumError
from sensorium.recipe import Recipe
from sensorium.serving.client import Client
from sensorium.serving.engine import ModelEngine
from sensorium.serving.limits import Limits

pytestmark = pytest.mark.slow
TINY = {"model": {"width": 32}, "training": {"epochs": 1, "batch_size": 16, "workers": 0, "refit": "never"}}
WORDS = "red on the left and blue on the right"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelEngine, Path]:
    """A model that paints and captions, and a picture."""
    folder = tmp_path_factory.mktemp("pairs")
    table = write_pairs(folder, rows=24)
    recipe = Recipe.checked({**TINY, "objectives": {"caption": {}, "paint": {"method": "gan"}},
                             "data": {"inputs": ["picture", "words"]}})
    return ModelEngine(sm.fit(table, recipe, progress=False), IDENTITY), folder / "0.png"


@pytest.fixture(scope="module")
def makers(pairs: tuple[ModelEngine, Path]) -> Iterator[str]:
    with running(pairs[0], limits=Limits(made=3)) as address:
        yield address


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelEngine, dict[str, bytes]]:
    """A model that is asked in text and in sound, and a row of its pictures and sounds."""
    folder = tmp_path_factory.mktemp("questions")
    written = write_qa(folder, rows=40, test_rows=1)
    recipe = Recipe.checked({**TINY, "objectives": {"answer": {"question": ["question", "spoken"]}}})
    model = sm.fit(sm.read(written.table(), targets="answer"), recipe, progress=False)
    row = sm.read(written.table()).table.frame.row(0, named=True)
    found = {one.columns[0]: (folder / str(row[one.columns[0]])).read_bytes() for one in model.schema.modalities
             if one.kind.name in ("image", "audio") and (folder / str(row[one.columns[0]])).is_file()}
    return ModelEngine(model, IDENTITY), found


def test_pictures_and_texts_are_the_models(pairs: tuple[ModelEngine, Path], makers: str) -> None:
    engine, picture = pairs
    with Client(makers) as client:
        made = client.generate("picture", {"words": WORDS}, n=2, seed=5)
        for one, other in zip(made, engine.model.generate("picture", {"words": WORDS}, n=2, seed=5), strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        assert client.generate("words", {"picture": picture}, beams=3) == engine.model.generate(
            "words", {"picture": picture}, beams=3)
    said = httpx.post(f"{makers}/generate?to=picture&n=1", files={"words": (None, WORDS)}, timeout=30).json()
    assert (said["made"], said["type"], said["modalities"]) == ("picture", "image/png", ["words"])
    assert Image.open(io.BytesIO(base64.b64decode(said["results"][0]))).size == made[0].size


def test_what_cannot_be_made_is_one_line(makers: str) -> None:
    with Client(makers) as client:
        for given, words in (({"to": "colour", "given": {"words": WORDS}}, "unknown modality to make 'colour'"),
                             ({"given": {"words": WORDS}}, "name what to make"),
                             ({"to": "picture", "given": {}}, "nothing to read: give words"),
                             ({"to": "picture", "given": {"words": "red " * 500}}, "shorten it"),
                             ({"to": "picture", "given": {"words": WORDS}, "n": 4}, "makes at most 3")):
            with pytest.raises(SensoriumError, match=words):
                client.generate(given.pop("to", None), **given)  # type: ignore[arg-type]
        with pytest.raises(SensoriumError, match="predicts no target"):
            client.predict({"words": WORDS})


def test_questions_in_text_and_sound(asked: tuple[ModelEngine, dict[str, bytes]]) -> None:
    engine, row = asked
    spoken = row.pop("spoken")
    question = "what colour is the circle?"
    with running(engine) as address, Client(address) as client:
        expected = engine.model.ask(question, row, explain=True)
        found = client.ask(question, row, explain=True)
        assert (found.value, found.modalities) == (expected.value, expected.modalities)
        assert found.contributions == pytest.approx(expected.contributions, abs=1e-3)
        assert client.ask(spoken, row).value == engine.model.ask(spoken, row).value
        form = httpx.post(f"{address}/ask", files={"question": (None, question), **{
            name: ("a", content) for name, content in row.items()}}, timeout=30).json()
        assert form["answer"]["value"] == expected.value
        assert form["model"] == {"id": IDENTITY.id, "version": IDENTITY.version}
        for body, words in (({"given": coded(row)}, "give a question, or spoken"),
                            ({"question": " ", "given": coded(row)}, "the question is blank"),
                            ({"question": question}, "nothing to answer the question from"),
                            ({"question": question, "spoken": "aaaa", "given": {}}, "one of them"),
                            ({"question": question, "given": {"question": "why?"}}, "given twice"),
                            ({"spoken": "aaaa", "given": coded(row)}, "nothing to read: spoken: "),
                            ({"question": "why " * 500, "given": coded(row)}, "shorten it")):
            response = httpx.post(f"{address}/ask", json=body, timeout=30)
            assert response.status_code == 422, response.text
            assert words in response.json()["error"]["what"]
        response = httpx.post(f"{address}/predict", json={"rows": coded(row)}, timeout=30)
        assert response.status_code == 422
        assert "nothing to read: give question or spoken" in response.json()["error"]["what"]
        example = httpx.get(f"{address}/openapi.json").json()["paths"]["/ask"]["post"]["requestBody"]["content"][
            "application/json"]["examples"]["made from the schema"]["value"]
        assert httpx.post(f"{address}/ask", json=example, timeout=30).status_code == 200
