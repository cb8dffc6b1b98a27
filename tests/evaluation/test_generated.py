"""What a model makes, told as it is: whatever the model and the table, and through to the report."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from worlds import write_pairs

import sensorium as sm
from sensorium.data.read import as_samples
from sensorium.data.table import read_table
from sensorium.errors import AlignmentError, DataError, RecipeError
from sensorium.evaluation.evaluate import Evaluation, evaluate
from sensorium.evaluation.generated import _judges
from sensorium.evaluation.generated_judge import judge_of
from sensorium.evaluation.generated_rows import first_of_each, input_codes, readable
from sensorium.evaluation.generated_texts import _examples, true_texts
from sensorium.evaluation.report import write_report
from sensorium.evaluation.words import score_lines
from sensorium.made import Written, makeable, reranked, written
from sensorium.model import Model
from sensorium.objectives import Caption
from sensorium.recipe import Recipe
from sensorium.training.validation import judged

NOTHING: Mapping[str, Collection[int]] = {}


def _table(folder: Path, rows: int, *, seed: int, blank: Mapping[str, Collection[int]] = NOTHING) -> Path:
    """Pairs with a number beside, and the picture once more as another column; some cells blank."""
    frame = pl.read_csv(write_pairs(folder, rows=rows, seed=seed))
    columns = {"picture": frame["picture"].to_list(), "words": frame["words"].to_list(),
               "first": frame["first"].to_list(), "age": [20.5 + (3 * row) % 7 for row in range(rows)],
               "drawing": frame["picture"].to_list()}
    lines = {name: [None if row in blank.get(name, ()) else cell for row, cell in enumerate(cells)]
             for name, cells in columns.items()}
    pl.DataFrame(lines).write_csv(folder / "table.csv")
    return folder / "table.csv"


def _recipe(objectives: dict[str, Any], *inputs: str, **data: Any) -> Recipe:
    return Recipe.checked({"objectives": objectives, "model": {"width": 32}, "data": {"inputs": inputs, **data},
                           "training": {"epochs": 1, "batch_size": 16, "workers": 0, "refit": "never"}})


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _table(tmp_path_factory.mktemp("train"), 60, seed=0)


@pytest.fixture(scope="module")
def test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Row 0 has only a picture, row 1 only words, row 2 nothing but its target; rows 5 and 6 lack the picture."""
    blank = {"picture": {1, 2, 5, 6}, "words": {0, 2}, "age": {0, 1, 2}}
    return _table(tmp_path_factory.mktemp("test"), 64, seed=1, blank=blank)


@pytest.fixture(scope="module")
def makes(train: Path) -> Model:
    """Writes and paints, from each other and a number, and puts pictures and words into one space."""
    recipe = _recipe({"caption": {}, "paint": {"method": "gan"}, "contrast": {}}, "picture", "words", "age")
    return sm.fit(train, recipe, progress=False)


@pytest.fixture(scope="module")
def found(makes: Model, test: Path) -> Evaluation:
    return evaluate(makes, test, baselines=True)


@pytest.fixture(scope="module")
def judge(train: Path) -> Model:
    return sm.fit(train, _recipe({"contrast": {}}, "drawing", "words", "age"), progress=False)


@pytest.fixture(scope="module")
def flow(train: Path) -> Model:
    """Only paints, from words, at an eighth of the channels."""
    return sm.fit(train, _recipe({"paint": {"channels": 0.2}}, "picture", "words"), progress=False)


def _page(model: Model, evaluation: Evaluation) -> str:
    json.dumps(evaluation.to_json(), allow_nan=False)
    page = write_report(model, evaluation, title="t")
    assert "nan" not in page.lower().replace("financ", "").split("<body>")[1].split("base64")[0]
    return page


