"""Zero-shot: prompts, ensembles, answers and scores, on planted words and through a model's own text modality."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from embedders import WordEmbedder, samples_of, schema_of, word_vector
from worlds import QUICK, write_small_world

from sensorium.data.read import as_samples, read
from sensorium.data.schema import Modality, Schema
from sensorium.data.sources import row_cells
from sensorium.data.table import read_table, table_of_rows
from sensorium.errors import AlignmentError, DataError, RecipeError
from sensorium.evaluation.prompts import prompt_embeddings, prompts_of, text_modality
from sensorium.evaluation.zero_shot import (
    class_embeddings,
    column_labels,
    zero_shot,
    zero_shot_lines,
    zero_shot_probabilities,
    zero_shot_scores,
)
from sensorium.metrics.classification import accuracy, balanced_accuracy
from sensorium.training.fit import fit

BIRDS = ["wren", "robin", "crow"]
TWO = schema_of(photo="image", note="text")


def _birds(count: int = 60) -> tuple[dict[str, list[str | None]], list[str | None]]:
    truth: list[str | None] = [BIRDS[row % 3] if row % 5 else "wren" for row in range(count)]
    return {"photo": [f"{bird} p{row}" for row, bird in enumerate(truth)], "note": [None] * count}, truth


def _embed(texts: list[str]) -> np.ndarray:
    return np.stack([word_vector(text) for text in texts])


def test_prompts_are_normalised_averaged_and_normalised_again() -> None:
    templates = ["a photo of a {}", "{}", "the {} sings and sings and sings"]
    found = class_embeddings(_embed, BIRDS, templates)
    for bird, own in zip(BIRDS, found, strict=True):
        each = [word_vector(form.replace("{}", bird)) for form in templates]
        mean = np.mean([one / np.linalg.norm(one) for one in each], axis=0)
        np.testing.assert_allclose(own, mean / np.linalg.norm(mean), rtol=1e-5)
    assert found.dtype == np.float32
    longer = class_embeddings(lambda texts: 7 * _embed(texts), BIRDS, templates)
    np.testing.assert_allclose(longer, found, rtol=1e-5)


def test_embed_is_called_once_and_braces_in_labels_are_text() -> None:
    calls: list[list[str]] = []
    class_embeddings(lambda texts: calls.append(texts) or _embed(texts), ["{0}", "{} b"], ["the {}", "{}"])
    assert calls == [["the {0}", "{0}", "the {} b", "{} b"]]
    assert prompts_of(["a", "b"], "{}!") == [["a!"], ["b!"]]
    assert prompts_of(["a", "b"], "{} {x} {") == [["a {x} {"], ["b {x} {"]]


def test_probabilities_are_a_softmax_of_cosines() -> None:
    random = np.random.default_rng(0)
    rows, classes = random.normal(size=(2, 6, 5)).astype(np.float32)
    rows, classes = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (rows, classes))
    rows[2] = np.nan
    found = zero_shot_probabilities(rows, classes, scale=20.0)
    raised = np.exp(20 * rows.astype(np.float64) @ classes.T)
    np.testing.assert_allclose(found, raised / raised.sum(axis=1, keepdims=True), rtol=1e-5)
    assert np.isnan(found[2]).all()
    assert zero_shot_probabilities(np.full((2, 5), np.nan, dtype=np.float32), classes).shape == (2, 6)
    sure = zero_shot_probabilities(rows, classes, scale=1e4)
    np.testing.assert_allclose(sure[[0, 1]].max(axis=1), 1, atol=1e-3)


def test_answers_for_labels_of_no_target() -> None:
    columns, truth = _birds()
    columns["photo"][7] = None
    answers = zero_shot(WordEmbedder(TWO), samples_of(TWO, columns), BIRDS, templates="a {}")
    assert len(answers) == 60
    right = [one.value == bird for one, bird in zip(answers, truth, strict=True)]
    assert np.mean(right) > 0.9
    assert list(answers[0].probabilities) == BIRDS
    assert answers[0].modalities == ("photo",)
    assert answers[0].probability == max(answers[0].probabilities.values())
    assert answers[7].modalities == ()
    assert answers[7].probabilities == pytest.approx(dict.fromkeys(BIRDS, 1 / 3))


def test_the_text_modality_is_not_read_of_rows_unless_asked() -> None:
    columns, truth = _birds()
    columns["note"] = ["robin"] * 60
    samples = samples_of(TWO, columns)
    model = WordEmbedder(TWO)
    assert zero_shot(model, samples, BIRDS)[1].value == zero_shot_scores(model, samples, truth).labels[1] == "robin"
    assert zero_shot(model, samples, BIRDS)[2].value == "crow"
    assert {one.value for one in zero_shot(model, samples, BIRDS, modalities="note")} == {"robin"}
    both = zero_shot(model, samples, BIRDS, modalities=["note", "photo"])
    assert both[0].modalities == ("photo", "note")


def test_scores_beside_chance_and_majority() -> None:
    columns, truth = _birds()
    truth[3], columns["photo"][4] = None, None
    score = zero_shot_scores(WordEmbedder(TWO), samples_of(TWO, columns), truth, templates=["a {}", "{}"])
    assert score.labels == ("crow", "robin", "wren")
    assert (score.rows, score.unlabelled, score.absent, score.strangers) == (58, 1, 1, 0)
    assert (score.text, score.modalities, score.templates, score.unit) == ("note", ("photo",), ("a {}", "{}"), "rows")
    kept = [truth[row] for row in range(60) if row not in (3, 4)]
    assert score.metrics["accuracy"].value == pytest.approx(np.trace(score.confusion) / 58)
    assert score.metrics["accuracy"].low > score.majority["accuracy"] == pytest.approx(kept.count("wren") / 58)
    assert score.frequent == "wren"
    assert score.majority["balanced_accuracy"] == pytest.approx(1 / 3)
    assert score.chance == {"accuracy": pytest.approx(1 / 3), "balanced_accuracy": pytest.approx(1 / 3)}
    np.testing.assert_array_equal(score.confusion.sum(axis=1), [kept.count(name) for name in score.labels])


def test_scores_are_those_of_the_answers() -> None:
    columns, truth = _birds()
    columns["photo"] = [f"{cell} {BIRDS[row % 2]} {BIRDS[row % 4 // 2]}" for row, cell in enumerate(columns["photo"])]
    samples = samples_of(TWO, columns)
    score = zero_shot_scores(WordEmbedder(TWO), samples, truth, labels=BIRDS)
    answers = zero_shot(WordEmbedder(TWO), samples, BIRDS)
    probabilities = np.array([list(one.probabilities.values()) for one in answers])
    numbers = np.array([BIRDS.index(one) for one in truth])
    assert 0.4 < score.metrics["accuracy"].value < 1
    assert score.metrics["accuracy"].value == pytest.approx(accuracy(numbers, probabilities))
    assert score.metrics["balanced_accuracy"].value == pytest.approx(balanced_accuracy(numbers, probabilities))


def test_classes_that_are_not_offered_are_wrong() -> None:
    columns, truth = _birds()
    score = zero_shot_scores(WordEmbedder(TWO), samples_of(TWO, columns), truth, labels=["robin", "crow"])
    assert score.strangers == truth.count("wren")
    assert score.metrics["accuracy"].high < 1 - score.strangers / 60 + 0.15
    assert score.confusion.sum() == 60 - score.strangers


def test_only_rows_with_a_class_are_read() -> None:
    columns, truth = _birds()
    model = WordEmbedder(TWO)
    samples = samples_of(TWO, columns, groups=[row // 3 for row in range(60)])
    zero_shot_scores(model, samples, [*truth[:30], *[None] * 30])
    assert model.rows_read == 30
    assert zero_shot_scores(model, samples, truth).unit == "groups"


def test_a_collapsed_model_scores_one_class() -> None:
    columns, truth = _birds()
    score = zero_shot_scores(WordEmbedder(TWO, collapsed=True), samples_of(TWO, columns), truth)
    assert score.metrics["balanced_accuracy"].value == pytest.approx(1 / 3)


def test_labels_of_a_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("photo,alive\na,True\nb,\nc,true\nd,no\n")
    table = read_table(tmp_path / "t.csv")
    found = column_labels(table, "alive")
    assert found[1] is None
    assert found[0] == found[2] != found[3]
    with pytest.raises(DataError, match="unknown column 'live': choose one of photo, alive. Did you mean 'alive'"):
        column_labels(table, "live")


def test_lines_and_json() -> None:
    columns, truth = _birds()
    truth[3], columns["photo"][4] = None, None
    score = zero_shot_scores(WordEmbedder(TWO), samples_of(TWO, columns), truth, labels=["robin", "crow"])
    lines = zero_shot_lines(score)
    assert len({len(line) for line in lines[:5]}) == 1
    assert lines[0].startswith("| zero-shot, 2 classes by note | rows | accuracy")
    assert "| by chance" in lines[3]
    assert "0.500" in lines[3]
    assert lines[4].startswith("| always 'crow'")
    assert lines[5] == "1 rows have no class and are left out"
    assert lines[6] == "1 rows have no photo and are left out"
    assert lines[7].endswith("rows are of a class that is not among the labels and count as wrong")
    plain = json.loads(json.dumps(score.to_json()))
    assert plain["labels"] == ["robin", "crow"]
    assert len(plain["confusion"]) == 2


@pytest.mark.parametrize(("labels", "templates", "said"), [
    (["a", "b"], ["a photo"], r"template 'a photo': expected exactly one \{\} .* found 0"),
    (["a", "b"], ["{} or {}"], "found 2"),
    (["a", "b"], [], "at least one prompt template, found none"),
    (["a"], "{}", r"at least 2 labels, found \['a'\]"),
    ("ab", "{}", "at least 2 labels, found 'ab'"),
    (["a", "b", "a"], "{}", "label 3 of 3, 'a', is there twice"),
    (["a", " "], "{}", "label 2 of 2, ' ', is blank"),
])
def test_wrong_prompts_are_named(labels: list[str], templates: list[str], said: str) -> None:
    with pytest.raises(AlignmentError, match=said):
        class_embeddings(_embed, labels, templates)


def test_embeddings_that_are_none_are_named() -> None:
    with pytest.raises(AlignmentError, match="1 of 2 prompts have no embedding, the first is 'b'"):
        class_embeddings(lambda texts: np.array([[1.0, 0], [np.nan, 0]]), ["a", "b"])
    with pytest.raises(AlignmentError, match="2 of 2 prompts have no embedding"):
        class_embeddings(lambda texts: np.zeros((2, 3)), ["a", "b"])
    with pytest.raises(AlignmentError, match=r"each of 2 prompts, found shape \(3, 2\)"):
        class_embeddings(lambda texts: np.ones((3, 2)), ["a", "b"])
    with pytest.raises(AlignmentError, match="the 2 prompts of 'a' cancel each other"):
        class_embeddings(lambda texts: np.array([[1.0], [-1.0], [1.0], [1.0]]), ["a", "b"], ["{}", "no {}"])
    with pytest.raises(AlignmentError, match=r"shapes \(2, 2\) and \(3, 3\)"):
        zero_shot_probabilities(np.eye(2), np.eye(3))
    with pytest.raises(AlignmentError, match="a scale above 0, found 0"):
        zero_shot_probabilities(np.eye(2), np.eye(2), scale=0)


def test_models_that_cannot_are_told_so() -> None:
    columns, truth = _birds(9)
    samples = samples_of(TWO, columns)
    with pytest.raises(AlignmentError, match="zero-shot compares .* not in one space"):
        zero_shot(WordEmbedder(TWO, aligned=False), samples, BIRDS)
    with pytest.raises(DataError, match="none of 9 rows has a readable note"):
        zero_shot(WordEmbedder(TWO), samples, BIRDS, modalities="note")
    with pytest.raises(DataError, match="of 9 rows 9 have a class, and none of these has a readable note"):
        zero_shot_scores(WordEmbedder(TWO), samples, truth, modalities="note")
    with pytest.raises(DataError, match="each of 9 rows, found 8"):
        zero_shot_scores(WordEmbedder(TWO), samples, truth[:8])
    with pytest.raises(AlignmentError, match=r"at least 2 labels, found \['wren'\]"):
        zero_shot_scores(WordEmbedder(TWO), samples, ["wren"] * 9)
    alone = schema_of(note="text")
    with pytest.raises(AlignmentError, match="a modality besides 'note'"):
        zero_shot(WordEmbedder(alone), samples_of(alone, {"note": ["a"]}), BIRDS)


def test_which_modality_reads_prompts() -> None:
    assert text_modality(TWO, None) == text_modality(TWO, "note") == "note"
    several = schema_of(photo="image", note="text", title="text")
    assert text_modality(several, "title") == "title"
    with pytest.raises(AlignmentError, match=r"the model has 2 \(note, title\): name one"):
        text_modality(several, None)
    with pytest.raises(AlignmentError, match=r"the model has 0 \(none\); its modalities are photo, sound"):
        text_modality(schema_of(photo="image", sound="audio"), None)
    with pytest.raises(AlignmentError, match="'photo' is of kind image; text modalities: note"):
        text_modality(TWO, "photo")
    with pytest.raises(RecipeError, match="unknown modality 'notes'"):
        text_modality(TWO, "notes")
    video = schema_of(clip="image", said="text")
    subtitles = Schema(modalities=(video.modalities[0], Modality(name="clip.text", columns=("clip",), part="text",
                                                                 kind=video.modalities[1].kind)))
    with pytest.raises(AlignmentError, match=r"the model has 0 \(none\)"):
        text_modality(subtitles, None)
    with pytest.raises(AlignmentError, match=r"'clip.text' is the subtitles of videos"):
        text_modality(subtitles, "clip.text")


def test_a_prompt_is_one_cell_where_cells_are_lists() -> None:
    listed = TWO.model_copy(update={"modalities": (TWO.modalities[0],
                                                   TWO.modalities[1].model_copy(update={"separator": ";"}))})
    prompt = prompt_embeddings(WordEmbedder(listed), ["wren; a bird"], "note")
    np.testing.assert_allclose(prompt, prompt_embeddings(WordEmbedder(TWO), ["wren; a bird"], "note"))
    assert np.abs(prompt - prompt_embeddings(WordEmbedder(TWO), ["wren"], "note")).max() > 0.1
    assert row_cells(table_of_rows([{"note": ["wren; a bird"]}]), listed.modality("note")) == [("wren; a bird",)]


def test_a_trained_model_names_colours_it_was_never_told(tmp_path: Path) -> None:
    """Notes say the colour of the picture; no target does."""
    table = write_small_world(tmp_path, rows=60, missing=0.0)
    recipe = QUICK.changed("objectives", contrast={}).changed("training", epochs=10)
    data = read(table, inputs=["image", "note"])
    model = fit(data, recipe, progress=False)
    samples = as_samples(data, model.schema)
    truth = [("red", "green", "blue")[("ant", "bee", "cat").index(kind or "")]
             for kind in column_labels(data.table, "kind")]
    score = zero_shot_scores(model, samples, truth, templates="this one looks {} to me")
    assert score.metrics["accuracy"].low > score.majority["accuracy"]
    [answer] = zero_shot(model, {"image": str(tmp_path / "0.png")}, ["red", "green", "blue"], root=tmp_path,
                         templates="this one looks {} to me")
    assert answer.modalities == ("image",)
    assert sum((answer.probabilities or {}).values()) == pytest.approx(1)
