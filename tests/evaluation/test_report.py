"""The report: one file, everything said in words, whatever the model and the data."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from worlds import QUICK, write_small_world

import sensorium
from sensorium.data.read import Data, as_samples
from sensorium.data.schema import Target
from sensorium.evaluation import mistakes, report
from sensorium.evaluation.evaluate import Evaluation, evaluate
from sensorium.evaluation.plots import Axis, loss_curves, reliability, scatter, series_look
from sensorium.evaluation.report import write_report
from sensorium.evaluation.scores import Score
from sensorium.metrics.bootstrap import Estimate
from sensorium.model import Model
from sensorium.training.fit import fit

VOID = {"meta", "img", "br", "hr", "input", "link", "line", "circle", "rect", "path", "use"}


class _Page(HTMLParser):
    """A strict reader: every element is closed, ids are unique, nothing is loaded from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        assert all(link.startswith(("#", "data:")) for link in self.links)
        assert {link[1:] for link in self.links if link.startswith("#")} <= set(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "xlink:href"}:
                self.links.append(value or "")
            if tag == "img" and name == "alt":
                assert value

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def _trained(table: Path, *targets: str, inputs: tuple[str, ...] | None = None, epochs: int = 1) -> tuple[Model, Data]:
    data = sensorium.read(str(table), targets=list(targets), **({} if inputs is None else {"inputs": list(inputs)}))
    return fit(data, QUICK.changed("training", epochs=epochs), progress=False, allow_leak=True), data


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Evaluation]:
    """Four modalities with missing cells, one unreadable picture; a class target and a number target; baselines."""
    folder = tmp_path_factory.mktemp("world")
    table = write_small_world(folder, rows=60)
    pictures = re.findall(r"^\d+\.png", table.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (folder / pictures[3]).write_bytes(b"no picture")
    model, _ = _trained(table, "kind", "size", epochs=2)
    return model, evaluate(model, as_samples(str(table), model.schema), baselines=True)


def test_says_everything_for_several_targets(world: tuple[Model, Evaluation]) -> None:
    model, evaluation = world
    html = write_report(model, evaluation, title="ants & bees", about="60 rows of the training table")
    page = _Page(html)
    assert len(html) < 5_000_000
    assert "ants & bees" in page.text
    assert "60 rows of the training table" in page.text
    for fusion in evaluation.fusion:
        finding, _, numbers = fusion.sentence.removeprefix(f"{fusion.target}: ").partition(": ")
        assert finding[1:] in page.text
        assert numbers in page.text
    for score in evaluation.subsets:
        assert f"{score.metrics['accuracy' if score.target == 'kind' else 'rmse'].value:.3f}" in page.text
    for baseline in evaluation.baselines:
        assert baseline.method in page.text
    for words in ("What each modality adds", "Is deep fusion worth it?", "as found", "Who contributes what", "Shapley",
                  "Right and wrong", "rows are right", "Half of the predictions are within", "ECE", "How it learned",
                  "The worst mistakes", "The data and the run", "rows are split", "p_full", "absent:",
                  evaluation.samples.unreadable[0].reason, f"{model.num_parameters():,}"):
        assert words in page.text
    for column, name in enumerate(model.schema.names):
        missing = int((~evaluation.samples.presence[:, column]).sum())
        assert (f"{name} in {missing}" in page.text) == (missing > 0)
    assert page.tags.count("audio") > 0
    assert page.tags.count("img") > 0
    assert "script" not in page.tags


def test_needs_no_network_and_takes_the_pages_colours(world: tuple[Model, Evaluation]) -> None:
    html = write_report(*world, title="t")
    assert not re.search(r"https?:", html)
    assert "prefers-color-scheme: dark" in html
    assert "currentColor" in html
    charts = "".join(re.findall(r'<svg class="chart".*?</svg>', html, flags=re.DOTALL))
    assert charts
    assert not re.search(r"#[0-9a-f]{6}\b", charts.replace('href="#', 'href="'))


def test_user_words_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    table = tmp_path / "t.csv"
    random = np.random.default_rng(0)
    lines = [f"{row % 3 + random.normal():.2f},{evil if row % 2 else 'fine $x$'} {row},{(evil, '<b>')[row % 2]}"
             for row in range(40)]
    table.write_text(f"<i>n</i>,{evil},target\n" + "\n".join(lines) + "\n", encoding="utf-8")
    data = sensorium.read(str(table), targets="target", kinds={evil: "text"})
    model = fit(data, QUICK.changed("training", epochs=1), progress=False, allow_leak=True)
    page = _Page(write_report(model, evaluate(model, str(table)), title=evil, about="<b>bold</b>"))
    assert "script" not in page.tags
    assert page.text.count(evil) > 5
    assert "<b>bold</b>" in page.text


def test_one_modality_without_history_and_baselines(tmp_path: Path) -> None:
    table = write_small_world(tmp_path, rows=40, missing=0.0)
    model, data = _trained(table, "kind", inputs=("hr", "bp"))
    model.history, model.facts = [], {}
    page = _Page(write_report(model, evaluate(model, data), title="one"))
    assert "one modality, table, so there is nothing to fuse" in page.text
    assert "beat the best single one" not in page.text
    assert "How it learned" not in page.text
    assert "Who contributes what" not in page.text
    assert "No shallow baselines" in page.text


def test_no_epoch_was_validated(world: tuple[Model, Evaluation]) -> None:
    model, evaluation = world
    kept = model.history
    model.history = [{"epoch": 1, "step": 3, "training_loss": 1.0}]
    try:
        page = _Page(write_report(model, evaluation, title="t"))
    finally:
        model.history = kept
    assert "There were no validation rows to choose by." in page.text


def test_a_modality_that_the_whole_table_lacks(world: tuple[Model, Evaluation], tmp_path: Path) -> None:
    model, _ = world
    table = tmp_path / "scores.csv"
    table.write_text("hr,bp,ward,kind\n60,0.1,east,ant\n70,0.2,west,bee\n,,,cat\n", encoding="utf-8")
    page = _Page(write_report(model, evaluate(model, str(table)), title="t"))
    assert "beat the best single one" not in page.text
    assert "Who contributes what" not in page.text
    assert "modality 'image' is absent in every row" in page.text
    assert "absent: image, sound, note" in page.text
    assert "target 'size' is not in the table and is not scored" in page.text


def test_what_is_missed_most_is_told_on_the_same_rows_only() -> None:
    def score(rows: int, value: float, *names: str) -> Score:
        return Score(names, "y", rows, {"accuracy": Estimate(value, value, value)})

    names = ("a", "b", "c")
    singles = [score(50, 0.5, name) for name in names]
    for rows, told in ((20, True), (40, False)):
        scores = [*singles, score(rows, 0.6, "a", "b"), score(rows, 0.7, "a", "c"), score(rows, 0.8, "b", "c"),
                  score(20, 0.9, *names)]
        found = SimpleNamespace(subsets=scores)
        said = report._subset_finding(found, "y", "accuracy", names)  # type: ignore[arg-type]
        assert ("c would be missed most: without it the accuracy goes to 0.600" in said) == told
        assert ("missed" in said) == told


def test_a_long_list_of_subsets_is_cut_to_the_most_telling() -> None:
    names = tuple("abcdef")
    every = [tuple(n for place, n in enumerate(names) if code >> place & 1) for code in range(1, 64)]
    scores = [report.Score(names, "t", 64 - number, {}) for number, names in enumerate(every)]
    kept = [one.modalities for one in report._most_telling(scores, 6)]
    assert len(kept) == 40
    assert {names for names in every if len(names) in {1, 5, 6}} <= set(kept)
    assert kept == [names for names in every if names in kept]


def test_mistakes_of_one_sort_do_not_fill_the_page() -> None:
    target = Target(name="t", task="classify", classes=("a", "b", "c"))
    truth = np.array([0] * 30 + [1] * 4 + [-1])
    predicted = np.tile([0.1, 0.8, 0.1], (35, 1))
    predicted[:30, 0] = np.linspace(0.01, 0.1, 30)
    predicted[30:34] = [0.2, 0.2, 0.6]
    chosen, said = mistakes._worst(target, truth, predicted)
    assert chosen == [0, 1, 2, 30, 31, 32]
    assert said.startswith("34 of 34 rows are wrong. Shown: the 6")
    right, said = mistakes._worst(target, np.array([1, 1]), np.array([[0.1, 0.8, 0.1], [0.3, 0.4, 0.3]]))
    assert (right, "no mistake" in said) == ([1, 0], True)
    number = Target(name="n", task="regress")
    chosen, _ = mistakes._worst(number, np.arange(20.0), np.arange(20.0)[:, None] * 1.1)
    assert chosen == list(range(19, 7, -1))


def test_many_classes_show_the_most_confused_pairs() -> None:
    names = tuple(f"c{number}" for number in range(40))
    truth = np.repeat(np.arange(40), 3)
    predicted = np.eye(40)[np.where(truth < 20, truth + 1, truth)]
    found = report._confusion(Target(name="t", task="classify", classes=names), truth, predicted)
    assert found["lines"] == []
    assert len(found["pairs"]) == 15
    assert all(count == 3 and share == 1.0 for _, _, count, share in found["pairs"])
    assert found["said"].startswith("60 of 120 rows are right (50\xa0%).")


def test_confusion_counts_an_unseen_class() -> None:
    found = report._confusion(Target(name="t", task="classify", classes=("a", "b")), np.array([0, 0, 1, -1]),
                              np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]]))
    assert [line["label"] for line in found["lines"]] == ["a", "b", "(a class unseen in training)"]
    assert [[cell[0] for cell in line["cells"]] for line in found["lines"]] == [[1, 1], [0, 1], [1, 0]]
    assert found["lines"][2]["recall"] == 0.0