def test_everything_that_is_made_is_told(makes: Model, found: Evaluation) -> None:
    texts, pictures = found.generated.texts[0], found.generated.pictures
    assert pictures is not None
    assert pictures.finds is not None
    assert pictures.copies is not None
    assert [one.modalities for one in texts.lines] == [(), ("picture",), ("table",)]
    assert texts.left_out == (2, 1)  # rows 1 and 2 show nothing to write from, row 0 has no true text
    assert pictures.painting.left_out[0] == 2  # rows 0 and 2 show nothing to paint from
    assert (~pictures.painting.known).sum() == 3  # rows 1, 5 and 6 have no real picture
    lines = score_lines(found)
    page = _page(makes, found)
    for sentence in pictures.sentences:
        assert sentence in lines
        assert sentence[:60] in page.replace("&#39;", "'")
    for words in ("What it writes", "What it paints", "Learned by heart?", "Some rows, drawn at random", "true",
                  "texts of other rows", "kernel distance"):
        assert words in page
    assert any(line.startswith("words: the best text of 61 rows") for line in lines)
    assert len(pictures.copies.shown) == 24
    assert "That flatters" in pictures.finds.sentence
    assert "no Fréchet distance" in " ".join(pictures.notes)
    made = json.loads(json.dumps(found.to_json()["generated"], allow_nan=False))
    assert made["pictures"]["retrieval"]["chance"] == pytest.approx(1 / made["pictures"]["retrieval"]["among"])
    assert made["texts"][0]["subsets"][0]["metrics"].keys() >= {"exact_match", "bleu", "chrf", "rouge_l", "cider_d",
                                                                "perplexity", "log_probability", "retrieval"}
    assert texts.finds is not None
    assert texts.finds.made == texts.lines[0].metrics["retrieval"]
    assert texts.finds.sentence in lines
    assert "the written texts find what they were made from" in page
    assert "it saw the training texts" in texts.finds.sentence
    assert "finds its row" in page
    assert texts.finds.neighbour is not None
    assert made["texts"][0]["retrieval"]["among"] == texts.finds.among


def test_texts_are_the_best_ones_and_their_truth_is_as_probable_as_the_model_says(
    makes: Model, found: Evaluation, test: Path,
) -> None:
    samples, texts = found.samples, found.generated.texts[0]
    maker = next(one for one in makes.generative() if isinstance(one, Caption))
    for example in texts.examples:
        (best,) = written(makes, maker, samples, np.array([example.row]))[0]
        assert best.text == example.made
        assert best.log_probability == pytest.approx(example.log_probability, abs=1e-4)
    worst = [one.score for one in texts.examples if one.worst]
    assert worst == sorted(worst)
    perplexities = [line.metrics["perplexity"].value for line in texts.lines]
    assert len(set(perplexities)) == 3  # of everything, of the picture and of the number
    lone = evaluate(makes, samples, rows=np.array([9, 10]), baselines=False, robustness=False)
    losses = [judged(makes, maker, samples, np.array([row]))[0][0] for row in (9, 10)]
    counts = [int(maker.words.encode([str(samples.cells["words"].arrays.get([
        samples.cells["words"].cells_of_row[row, 0]])[0])])[1].sum()) - 1 for row in (9, 10)]
    expected = np.exp(np.average(losses, weights=counts))
    assert lone.generated.texts[0].lines[0].metrics["perplexity"].value == pytest.approx(expected, rel=1e-4)


