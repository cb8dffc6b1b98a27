"""Without the key 401, whatever is asked; with it, in each of three ways, an answer."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from served import running, small_engine

from sensorium.errors import RecipeError
from sensorium.serving.keys import VARIABLE, read_keys

KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    engine = small_engine(tmp_path_factory.mktemp("world"))
    with running(engine, api_key=KEY) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def test_without_a_key_only_health_is_told(client: httpx.Client) -> None:
    basic = {"authorization": f"Basic {base64.b64encode(b'me:wrong').decode()}"}
    for headers in ({}, {"x-api-key": KEY + "x"}, {"authorization": f"Bearer {KEY[:-1]}"}, {"authorization": KEY},
                    {"authorization": "Basic !"}, {"authorization": "Basic /w=="}, {"x-api-key": ""}, basic):
        for method, path in (("POST", "/predict"), ("GET", "/schema"), ("GET", "/metrics"), ("GET", "/openapi.json"),
                             ("GET", "/docs"), ("GET", "/nothing"), ("GET", "//healthz"), ("GET", "/healthz/")):
            response = client.request(method, path, headers=headers)
            assert response.status_code == 401, (path, headers)
            assert "a key is needed" in response.json()["error"]["what"]
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_each_way_to_send_the_key_opens(client: httpx.Client) -> None:
    basic = base64.b64encode(f"anybody:{KEY}".encode()).decode()
    for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}, {"authorization": f"bearer {KEY}"},
                    {"authorization": f"Basic {basic}"}):
        response = client.post("/predict", json={"rows": {"note": "red"}}, headers=headers)
        assert response.status_code == 200
    assert "securitySchemes" in client.get("/openapi.json", headers={"x-api-key": KEY}).json()["components"]


def test_a_body_is_not_read_before_the_key(client: httpx.Client) -> None:
    read = []

    def parts() -> Iterator[bytes]:
        for number in range(1000):
            read.append(number)
            yield b"x" * 100_000

    with suppress(httpx.WriteError):  # the server has hung up already
        assert client.post("/predict", content=parts()).status_code == 401
    assert len(read) < 1000


def test_a_browser_is_told_to_ask_for_it(client: httpx.Client) -> None:
    assert client.get("/docs").headers["www-authenticate"] == 'Basic realm="sensorium"'
    assert client.get("/schema").headers["www-authenticate"] == "Bearer"


def test_keys_come_from_an_option_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert read_keys(None, None) == []
    monkeypatch.setenv(VARIABLE, "from-environment")
    assert read_keys(None, None) == ["from-environment"]
    assert read_keys("from-option", None) == ["from-option"]
    file = tmp_path / "keys"
    file.write_text("# ours\nfirst-key\n\n second-key \n")
    assert read_keys(None, file) == ["first-key", "second-key"]
    file.write_text("# none\n")
    with pytest.raises(RecipeError, match="there is no key"):
        read_keys(None, file)
    with pytest.raises(RecipeError, match="cannot read"):
        read_keys(None, tmp_path / "nowhere")
    for wrong in ("short", "with a blank", "ümläuted-key", ""):
        with pytest.raises(RecipeError, match="at least 8 visible ASCII signs"):
            read_keys(wrong, None)
