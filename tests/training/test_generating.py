"""Generative objectives in a run: resume, seeds, what is kept, what a person gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from worlds import write_pairs

import sensorium as sm
from sensorium.errors import DataError, RecipeError
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training import loop

MAKES_ALL: dict[str, Any] = {"caption": {}, "paint": {"method": "gan"}}


def _recipe(objectives: dict[str, Any], **training: Any) -> Recipe:
    return Recipe.checked({"objectives": objectives, "model": {"width": 32}, "data": {"inputs": ["picture", "words"]},
                           "training": {"epochs": 2, "batch_size": 16, "workers": 0, **training}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture(scope="module")
def table(folder: Path) -> Path:
    return write_pairs(folder, rows=48)


@pytest.fixture(scope="module")
def trained(table: Path) -> Model:
    return sm.fit(table, _recipe(MAKES_ALL), progress=False)


@pytest.mark.parametrize(("objective", "thin"), [("paint", False), ("caption", True)])
def test_a_painter_reads_stored_features_whole(
    table: Path, objective: str, thin: bool, monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []
    plain = loop.make_batch
    monkeypatch.setattr(loop, "make_batch", lambda samples, rows, augmentation, *step, **more: (
        seen.append(augmentation.thin), plain(samples, rows, augmentation, *step, **more))[1])
    sm.fit(table, _recipe({objective: {}}, epochs=1), progress=False)
    assert set(seen) == {thin}


def test_fusions_are_not_compared_by_a_game(table: Path) -> None:
    recipe = _recipe({"paint": {"method": "gan"}}, epochs=1).changed("model", compare=["concat", "attention"])
    with pytest.raises(RecipeError, match="validation loss, and here nothing has one .*name one fusion, or learn some"):
        sm.fit(table, recipe, progress=False)
    both = _recipe({"paint": {"method": "gan"}, "caption": {}}, epochs=1).changed("model", compare=recipe.model.compare)
    told = sm.fit(table, both, progress=False).facts["fusions"]
    assert {one["fusion"] for one in told} == {"concat", "attention"}
    assert all(one["loss"] > 0 for one in told)


def test_an_interrupted_game_goes_on_as_if_nothing_had_been(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = _recipe({"paint": {"method": "gan"}})
    whole = sm.fit(table, recipe, progress=False)
    from sensorium.training import loop

    after, real = [], loop.train_step

    def step(*given: Any, **named: Any) -> Any:
        after.append(1)
        if len(after) == 4:  # the second step of the second epoch
            raise KeyboardInterrupt
        return real(*given, **named)

    monkeypatch.setattr(loop, "train_step", step)
    stopped = sm.fit(table, recipe, out=tmp_path / "run", progress=False)
    assert stopped.facts["stopped"] == "interrupted"
    monkeypatch.setattr(loop, "train_step", real)
    resumed = sm.fit(table, recipe, out=tmp_path / "run", resume=True, progress=False)
    assert resumed.state_dict().keys() == whole.state_dict().keys()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_last_step_of_a_game_is_kept_and_nothing_is_refitted(trained: Model) -> None:
    assert trained.facts["best_step"] == trained.facts["steps"]
    assert "refit" not in trained.facts
    assert trained.history[-1]["scores"]["caption"]["all"] > 0


def test_pictures_are_a_function_of_row_and_seed(trained: Model, folder: Path, tmp_path: Path) -> None:
    saved = Model.load(trained.save(tmp_path / "model"))
    words = [{"words": "red on the left and blue on the right"}, {"words": "green on the left and red on the right"}]
    first = trained.generate("picture", words, n=2, seed=3)
    assert [[one.size for one in row] for row in first] == [[(32, 32)] * 2] * 2
    for row, own in zip(first, saved.generate("picture", words, n=2, seed=3), strict=True):
        for one, other in zip(row, own, strict=True):
            assert np.array_equal(np.asarray(one), np.asarray(other))
    alone = trained.generate("picture", words[0], n=1, seed=3)[0]
    assert np.abs(np.asarray(alone).astype(int) - np.asarray(first[0][0])).max() <= 1  # whatever rows are beside
    assert not np.array_equal(np.asarray(alone), np.asarray(first[0][1]))
    assert not np.array_equal(np.asarray(alone), np.asarray(trained.generate("picture", words[0], seed=4)[0]))


def test_texts_of_a_picture(trained: Model, folder: Path) -> None:
    picture = Image.open(folder / "3.png")
    found = trained.generate("words", {"picture": picture}, n=3)
    assert len(found) == 3
    assert all(isinstance(text, str) for text in found)
    drawn = [trained.generate("words", {"picture": picture}, n=3, seed=seed, sampling=sm.Sampling(top_p=1.0))
             for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    unread = trained.generate("words", {"picture": picture, "words": "pink on the left and grey on the right"}, n=3)
    assert unread == found


@pytest.mark.parametrize(("to", "given", "more", "error", "words"), [
    ("picture", {"words": "  "}, {}, DataError, "nothing to make picture from: it needs words, and has none"),
    ("picture", {"words": "red and " * 200}, {}, DataError, "words: a text of .* tokens; this model reads"),
    ("picture", {"words": "red"}, {"n": 0}, DataError, "n: expected 1 to 1000 of each row, found 0"),
    ("picture", {"words": "red"}, {"guidance": -1.0}, DataError, "guidance: expected a number above 0"),
    ("wordz", {"picture": "x"}, {}, RecipeError, "unknown modality to make 'wordz'"),
    (None, {"words": "red"}, {}, RecipeError, "name what to make: words or picture"),
    ("words", {"picture": "nowhere.png"}, {}, DataError, "words from: it needs picture, and has none .*no such file"),
    ("words", {"photo": "3.png"}, {}, DataError, "unknown column 'photo'"),
    ("words", {"words": "red"}, {}, DataError, "nothing to make words from"),
])
def test_bad_wishes_are_refused_in_one_line(
    trained: Model, to: str | None, given: dict[str, str], more: dict[str, Any], error: type[Exception], words: str,
) -> None:
    with pytest.raises(error, match=words):
        trained.generate(to, given, **more)


def test_captions_of_planted_pairs_are_learned(tmp_path: Path) -> None:
    table = write_pairs(tmp_path, rows=400)
    recipe = _recipe({"caption": {}}, epochs=25, learning_rate=4e-3, batch_size=32)
    model = sm.fit(table, recipe, progress=False)
    fresh = write_pairs(tmp_path / "fresh", rows=40, seed=1)
    rows = [line.split(",") for line in fresh.read_text().splitlines()[1:]]
    found = model.generate("words", [{"picture": str(fresh.parent / row[0])} for row in rows])
    assert np.mean([text[0] == row[1] for text, row in zip(found, rows, strict=True)]) >= 0.9


def _questions(folder: Path) -> Path:
    lines = write_pairs(folder, rows=60).read_text().splitlines()[1:]
    asked = ["picture,question,answer,more"]
    for row, line in enumerate(lines):
        picture, words, left = line.split(",")
        right = words.split(" and ")[1].split(" on ")[0]
        blank = "" if row % 5 == 0 else f"what is on the {'left' if row % 2 else 'right'} please"
        asked.append(f"{picture},{blank},{left if row % 2 else right},{row % 7}")
    (folder / "asked.csv").write_text("\n".join(asked))
    return folder / "asked.csv"


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    folder = tmp_path_factory.mktemp("asked")
    recipe = Recipe.checked({"objectives": {"answer": {"question": "question"}}, "model": {"width": 32},
                             "data": {"targets": ["answer"]},
                             "training": {"epochs": 2, "batch_size": 16, "workers": 0, "refit": "never"}})
    return sm.fit(_questions(folder), recipe, progress=False), folder


def test_nothing_is_answered_without_a_question(answering: tuple[Model, Path]) -> None:
    model, folder = answering
    told, silent = (model.predict({"picture": str(folder / "1.png"), "question": question, "more": 1})["answer"]
                    for question in ("what is on the left please", None))
    assert told.modalities == ("picture", "question", "table")
    assert silent.modalities == ()
    assert silent.probabilities == pytest.approx(dict(zip(
        model.schema.targets[0].classes, model.schema.targets[0].prior, strict=True)))


def test_contributions_are_those_of_the_question_and_of_the_rest_given_it(answering: tuple[Model, Path]) -> None:
    model, folder = answering
    row = {"picture": str(folder / "1.png"), "question": "what is on the left please", "more": 1}
    answer = model.ask(row["question"], {name: row[name] for name in ("picture", "more")}, explain=True)
    assert answer.contributions is not None
    prior = dict(zip(model.schema.targets[0].classes, model.schema.targets[0].prior, strict=True))
    value = str(answer.value)
    assert answer.probability is not None
    assert sum(answer.contributions.values()) == pytest.approx(np.log2(answer.probability / prior[value]), abs=1e-5)
    alone = model.predict({"question": row["question"]})["answer"].probabilities[value]
    assert answer.contributions["question"] == pytest.approx(np.log2(alone / prior[value]), abs=1e-5)


@pytest.mark.parametrize(("question", "given", "words"), [
    (" ", {"picture": "1.png"}, "the question is blank"),
    ("what " * 300, {"picture": "1.png"}, "question: a text of .* tokens"),
    ("what is on the left please", {}, "nothing to answer the question from: give picture or more"),
    ("what is on the left please", {"picture": "nowhere.png"}, "nothing to answer the question from.*no such file"),
    ("what is on the left please", {"picture": "1.png", "question": "what"}, "the question is given twice"),
    ("what is on the left please", {"photo": "1.png"}, "unknown column 'photo'"),
    (Path("1.wav"), {"picture": "1.png"}, "asked in text"),
])
def test_bad_questions_are_refused_in_one_line(
    answering: tuple[Model, Path], question: Any, given: dict[str, str], words: str,
) -> None:
    model, folder = answering
    with pytest.raises((DataError, RecipeError), match=words):
        model.ask(question, given, root=folder)


def test_a_model_without_the_objective_answers_and_makes_nothing(trained: Model, answering: tuple[Model, Path]) -> None:
    with pytest.raises(RecipeError, match="answers no questions: train one with --objective answer"):
        trained.ask("what?", {"picture": "1.png"})
    with pytest.raises(RecipeError, match="makes nothing: train one with --objective paint"):
        answering[0].generate("picture", {"question": "what"})


def test_answers_in_words(tmp_path: Path) -> None:
    recipe = Recipe.checked({"objectives": {"answer": {"question": "question", "to": "answer"}}, "model": {"width": 32},
                             "training": {"epochs": 2, "batch_size": 16, "workers": 0}})
    model = sm.fit(_questions(tmp_path), recipe, progress=False)
    answer = model.ask("what is on the left please", {"picture": str(tmp_path / "1.png")}, explain=True)
    assert answer.probabilities is not None
    assert 0 < answer.probabilities[str(answer.value)] <= sum(answer.probabilities.values()) <= 1 + 1e-6
    assert answer.contributions is not None
    assert set(answer.contributions) == {"picture"}
    again = Model.load(model.save(tmp_path / "model"))
    assert again.ask("what is on the left please", {"picture": str(tmp_path / "1.png")}).value == answer.value


def test_a_subset_without_a_question_says_nothing(answering: tuple[Model, Path]) -> None:
    model, folder = answering
    evaluation = sm.evaluate(model, folder / "asked.csv", robustness=False, information=False)
    scores = {score.modalities: score.metrics["log_loss"].value for score in evaluation.subsets}
    nothing = scores[("picture",)]
    assert scores[("picture", "table")] == pytest.approx(nothing, abs=0.1)
    prior = model.schema.targets[0].prior
    assert nothing == pytest.approx(-np.dot(prior, np.log(prior)), abs=0.2)
    assert scores[("question",)] != pytest.approx(nothing, abs=1e-3)


def test_a_run_can_begin_with_what_another_paints_and_writes(trained: Model, table: Path, tmp_path: Path) -> None:
    origin = trained.save(tmp_path / "origin")
    recipe = _recipe(MAKES_ALL, epochs=1, learning_rate=1e-12)
    begun = sm.fit(table, recipe.changed("transfer", init=str(origin)), progress=False)
    assert begun.schema.words == trained.schema.words
    for name, value in trained.state_dict().items():
        if name.startswith("makers."):
            assert torch.allclose(value, begun.state_dict()[name], atol=1e-6), name


def test_rows_that_ask_nothing_do_not_make_a_validation_diverge(answering: tuple[Model, Path]) -> None:
    from sensorium.data.read import as_samples
    from sensorium.training.validation import validate

    model, folder = answering
    samples = as_samples(folder / "asked.csv", model.schema)
    asking = samples.presence[:, model.schema.names.index("question")]
    both = validate(model, samples, np.arange(len(samples))).loss
    assert not asking.all()
    assert both == pytest.approx(validate(model, samples, np.flatnonzero(asking)).loss, rel=1e-6)


def test_questions_may_be_named_with_a_plus() -> None:
    recipe = Recipe.checked({"objectives": {"answer": {"question": "question + spoken"}}})
    assert recipe.objectives.answer is not None
    assert recipe.objectives.answer.question == ("question", "spoken")
