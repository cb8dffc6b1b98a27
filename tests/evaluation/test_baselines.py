"""Shallow baselines: planted structure is found, absent modalities and odd tables do no harm."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.evaluation import baselines
from sensorium.evaluation import columns as columns_module
from sensorium.evaluation.baselines import BaselineResult, Features, run_baselines
from sensorium.metrics.classification import accuracy, log_loss
from sensorium.metrics.regression import r2


def _classes(num_rows: int = 600, width: int = 6, strength: float = 1.5, seed: int = 0) -> Features:
    """Two modalities, each of which shifts with the class."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, num_rows)
    centres = np.random.default_rng(99).normal(size=(2, 3, width)) * strength
    blocks = {name: (centre[truth] + random.normal(size=(num_rows, width))).astype(np.float32)
              for name, centre in zip(("photo", "sound"), centres, strict=True)}
    return Features(blocks, truth)


def _split(features: Features) -> tuple[Features, Features]:
    cut = 2 * len(features) // 3
    return features.rows(np.arange(cut)), features.rows(np.arange(cut, len(features)))


def _run(features: Features, **options: object) -> dict[str, BaselineResult]:
    train, test = _split(features)
    found = run_baselines({"plain": train}, {"plain": test}, "classify", **options)  # type: ignore[arg-type]
    return {result.method: result for result in found}


def test_finds_planted_classes() -> None:
    features = _classes()
    _, test = _split(features)
    found = _run(features)
    np.testing.assert_allclose(found["prior"].prediction.sum(axis=1), 1)
    assert np.ptp(found["prior"].prediction, axis=0).max() == 0
    for method in ("linear", "boosting"):
        np.testing.assert_allclose(found[method].prediction.sum(axis=1), 1)
        assert accuracy(test.truth, found[method].prediction) > 0.93
        assert log_loss(test.truth, found[method].prediction) < 0.3 * log_loss(test.truth, found["prior"].prediction)
        assert found[method].num_train_rows == 400
        assert found[method].features == "plain"


def test_two_modalities_beat_one_and_sets_are_named() -> None:
    train, test = _split(_classes(strength=0.6))
    sets = {"both": ("photo", "sound"), "photo": ("photo",)}
    found = run_baselines({name: train.only(blocks) for name, blocks in sets.items()},
                          {name: test.only(blocks) for name, blocks in sets.items()}, "classify")
    assert [(result.method, result.features) for result in found] == [
        ("prior", ""), ("linear", "both"), ("boosting", "both"), ("linear", "photo"), ("boosting", "photo")]
    scores = [accuracy(test.truth, result.prediction) for result in found]
    assert scores[1] > scores[3] + 0.05
    assert scores[2] > scores[4] + 0.05


def test_finds_planted_values() -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(600, 4)).astype(np.float32) * [1, 100, 0.01, 1]
    truth = 1000 + 50 * table[:, 0] + 0.3 * table[:, 1] + random.normal(size=600)
    truth[:5] = np.nan
    train, test = _split(Features({"table": table}, truth))
    prior, linear, boosting = run_baselines({"plain": train}, {"plain": test}, "regress")
    np.testing.assert_allclose(prior.prediction, np.nanmean(train.truth))
    assert linear.prediction.shape == boosting.prediction.shape == (200,)
    assert linear.num_train_rows == 395
    assert r2(test.truth, linear.prediction) > 0.99
    assert r2(test.truth, boosting.prediction) > 0.9


def test_values_far_from_zero_are_found_too() -> None:
    random = np.random.default_rng(0)
    columns = random.normal(size=(300, 3)).astype(np.float32)
    features = Features({"table": columns}, columns @ np.array([2.0, -1.0, 0.5]) + 1e9)
    train, test = _split(features)
    for result in run_baselines({"plain": train}, {"plain": test}, "regress")[1:]:
        assert float(np.asarray(r2(test.truth, result.prediction))) > 0.9, result.method


