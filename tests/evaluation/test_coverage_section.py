"""The section on coverage: verdicts, sizes, rows that are not judged, bands of patterns together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_scores import class_target, noisy_logits, number_target, scored_rows, softmax
from worlds import QUICK, write_small_world

import sensorium
from sensorium.data.read import as_samples
from sensorium.evaluation.coverage import coverage_of, pooled_band
from sensorium.metrics.conformal import ASSUMPTION, calibrate_classes, calibrate_numbers
from sensorium.metrics.coverage import coverage_band

NAMES = ("a", "b")
ROWS = 2000


def _patterns(count: int) -> np.ndarray:
    """A half has both modalities, a third a alone, the rest b alone."""
    presence = np.ones((count, 2), dtype=bool)
    presence[::6, 0] = False
    presence[1::3, 1] = False
    return presence


def _world(strength: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth = np.random.default_rng(seed).integers(0, 4, ROWS)
    return truth, softmax(noisy_logits(truth, 4, strength, seed + 1)), _patterns(ROWS)


def _calibrated(truth: np.ndarray, predicted: np.ndarray, presence: np.ndarray) -> dict[str, object]:
    patterns = [frozenset({"a"}), frozenset({"b"}), frozenset(NAMES)]
    return {"kind": calibrate_classes(dict.fromkeys(patterns, predicted), truth, presence, NAMES)}


def test_like_rows_are_covered_as_promised_and_numbers_are_right() -> None:
    fitted = _calibrated(*_world(1.5, 0))
    truth, predicted, presence = _world(1.5, 10)
    mask = np.arange(ROWS) % 7 != 0
    scored = scored_rows(class_target(4), truth, presence, NAMES, mask=mask, conformal=fitted)
    found = coverage_of(scored, class_target(4), predicted, np.ones(ROWS, dtype=bool))
    assert found is not None
    assert {one.verdict for one in [found.whole, *found.patterns]} == {"inside"}
    assert "as often as they should" in found.sentence
    held = size = decided = right = 0
    for row in np.flatnonzero(mask):
        sets = fitted["kind"].sets(predicted[[row]], presence[[row]])[0]  # type: ignore[attr-defined]
        held += int(sets[truth[row]])
        size += int(sets.sum())
        decided += int(sets.sum() == 1)
        right += int(sets.sum() == 1 and sets[truth[row]])
    count = int(mask.sum())
    assert found.whole.rows == count == sum(one.rows for one in found.patterns)
    assert found.whole.coverage.value == pytest.approx(held / count)
    assert found.whole.size == pytest.approx(size / count)
    assert found.whole.decided == pytest.approx(decided / count)
    assert found.whole.decided_right is not None
    assert found.whole.decided_right.value == pytest.approx(right / decided)


def test_other_rows_are_said_to_be_unlike() -> None:
    truth, predicted, presence = _world(1.5, 10)
    wrong = np.where(np.random.default_rng(0).random(ROWS) < 0.15, (truth + 1) % 4, truth)
    scored = scored_rows(class_target(4), wrong, presence, NAMES, conformal=_calibrated(*_world(1.5, 0)))
    found = coverage_of(scored, class_target(4), predicted, np.ones(ROWS, dtype=bool))
    assert found is not None
    assert found.whole.verdict == "below"
    assert "less often than chance allows" in found.sentence
    assert "unlike" in found.sentence
    assert found.to_json()["whole"]["verdict"] == "below"


def test_one_bad_pattern_is_named() -> None:
    truth, predicted, presence = _world(1.5, 10)
    alone = presence[:, 1] & ~presence[:, 0]
    scored = scored_rows(class_target(4), np.where(alone, (truth + 1) % 4, truth), presence, NAMES,
                         conformal=_calibrated(*_world(1.5, 0)))
    found = coverage_of(scored, class_target(4), predicted, np.ones(ROWS, dtype=bool))
    assert found is not None
    assert [one.modalities for one in found.patterns if one.verdict == "below"] == [("b",)]
    assert "Outside their band are the rows that have just b " in found.sentence


def test_rows_that_calibrated_are_not_judged() -> None:
    truth, predicted, presence = _world(1.5, 0)
    scored = scored_rows(class_target(4), truth, presence, NAMES, conformal=_calibrated(truth, predicted, presence))
    unseen = np.zeros(ROWS, dtype=bool)
    assert coverage_of(scored, class_target(4), predicted, unseen) is None
    unseen[:100] = True
    found = coverage_of(scored, class_target(4), predicted, unseen)
    assert found is not None
    assert found.whole.rows == 100


def test_assumptions_are_marked_and_what_cannot_be_calibrated_is_counted() -> None:
    truth, predicted, presence = _world(1.5, 0)
    full = presence.all(axis=1)
    patterns = [frozenset({"a"}), frozenset(NAMES)]
    fitted = {"kind": calibrate_classes(dict.fromkeys(patterns, predicted[full]), truth[full], presence[full], NAMES)}
    scored = scored_rows(class_target(4), truth, presence, NAMES, conformal=fitted)
    found = coverage_of(scored, class_target(4), predicted, np.ones(ROWS, dtype=bool))
    assert found is not None
    assert {one.modalities: one.note for one in found.patterns} == {("a", "b"): "", ("a",): ASSUMPTION}
    assert found.left_out == int((presence == [False, True]).all(axis=1).sum()) > 0
    assert ASSUMPTION in found.sentence


def test_intervals_of_numbers() -> None:
    random = np.random.default_rng(0)
    truth, presence = random.normal(size=ROWS), np.ones((ROWS, 2), dtype=bool)
    predicted = truth + 0.3 * random.normal(size=ROWS)
    fitted = {"size": calibrate_numbers({frozenset(NAMES): predicted[:500]}, truth[:500], presence[:500], NAMES)}
    scored = scored_rows(number_target(), truth, presence, NAMES, conformal=fitted)
    found = coverage_of(scored, number_target(), predicted[:, None], np.arange(ROWS) >= 500)
    assert found is not None
    assert found.whole.verdict == "inside"
    assert found.whole.size == pytest.approx(2 * fitted["size"].patterns[0].threshold)
    assert found.whole.decided is None


def test_a_model_without_sets_is_not_judged() -> None:
    truth, predicted, presence = _world(1.5, 0)
    scored = scored_rows(class_target(4), truth, presence, NAMES)
    assert coverage_of(scored, class_target(4), predicted, np.ones(ROWS, dtype=bool)) is None


def test_the_band_of_patterns_together_by_simulation() -> None:
    """Two patterns with one set of calibration scores, which is as dependent as they come."""
    random = np.random.default_rng(0)
    totals = []
    for _ in range(4000):
        scores = np.sort(random.random(50))
        threshold = scores[45]  # the 46th of 50: ⌈51 · 0.9⌉
        totals.append(((random.random(60) <= threshold).sum() + (random.random(40) <= threshold).sum()) / 100)
    low, high = pooled_band([50, 50], [60, 40], [0.1, 0.1])
    assert 0.94 <= np.mean([(low <= total <= high) for total in totals]) <= 0.98
    assert pooled_band([50], [100], [0.1]) == coverage_band(50, 100, 0.1)
    assert np.ptp(pooled_band([50, 50], [60, 40], [0.1, 0.1])) == pytest.approx(np.ptp(coverage_band(50, 100, 0.1)),
                                                                                 abs=0.011)


@pytest.mark.slow
def test_a_trained_models_sets_over_fifty_resplits(tmp_path: Path) -> None:
    """Every pattern's mean coverage is within its beta-binomial band, corrected for the number of patterns."""
    train = sensorium.read(str(write_small_world(tmp_path / "train", rows=120)), targets="kind",
                           inputs=["image", "sound", "hr", "bp"])  # no notes: of three texts, scores would tie
    model = sensorium.fit(train, QUICK.changed("training", epochs=3), progress=False, allow_leak=True)
    samples = as_samples(str(write_small_world(tmp_path / "test", rows=400, seed=1)), model.schema)
    names = model.schema.names
    patterns = [frozenset({name}) for name in names] + [frozenset(names)]
    rows = np.flatnonzero(samples.presence.all(axis=1))
    half, truth = len(rows) // 2, samples.labels["kind"].values[rows].astype(np.int64)
    raw = model.outputs(samples, rows, patterns)["kind"]
    predicted = {pattern: softmax(raw[pattern]) for pattern in patterns}
    presence = np.ones((len(rows), len(names)), dtype=bool)
    covered: dict[frozenset[str], list[float]] = {pattern: [] for pattern in patterns}
    for seed in range(50):
        order = np.random.default_rng(seed).permutation(len(rows))
        one, other = order[:half], order[half:]
        fitted = calibrate_classes({p: v[one] for p, v in predicted.items()}, truth[one], presence[one], names)
        for pattern, values in predicted.items():
            shown = np.tile([name in pattern for name in names], (len(other), 1))
            held = fitted.sets(values[other], shown)[np.arange(len(other)), truth[other]]
            covered[pattern].append(float(held.mean()))
    low, high = coverage_band(half, len(rows) - half, 0.1, resplits=50, comparisons=len(patterns))
    assert all(low <= np.mean(found) <= high for found in covered.values()), (low, high, covered)
