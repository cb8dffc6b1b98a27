"""From a tiny trained model to what it finds: built, resumed, changed, searched by any subset, refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from worlds import write_pairs, write_small_world

import sensorium as sm
from sensorium.errors import AlignmentError, DataError, ModelFolderError, RecipeError
from sensorium.recipe import Recipe
from sensorium.retrieval import embedding
from sensorium.retrieval.identity import model_identity
from sensorium.retrieval.index import Index
from sensorium.retrieval.search import find, unaligned_note

TINY = {"model": {"width": 32}, "training": {"epochs": 1, "batch_size": 16, "workers": 0, "refit": "never"}}
WORDS = "red on the left and blue on the right"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a table with ids, and a contrast model."""
    folder = tmp_path_factory.mktemp("pairs")
    lines = write_pairs(folder, rows=60).read_text().splitlines()
    (folder / "table.csv").write_text("\n".join(
        [f"id,year,{lines[0]}", *(f"r{row},{2000 + row % 5},{line}" for row, line in enumerate(lines[1:]))]))
    recipe = Recipe.checked({**TINY, "objectives": {"contrast": {}}, "data": {"inputs": ["picture", "words"]}})
    sm.fit(folder / "table.csv", recipe, progress=False).save(folder / "run")
    return folder


@pytest.fixture(scope="module")
def model(pairs: Path) -> sm.Model:
    return sm.Model.load(pairs / "run")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.retrieval.building.ROWS_AT_ONCE", 16)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every part that a model was asked to embed."""
    rows: list[int] = []
    real = sm.Model.embeddings

    def counted(self: sm.Model, samples: object, *args: object, **named: object) -> object:
        rows.append(len(samples))  # type: ignore[arg-type]
        return real(self, samples, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(sm.Model, "embeddings", counted)
    return rows


def test_every_subset_ranks_every_modality(pairs: Path, model: sm.Model, tmp_path: Path, small_parts: None) -> None:
    index = sm.Index.build(model, pairs / "table.csv", tmp_path / "idx", model_folder=pairs / "run", progress=False)
    assert (len(index), index.modalities, index.aligned) == (60, ("picture", "words"), True)
    assert index.model_folder == (pairs / "run").resolve() and index.root == pairs.resolve()
    assert index.columns == {"id": "text", "year": "whole", "picture": "text", "words": "text", "first": "text"}
    assert not (tmp_path / "idx" / "embedding").exists()
    of = {None: None, "picture": ["picture"], "words": ["words"]}
    vectors = {to: model.embed(pairs / "table.csv", modalities=names) for to, names in of.items()}
    for given in ({"words": WORDS}, {"picture": pairs / "3.png"}, {"words": WORDS, "picture": pairs / "3.png"}):
        query = model.embed(given)[0]
        for to, own in vectors.items():
            hits = find(model, index, given, 5, to=to)
            expected = np.argsort(-(own @ query), kind="stable")[:5]
            assert np.allclose([hit.score for hit in hits], (own @ query)[expected], atol=1e-5)
            assert [hit.modality for hit in hits] == [to or ""] * 5
            assert Path(hits[0].row["picture"]).is_file() and hits[0].row["year"] >= 2000
    hits = find(model, index, {"words": WORDS}, 60, where="year = 2003 and first <> 'red'")
    assert {hit.row["year"] for hit in hits} == {2003} and "red" not in {hit.row["first"] for hit in hits}


def test_it_goes_on_where_it_stopped(
    pairs: Path, model: sm.Model, tmp_path: Path, small_parts: None, encoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(pairs, tmp_path / "data")
    table = tmp_path / "data" / "table.csv"
    real = embedding._vectors

    def stops(*args: object) -> object:
        if len(encoded) == 2:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(embedding, "_vectors", stops)
    with pytest.raises(KeyboardInterrupt):
        Index.build(model, table, tmp_path / "idx", progress=False)
    assert encoded == [16, 16]
    with pytest.raises(DataError, match="is not made yet: the same sensorium index goes on where it stopped"):
        Index.open(tmp_path / "idx")
    monkeypatch.setattr(embedding, "_vectors", real)
    encoded.clear()
    text = table.read_text().splitlines()
    text[20] = text[20].rpartition(" on the right")[0] + " on the right or not,red"
    table.write_text("\n".join(text))  # row 20 is in the second part, which was embedded: it is embedded anew
    index = Index.build(model, table, tmp_path / "idx", progress=False)
    assert encoded == [16, 16, 12]
    expected = model.embed(table)
    assert index.nearest(expected, 1)[0] == pytest.approx(np.ones((60, 1)), abs=1e-5)


def test_rows_are_added_replaced_and_deleted(pairs: Path, model: sm.Model, tmp_path: Path) -> None:
    lines = (pairs / "table.csv").read_text().splitlines()
    folder = tmp_path / "data"
    shutil.copytree(pairs, folder)
    (folder / "first.csv").write_text("\n".join(lines[:41]))
    (folder / "more.csv").write_text("\n".join([lines[0], lines[1].replace("2000", "1900.5"), *lines[41:]]))
    index = Index.build(model, folder / "first.csv", tmp_path / "idx", progress=False)
    index.add(model, folder / "more.csv", progress=False)
    assert len(index) == 60 and index.columns["year"] == "number"
    assert [hit.row["year"] for hit in index.search(model.embed({"words": WORDS}), 60, "id = 'r0'")[0]] == [1900.5]
    assert len(index.search(model.embed({"words": WORDS}), 100)[0]) == 60
    index.delete(["r0"])
    assert len(index) == 59 and not index.search(model.embed({"words": WORDS}), 60, "id = 'r0'")[0]
    (folder / "bare.csv").write_text("words\nred\n")
    with pytest.raises(DataError, match="has no column 'id', in which this index has its ids"):
        index.add(model, folder / "bare.csv", progress=False)
    with pytest.raises(DataError, match="--id words: the ids of the index .* stand in 'id'"):
        index.add(model, folder / "more.csv", id="words", progress=False)


def test_numbered_rows_are_numbered_on(pairs: Path, model: sm.Model, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("words\nred\nblue\n")
    index = Index.build(model, tmp_path / "a.csv", tmp_path / "idx", progress=False)
    index.delete(["2"])
    index.add(model, tmp_path / "a.csv", progress=False)
    hits = index.search(model.embed({"words": "blue"}), 10, "id <> '1'", "words")[0]
    assert [hit.id for hit in hits] == ["4", "3"] and hits[0].row == {"words": "blue"}
    assert not index.search(model.embed({"words": "blue"}), to="picture")[0]


def test_another_model_is_refused(pairs: Path, model: sm.Model, tmp_path: Path) -> None:
    index = Index.build(model, pairs / "table.csv", tmp_path / "idx", model_folder=pairs / "run", progress=False)
    other = sm.Model.load(pairs / "run")
    assert model_identity(other) == model_identity(model) == index.identity
    other.temperatures = dict.fromkeys(other.temperatures, 2.0)
    assert model_identity(other) == index.identity
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    with pytest.raises(ModelFolderError, match=r"was made with model \w{12} \(.*run\), this is model \w{12}"):
        find(other, index, {"words": WORDS})
    with pytest.raises(ModelFolderError, match="was made with model"):
        index.add(other, pairs / "table.csv", progress=False)
    plain = Index.from_vectors(tmp_path / "plain", np.eye(32))
    with pytest.raises(ModelFolderError, match="holds vectors of no sensorium model"):
        find(model, plain, {"words": WORDS})


def test_what_cannot_be_searched_with(pairs: Path, model: sm.Model, tmp_path: Path) -> None:
    index = Index.build(model, pairs / "table.csv", tmp_path / "idx", progress=False)
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(DataError, match="nothing to search with"):
        find(model, index, {})
    with pytest.raises(DataError, match="expected a dictionary of column and cell, found list"):
        find(model, index, [{"words": "a"}])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="what is given is blank"):
        find(model, index, {"words": "  "})
    with pytest.raises(DataError, match="unknown column 'word'.*Did you mean 'words'"):
        find(model, index, {"word": "red"})
    with pytest.raises(DataError, match=r"unreadable cell: row 1, column 'picture'.*broken\.png"):
        find(model, index, {"picture": str(tmp_path / "broken.png")})
    with pytest.raises(RecipeError, match="unknown column 'yeer'"):
        find(model, index, {"words": WORDS}, where="yeer > 2000")
    for table, line in (("id,words\na,red\na,blue\n", "rows 1 and 2 have the same id 'a'"),
                        ("id,words\na,red\n,blue\n", "row 2 has no id: column 'id' is blank there"),
                        ("__id__,words\na,red\n", "has a column '__id__', which an index keeps for itself")):
        (tmp_path / "t.csv").write_text(table)
        with pytest.raises(DataError, match=line):
            Index.build(model, tmp_path / "t.csv", tmp_path / "other", progress=False)
    with pytest.raises(DataError, match=r"--id: unknown column 'ids': choose one of __id__, words"):
        Index.build(model, tmp_path / "t.csv", tmp_path / "other", id="ids", progress=False)


def test_a_model_that_compares_no_modalities_says_so(tmp_path: Path) -> None:
    table = write_small_world(tmp_path / "world", rows=40)
    model = sm.fit(sm.read(table, targets="kind"), Recipe.checked(TINY), progress=False, allow_leak=True)
    index = Index.build(model, table, tmp_path / "idx", progress=False)
    assert not index.aligned
    with pytest.raises(AlignmentError, match="'image' cannot be ranked by note: the model was not trained to compare"):
        find(model, index, {"note": "this one looks red to me"}, to="image")
    row = next(line for line in table.read_text().splitlines()[1:] if line.split(",")[2]).split(",")
    [hit] = find(model, index, {"note": row[2]}, 1, to="note")
    assert hit.score == pytest.approx(1.0, abs=1e-5)
    assert find(model, index, {"note": row[2]}, 3)
    assert "this model was not trained to compare modalities" in str(unaligned_note(index, ("note",), None))
    assert unaligned_note(index, index.modalities, None) is None
    # what a row lacks is not ranked, and unreadable rows are never found
    present = pl.read_csv(table)["image"].is_not_null().sum()
    vectors = model.embed(table, modalities=["image"])
    assert len(index.search(vectors[~np.isnan(vectors[:, 0])][:1], 100, to="image")[0]) == present