def test_the_penalty_is_not_chosen_where_the_fit_had_hardly_moved() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 2000)
    features = Features({"table": (truth + random.normal(0, 0.35, 2000))[:, None].astype(np.float32)}, truth)
    _, test = _split(features)
    found = _run(features)["linear"].prediction
    assert accuracy(test.truth, found) > 0.90 and log_loss(test.truth, found) < 0.27


def test_absence_itself_can_tell() -> None:
    """A modality that is absent for one class only, and otherwise noise: only an indicator or NaN shows it."""
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 300)
    noise = random.normal(size=(300, 60)).astype(np.float32)
    noise[truth == 1] = np.nan
    features = Features({"scan": noise, "table": random.normal(size=(300, 2)).astype(np.float32)}, truth)
    _, test = _split(features)
    found = _run(features)
    assert accuracy(test.truth, found["linear"].prediction) == 1
    assert accuracy(test.truth, found["boosting"].prediction) == 1


def test_missing_cells_and_infinities_do_no_harm() -> None:
    features = _classes()
    random = np.random.default_rng(1)
    photo, sound = features.blocks["photo"].copy(), features.blocks["sound"].copy()
    photo[random.random(photo.shape) < 0.2] = np.nan
    photo[3, 0], photo[500, 1] = np.inf, 1e30
    sound[random.random(600) < 0.3] = np.nan
    blocks = {"photo": photo, "sound": sound, "constant": np.ones((600, 2), np.float32),
              "never": np.full((600, 3), np.nan, np.float32), "empty": np.zeros((600, 0), np.float32)}
    spoiled = Features(blocks, features.truth)
    _, test = _split(spoiled)
    for method, result in _run(spoiled).items():
        assert np.isfinite(result.prediction).all()
        if method != "prior":
            assert accuracy(test.truth, result.prediction) > 0.85


def test_wide_blocks_and_many_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "LINEAR_WORK", 40 * 400 * 3)
    features = _classes(width=80, strength=0.4)
    _, test = _split(features)
    columns, test_columns = columns_module.linear_columns(*_split(features), 3, 0)
    assert columns.shape == (400, 40)
    assert test_columns.shape == (200, 40)
    columns, _ = columns_module.boosting_columns(*_split(features), 0)
    assert columns.shape == (400, 2 * columns_module.WIDE)
    found = _run(features)
    assert accuracy(test.truth, found["linear"].prediction) > 0.9
    assert accuracy(test.truth, found["boosting"].prediction) > 0.8


def test_scaling() -> None:
    """Columns by themselves where units are mixed or few; a wide block of one unit as a whole."""
    random = np.random.default_rng(0)
    scales = np.linspace(0.5, 2.0, 60)
    block = (random.normal(size=(500, 60)) * scales + 7).astype(np.float32)
    scaled, _ = columns_module._standardised(block, block)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0) / scales, np.full(60, 1 / np.sqrt(np.mean(scales**2))), rtol=0.15)
    assert scaled.std() == pytest.approx(1, rel=1e-3)
    few, _ = columns_module._standardised(block[:, :10], block[:, :10])
    np.testing.assert_allclose(few.std(axis=0), 1, rtol=1e-3)
    block[:, 0] *= 1000
    mixed, _ = columns_module._standardised(block, block)
    np.testing.assert_allclose(mixed.std(axis=0), 1, rtol=1e-3)


def test_rare_unlabelled_and_unseen_classes() -> None:
    features = _classes()
    truth = features.truth.copy()
    truth[:40] = -1
    truth[50] = 4
    spoiled = Features(features.blocks, truth)
    found = _run(spoiled, num_classes=6)
    for result in found.values():
        assert result.prediction.shape == (200, 6)
        assert result.num_train_rows == 360
        np.testing.assert_allclose(result.prediction.sum(axis=1), 1)
        assert result.prediction[:, 5].max() < 1e-6


