"""The HTTP API: what it answers is what the model says, and every mistake is one clear line."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from served import IDENTITY, coded, row_of, running

import sensorium
from sensorium.serving.engine import ModelEngine
from sensorium.serving.limits import Limits

LIMITS = Limits(body_mb=0.5, rows=8, cells=20, characters=500, pixels=10_000, seconds=5.0, explained=2)


@pytest.fixture(scope="module")
def client(engine: ModelEngine) -> Iterator[httpx.Client]:
    with running(engine, limits=LIMITS) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def test_predictions_are_the_models(engine: ModelEngine, client: httpx.Client, folder: Path) -> None:
    rows = [row_of(folder), {"note": "blue"}, {"image": (folder / "1.png").read_bytes(), "kind": "not read"}]
    expected = engine.model.predict([{k: v for k, v in row.items() if k != "kind"} for row in rows])
    found = client.post("/predict", json={"rows": [coded(row) for row in rows]}).json()
    assert found["model"] == {"id": IDENTITY.id, "version": IDENTITY.version}
    assert [row["modalities"] for row in found["answers"]] == [
        ["image", "sound", "note", "table"], ["note"], ["image"]]
    for row, answers in zip(found["answers"], expected, strict=True):
        assert row["targets"]["kind"]["value"] == answers["kind"].value
        assert row["targets"]["kind"]["probabilities"] == pytest.approx(answers["kind"].probabilities, abs=1e-5)
        assert row["targets"]["size"]["value"] == pytest.approx(answers["size"].value, abs=1e-4)


def test_a_form_says_the_same_as_json(client: httpx.Client, folder: Path) -> None:
    row = row_of(folder)
    files = {name: (f"{name}.bin", row.pop(name)) for name in ("image", "sound")}
    form = client.post("/predict?explain=true&modalities=image,table", files=files, data=row).json()
    said = client.post("/predict", json={"rows": coded(row_of(folder)), "explain": True,
                                         "modalities": ["image", "table"]}).json()
    assert form == said
    assert form["answers"][0]["modalities"] == ["image", "table"]
    assert set(form["answers"][0]["targets"]["kind"]["contributions"]) == {"image", "table"}


def test_several_files_of_a_form_are_a_list(client: httpx.Client, folder: Path) -> None:
    pictures = [(folder / f"{number}.png").read_bytes() for number in (0, 1)]
    form = client.post("/predict", files=[("image", ("a.png", one)) for one in pictures])
    said = client.post("/predict", json={"rows": {"image": [coded({"a": one})["a"] for one in pictures]}})
    assert form.status_code == 200
    assert form.json() == said.json()


def test_embeddings_and_explanations_are_the_models(engine: ModelEngine, client: httpx.Client, folder: Path) -> None:
    row = row_of(folder)
    found = client.post("/embed", json={"rows": coded(row), "modalities": ["note"]}).json()
    np.testing.assert_allclose(found["rows"][0]["vector"], engine.model.embed(row, modalities=["note"])[0], atol=1e-6)
    assert found["rows"][0]["modalities"] == ["note"]
    expected = sensorium.attribute(engine.model, row, target="kind", class_="bee")
    told = client.post("/explain", json={"rows": coded(row), "target": "kind", "class": "bee"}).json()["answers"][0]
    assert told["attribution"]["class"] == "bee"
    totals = {name: tokens["total"] for name, tokens in told["attribution"]["tokens"].items()}
    assert totals == pytest.approx(expected.totals, abs=1e-3)


PICTURE = "iVBORw0KGgo="
WRONG: list[tuple[str, Any, int, str]] = [
    ("predict", {"rows": []}, 422, "no rows"),
    ("predict", {}, 422, "rows: expected an object of column and value, found null"),
    ("predict", {"rows": {"foto": "x"}}, 422, "unknown column 'foto'"),
    ("predict", {"rows": {"image": "/etc/passwd"}}, 422, "opens no paths"),
    ("predict", {"rows": {"image": "http://127.0.0.1/a.png"}}, 422, "fetches no addresses"),
    ("predict", {"rows": {"image": "data:image/png,abc"}}, 422, "neither base64 nor a data: URL"),
    ("predict", {"rows": {"image": 5}}, 422, "image: expected base64 or a data: URL, found a number"),
    ("predict", {"rows": {"image": PICTURE}}, 422, "nothing to read: image: not a picture"),
    ("predict", {"rows": {"note": {"a": 1}}}, 422, "note: expected a text, found an object"),
    ("predict", {"rows": {"hr": [1]}}, 422, "hr: expected a number"),
    ("predict", {"rows": {"hr": "fast"}}, 422, "nothing to read: hr: "),
    ("predict", {"rows": {"note": " "}}, 422, "nothing to read: give image or sound or note or table"),
    ("predict", {"rows": [{"note": "a"}, {}]}, 422, "row 2: nothing to read"),
    ("predict", {"rows": {"note": "a"}, "modalities": ["image"]}, 422, "nothing to read: give image"),
    ("predict", {"rows": {"note": "a"}, "modalities": ["foto"]}, 422, "unknown modality 'foto'"),
    ("predict", {"rows": {"note": "a"}, "modalities": []}, 422, "modalities: list should have at least 1"),
    ("predict", {"rows": {"note": "a"}, "explain": "yes"}, 422, "explain: input should be a valid boolean"),
    ("predict", {"rows": {"note": "a"}, "speed": 1}, 422, "speed: unknown option"),
    ("predict", {"rows": [{"note": "a"}] * 9}, 413, "9 rows: this server reads at most 8"),
    ("predict", {"rows": {"note": ["a"] * 17}}, 413, "17 cells in one row"),
    ("predict", {"rows": [{"note": ["a"] * 10}] * 3}, 413, "30 cells"),
    ("predict", {"rows": {"note": "a" * 501}}, 413, "501 characters"),
    ("explain", {"rows": [{"note": "a"}] * 3}, 413, "3 rows to explain: this server explains at most 2"),
    ("explain", {"rows": {"note": "a"}, "target": "colour"}, 422, "unknown target 'colour'"),
    ("explain", {"rows": {"note": "a"}, "class": "cow"}, 422, "unknown class 'cow'"),
    ("generate", {"given": {"note": "a"}}, 404, "this model makes nothing"),
    ("ask", {"given": {"note": "a"}, "question": "why?"}, 404, "this model answers no questions"),
    ("search", {"given": {"note": "a"}}, 404, "there is no index to search: start the server with --index"),
]


@pytest.mark.parametrize(("verb", "body", "status", "words"), WRONG)
def test_mistakes_are_one_clear_line(client: httpx.Client, verb: str, body: Any, status: int, words: str) -> None:
    response = client.post(f"/{verb}", json=body)
    assert response.status_code == status
    what = response.json()["error"]["what"]
    assert words in what
    assert "\n" not in what


@pytest.mark.parametrize(("content", "kind", "status", "words"), [
    (b"{", "application/json", 400, "not JSON"),
    (b"[1]", "application/json", 422, "expected a JSON object"),
    (b'{"rows": {"hr": NaN}}', "application/json", 400, "NaN is no number"),
    (b'{"rows": {"hr": ' + b"9" * 5000 + b"}}", "application/json", 400, "a number that cannot be read"),
    (b"[" * 100_000, "application/json", 400, "nested too deeply"),
    (b"\xff\xfe", "application/json", 400, "not JSON"),
    (b"a=1", "application/x-www-form-urlencoded", 415, "expected application/json or multipart/form-data"),
    (b"x", "multipart/form-data", 400, "without a boundary"),
    (b"x", "multipart/form-data; boundary=b", 400, "a broken form"),
    (b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nhalf', "multipart/form-data; boundary=b", 400,
     "a broken form"),
    (b"x" * 600_000, "application/json", 413, "a body of more than 0.5 MB"),
])
def test_bodies_that_are_not_understood(
    client: httpx.Client, content: bytes, kind: str, status: int, words: str,
) -> None:
    response = client.post("/predict", content=content, headers={"content-type": kind})
    assert response.status_code == status
    assert words in response.json()["error"]["what"]


def test_a_chunked_body_is_limited_too(client: httpx.Client) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(80):
            yield b" " * 10_000

    response = client.post("/predict", content=parts(), headers={"content-type": "application/json"})
    assert response.status_code == 413


def test_addresses_and_methods_that_are_not_there(client: httpx.Client) -> None:
    assert client.get("/nothing").status_code == 404
    assert client.get("/predict").status_code == 405
    assert client.get("/predict").json() == {"error": {"what": "GET is not what this address takes"}}


def test_a_cell_that_cannot_be_read_is_listed_beside_the_answer_of_the_rest(client: httpx.Client) -> None:
    found = client.post("/predict", json={"rows": {"image": PICTURE, "note": "red"}}).json()["answers"][0]
    assert found["modalities"] == ["note"]
    assert "image: not a picture" in found["unreadable"][0]


def test_a_category_that_training_did_not_have_is_told(client: httpx.Client) -> None:
    found = client.post("/predict", json={"rows": {"ward": "north", "hr": 70}}).json()["answers"][0]
    assert found["modalities"] == ["table"]
    assert found["unreadable"] == ["ward: a category that training did not have: 'north'"]


def test_the_documentation_is_the_models_own_and_its_examples_work(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/predict", "/explain", "/embed", "/schema", "/metrics", "/healthz", "/readyz"}
    assert set(document["components"]["schemas"]["Row"]["properties"]) >= {"image", "sound", "note", "hr", "ward"}
    for verb in ("predict", "explain", "embed"):
        content = document["paths"][f"/{verb}"]["post"]["requestBody"]["content"]["application/json"]
        example = content["examples"]["made from the schema"]["value"]
        response = client.post(f"/{verb}", json=example)
        assert response.status_code == 200, response.text
        first = (response.json().get("answers") or response.json()["rows"])[0]
        assert first["modalities"] == ["image", "sound", "note", "table"]
        assert first["unreadable"] == []


def test_schema_health_and_metrics(client: httpx.Client) -> None:
    schema = client.get("/schema").json()
    assert schema["abilities"] == ["embed", "explain", "predict"]
    assert schema["columns"]["ward"] == {"holds": "category", "modality": "table", "categories": ["west", "east"]}
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    client.post("/predict", json={"rows": {"note": "red"}})
    counts = client.get("/metrics").text
    assert 'sensorium_calls_total{outcome="answered",verb="predict"}' in counts
    assert 'sensorium_http_responses_total{route="/predict",status="200"}' in counts
    assert "sensorium_pending_calls 0.0" in counts


def logged(caplog: pytest.LogCaptureFixture, last: str) -> list[dict[str, Any]]:
    """The log up to the line of the last request, which is written just after its answer."""
    for _ in range(500):
        told = [record.__dict__["fields"] for record in caplog.records if record.name == "sensorium.serving"]
        if any(one["id"] == last for one in told):
            break
        time.sleep(0.01)
    return told


def test_logs_hold_no_content(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="sensorium.serving"):
        client.post("/predict", json={"rows": {"note": "a secret"}}, headers={"x-secret": "a secret"})
        client.post("/predict?secret=1", json={"rows": {"secret": "a secret"}})
        told = logged(caplog, client.get("/secret").headers["x-request-id"])
    assert [(one["route"], one["status"]) for one in told[-3:]] == [
        ("/predict", 200), ("/predict", 422), ("other", 404)]
    assert "secret" not in json.dumps(told)


def test_every_answer_has_the_number_that_its_line_in_the_log_has(
    client: httpx.Client, caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="sensorium.serving"):
        number = client.get("/healthz").headers["x-request-id"]
        assert [one["route"] for one in logged(caplog, number) if one["id"] == number] == ["/healthz"]
