"""The server as a process: it starts in one command, loses nothing on SIGTERM, and its memory stays as it is."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from loading import closed_loop, request, serving, until_the_end
from served import coded, row_of, small_model

WORDS = json.dumps({"rows": {"note": "this one looks red to me", "hr": 70}}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("world")


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return small_model(folder).save(folder / "run")


def test_nothing_of_the_api_imports_torch_or_gradio_or_tables() -> None:
    code = ("import sys, sensorium.serving.app, sensorium.serving.running, sensorium.serving.runtime_engine, "
            "sensorium.serving.client, sensorium.cli.serve; "
            "print([name for name in ('torch', 'gradio', 'polars', 'pyarrow', 'scipy') if name in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_sigterm_under_load_loses_no_request(run: Path, folder: Path) -> None:
    requests = [request(WORDS, "application/json"),
                request(json.dumps({"rows": coded(row_of(folder))}).encode(), "application/json")]
    with serving(run) as server:
        asyncio.run(closed_loop(server.port, requests, 50))
        found = asyncio.run(until_the_end(server.port, requests, server.terminate, 1.0))
        assert server.process.wait(30) == 0
    assert found.lost == 0
    assert set(found.statuses) == {200}
    assert found.statuses.total() > 100


@pytest.mark.slow
def test_while_it_drains_it_says_so_and_still_answers(run: Path) -> None:
    with serving(run, "--grace", "2") as server, httpx.Client(base_url=server.address) as client:
        assert client.get("/readyz").status_code == 200
        server.terminate()
        time.sleep(0.3)
        assert client.get("/readyz").status_code == 503
        response = client.post("/predict", content=WORDS, headers={"content-type": "application/json"})
        assert (response.status_code, response.headers["connection"]) == (200, "close")
        assert server.process.wait(30) == 0


@pytest.mark.slow
def test_ten_thousand_requests_leave_memory_as_it_was(run: Path, folder: Path) -> None:
    requests = [request(json.dumps({"rows": coded(row_of(folder, number))}).encode(), "application/json")
                for number in range(8)]
    with serving(run) as server:
        sizes = []
        for _ in range(10):
            found = asyncio.run(closed_loop(server.port, requests, 1000))
            assert set(found.statuses) == {200}
            sizes.append(server.rss())
    assert max(sizes[5:]) - sizes[2] < 30.0, sizes


@pytest.mark.slow
def test_schemathesis_finds_nothing(run: Path) -> None:
    with serving(run) as server:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.address}/openapi.json", "--checks",
             "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
             "--max-examples", "50", "--seed", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_what_is_wrong_with_the_options_is_one_line(run: Path, folder: Path) -> None:
    for words, told in ((["nowhere"], "no model folder at 'nowhere'"),
                        ([str(run), "--api-key", "short"], "at least 8 visible ASCII signs"),
                        ([str(run), "--api-key", "long-enough", "--api-key-file", "a"], "one of them"),
                        ([str(run), "--queue", "0"], "queue must be above 0"),
                        ([str(run), "--host", "nowhere.invalid"], "cannot listen at nowhere.invalid"),
                        ([str(run), "--index", str(folder)], str(folder))):
        done = subprocess.run([sys.executable, "-m", "sensorium.cli.main", "serve", *words, "--port", "0"],
                              capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr
        assert len([line for line in done.stderr.splitlines() if not line.startswith("{") and "no API key" not in line
                    ]) == 1