@pytest.mark.parametrize(("mine", "theirs", "answer"), [
    ((0.9, 0.85, 0.95), (0.7, 0.6, 0.8), "Yes."),
    ((0.9, 0.7, 0.95), (0.8, 0.7, 0.9), "Probably"),
    ((0.7, 0.65, 0.75), (0.9, 0.8, 0.95), "No."),
    ((0.7, 0.6, 0.85), (0.8, 0.7, 0.9), "Not on these rows"),
])
def test_whether_fusion_is_worth_it(mine: tuple[float, ...], theirs: tuple[float, ...], answer: str) -> None:
    found = report.Score((), "t", 10, {"accuracy": Estimate(*mine)})
    rival = report.Baseline("t", "linear model", "pooled tokens", 10, {"accuracy": Estimate(*theirs)}, "")
    said = report._worth([rival], found, "accuracy")
    assert said is not None
    assert said["answer"].startswith(answer)
    assert "linear model on pooled tokens" in said["said"]
    assert "tests the fusion" in said["said"]
    assert report._worth([], found, "accuracy") is None
    low = report.Score((), "t", 10, {"rmse": Estimate(0.1, 0.05, 0.15)})
    high = report.Baseline("t", "linear model", "", 10, {"rmse": Estimate(0.5, 0.4, 0.6)}, "")
    smaller = report._worth([high], low, "rmse")
    assert smaller is not None
    assert smaller["answer"] == "Yes."


def test_media_stop_at_the_budget(world: tuple[Model, Evaluation], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_report(*world, title="t")
    monkeypatch.setattr(mistakes, "MEDIA_CHARACTERS", 2_000)
    small = write_report(*world, title="t")
    assert "it would make this page too large" in small
    assert "it would make this page too large" not in whole
    assert len(small) < len(whole)


def test_axis_and_charts_bear_odd_numbers() -> None:
    assert Axis([]).at(0.5) == pytest.approx(50.0)
    assert Axis([float("nan"), 2.0]).at(2.0) == pytest.approx(50.0)
    assert [word for _, word in Axis([-1.0, 1.0]).ticks()] == ["−1", "0", "1"]
    assert len({series_look(number) for number in range(36)}) == 36
    one = loss_curves([{"epoch": 1, "training_loss": 2.0, "validation_loss": None}], None)
    assert one.startswith("<svg")
    assert "chosen" in loss_curves([{"epoch": 1, "training_loss": 2.0, "validation_loss": 1.0}], 1.0)
    assert scatter(np.zeros(3), np.zeros(3), prefix="s").count("<svg") == 1
    assert "stated probability" in reliability(np.ones(2), np.array([True, False]), prefix="r")