def test_contrast_orders_texts_by_what_they_are_about(
    makes: Model, test: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    maker, samples = makes.generative()[0], as_samples(test, makes.schema)
    texts = [[Written(text, -1.0, score, True) for text, score in own]
             for own in ([("0", -3.0), ("1", -1.0), (" ", 0.0)], [("0", -1.5), ("1", -2.0)])]
    scale = makes.similarity_scale
    assert scale is not None

    def planted(_: Model, of: Any, rows: Any, subsets: Any, *, complete: bool) -> Any:
        """A row's vector says its number, a text's what is written; one of blanks says nothing."""
        assert not complete
        (subset,) = subsets
        if subset == {"words"}:
            cells, own = of.cells["words"], of.cells["words"].cells_of_row[:, 0]
            numbers = [int(str(cells.arrays.get([cell])[0])) if cell >= 0 else None for cell in own]
        else:
            assert subset == {"picture", "table"}
            numbers = [{3: 0, 4: 1}[row] for row in rows.tolist()]
        return {subset: np.stack([np.full(2, np.nan) if one is None else np.eye(2)[one] for one in numbers])}

    monkeypatch.setattr(Model, "embeddings", planted)
    found = reranked(makes, maker, samples, np.array([3, 4]), texts)
    assert [[one.text for one in row] for row in found] == [["0", "1", " "], ["1", "0"]]
    monkeypatch.setattr(Model, "similarity_scale", 0.1)  # now likelihood says more than contrast
    found = reranked(makes, maker, samples, np.array([3, 4]), texts)
    assert [[one.text for one in row] for row in found] == [[" ", "1", "0"], ["0", "1"]]


def test_reranked_texts_are_some_of_the_candidates(makes: Model, test: Path) -> None:
    given = {"picture": test.parent / "3.png"}
    every = makes.generate("words", given, n=32)
    chosen = makes.generate("words", given, n=2, rerank=True)
    assert len(chosen) == 2
    assert set(chosen) <= set(every)
    said, seen = makes.embed([{"words": text} for text in every]), makes.embed(given)[0]
    scores = [one.score + makes.similarity_scale * float(vector @ seen) for one, vector in zip(
        written(makes, makes.generative()[0], as_samples(given, makes.schema), np.arange(1), n=32, beams=32)[0], said,
        strict=True)]
    assert chosen == [every[place] for place in np.argsort(scores)[::-1][:2]]
    assert makes.generate("words", [given], n=2, rerank=True, sampling=sm.Sampling(), seed=1)[0] != chosen


def test_only_wrong_texts_are_called_the_worst() -> None:
    made, right = ["a b", "a c", "x", "d"], [("a b",), ("a b",), ("y",), ("d",)]
    found = _examples(np.arange(4), made, [0.0] * 4, right, seed=0)
    assert [(one.row, one.worst) for one in found[:2]] == [(2, True), (1, True)]
    assert sorted((one.row, one.worst) for one in found[2:]) == [(0, False), (3, False)]


def test_texts_of_the_same_picture_are_all_true(makes: Model, tmp_path: Path) -> None:
    pl.DataFrame({"picture": ["0.png", "0.png", "1.png", None, None], "words": ["a", "b", "c", "d", "e"],
                  "age": [1.0, 2.0, 1.0, 7.0, 7.0]}).write_csv(_table(tmp_path, 4, seed=3))
    samples = as_samples(tmp_path / "table.csv", makes.schema)
    maker = next(one for one in makes.generative() if isinstance(one, Caption))
    names = readable(makes, maker)
    rows = np.arange(5)
    assert true_texts(samples, maker, names, rows, rows) == [("a", "b"), ("a", "b"), ("c",), ("d", "e"), ("d", "e")]
    codes = input_codes(samples, names, rows)
    assert first_of_each(codes).tolist() == [0, 1, 2, 3]
    assert makeable(makes, maker, samples, rows).all()
    found = evaluate(makes, samples, robustness=False, information=False).generated.texts[0]
    assert (found.lines[0].rows, found.repeated, found.distinct_right) == (4, 1, 5)


def test_a_judge_is_matched_by_name_and_kind(makes: Model, judge: Model, flow: Model, test: Path) -> None:
    found = evaluate(flow, test, judge=judge, pictures=20, robustness=False)
    pictures = found.generated.pictures
    assert pictures is not None
    assert pictures.finds is not None
    assert len(pictures.painting.rows) == 20
    assert pictures.finds.reads == ("words",)
    assert "Judge: the given model, by words" in pictures.finds.sentence
    assert "That flatters" not in pictures.finds.sentence
    heard = judge_of(judge, "x", makes.schema, "picture", ("words", "table"))
    assert (heard.sees, heard.reads) == ("drawing", {"words": "words", "table": "table"})
    table = read_table(test)
    rows = np.array([3, 4, 2])
    vectors = heard.hear(found.samples, rows, table)
    given = [{"words": table.frame["words"][row], "age": table.frame["age"][row]} for row in (3, 4)]
    assert np.allclose(vectors[:2], judge.embed(given, modalities=["words", "table"]), atol=1e-5)
    assert np.isnan(vectors[2]).all()
    without = heard.hear(found.samples, rows[:2], None)
    given = [{"words": one["words"]} for one in given]
    assert np.allclose(without, judge.embed(given, modalities=["words"]), atol=1e-5)


def test_captions_find_their_pictures_under_a_judge(train: Path, test: Path, judge: Model) -> None:
    caption = sm.fit(train, _recipe({"caption": {}}, "picture", "words"), progress=False)
    alone = evaluate(caption, test).generated.texts[0]
    assert alone.finds is None
    assert "whether texts say what they were made from is not judged: name a judge" in alone.notes[0]
    assert "retrieval" not in alone.lines[0].metrics
    found = evaluate(caption, test, judge=judge, baselines=True)
    texts = found.generated.texts[0]
    assert texts.finds is not None
    assert texts.finds.reads == ("picture",)
    assert "Judge: the given model, by picture" in texts.finds.sentence
    assert texts.finds.neighbour is not None
    assert {*texts.lines[0].others} == {*texts.lines[0].metrics} - {"perplexity", "log_probability"}
    assert f"among {texts.finds.among} rows" in _page(caption, found)
    single = evaluate(caption, test, rows=np.array([9]), robustness=False, information=False)
    assert "CIDEr-D is not told, which weighs words by how few of the rows share them" in "\n".join(score_lines(single))
    assert "nan" not in "\n".join(score_lines(single)).lower()
    _page(caption, single)


def test_a_judge_of_one_of_two_things_says_so(makes: Model, test: Path, judge: Model) -> None:
    seer = SimpleNamespace(schema=judge.schema.model_copy(update={"modalities": tuple(
        one for one in judge.schema.modalities if one.name != "words")}), aligned=True, read={"drawing", "table"})
    found, refused = _judges(makes, makes.generative(), seer)  # type: ignore[arg-type]
    assert set(found) == {"picture"}
    assert "it reads no text" in str(refused["words"])


def test_what_is_wanted_for_pictures_needs_a_model_that_paints(judge: Model, flow: Model, test: Path) -> None:
    with pytest.raises(RecipeError, match="for a model that paints"):
        evaluate(judge, test, judge=judge)
    with pytest.raises(RecipeError, match="pictures: expected rows to paint for"):
        evaluate(flow, test, pictures=0)
    with pytest.raises(AlignmentError, match="judging by the given model"):
        evaluate(flow, test, judge=flow)
    with pytest.raises(RecipeError, match="config.json"):
        evaluate(flow, test, features=test.parent)


def test_a_table_without_the_column_that_is_made(flow: Model, test: Path, tmp_path: Path) -> None:
    pl.read_csv(test).select("words").write_csv(tmp_path / "words.csv")
    found = evaluate(flow, tmp_path / "words.csv", pictures=6)
    pictures = found.generated.pictures
    assert pictures is not None
    assert not pictures.painting.known.any()
    assert pictures.likeness.kernel is None
    assert pictures.copies is None
    assert "different real pictures, there are 0" in " ".join(pictures.notes)
    page = _page(flow, found)
    assert "Some rows, drawn at random" in page
    told = evaluate(flow, tmp_path / "words.csv", pictures=6, baselines=True).generated.pictures
    assert told is not None
    assert told.likeness.variety is not None  # training pictures tell what a large difference is
    assert told.copies is not None
    assert "cannot be told from numbers" in told.copies.sentence


def test_nothing_to_make_it_from_is_said(flow: Model, makes: Model, test: Path) -> None:
    pl.read_csv(test).select("picture").write_csv(test.parent / "pictures.csv")
    with pytest.raises(DataError, match="nothing to score in 64 rows: picture: no row shows anything to paint from"):
        evaluate(flow, test.parent / "pictures.csv")
    with pytest.raises(DataError, match="words: no text is scored: 4 rows show nothing to write from and 60 rows have "
                                        "no true text; picture: no row shows anything to paint from; words, table is"):
        evaluate(makes, test.parent / "pictures.csv")


def test_targets_and_captions_together(train: Path, test: Path) -> None:
    recipe = _recipe({"caption": {}}, "picture", "words", targets=("first",))
    model = sm.fit(train, recipe, progress=False, allow_leak=True)
    found = evaluate(model, test)
    assert found.subsets
    assert found.generated.texts[0].lines
    assert found.generated.pictures is None
    page = _page(model, found)
    assert "What it writes" in page
    assert "What it paints" not in page
    unasked = evaluate(model, test, generated=False)
    assert not unasked.generated
    blank = pl.read_csv(test).with_columns(first=pl.lit(None))
    blank.write_csv(test.parent / "unlabelled.csv")
    assert evaluate(model, test.parent / "unlabelled.csv").generated.texts[0].lines


def test_written_answers_are_made_from_the_question_and_each_other_modality(train: Path, test: Path) -> None:
    recipe = _recipe({"answer": {"question": "words", "to": "first"}}, "picture", "words", "age", "first",
                     kinds={"first": "text"})
    model = sm.fit(train, recipe, progress=False)
    texts = evaluate(model, test).generated.texts[0]
    assert texts.objective == "answer"
    assert [one.modalities for one in texts.lines] == [(), ("picture", "words"), ("words",), ("words", "table")]
    assert texts.left_out == (2, 0)


@pytest.mark.slow
def test_held_out_rows_are_told_in_training(train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from sensorium.cli.main import app

    run = tmp_path / "run"
    result = CliRunner().invoke(app, [
        "train", str(train), "--out", str(run), "--inputs", "picture,words", "--objective", "paint.method=gan,caption",
        "--epochs", "2", "--width", "32", "--batch-size", "16", "--workers", "0"])
    assert result.exit_code == 0, result.output
    page = (run / "report.html").read_text(encoding="utf-8")
    for words in ("What it writes", "What it paints", "How it learned to paint", "after epochs 1, 2"):
        assert words in page
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "words: the best text of" in card
    assert (run / "pictures.png").is_file()
    evaluated = CliRunner().invoke(app, ["evaluate", str(run), str(train), "--pictures", "8", "--json"])
    assert evaluated.exit_code == 0, evaluated.output
    made = json.loads(evaluated.stdout)["generated"]
    assert made["pictures"]["rows"] == 8
    refused = CliRunner().invoke(app, ["evaluate", str(run), str(train), "--judge", str(run)])
    assert isinstance(refused.exception, AlignmentError)
    again = Model.load(run)
    assert again.course == (run / "pictures.png").read_bytes()
    assert set(again.history[0]["pictures"]) == {"within", "between", "told", "words"}