@pytest.mark.parametrize("num_rows", [2, 6, 15])
def test_tiny_tables(num_rows: int) -> None:
    train, test = _classes(num_rows), _classes(5, seed=1)
    for result in run_baselines({"plain": train}, {"plain": test}, "classify", num_classes=3):
        assert result.prediction.shape == (5, 3)
        assert np.isfinite(result.prediction).all()


def test_nothing_to_learn_from_is_the_prior() -> None:
    features = _classes(30)
    one = Features(features.blocks, np.zeros(30, dtype=np.int64))
    blank = Features({"photo": np.full((30, 2), np.nan, np.float32)}, features.truth)
    for given in (one, blank):
        prior, *others = run_baselines({"plain": given}, {"plain": given}, "classify", num_classes=3)
        for result in others:
            np.testing.assert_array_equal(result.prediction, prior.prediction)
            assert "nothing to learn from" in result.setting


def test_is_deterministic_sampled_and_keyed() -> None:
    features = _classes()
    first, again, other = (_run(features, max_rows=100, seed=seed) for seed in (0, 0, 1))
    for method in ("linear", "boosting"):
        assert first[method].num_train_rows == 100
        np.testing.assert_array_equal(first[method].prediction, again[method].prediction)
        assert (first[method].prediction != other[method].prediction).any()


def test_folds_keep_groups_together() -> None:
    features = _classes(600)
    for num_groups, most, num_folds in ((30, 4, 1), (30, 1, 1), (5, 4, 4), (3, 4, 3), (2, 4, 1), (5, 1, 1)):
        groups = np.arange(600) % num_groups
        folds = baselines._folds(Features(features.blocks, features.truth, groups), 0, most)
        assert len(folds) == num_folds
        whole = num_groups >= (10 if most == 1 else 3)
        for held in folds:
            assert held.any()
            assert not held.all()
            shares = np.array([held[groups == name].mean() for name in range(num_groups)])
            assert np.isin(shares, [0, 1]).all() == whole
        if num_folds > 1:
            assert (np.sum(folds, axis=0) == 1).all()
    assert baselines._folds(features.rows(np.arange(9)), 0, 4) == []


def test_warnings_are_counted_not_emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression.fit

    def hurried(self: LogisticRegression, *arguments: object) -> LogisticRegression:
        self.set_params(max_iter=1)
        return fit(self, *arguments)

    monkeypatch.setattr(LogisticRegression, "fit", hurried)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = _run(_classes())
    assert found["linear"].num_warnings > 0
    assert found["boosting"].num_warnings == 0


def test_wrong_arguments_are_named() -> None:
    features = _classes(30)
    with pytest.raises(DataError, match="'plain' has training rows but no test rows"):
        run_baselines({"plain": features}, {}, "classify")
    with pytest.raises(DataError, match="differ in blocks or widths"):
        run_baselines({"plain": features}, {"plain": features.only(["photo"])}, "classify")
    unlabelled = Features(features.blocks, np.full(30, -1))
    with pytest.raises(DataError, match="with a label, found none"):
        run_baselines({"plain": unlabelled}, {"plain": features}, "classify")
    with pytest.raises(DataError, match=r"features of 'photo': expected \(2, feature\), found \(3, 1\)"):
        Features({"photo": np.zeros((3, 1))}, np.zeros(2))
    with pytest.raises(DataError, match="one group for each of 2 rows"):
        Features({}, np.zeros(2), np.zeros(3))


def test_balanced_probabilities_follow_bayes() -> None:
    from sensorium.evaluation.shallow import balanced

    evidence = np.array([[0.2, 0.6], [0.5, 0.5]])  # p(x | class)
    prior = np.array([0.9, 0.1])
    posterior = evidence * prior / (evidence * prior).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(balanced(posterior, prior), evidence / evidence.sum(axis=1, keepdims=True))
