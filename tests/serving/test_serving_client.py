"""The client answers as the model does, and its errors are the server's words."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from served import IDENTITY, row_of, running

import sensorium
from sensorium.errors import DataError, SensoriumError
from sensorium.serving.client import Client, ServerError
from sensorium.serving.engine import ModelEngine


@pytest.fixture(scope="module")
def client(engine: ModelEngine) -> Iterator[Client]:
    with running(engine, api_key="the-key-of-all") as address, Client(address, api_key="the-key-of-all") as client:
        yield client


def test_every_way_to_name_a_file_is_the_same(client: Client, engine: ModelEngine, folder: Path) -> None:
    path = folder / "0.png"
    expected = engine.model.predict({"image": str(path)})["kind"]
    for image in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), Image.open(path),
                  np.array(Image.open(path))):
        found = client.predict({"image": image})["kind"]
        assert found.value == expected.value
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert client.predict({"image": [path, path]})["kind"].modalities == ("image",)


def test_answers_are_the_models(client: Client, engine: ModelEngine, folder: Path) -> None:
    rows = [row_of(folder), {"note": "blue", "hr": np.float64(70), "bp": float("nan")}]
    found = client.predict(rows, explain=True, modalities=("note", "table"))
    for one, other in zip(found, engine.model.predict(rows, explain=True, modalities=("note", "table")), strict=True):
        assert one["size"].value == pytest.approx(other["size"].value, abs=1e-4)
        assert one["kind"].modalities == other["kind"].modalities
        assert one["kind"].contributions == pytest.approx(other["kind"].contributions, abs=1e-4)
    np.testing.assert_allclose(client.embed(rows), engine.model.embed(rows), atol=1e-5)
    told = client.explain(rows[0], target="kind")
    assert told.tokens["note"].total == pytest.approx(sensorium.attribute(
        engine.model, rows[0], target="kind").totals["note"], abs=1e-3)
    assert (told.target, told.unit, told.class_) == ("kind", "bits", told.answers["kind"].value)
    assert client.model == (IDENTITY.id, IDENTITY.version)
    assert client.ready()


def test_dates_and_what_json_has_no_signs_for_are_sent_as_texts() -> None:
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/schema":
            return httpx.Response(200, json={"columns": {"day": {"holds": "date"}, "hr": {"holds": "number"}}})
        sent.extend(json.loads(request.content)["rows"])
        return httpx.Response(200, json={"answers": []})

    client = Client("http://x", http=httpx.Client(transport=httpx.MockTransport(answer)))
    days = (date(2021, 5, 5), datetime(2021, 5, 5, 12, tzinfo=UTC), np.datetime64("2021-05-05"))
    client.predict([*({"day": day} for day in days), {"hr": np.inf}, {"hr": np.nan}])
    assert [*(row["day"] for row in sent[:3]), *(row["hr"] for row in sent[3:])] == [
        "2021-05-05", "2021-05-05T12:00:00+00:00", "2021-05-05", "inf", None]
    for rows, words in (("a.csv", "rows: expected one dictionary .* found str"), (5, "rows: .* found int"),
                        ([5], "a row: expected a dictionary .* found int"), ({"hr": b"3"}, "cannot be sent as JSON")):
        with pytest.raises(DataError, match=words):
            client.predict(rows)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="a row: expected a dictionary of column and cell, found list"):
        client.search([{"hr": 3}])  # type: ignore[arg-type]


def test_errors_are_the_servers_words(client: Client) -> None:
    with pytest.raises(ServerError, match="unknown column 'foto'") as wrong:
        client.predict({"foto": "red"})
    assert wrong.value.status == 422
    with pytest.raises(ServerError, match="this model makes nothing") as lacking:
        client.generate(given={"note": "red"})
    assert lacking.value.status == 404
    with pytest.raises(ServerError, match="answers no questions"):
        client.ask("why?", {"note": "red"})
    with pytest.raises(ServerError, match="no index to search"):
        client.search({"note": "red"})
    with pytest.raises(DataError, match="image: cannot read 'nowhere.png'"):
        client.predict({"image": "nowhere.png"})
    with pytest.raises(DataError, match="image: expected a path, bytes"):
        client.predict({"image": 5})


def test_a_server_that_is_not_there_or_another_one_is_said() -> None:
    with Client("http://127.0.0.1:9") as client:
        assert not client.ready()
        with pytest.raises(SensoriumError, match=r"no answer from http://127\.0\.0\.1:9"):
            client.schema()
    answers = httpx.MockTransport(lambda request: httpx.Response(200, text="<html>"))
    with pytest.raises(SensoriumError, match="does not answer as a server of sensorium"):
        Client("http://x", http=httpx.Client(transport=answers)).schema()
    busy = httpx.MockTransport(lambda request: httpx.Response(503, json={"error": {"what": "later"}}, headers={
        "retry-after": "1"}))
    with pytest.raises(ServerError, match="later") as told:
        Client("http://x", http=httpx.Client(transport=busy)).schema()
    assert told.value.retry_s == 1.0
