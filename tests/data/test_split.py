"""Splits: 80/10/10, nothing torn, a split column honoured, the same seed the same split, whatever is appended."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.split import Splits, split_rows
from sensorium.errors import DataError

ROWS = np.arange(1000)


def _split(usable: np.ndarray = ROWS, groups: np.ndarray | None = None, shared: list[np.ndarray] | None = None,
           named: np.ndarray | None = None, seed: int = 0) -> Splits:
    return split_rows(usable, groups=groups, shared=shared or [], named=named, seed=seed)


def _parts(splits: Splits) -> list[np.ndarray]:
    return [splits.train, splits.validation, splits.calibration, splits.test]


def _check_partition(splits: Splits, usable: np.ndarray) -> None:
    together = np.concatenate(_parts(splits))
    assert np.array_equal(np.sort(together), usable)
    assert all((np.diff(part) > 0).all() for part in _parts(splits))
    assert min(len(splits.train), len(splits.validation), len(splits.calibration)) >= 1


def _torn(splits: Splits, bond: np.ndarray) -> int:
    """How many bonds have rows in more than one part."""
    parts = [set(bond[part][bond[part] >= 0].tolist()) for part in _parts(splits)]
    return sum(len(a & b) for place, a in enumerate(parts) for b in parts[place + 1 :])


def test_eighty_ten_ten() -> None:
    splits = _split()
    _check_partition(splits, ROWS)
    assert [len(part) for part in _parts(splits)] == [800, 100, 100, 0]


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 60), st.integers(0, 5), st.integers(1, 30), st.booleans())
def test_any_table_is_partitioned_and_groups_are_never_torn(rows: int, seed: int, num_groups: int, files: bool) -> None:
    random = np.random.default_rng(rows + 100 * seed)
    usable = np.sort(random.choice(2 * rows, rows, replace=False))
    groups = random.integers(0, num_groups, 2 * rows)
    shared = [random.integers(-1, rows, 2 * rows)] if files else []
    try:
        splits = _split(usable, groups, shared, seed=seed)
    except DataError:  # one bundle holds every row
        assert rows < 10 or num_groups < 15 or files
        return
    _check_partition(splits, usable)
    if len(np.unique(groups[usable])) >= 10:
        assert _torn(splits, groups) == 0 and "by group" in splits.note


def test_ten_groups_are_kept_whole_and_nine_are_not() -> None:
    ten, nine = _split(groups=ROWS % 10), _split(groups=ROWS % 9)
    assert _torn(ten, ROWS % 10) == 0 and "rows are split by group (10 groups)" in ten.note
    assert _torn(nine, ROWS % 9) > 0 and "only 9 groups" in nine.note and "not that of a new group" in nine.note
    assert [len(part) for part in _parts(nine)] == [800, 100, 100, 0]


def test_rows_that_share_a_file_stay_together_over_two_modalities() -> None:
    pictures, sounds = ROWS // 2, np.where(ROWS % 4 == 1, ROWS, np.where(ROWS % 4 == 2, ROWS - 1, -1))
    splits = _split(shared=[pictures, sounds])
    assert _torn(splits, pictures) == 0 and _torn(splits, sounds) == 0
    assert "rows that share a file stay together" in splits.note
    bundles = [set((part // 4).tolist()) for part in _parts(splits)]  # two pictures joined by a sound are one bundle
    assert not bundles[0] & bundles[1] and not bundles[0] & bundles[2]


def test_a_placeholder_file_does_not_bind_half_of_the_table() -> None:
    files = np.where(ROWS < 500, 0, 1 + ROWS // 2)
    splits = _split(shared=[files])
    assert [len(part) for part in _parts(splits)][:3] == pytest.approx([800, 100, 100], abs=2)
    assert _torn(splits, np.where(files == 0, -1, files)) == 0 and "many rows share" in splits.note


def test_groups_win_over_a_chain_of_files() -> None:
    """Files that tie every group to the next would leave one bundle: groups stay whole, and the note says so."""
    chain = (ROWS + 1) // 2
    linked = [ROWS // 2, chain]
    splits = _split(groups=ROWS % 20, shared=linked)
    assert _torn(splits, ROWS % 20) == 0 and "too many rows share files" in splits.note


def test_a_split_column_is_honoured() -> None:
    named = np.array(["train"] * 600 + ["validation"] * 100 + ["test"] * 200 + [""] * 100)
    splits = _split(named=named)
    _check_partition(splits, ROWS)
    assert np.array_equal(splits.validation, np.arange(600, 700)) and np.array_equal(splits.test, np.arange(700, 900))
    assert len(splits.calibration) == 70 and "split column decides" in splits.note
    both = np.where(ROWS < 10, "calibration", named)
    assert np.array_equal(_split(named=both).calibration, np.arange(10))
    with pytest.raises(DataError, match="split column leaves 0 rows"):
        _split(named=np.full(1000, "test"))


def test_the_same_seed_the_same_split_and_another_seed_another() -> None:
    first, again, other = _split(), _split(), _split(seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(_parts(first), _parts(again), strict=True))
    assert len(np.intersect1d(first.validation, other.validation)) < 40


def test_appended_rows_move_few_of_the_old_ones() -> None:
    before, after = _split(), _split(np.arange(1050))
    moved = len(np.setdiff1d(before.validation, after.validation)) + len(np.setdiff1d(
        after.validation[after.validation < 1000], before.validation))
    assert moved <= 25
    assert len(np.setdiff1d(before.train, after.train)) <= 50


def test_tiny_tables() -> None:
    assert [len(part) for part in _parts(_split(np.arange(3)))] == [1, 1, 1, 0]
    with pytest.raises(DataError, match="only 2 rows can be used: at least 3"):
        _split(np.arange(2))
