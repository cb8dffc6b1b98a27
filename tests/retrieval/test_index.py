"""An index beside a naive one: exact search, filters, structures, deletion, replacement, what is on disk."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sensorium.errors import DataError, RecipeError, SensoriumError
from sensorium.retrieval import exact, space, structuring, writing
from sensorium.retrieval.durable import writing as locked
from sensorium.retrieval.index import Index

WIDTH = 16


def unit(random: np.random.Generator, rows: int, width: int = WIDTH) -> np.ndarray:
    vectors = random.normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(random: np.random.Generator, rows: int, width: int = WIDTH) -> np.ndarray:
    centres = unit(np.random.default_rng(99), 40, width)
    vectors = centres[random.integers(40, size=rows)] + 0.15 * random.normal(size=(rows, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rows_of(count: int) -> pl.DataFrame:
    return pl.DataFrame({"key": [f"k{row}" for row in range(count)],
                         "year": [str(1990 + row % 40) for row in range(count)],
                         "ward": [("east", "west", "")[row % 3] for row in range(count)]})


def naive(vectors: np.ndarray, query: np.ndarray, k: int, kept: np.ndarray | None = None) -> list[int]:
    """The rows with the largest inner products, one at a time."""
    scores = [(-float(np.dot(vector.astype(np.float64), query.astype(np.float64))), row)
              for row, vector in enumerate(vectors)
              if not np.isnan(vector).any() and (kept is None or kept[row])]
    return [row for _, row in sorted(scores)[:k]]


def made(
    folder: Path, rows: int = 300, *, structure: str = "flat", half: bool = False,
) -> tuple[Index, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    whole, photo = clustered(random, rows), clustered(random, rows)
    photo[random.random(rows) < 0.3] = np.nan
    index = Index.from_vectors(folder, {"photo": photo, "": whole}, rows_of(rows), structure=structure, half=half,
                               ids=[f"id{row}" for row in range(rows)])
    return index, whole, photo


def found(index: Index, query: np.ndarray, k: int, where: str | None = None, to: str | None = None) -> list[int]:
    return [int(hit.id[2:]) for hit in index.search(query, k, where, to)[0]]


@pytest.mark.parametrize("block", [7, 1 << 15])
def test_the_same_as_naive_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(exact, "BLOCK", block)
    index, whole, photo = made(tmp_path / "idx")
    queries = unit(np.random.default_rng(2), 5)
    for query in queries:
        assert found(index, query, 12) == naive(whole, query, 12)
        assert found(index, query, 12, to="photo") == naive(photo, query, 12)
        kept = np.array([1990 + row % 40 > 2010 and row % 3 == 0 for row in range(300)])
        assert found(index, query, 12, "year > 2010 AND ward = 'east'", "photo") == naive(photo, query, 12, kept)
    hits = index.search(queries, 3)
    assert [len(own) for own in hits] == [3] * 5
    first = hits[0][0]
    row = int(first.id[2:])
    assert first.row == {"key": f"k{row}", "year": 1990 + row % 40, "ward": ("east", "west", "")[row % 3]}
    assert first.score == pytest.approx(float(whole[row] @ queries[0]), abs=1e-6)
    assert first.modality == "" and index.search(queries[:1], 1, to="photo")[0][0].modality == "photo"
    assert len(index.search(queries[:1], 500)[0]) == 300
    assert len(index.search(queries[:1], 500, to="photo")[0]) == int((~np.isnan(photo[:, 0])).sum())
    assert index.search(queries[:1], 5, "year > 3000")[0] == []


@pytest.mark.parametrize("structure", ["hnsw", "ivf", "ivfpq"])
def test_structures_find_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, structure: str) -> None:
    random = np.random.default_rng(3)
    vectors = clustered(random, 3000, 32)
    index = Index.from_vectors(tmp_path / "idx", vectors, rows_of(3000), structure=structure)
    facts = index.manifest.structures[""]
    assert (facts.kind, facts.size) == (structure, 3000)
    queries = clustered(random, 100, 32)
    scores, places = index.nearest(queries, 10)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth.tolist(), places.tolist(), strict=True)])
    assert recall > 0.9
    assert abs(recall - facts.recall) < 0.06
    assert np.allclose(scores, np.take_along_axis(queries @ vectors.T, places, axis=1), atol=1e-5)
    assert np.array_equal(Index.open(tmp_path / "idx").nearest(queries, 10)[1], places)
    # a filter is exact where few are left, and keeps its promise where many are
    kept = np.array([1990 + row % 40 > 2028 for row in range(3000)])
    assert kept.sum() < 100
    for query in queries[:5]:
        assert index.nearest(query, 10, where="year > 2028")[1][0].tolist() == naive(vectors, query, 10, kept)
    monkeypatch.setattr(space, "EXACT_VECTORS", 10)
    _, places = index.nearest(queries, 10, where="ward = 'east'")
    assert (places[places >= 0] % 3 == 0).all()
    east = np.flatnonzero(np.arange(3000) % 3 == 0)
    truth = east[np.argsort(-(queries @ vectors[east].T), axis=1)[:, :10]]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth.tolist(), places.tolist(), strict=True)]) > 0.9


def test_a_structure_grows_and_what_was_added_since_is_searched_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(4)
    vectors = clustered(random, 1200)
    Index.from_vectors(tmp_path / "idx", vectors[:1000], structure="hnsw")
    monkeypatch.setattr(structuring, "EXACT_VECTORS", 400)
    for start, stop, size in ((1000, 1050, 1000), (1050, 1200, 1200)):
        with writing.exclusively(tmp_path / "idx"):
            state = writing.read_manifest(tmp_path / "idx")
            part = writing.Part([f"n{row}" for row in range(start, stop)], pl.DataFrame(), {},
                                {"": vectors[start:stop]})
            writing.added(tmp_path / "idx", state, [part], writing.Origin(tmp_path, "more"), lambda *_: None)
        index = Index.open(tmp_path / "idx")
        assert len(index) == stop and index.manifest.structures[""].size == size
        assert index.nearest(vectors[:stop], 1)[1][:, 0].tolist() == list(range(stop))


@pytest.mark.parametrize("structure", ["flat", "hnsw"])
def test_deleted_rows_are_not_found_and_their_place_is_freed(tmp_path: Path, structure: str) -> None:
    index, whole, photo = made(tmp_path / "idx", structure=structure)
    gone = [3, 4, 77, 299]
    index.delete([f"id{row}" for row in gone])
    kept = np.ones(300, dtype=bool)
    kept[gone] = False
    assert len(index) == 296 and len(index.manifest.segments) == 1 and index.manifest.num_deleted == 4
    for row in (3, 4, 50, 299):
        assert found(index, whole[row], 5) == naive(whole, whole[row], 5, kept)
    with pytest.raises(DataError, match=r"no row of the index has the id 'id3' \(and 1 more\): nothing was deleted"):
        index.delete(["id3", "id5", "nobody"])
    for ids in ("id4", 4):  # a text would be its letters
        with pytest.raises(DataError, match=f"ids to delete: expected a list of them, found {ids!r}"):
            index.delete(ids)  # type: ignore[arg-type]
    assert len(index) == 296
    before = sum(file.stat().st_size for file in (tmp_path / "idx").rglob("*.vectors"))
    index.delete([f"id{row}" for row in range(100, 250)])
    kept[100:250] = False
    assert len(index) == 146 and index.manifest.num_deleted == 0
    assert sum(file.stat().st_size for file in (tmp_path / "idx").rglob("*.vectors")) < 0.6 * before
    for query in whole[::60]:
        assert found(index, query, 9) == naive(whole, query, 9, kept)
        assert found(index, query, 9, "year > 2000", "photo") == naive(
            photo, query, 9, kept & np.array([1990 + row % 40 > 2000 for row in range(300)]))
    index.delete([f"id{row}" for row in np.flatnonzero(kept)])
    assert len(index) == 0 and index.search(whole[:1]) == [[]]
    assert len(Index.open(tmp_path / "idx")) == 0


def test_half_precision_and_export(tmp_path: Path) -> None:
    index, whole, photo = made(tmp_path / "idx", half=True)
    size = sum(file.stat().st_size for file in (tmp_path / "idx").rglob("0.vectors"))
    assert size == 2 * WIDTH * int((~np.isnan(photo[:, 0])).sum())
    assert index.nearest(whole, 1)[1][:, 0].tolist() == list(range(300))
    index.delete(["id0"])
    assert index.export(tmp_path / "out.parquet") == 299
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table.columns == ["id", "key", "year", "ward", "vector_photo", "vector"]
    assert table["year"].dtype == pl.Int64 and table["id"][0] == "id1"
    assert np.allclose(np.stack(table["vector"].to_list()), whole[1:], atol=1e-3)
    assert [one is None for one in table["vector_photo"].to_list()] == np.isnan(photo[1:, 0]).tolist()
    with pytest.raises(DataError, match=r"exported as \.parquet"):
        index.export(tmp_path / "out.csv")
    assert index.vector("id5") == pytest.approx(whole[5], abs=1e-3)
    missing = int(np.flatnonzero(np.isnan(photo[:, 0]))[-1])
    assert index.vector(f"id{missing}", "photo") is None
    with pytest.raises(DataError, match="no row of the index has the id 'x'"):
        index.vector("x")


def test_an_open_index_stays_what_it_was_until_it_looks_again(tmp_path: Path) -> None:
    index, whole, _ = made(tmp_path / "idx", structure="hnsw")
    Index.open(tmp_path / "idx").delete([f"id{row}" for row in range(200)])
    assert len(index) == 300 and found(index, whole[5], 1) == [5]
    assert index.refresh() and not index.refresh()
    assert len(index) == 100 and found(index, whole[5], 1) != [5]


def test_one_writer_at_a_time_and_the_swept(tmp_path: Path) -> None:
    index, _, _ = made(tmp_path / "idx")
    (tmp_path / "idx" / "segment-left").mkdir()
    (tmp_path / "idx" / "mine.txt").write_text("kept")
    with locked(tmp_path / "idx"), pytest.raises(DataError, match="is being written by another process"):
        index.delete(["id1"])
    index.delete(["id1"])
    assert not (tmp_path / "idx" / "segment-left").exists() and (tmp_path / "idx" / "mine.txt").exists()


def test_damage_is_said(tmp_path: Path) -> None:
    made(tmp_path / "idx")
    file = next((tmp_path / "idx").rglob("1.vectors"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    with pytest.raises(DataError, match=rf"1\.vectors' is broken: {len(whole) - 4} bytes, expected {len(whole)}"):
        Index.open(tmp_path / "idx")
    file.unlink()
    with pytest.raises(DataError, match="is broken"):
        Index.open(tmp_path / "idx")
    manifest = tmp_path / "idx" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 9}))
    with pytest.raises(DataError, match="has format 9; this version reads 1"):
        Index.open(tmp_path / "idx")
    manifest.write_text("{")
    with pytest.raises(DataError, match=r"its manifest\.json cannot be read"):
        Index.open(tmp_path / "idx")
    with pytest.raises(DataError, match="no index at"):
        Index.open(tmp_path / "nothing")
    with pytest.raises(DataError, match="is not an index"):
        Index.open(tmp_path)


def test_what_is_refused(tmp_path: Path) -> None:
    index, whole, _ = made(tmp_path / "idx")
    with pytest.raises(DataError, match=r"expected \(query, 16\), as the index has them; found \(1, 3\)"):
        index.search(np.zeros(3))
    with pytest.raises(DataError, match="not finite"):
        index.search(np.full(16, np.nan))
    for k in (0, -1, 10_001):
        with pytest.raises(RecipeError, match=f"expected 1…10,000, found {k}"):
            index.search(whole[0], k)
    with pytest.raises(RecipeError, match="unknown modality to rank 'foto': choose one of photo. Did you mean 'photo'"):
        index.search(whole[0], to="foto")
    with pytest.raises(DataError, match="is an index already: --add adds rows to it, --overwrite replaces it"):
        Index.from_vectors(tmp_path / "idx", whole)
    with pytest.raises(DataError, match="rows 1 and 2 have the same id 'a'"):
        Index.from_vectors(tmp_path / "other", whole[:2], ids=["a", "a"])
    with pytest.raises(RecipeError, match="unknown structure 'hsnw'.*Did you mean 'hnsw'"):
        Index.from_vectors(tmp_path / "other", whole, structure="hsnw")
    with pytest.raises(DataError, match="rows: expected 300, one a vector; found 2"):
        Index.from_vectors(tmp_path / "other", whole, rows_of(2))
    with pytest.raises(DataError, match="expected one row at least, found none"):
        Index.from_vectors(tmp_path / "none", whole[:0])
    assert not (tmp_path / "none").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("")
    with pytest.raises(DataError, match="is there already and is no index"):
        Index.from_vectors(tmp_path / "full", whole)
    again = Index.from_vectors(tmp_path / "idx", whole[:10], overwrite=True)
    assert len(again) == 10 and index.refresh() and len(index) == 10


def test_what_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, whole, _ = made(tmp_path / "idx")
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(SensoriumError, match=r"pip install 'sensorium\[search\]'"):
        index.search(whole[0])
    with pytest.raises(SensoriumError, match=r"--where needs duckdb: pip install 'sensorium\[search\]'"):
        index.search(whole[0], where="year > 3")
    with pytest.raises(SensoriumError, match="needs faiss"):
        Index.from_vectors(tmp_path / "other", whole)
    assert not (tmp_path / "other").exists()
