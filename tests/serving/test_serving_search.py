"""Search over HTTP: what `find` finds, without the server's paths."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from served import IDENTITY, row_of, running, small_model

from sensorium.errors import ModelFolderError, SensoriumError
from sensorium.retrieval.index import Index
from sensorium.retrieval.search import find
from sensorium.serving.client import Client
from sensorium.serving.engine import ModelEngine
from sensorium.serving.indexed import open_index

pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def index(engine: ModelEngine, folder: Path) -> Index:
    Index.build(engine.model, folder / "table.csv", folder / "index", progress=False)
    return open_index(folder / "index", engine)


@pytest.fixture(scope="module")
def client(engine: ModelEngine, index: Index) -> Iterator[Client]:
    with running(engine, index=index) as address, Client(address) as client:
        yield client


def test_hits_are_those_of_find(client: Client, engine: ModelEngine, index: Index, folder: Path) -> None:
    row = row_of(folder)
    for options in ({}, {"k": 3}, {"where": "ward = 'east' AND hr > 65"}, {"modalities": ("note",), "to": "note"}):
        given = row if "modalities" not in options else {"note": row["note"]}
        expected = find(engine.model, index, given, options.get("k", 10), options.get("where"), options.get("to"))
        found = client.search(row, **options)  # type: ignore[arg-type]
        assert [hit.id for hit in found] == [hit.id for hit in expected]
        assert [hit.modality for hit in found] == [hit.modality for hit in expected]
        np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in expected], atol=1e-5)
        for hit, other in zip(found, expected, strict=True):
            assert str(folder) not in str(hit.row)
            assert hit.row["image"] == (None if other.row["image"] is None else Path(other.row["image"]).name)


def test_what_cannot_be_searched_is_one_line(client: Client) -> None:
    for options, words in (({"where": "year > 2020"}, "unknown column 'year'"),
                           ({"where": "hr > 1; DROP TABLE rows"}, "expected one expression"),
                           ({"where": "hr IN (SELECT 1 FROM read_csv('/etc/passwd'))"}, "may not select"),
                           ({"k": 5000}, "k: expected 1 to 1000"),
                           ({"k": 0}, "greater than or equal to 1"),
                           ({"to": "image"}, "was not trained to compare"),
                           ({"to": "foto"}, "foto")):
        with pytest.raises(SensoriumError, match=words):
            client.search({"note": "red"}, **options)  # type: ignore[arg-type]


def test_a_search_that_takes_long_keeps_no_prediction_waiting(
    client: Client, index: Index, monkeypatch: pytest.MonkeyPatch,
) -> None:
    may = threading.Event()
    real = Index.search

    def slow(self: Index, *words: object) -> object:
        may.wait(10)
        return real(self, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "search", slow)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(client.search({"note": "red"})))
    thread.start()
    assert client.predict({"note": "red"})["kind"].value in ("ant", "bee", "cat")
    assert not found
    may.set()
    thread.join()
    assert found


def test_an_index_of_another_model_is_refused(index: Index, folder: Path, tmp_path: Path) -> None:
    other = small_model(tmp_path)
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    with pytest.raises(ModelFolderError, match="was made with model"):
        open_index(folder / "index", ModelEngine(other, IDENTITY))
