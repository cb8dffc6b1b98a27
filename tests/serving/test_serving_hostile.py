"""Hostile uploads are refused, slow clients wait alone, and the server goes on as before."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from malformed import Upload, malformed, padded
from served import running

from sensorium.serving.engine import ModelEngine
from sensorium.serving.limits import Limits

COLUMNS = {"image": "image", "audio": "sound"}
MB = 1 << 20


@pytest.fixture(scope="module")
def address(engine: ModelEngine) -> Iterator[str]:
    with running(engine, limits=Limits(body_mb=2.0, upload_s=1.0)) as address:
        yield address


def sent(client: httpx.Client, upload: Upload) -> httpx.Response:
    headers = {"content-type": upload.content_type, **upload.headers}
    return client.post("/predict", content=upload.body, headers=headers)


def raw(address: str) -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def statuses_of(address: str, uploads: list[Upload], clients: int = 8) -> Counter[int]:
    """Every upload sent, several at a time; its status, and a fault where it is no refusal."""
    def send(upload: Upload) -> int:
        if "content-length" in upload.headers:
            with raw(address) as connection:
                length = upload.headers["content-length"]
                connection.sendall(f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: {upload.content_type}\r\n"
                                   f"content-length: {length}\r\n\r\n".encode() + upload.body)
                return int(connection.recv(12)[9:12])
        with httpx.Client(base_url=address, timeout=60) as client:
            response = sent(client, upload)
            assert "what" in response.json().get("error", {}), (upload.wrong, response.text[:300])
            return response.status_code

    with ThreadPoolExecutor(clients) as pool:
        return Counter(pool.map(send, uploads))


def test_malformed_uploads_are_refused_and_the_server_goes_on(address: str) -> None:
    statuses = statuses_of(address, malformed(COLUMNS, 35))
    assert set(statuses) <= {400, 413, 415, 422}, statuses
    assert len(statuses) >= 4
    assert httpx.post(f"{address}/predict", json={"rows": {"note": "red"}}).status_code == 200


@pytest.mark.slow
def test_five_hundred_malformed_uploads_are_refused_within_limits(address: str) -> None:
    own = psutil.Process()
    before = own.memory_info().rss
    statuses = statuses_of(address, malformed(COLUMNS, 500))
    assert set(statuses) <= {400, 413, 415, 422}, statuses
    assert statuses.total() == 500
    assert own.memory_info().rss - before < 300 * MB


def test_a_claim_of_a_gigabyte_is_refused_before_it_is_sent(address: str) -> None:
    with raw(address) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                           b"content-length: 1073741824\r\n\r\n")
        assert b"413" in connection.recv(200)
    with raw(address) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                           b"content-length: " + b"9" * 400 + b"\r\n\r\n")
        assert connection.recv(200)[9:12] in (b"400", b"413")


def test_an_endless_body_without_a_length_is_cut_off(address: str) -> None:
    with httpx.Client(base_url=address, timeout=30) as client:
        response = client.post("/predict", content=padded(b'{"rows": ', 8 * MB), headers={
            "content-type": "application/json"})
    assert response.status_code == 413


HALF = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"


def test_slow_clients_keep_nobody_waiting(engine: ModelEngine) -> None:
    with running(engine, limits=Limits(upload_s=60.0)) as address, httpx.Client(base_url=address, timeout=30) as client:
        slow = [raw(address) for _ in range(20)]
        for connection in slow:
            connection.sendall(HALF)
        for _ in range(10):
            assert client.post("/predict", json={"rows": {"note": "red"}}).status_code == 200
        for connection in slow:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
            connection.close()


def test_a_body_that_does_not_come_is_given_up(address: str) -> None:
    with raw(address) as connection:
        connection.sendall(HALF)
        assert b"408" in connection.recv(200)


def test_a_client_that_hangs_up_leaves_nothing_behind(address: str) -> None:
    for _ in range(20):
        with raw(address) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                               b"content-length: 27\r\n\r\n" + b'{"rows": {"note": "red"}}  '[:27])
    with httpx.Client(base_url=address, timeout=30) as client:
        for _ in range(200):
            if "sensorium_pending_calls 0.0" in client.get("/metrics").text:
                break
            time.sleep(0.05)
        assert "sensorium_pending_calls 0.0" in client.get("/metrics").text
        assert client.post("/predict", json={"rows": {"note": "red"}}).status_code == 200


def test_too_much_at_the_same_time_is_told_to_come_back(engine: ModelEngine) -> None:
    with running(engine, limits=Limits(body_mb=1.0, reading_mb=1.5, upload_s=5.0)) as address:
        first = raw(address)
        head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
        first.sendall(head + b" " * 900_000)
        time.sleep(0.2)
        response = httpx.post(f"{address}/predict", content=b" " * 900_000, headers={
            "content-type": "application/json"})
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        first.close()
        time.sleep(0.2)
        assert httpx.post(f"{address}/predict", json={"rows": {"note": "red"}}).status_code == 200


def test_limits_of_pixels_and_seconds_are_read_from_the_header(engine: ModelEngine, tmp_path: Path) -> None:
    import numpy as np
    import soundfile
    from PIL import Image

    Image.new("L", (300, 200)).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 4000)
    with running(engine, limits=Limits(pixels=50_000, seconds=2.0)) as address:
        for column, words in (("image", "300 by 200 pixels: this server reads at most 50,000"),
                              ("sound", "4 seconds of audio: this server reads at most 2")):
            file = tmp_path / ("a.png" if column == "image" else "a.wav")
            response = httpx.post(f"{address}/predict", files={column: file.read_bytes()})
            assert response.status_code == 422
            assert words in response.json()["error"]["what"]


def test_a_request_of_many_bombs_is_given_up(tmp_path: Path, engine: ModelEngine) -> None:
    from sensorium.serving.guarded import RowDecoder
    from sensorium.serving.refusal import Refusal

    bomb = next(upload.body for upload in malformed(COLUMNS, 30) if "bomb" in upload.wrong)
    decoder = RowDecoder(engine.schema, Limits(decoding_s=1e-3))
    with pytest.raises(Refusal, match="image: the files take more than 0.001 s to decode"):
        decoder.decode([{"image": bomb + bytes([number])} for number in range(50)])
    assert decoder.decode([{"note": "red", "image": b"x"}]).presence[0].sum() == 1


def test_what_unfolds_in_memory_is_refused_before(engine: ModelEngine) -> None:
    with running(engine, limits=Limits(decoded_mb=0.001)) as address:
        rows = [{"image": "aaaa", "note": "red"}] * 4
        response = httpx.post(f"{address}/predict", json={"rows": rows})
        assert response.status_code == 413
        assert "MB once decoded" in response.json()["error"]["what"]
        assert httpx.post(f"{address}/predict", json={"rows": rows[:1]}).status_code == 200
