"""Retrieval between subsets of modalities: who asks, what is found, what counts as right, on planted words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from embedders import WordEmbedder, samples_of, schema_of
from worlds import QUICK, write_small_world

from sensorium.data.read import as_samples, read
from sensorium.errors import AlignmentError, DataError, RecipeError
from sensorium.evaluation.embedder import Embedder
from sensorium.evaluation.retrieval import directions_of, retrieval, retrieval_lines
from sensorium.metrics.retrieval import RETRIEVAL
from sensorium.training.fit import fit

CLASSES = ("ant", "bee", "cat")
TWO = schema_of(CLASSES, photo="image", note="text")


def _pairs(count: int) -> dict[str, list[str | None]]:
    """Photo and note of a row share a word."""
    return {"photo": [f"id{row} photo" for row in range(count)], "note": [f"id{row} note" for row in range(count)]}


def test_directions() -> None:
    assert directions_of(("a", "b")) == [(("a",), ("b",)), (("b",), ("a",))]
    three = directions_of(("a", "b", "c"))
    assert len(three) == len(set(three)) == 12
    assert (("a", "c"), ("b",)) in three
    assert (("b",), ("a", "c")) in three
    assert [len(query) + len(gallery) for query, gallery in three] == [2] * 6 + [3] * 6
    four = directions_of(tuple("abcd"))
    assert len(four) == len(set(four)) == 16
    assert (("a", "b", "d"), ("c",)) in four
    assert all(not set(query) & set(gallery) for query, gallery in three + four)


def test_rows_that_belong_together_find_each_other() -> None:
    samples = samples_of(TWO, _pairs(60))
    scores = retrieval(WordEmbedder(TWO), samples)
    assert [(one.query, one.gallery) for one in scores] == [(("photo",), ("note",)), (("note",), ("photo",))]
    for one in scores:
        assert (one.queries, one.gallery_size, one.left_out, one.right, one.unit) == (60, 60, 0, 1.0, "rows")
        assert one.metrics["recall_at_1"].value > 0.95
        assert one.chance["recall_at_1"] == pytest.approx(1 / 60)
        assert set(one.metrics) == set(one.chance) == set(RETRIEVAL)


def test_a_collapsed_model_scores_chance() -> None:
    samples = samples_of(TWO, _pairs(40))
    for one in retrieval(WordEmbedder(TWO, collapsed=True), samples):
        for name in RETRIEVAL:
            assert one.metrics[name].value == pytest.approx(one.chance[name], rel=1e-9), name


def test_shared_cells_are_one_item_with_several_right_answers() -> None:
    """Three notes to a photo: one photo query with three right answers, three note queries with one each."""
    columns: dict[str, list[str | None]] = {
        "photo": [f"id{row // 3} photo" for row in range(30)], "note": [f"id{row // 3} n{row}" for row in range(30)]}
    forth, back = retrieval(WordEmbedder(TWO), samples_of(TWO, columns))
    assert (forth.queries, forth.gallery_size, forth.right) == (10, 30, 3.0)
    assert (back.queries, back.gallery_size, back.right) == (30, 10, 1.0)
    assert forth.metrics["map"].value > 0.95
    assert forth.chance["recall_at_1"] == pytest.approx(0.1)
    everywhere = {"photo": columns["photo"], "note": ["the same note"] * 30}
    only = retrieval(WordEmbedder(TWO), samples_of(TWO, everywhere))[0]
    assert (only.gallery_size, only.metrics["recall_at_1"].value, only.chance["recall_at_1"]) == (1, 1.0, 1.0)


def test_lists_of_cells_are_items_of_their_own() -> None:
    columns = {"photo": ["a;b", "a", "a;b", "b"], "note": ["w", "x", "y", "z"]}
    forth, back = retrieval(WordEmbedder(TWO), samples_of(TWO, columns))
    assert (forth.queries, forth.gallery_size, forth.right) == (3, 4, 4 / 3)
    assert (back.queries, back.gallery_size) == (4, 3)


def test_absent_sides_stay_in_the_gallery_and_are_left_out_as_queries() -> None:
    columns = _pairs(20)
    columns["note"][:5] = [None] * 5
    columns["photo"][15:] = [None] * 5
    forth, back = retrieval(WordEmbedder(TWO), samples_of(TWO, columns))
    assert (forth.queries, forth.left_out, forth.gallery_size) == (10, 5, 15)
    assert (back.queries, back.left_out, back.gallery_size) == (10, 5, 15)


def test_only_the_given_rows_take_part() -> None:
    samples = samples_of(TWO, _pairs(30))
    chosen = np.array([3, 5, 7, 11])
    assert retrieval(WordEmbedder(TWO), samples, chosen)[0].gallery_size == 4


def test_more_modalities_say_more() -> None:
    """Half of what tells a sound is in the photo, half in the note."""
    schema = schema_of(photo="image", note="text", sound="audio")
    columns: dict[str, list[str | None]] = {
        "photo": [f"left{row // 8} p{row}" for row in range(64)],
        "note": [f"right{row % 8} n{row}" for row in range(64)],
        "sound": [f"left{row // 8} right{row % 8}" for row in range(64)]}
    scores = {(one.query, one.gallery): one for one in retrieval(WordEmbedder(schema), samples_of(schema, columns))}
    assert len(scores) == 12
    assert scores[("photo", "note"), ("sound",)].metrics["recall_at_1"].low > 0.8
    for single in ("photo", "note"):
        assert scores[(single,), ("sound",)].metrics["recall_at_1"].high < 0.5
        assert scores[(single,), ("sound",)].metrics["recall_at_10"].value > 0.8


def test_right_by_class() -> None:
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, 45)
    columns = {"photo": [f"{CLASSES[one]} {CLASSES[one]} p{row}" for row, one in enumerate(kind)],
               "note": [f"{CLASSES[one]} n{row}" for row, one in enumerate(kind)]}
    labels: list[int | None] = [*kind.tolist()]
    labels[0], labels[1] = None, -1
    samples = samples_of(TWO, columns, kind=labels)
    model = WordEmbedder(TWO)
    one = retrieval(model, samples, by="kind")[0]
    assert (one.by, one.queries, one.gallery_size) == ("kind", 43, 43)
    assert one.metrics["map"].value > 0.9
    assert one.right == pytest.approx(np.mean([(kind[2:] == own).sum() for own in kind[2:]]))
    others = retrieval(model, samples, by="kind", exclude_self=True)[0]
    assert others.right == pytest.approx(one.right - 1)
    assert others.chance["recall_at_1"] < one.chance["recall_at_1"]


def test_a_cell_of_two_classes_is_two_queries() -> None:
    columns = {"photo": ["a", "a", "b"], "note": ["w", "x", "y"]}
    samples = samples_of(TWO, columns, kind=[0, 1, 1])
    forth, back = retrieval(WordEmbedder(TWO), samples, by="kind")
    assert (forth.queries, back.gallery_size) == (3, 3)
    assert forth.right == pytest.approx((1 + 2 + 2) / 3)
    assert retrieval(WordEmbedder(TWO), samples)[0].queries == 2


def test_given_directions() -> None:
    schema = schema_of(photo="image", note="text", sound="audio", smell="text")
    columns = {name: [f"id{row} {name}" for row in range(12)] for name in schema.names}
    samples = samples_of(schema, columns)
    assert len(retrieval(WordEmbedder(schema), samples)) == 16
    [one] = retrieval(WordEmbedder(schema), samples, directions=[(["sound", "photo"], "note")])
    assert (one.query, one.gallery) == (("photo", "sound"), ("note",))


def test_groups_are_resampled_whole() -> None:
    groups = [row // 4 for row in range(60)]
    [one, _] = retrieval(WordEmbedder(TWO), samples_of(TWO, _pairs(60), groups=groups))
    assert one.unit == "groups"


def test_the_seed_moves_the_interval_alone() -> None:
    columns: dict[str, list[str | None]] = {
        "photo": [f"id{row // 2} photo" for row in range(60)], "note": [f"id{row // 2} {row}" for row in range(60)]}
    samples = samples_of(TWO, columns)
    a, b, c = (retrieval(WordEmbedder(TWO), samples, seed=seed)[1].to_json() for seed in (0, 0, 1))
    assert a == b
    assert a["chance"] == c["chance"]
    assert {name: one["value"] for name, one in a["metrics"].items()} == {
        name: one["value"] for name, one in c["metrics"].items()}


def test_a_direction_without_right_answers_has_no_score() -> None:
    columns = _pairs(6)
    columns["note"] = [None] * 6
    samples = samples_of(TWO, columns)
    assert retrieval(WordEmbedder(TWO), samples) == []
    assert retrieval_lines([]) == []
    with pytest.raises(AlignmentError, match="photo → note: none of 6 queries .* among 0 items, in 6 rows"):
        retrieval(WordEmbedder(TWO), samples, directions=[("photo", "note")])


def test_lines_and_json() -> None:
    columns = _pairs(1200)
    columns["note"][0] = None
    scores = retrieval(WordEmbedder(TWO), samples_of(TWO, columns))
    lines = retrieval_lines(scores)
    assert len({len(line) for line in lines[:6]}) == 1
    assert "R@1" in lines[0]
    assert "mAP" in lines[0]
    assert lines[2].startswith("| photo → note | 1,199   | 1,199 | ")
    assert "by chance" in lines[3]
    assert "0.000834" in lines[3]
    assert lines[-1] == "photo → note: 1 queries have no right answer among the items and are left out"
    plain = json.loads(json.dumps(scores[0].to_json()))
    assert plain["query"] == ["photo"]
    assert set(plain["metrics"]["map"]) == {"value", "low", "high"}


def test_what_cannot_be_retrieved_is_said() -> None:
    samples = samples_of(TWO, _pairs(4), kind=[0, 1, 2, 0])
    model = WordEmbedder(TWO)
    with pytest.raises(AlignmentError, match="not in one space: train it with --objective contrast"):
        retrieval(WordEmbedder(TWO, aligned=False), samples)
    with pytest.raises(AlignmentError, match="'note' is on both sides"):
        retrieval(model, samples, directions=[(["photo", "note"], ["note"])])
    with pytest.raises(RecipeError, match="unknown modality 'notes': choose one of photo, note. Did you mean 'note'"):
        retrieval(model, samples, directions=[("photo", "notes")])
    with pytest.raises(AlignmentError, match="at least one modality of photo, note, found none"):
        retrieval(model, samples, directions=[("photo", [])])
    with pytest.raises(DataError, match="target of classes 'size': choose one of kind"):
        retrieval(model, samples, by="size")
    with pytest.raises(AlignmentError, match="name a target in `by`"):
        retrieval(model, samples, exclude_self=True)
    one = schema_of(photo="image")
    with pytest.raises(AlignmentError, match=r"at least 2 modalities, the model has 1 \(photo\)"):
        retrieval(WordEmbedder(one), samples_of(one, {"photo": ["a"]}))


def test_a_model_is_an_embedder(tmp_path: Path) -> None:
    """A contrasted model of the small world, whose notes are of three sorts."""
    recipe = QUICK.changed("objectives", contrast={}).changed("training", epochs=1)
    data = read(write_small_world(tmp_path, rows=40, missing=0.1), targets="kind", inputs=["image", "note"])
    model: Embedder = fit(data, recipe, progress=False)
    forth, back = retrieval(model, as_samples(data, model.schema))
    assert (forth.query, back.query) == (("image",), ("note",))
    assert (forth.gallery_size, back.queries) == (3, 3)
    assert forth.right == 1
    assert back.right > 5
    assert forth.metrics["map"].value > forth.chance["map"] - 0.2
