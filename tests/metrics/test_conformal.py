"""Conformal sets and intervals: ranks, coverage by pattern on exchangeable splits, fallbacks, saving."""

from __future__ import annotations

import json
from math import inf

import numpy as np
import pytest

from sensorium.errors import DataError
from sensorium.metrics.conformal import (
    ASSUMPTION,
    Conformal,
    calibrate_classes,
    calibrate_numbers,
    conformal_rank,
    conformal_threshold,
)
from sensorium.metrics.coverage import coverage_band, interval_coverage, set_coverage

NAMES = ("photo", "note")
PATTERNS = [frozenset({"photo"}), frozenset({"note"}), frozenset(NAMES)]


def _softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _world(
    num_rows: int, shares: tuple[float, float, float], seed: int = 0,
) -> tuple[dict[frozenset[str], np.ndarray], np.ndarray, np.ndarray]:
    """Three classes; a note tells less than a photo; `shares` of rows have the photo only, the note only, both."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, num_rows)
    photo = 2.0 * np.eye(3)[truth] + random.normal(size=(num_rows, 3))
    note = 1.0 * np.eye(3)[truth] + random.normal(size=(num_rows, 3))
    has = np.array([[1, 0], [0, 1], [1, 1]], dtype=bool)[random.choice(3, num_rows, p=shares)]
    probabilities = {PATTERNS[0]: _softmax(2 * photo), PATTERNS[1]: _softmax(note),
                     PATTERNS[2]: _softmax(2 * photo + note)}
    for pattern, values in probabilities.items():
        lacks = ~has[:, [name in pattern for name in NAMES]].all(axis=1)
        values[lacks] = np.nan
    return probabilities, truth, has


def _as_found(probabilities: dict[frozenset[str], np.ndarray], has: np.ndarray) -> np.ndarray:
    """What is predicted from whatever a row has."""
    found = np.empty((len(has), 3))
    for pattern, values in probabilities.items():
        rows = (has == [name in pattern for name in NAMES]).all(axis=1)
        found[rows] = values[rows]
    return found


def _some(
    probabilities: dict[frozenset[str], np.ndarray], truth: np.ndarray, has: np.ndarray, rows: np.ndarray,
) -> tuple[dict[frozenset[str], np.ndarray], np.ndarray, np.ndarray]:
    return {pattern: values[rows] for pattern, values in probabilities.items()}, truth[rows], has[rows]


def test_ranks() -> None:
    assert [conformal_rank(rows, 0.1) for rows in (9, 10, 19, 99, 480)] == [9, 10, 18, 90, 433]
    assert conformal_rank(8, 0.1) == 9
    assert conformal_rank(4, 0.2) == 4
    scores = np.random.default_rng(0).permutation(99).astype(float)
    assert conformal_threshold(scores, 0.1) == 89
    assert conformal_threshold(scores[:8], 0.1) == inf
    assert conformal_threshold(np.zeros(0), 0.1) == inf


def test_every_pattern_is_covered_on_exchangeable_splits() -> None:
    """The mean of 50 resplits is within its beta-binomial band, corrected for the number of patterns."""
    world = _world(2400, (0.4, 0.3, 0.3))
    presence = world[2]
    random = np.random.default_rng(1)
    half = {}
    for pattern in PATTERNS:
        rows = np.flatnonzero((presence == [name in pattern for name in NAMES]).all(axis=1))
        half[pattern] = rows, len(rows) // 2
    covered: dict[frozenset[str], list[float]] = {pattern: [] for pattern in PATTERNS}
    for _ in range(50):
        shuffled = {pattern: random.permutation(rows) for pattern, (rows, _) in half.items()}
        first = np.concatenate([shuffled[pattern][: half[pattern][1]] for pattern in PATTERNS])
        fitted = calibrate_classes(*_some(*world, first), NAMES)
        assert all(pattern.natural for pattern in fitted.patterns)
        for pattern in PATTERNS:
            kept, truth, has = _some(*world, shuffled[pattern][half[pattern][1] :])
            covered[pattern].append(float(set_coverage(truth, fitted.sets(_as_found(kept, has), has))))
    for pattern in PATTERNS:
        rows, count = half[pattern]
        low, high = coverage_band(count, len(rows) - count, 0.1, resplits=50, comparisons=3)
        assert high - low < 0.02
        assert low <= np.mean(covered[pattern]) <= high


def test_fuller_rows_stand_in_where_few_have_the_pattern() -> None:
    """Absence is unrelated here: thresholds from restricted rows cover the rows that lack the modality."""
    fitted = calibrate_classes(*_world(1500, (0.05, 0.05, 0.9)), NAMES)
    by_name = {pattern.modalities: pattern for pattern in fitted.patterns}
    assert by_name[NAMES].natural and by_name[NAMES].note == ""
    for name in NAMES:
        assert not by_name[(name,)].natural and by_name[(name,)].note == ASSUMPTION
        assert by_name[(name,)].rows > 1300
    probabilities, truth, has = _world(6000, (0.5, 0.4, 0.1), seed=1)
    covered = fitted.sets(_as_found(probabilities, has), has)
    for pattern in PATTERNS:
        rows = (has == [name in pattern for name in NAMES]).all(axis=1)
        low, high = coverage_band(fitted.of(pattern).rows, int(rows.sum()), 0.1, comparisons=3)
        assert low <= set_coverage(truth[rows], covered[rows]) <= high


def test_what_the_mark_warns_of() -> None:
    """Where notes are missing from the hard rows, the threshold of fuller rows does not cover those that lack one."""
    probabilities, truth, _ = _world(4000, (0.0, 0.0, 1.0))
    likely = probabilities[PATTERNS[0]][np.arange(4000), truth]
    hard = likely < np.quantile(likely, 0.3)
    has = np.stack([np.ones(4000, dtype=bool), ~hard], axis=1)
    few_hard = np.concatenate([np.flatnonzero(~hard), np.flatnonzero(hard)[:100]])
    fitted = calibrate_classes(*_some(probabilities, truth, has, few_hard), NAMES)
    assert fitted.of(PATTERNS[0]).note == ASSUMPTION
    rest = np.flatnonzero(hard)[100:]
    assert set_coverage(truth[rest], fitted.sets(probabilities[PATTERNS[0]][rest], has[rest])) < 0.7
    several = np.concatenate([np.flatnonzero(~hard), np.flatnonzero(hard)[:300]])
    mended = calibrate_classes(*_some(probabilities, truth, has, several), NAMES)
    assert mended.of(PATTERNS[0]).natural
    assert set_coverage(truth[rest], mended.sets(probabilities[PATTERNS[0]][rest], has[rest])) > 0.85


def test_thresholds_follow_their_definition() -> None:
    world = _world(900, (0.4, 0.3, 0.3))
    fitted = calibrate_classes(*world, NAMES, alpha=0.2)
    for pattern in PATTERNS:
        rows = np.flatnonzero((world[2] == [name in pattern for name in NAMES]).all(axis=1))
        ordered = np.sort([1 - world[0][pattern][row, world[1][row]] for row in rows])
        rank = int(np.ceil((len(rows) + 1) * 0.8))
        assert fitted.of(pattern).threshold == ordered[rank - 1]
        assert fitted.of(pattern).rows == len(rows)


def test_fewer_modalities_larger_sets_and_smaller_alpha_larger_sets() -> None:
    world = _world(3000, (0.3, 0.3, 0.4))
    found = _as_found(world[0], world[2])
    sizes = [calibrate_classes(*world, NAMES, alpha=alpha).sets(found, world[2]).sum(axis=1) for alpha in (0.05, 0.2)]
    assert (sizes[0] >= sizes[1]).all() and sizes[0].mean() > sizes[1].mean()
    both, note = world[2].all(axis=1), ~world[2][:, 0]
    assert sizes[0][both].mean() < sizes[0][note].mean()


def test_patterns_without_enough_rows_hold_everything() -> None:
    probabilities, truth, has = _world(8, (0.0, 0.0, 1.0))
    fitted = calibrate_classes({PATTERNS[2]: probabilities[PATTERNS[2]]}, truth, has, NAMES)
    assert fitted.of(PATTERNS[2]).threshold == inf
    assert fitted.of(PATTERNS[0]).rows == 0 and fitted.of(PATTERNS[0]).note == ASSUMPTION
    assert fitted.sets(np.full((2, 3), 1 / 3), np.array([[True, False], [True, True]])).all()
    assert fitted.sets(np.full((1, 3), 1 / 3), np.zeros((1, 2), dtype=bool)).all()


def test_unseen_classes_count_as_missed() -> None:
    probabilities, truth, has = _world(1000, (0.0, 0.0, 1.0))
    unseen = np.where(np.arange(1000) % 20 == 0, -1, truth)
    fitted = calibrate_classes({PATTERNS[2]: probabilities[PATTERNS[2]]}, unseen, has, NAMES)
    plain = calibrate_classes({PATTERNS[2]: probabilities[PATTERNS[2]]}, truth, has, NAMES)
    assert fitted.of(PATTERNS[2]).threshold > plain.of(PATTERNS[2]).threshold
    assert set_coverage(unseen, fitted.sets(probabilities[PATTERNS[2]], has)) == pytest.approx(0.9, abs=0.002)
    none = calibrate_classes({PATTERNS[2]: probabilities[PATTERNS[2]]}, np.full(1000, -1), has, NAMES)
    assert none.of(PATTERNS[2]).threshold == inf


def test_never_empty() -> None:
    probabilities, truth, has = _world(1000, (1.0, 0.0, 0.0))
    fitted = calibrate_classes(probabilities, truth, has, NAMES, alpha=0.4)
    plain = fitted.sets(probabilities[PATTERNS[0]], has)
    filled = fitted.sets(probabilities[PATTERNS[0]], has, never_empty=True)
    assert (plain.sum(axis=1) == 0).any()
    np.testing.assert_array_equal(filled.sum(axis=1), np.maximum(plain.sum(axis=1), 1))


def test_intervals_of_numbers() -> None:
    random = np.random.default_rng(0)
    truth, has = random.normal(size=3000), np.tile([[True, False], [True, True]], (1500, 1))
    predicted = {PATTERNS[0]: truth + random.normal(size=3000), PATTERNS[2]: truth + 0.3 * random.normal(size=3000)}
    fitted = calibrate_numbers({p: v[:1500] for p, v in predicted.items()}, truth[:1500], has[:1500], NAMES)
    found = np.where(has[:, 1], predicted[PATTERNS[2]], predicted[PATTERNS[0]])[1500:]
    ends = fitted.intervals(found, has[1500:])
    for rows, pattern in ((has[1500:, 1], PATTERNS[2]), (~has[1500:, 1], PATTERNS[0])):
        low, high = coverage_band(750, 750, 0.1, comparisons=2)
        assert low <= interval_coverage(truth[1500:][rows], ends[rows]) <= high
        assert np.ptp(ends[rows] - found[rows, None], axis=0) == pytest.approx([0, 0], abs=1e-9)
        spread = 0.3 if pattern == PATTERNS[2] else 1.0
        assert fitted.of(pattern).threshold == pytest.approx(1.645 * spread, rel=0.1)
    with pytest.raises(DataError, match="calibrated to regress, not to classify"):
        fitted.sets(np.ones((1, 2)), has[:1])


def test_saving() -> None:
    probabilities, truth, has = _world(300, (0.0, 0.02, 0.98))
    few = {PATTERNS[2]: probabilities[PATTERNS[2]], PATTERNS[0]: probabilities[PATTERNS[0]]}
    fitted = calibrate_classes(few, truth, has, NAMES)
    text = json.dumps(fitted.to_json(), allow_nan=False)
    assert Conformal.from_json(json.loads(text)) == fitted
    empty = calibrate_classes({p: v[:3] for p, v in few.items()}, truth[:3], has[:3], NAMES)
    assert Conformal.from_json(json.loads(json.dumps(empty.to_json(), allow_nan=False))) == empty


def test_what_is_refused() -> None:
    probabilities, truth, has = _world(300, (0.0, 0.0, 1.0))
    with pytest.raises(DataError, match="alpha"):
        calibrate_classes(probabilities, truth, has, NAMES, alpha=1.0)
    with pytest.raises(DataError, match="sound"):
        calibrate_classes({frozenset({"sound"}): probabilities[PATTERNS[0]]}, truth, has, NAMES)
    with pytest.raises(DataError, match="each of 299 rows"):
        calibrate_classes(probabilities, truth[1:], has[1:], NAMES)
    probabilities[PATTERNS[0]][5] = np.nan
    with pytest.raises(DataError, match="finite probabilities"):
        calibrate_classes(probabilities, truth, has, NAMES)
