"""Rows unlike the training data: learnt in training, kept in the model folder, flagged in answers and in evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from planted_scores import class_target, scored_rows
from worlds import QUICK

import sensorium
from sensorium.evaluation.evaluate import Evaluation, evaluate
from sensorium.evaluation.report import write_report
from sensorium.evaluation.unlike import unlike_of
from sensorium.evaluation.words import score_lines
from sensorium.metrics.familiarity import FEWEST_HELD_OUT, Familiarity, fit_familiarity
from sensorium.metrics.outliers import fit_familiar
from sensorium.model import Model

NAMES = ("a", "b")
BOTH, ONE = frozenset(NAMES), frozenset({"a"})


def _vectors(rows: int, seed: int) -> dict[frozenset[str], np.ndarray]:
    """Fused vectors of both modalities, and of a alone, which lie elsewhere; the first ten rows lack b."""
    random = np.random.default_rng(seed)
    both = random.normal(size=(rows, 4))
    both[:10] = np.nan
    return {BOTH: both, ONE: random.normal(size=(rows, 4)) + 20.0}


@pytest.fixture(scope="module")
def familiar() -> Familiarity:
    found = fit_familiarity(_vectors(400, 0), _vectors(300, 1), NAMES)
    assert found is not None
    return found


def test_every_pattern_has_its_own_place(familiar: Familiarity) -> None:
    presence = np.array([[True, True], [True, False], [True, False], [False, True]])
    vectors = np.array([[0.0] * 4, [20.0] * 4, [0.0] * 4, [0.0] * 4])
    strange = familiar.strangeness(vectors, presence)
    assert strange[0] < 1
    assert strange[1] < 1 < strange[2]
    assert np.isnan(strange[3])


def test_agrees_with_the_pure_function(familiar: Familiarity) -> None:
    train, held, new = _vectors(400, 0)[BOTH], _vectors(300, 1)[BOTH], np.random.default_rng(2).normal(size=(50, 4))
    alone = fit_familiar(train, held_out=held[10:])
    expected = alone.distances(new) / alone.threshold
    assert familiar.strangeness(new, np.ones((50, 2), dtype=bool)) == pytest.approx(expected, rel=1e-5)


def test_what_a_folder_keeps_gives_the_same_bits(familiar: Familiarity) -> None:
    kept = json.loads(json.dumps(familiar.to_json()))
    again = Familiarity.restored(NAMES, kept, familiar.arrays())
    vectors, presence = np.random.default_rng(3).normal(size=(60, 4)), np.ones((60, 2), dtype=bool)
    presence[30:, 1] = False
    assert (again.strangeness(vectors, presence) == familiar.strangeness(vectors, presence)).all()


def test_few_held_out_rows_are_not_pretended_to_be_many() -> None:
    few = {pattern: values[: FEWEST_HELD_OUT + 20] for pattern, values in _vectors(300, 1).items()}
    found = fit_familiarity(_vectors(400, 0), few, NAMES)
    assert found is not None
    assert {one.familiar.quantile for one in found.patterns} == {29 / 30, 39 / 40}
    fewer = {pattern: values[:15] for pattern, values in few.items()}
    assert fit_familiarity(_vectors(400, 0), fewer, NAMES) is None


def test_strange_rows_are_counted_and_calibration_rows_are_not(familiar: Familiarity) -> None:
    rows = 1000
    random = np.random.default_rng(5)
    vectors, truth = random.normal(size=(rows, 4)), np.arange(rows) % 2
    vectors[:60] += 6.0
    predicted = np.eye(2)[np.where(np.arange(rows) < 60, random.integers(0, 2, rows), truth)] * 0.8 + 0.1
    scored = scored_rows(class_target(2), truth, np.ones((rows, 2), dtype=bool), NAMES, familiar=familiar)
    found = unlike_of(scored, vectors, {"kind": predicted}, np.ones(rows, dtype=bool))
    assert found is not None
    assert found.rows == rows
    assert found.flagged.value > found.high
    assert np.mean([row < 60 for row, _ in found.listed[:55]]) == 1
    assert found.listed[0][1] >= found.listed[1][1] > 1
    assert "come from somewhere else" in found.sentence
    metric, ours, others = found.scores["kind"]
    assert (metric, others.value) == ("accuracy", 1.0)
    assert ours.value < 0.75
    usual = unlike_of(scored, vectors, {"kind": predicted}, np.arange(rows) >= 60)
    assert usual is not None
    assert usual.rows == rows - 60
    assert "chance allows up to" in usual.sentence
    assert usual.flagged.value <= usual.high
    assert json.dumps(found.to_json(), allow_nan=False)


def test_a_model_that_knows_no_place_says_nothing() -> None:
    scored = scored_rows(class_target(2), np.arange(30) % 2, np.ones((30, 2), dtype=bool), NAMES)
    assert unlike_of(scored, np.zeros((30, 4)), {}, np.ones(30, dtype=bool)) is None


# ---- in a trained model ----

def _write(folder: Path, rows: int, seed: int, *, shift: float = 0.0) -> Path:
    """Numbers and words that tell two kinds apart; a quarter of the rows has no words."""
    random = np.random.default_rng(seed)
    lines = ["x,y,words,who,kind"]
    for row in range(rows):
        kind = int(random.integers(2))
        x, y = kind + 0.5 * random.normal() + shift, random.normal() + shift
        words = "" if row % 4 == 0 else f"{('small', 'large')[kind]} thing number {random.integers(9)} here"
        lines.append(f"{x:.4f},{y:.4f},{words},p{row % 3},{('ant', 'bee')[kind]}")
    path = folder / f"t{seed}.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    folder = tmp_path_factory.mktemp("unlike")
    data = sensorium.read(str(_write(folder, 400, 0)), targets="kind", group="who")
    model = sensorium.fit(data, QUICK.changed("training", epochs=2, batch_size=32), progress=False, allow_leak=True)
    return Model.load(model.save(folder / "model")), folder


def test_answers_say_so_and_folders_keep_it(trained: tuple[Model, Path]) -> None:
    model, folder = trained
    assert model.familiar is not None
    assert {one.modalities for one in model.familiar.patterns} >= {("words", "table")} | {("table",)}
    usual = [row["kind"].unlike for row in model.predict(_write(folder, 200, 1))]
    strange = [row["kind"].unlike for row in model.predict(_write(folder, 200, 2, shift=9.0))]
    assert None not in usual
    assert np.mean(np.array(usual, dtype=bool)) < 0.15
    assert np.mean(np.array(strange, dtype=bool)) > 0.5
    assert model.predict({"x": 0.5, "y": 0.1})["kind"].unlike is False
    assert model.predict({"who": "p1", "x": ""})["kind"].unlike is None


def test_evaluation_has_all_sections(trained: tuple[Model, Path]) -> None:
    model, folder = trained
    evaluation = evaluate(model, _write(folder, 200, 3), by=["x"], information=False, robustness=False)
    assert isinstance(evaluation, Evaluation)
    trust = evaluation.trust
    assert [one.by for one in trust.groups] == ["x", "who", "modalities present"]
    assert trust.unlike is not None
    assert [one.target for one in trust.coverage] == [one.target for one in trust.contradictions] == ["kind"]
    plain = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert {"coverage", "by_group", "unlike", "contradictions"} <= set(plain)
    lines = score_lines(evaluation)
    assert set(trust.lines()) <= set(lines)
    page = write_report(model, evaluation, title="t")
    for section in ("coverage", "groups", "unlike", "contradictions"):
        assert f'<section id="{section}">' in page
        assert f'href="#{section}"' in page
    assert "Each modality alone, on training rows" in page


@pytest.mark.slow
def test_the_refitted_model_knows_where_its_own_rows_lie(tmp_path: Path) -> None:
    data = sensorium.read(str(_write(tmp_path, 300, 0)), targets="kind")
    model = sensorium.fit(data, QUICK.changed("training", epochs=1, batch_size=64, refit="always"), progress=False,
                          allow_leak=True)
    assert model.familiar is not None
    assert max(one.familiar.rows for one in model.familiar.patterns) == 270
