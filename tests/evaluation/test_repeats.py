"""Folds and seeds: what is held out, what is pooled, what is told."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from worlds import QUICK, write_small_world

import sensorium as sm
from sensorium.data.read import Data
from sensorium.data.split import fold_rows
from sensorium.errors import DataError, RecipeError
from sensorium.evaluation.repeats import CrossValidated, OverSeeds, cross_validate, folds_of, out_of_fold_rows
from sensorium.evaluation.repeats_words import repeated_lines
from sensorium.metrics.classification import accuracy
from sensorium.training.apart import Apart
from sensorium.training.console import Quiet
from sensorium.training.fit import fit
from sensorium.training.prepare import Prepared, prepare

ONE_EPOCH = QUICK.changed("training", epochs=1)


def _numbers(folder: Path, rows: int = 60) -> Data:
    return sm.read(write_small_world(folder, rows=rows), targets=("kind", "size"), ignore=("image", "sound", "note"))


@pytest.mark.parametrize(("num_folds", "num_groups"), [(2, 2), (3, 7), (5, 40), (5, 200)])
def test_folds_partition_rows_and_split_no_group(num_folds: int, num_groups: int) -> None:
    random = np.random.default_rng(num_groups)
    usable = np.sort(random.choice(300, 200, replace=False))
    groups = random.integers(num_groups, size=300)
    groups[usable[:num_groups]] = np.arange(num_groups)
    fold_of, note = fold_rows(usable, groups=groups, shared=[], num_folds=num_folds, seed=0)
    assert fold_of.shape == usable.shape and set(fold_of.tolist()) == set(range(num_folds))
    for group in range(num_groups):
        assert len(set(fold_of[groups[usable] == group].tolist())) <= 1
    assert "by group" in note
    sizes, largest = np.bincount(fold_of), int(np.bincount(groups[usable]).max())
    assert sizes.max() - sizes.min() <= largest
    again, _ = fold_rows(usable, groups=groups, shared=[], num_folds=num_folds, seed=1)
    assert num_groups < 40 or (again != fold_of).any()


def test_rows_that_share_a_file_share_a_fold() -> None:
    usable, cells = np.arange(50), np.arange(50) // 2
    fold_of, note = fold_rows(usable, groups=None, shared=[cells], num_folds=5, seed=0)
    assert (fold_of[::2] == fold_of[1::2]).all() and "share a file" in note
    with pytest.raises(DataError, match="26 folds: expected at least 2 and at most .* 25"):
        fold_rows(usable, groups=None, shared=[cells], num_folds=26, seed=0)


def test_rows_outside_all_folds(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("hr,ward,y,split\n" + "\n".join(
        f"{60 + row},{'ab'[row % 2]},{'' if row < 4 else 'yn'[row % 2]},{'test' if row > 25 else 'train'}"
        for row in range(30)) + "\n")
    fold_of, _ = folds_of(sm.read(table, targets="y"), 3, 0)
    assert (fold_of[:4] == -1).all() and (fold_of[26:] == -1).all()
    assert np.bincount(fold_of[4:26]).tolist() == [8, 7, 7]


def test_held_out_rows_teach_nothing(tmp_path: Path) -> None:
    """Other values and labels in the rows held out change no bit of the model."""
    data = _numbers(tmp_path)
    held = np.arange(0, 60, 4)
    frame = data.table.frame.clone()
    changed = frame.with_columns([frame[name].scatter(held.tolist(), frame[name].gather(held[::-1].tolist()))
                                  for name in ("hr", "bp", "ward", "kind", "size")])
    other = Data(type(data.table)(changed, data.table.root, data.table.source), data.options)
    models = [fit(one, ONE_EPOCH, progress=False, allow_leak=True, apart=Apart(held_out=held))
              for one in (data, other)]
    for one, two in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert np.array_equal(one.numpy(), two.numpy())
    whole = fit(data, ONE_EPOCH, progress=False, allow_leak=True)
    assert models[0].facts["rows"]["training"] < whole.facts["rows"]["training"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> CrossValidated:
    data = _numbers(tmp_path_factory.mktemp("folds"))
    return cross_validate(data, ONE_EPOCH, 3, console=Quiet(), allow_leak=True)


def test_every_row_is_scored_by_the_model_without_it(tmp_path: Path) -> None:
    data = _numbers(tmp_path)
    seen = []
    found = cross_validate(data, ONE_EPOCH, 3, console=Quiet(), allow_leak=True,
                           on_fold=lambda model, samples, test, train: seen.append((model, samples, test, train)))
    rows = np.concatenate([test for _, _, test, _ in seen])
    assert sorted(rows.tolist()) == list(range(60))
    for model, samples, test, train in seen:
        assert not set(test.tolist()) & set(train.tolist())
        answers = model.answers(samples, rows=test)
        expected = [[one["kind"].probabilities[label] for label in ("ant", "bee", "cat")] for one in answers]
        np.testing.assert_allclose(found.answered.found["kind", ()][test], expected, atol=1e-9)


def test_pooled_scores_by_hand(found: CrossValidated) -> None:
    truth, predicted = found.truths["kind"], found.answered.found["kind", ()]
    one = next(s for s in found.repeated.spreads if s.target == "kind" and not s.modalities)
    assert one.pooled["accuracy"].value == pytest.approx(float(accuracy(truth, predicted)))
    by_fold = [float(accuracy(truth[found.fold_of == k], predicted[found.fold_of == k])) for k in range(3)]
    assert one.rounds["accuracy"] == pytest.approx(by_fold)
    assert one.mean("accuracy") == pytest.approx(np.mean(by_fold))
    assert one.sd("accuracy") == pytest.approx(np.std(by_fold, ddof=1))
    assert np.average(by_fold, weights=np.bincount(found.fold_of)) == pytest.approx(one.pooled["accuracy"].value)
    assert any("mean of folds ± sd" in line for line in repeated_lines(found.repeated))
    assert "each scored by the model trained without its fold" in found.repeated.sentence("kind")


def test_out_of_fold_answers_are_written(found: CrossValidated) -> None:
    file = io.StringIO()
    csv.writer(file).writerows(out_of_fold_rows(found, {"id": [f"x{row}" for row in range(60)]}))
    rows = list(csv.DictReader(file.getvalue().splitlines()))
    assert [row["row"] for row in rows] == [str(row + 1) for row in range(60)]
    assert {row["fold"] for row in rows} == {"1", "2", "3"} and rows[7]["id"] == "x7"
    right = np.mean([row["kind"] == row["kind_true"] for row in rows])
    one = next(s for s in found.repeated.spreads if s.target == "kind" and not s.modalities)
    assert right == pytest.approx(one.pooled["accuracy"].value)
    assert abs(sum(float(rows[0][f"kind={label}"]) for label in ("ant", "bee", "cat")) - 1) < 1e-5


def test_what_is_measured_alike_is_decoded_once(tmp_path: Path) -> None:
    data = sm.read(write_small_world(tmp_path, rows=40), targets="kind", ignore=("size",))
    first = prepare(data, QUICK, console=Quiet(), allow_leak=True, strict=False)
    again = prepare(data, QUICK, console=Quiet(), allow_leak=True, strict=False,
                    apart=Apart(held_out=np.arange(10), decoded=first.samples))
    assert again.samples.cells["image"] is first.samples.cells["image"]
    assert again.samples.cells["table"] is not first.samples.cells["table"]  # its scales are those of other rows
    assert not set(np.concatenate([again.splits.train, again.splits.validation, again.splits.calibration]).tolist()) \
        & set(range(10))


def test_seeds_share_one_split_and_the_first_is_kept(tmp_path: Path) -> None:
    data = _numbers(tmp_path)
    several = OverSeeds(data, ONE_EPOCH, 3, console=Quiet())
    several.run_others(allow_leak=True, strict=False)
    seen: list[Prepared] = []

    def add(model: sm.Model, prepared: Prepared) -> None:
        seen.append(prepared)
        several.add(model, prepared)

    model = fit(data, ONE_EPOCH, progress=False, allow_leak=True, on_chosen=add, apart=Apart(decoded=several.decoded))
    found = several.repeated()
    assert found is not None and model.recipe.training.seed == 0
    one = next(s for s in found.spreads if s.target == "size" and not s.modalities)
    assert len(set(one.rounds["rmse"])) == 3 and not one.pooled
    held = np.sort(np.concatenate([seen[0].splits.validation, seen[0].splits.calibration]))
    kept = sm.evaluate(model, seen[0].samples, rows=held)  # without a refit: the model that was scored
    expected = next(score for score in kept.as_found if score.target == "size").metrics["rmse"].value
    assert one.rounds["rmse"][0] == pytest.approx(expected)
    assert "over 3 seeds" in found.sentence("size")


def test_what_is_refused(tmp_path: Path) -> None:
    table = write_small_world(tmp_path, rows=20)
    with pytest.raises(RecipeError, match="--folds scores how well a target is predicted"):
        cross_validate(sm.read(table), ONE_EPOCH, 3, console=Quiet())
    with pytest.raises(RecipeError, match="--seeds 1: expected at least 2"):
        OverSeeds(sm.read(table, targets="kind"), ONE_EPOCH, 1, console=Quiet())
