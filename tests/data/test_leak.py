"""The leak guard: planted leaks are named, honest columns are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sensorium.data.infer import infer_schema
from sensorium.data.leak import Leak, find_leaks, refuse_leaks
from sensorium.data.table import Table, read_table
from sensorium.errors import LeakError
from sensorium.recipe import DataOptions

ROWS = 400
RANDOM = np.random.default_rng(0)
KIND = RANDOM.integers(0, 4, ROWS)
NAMES = np.array(["ant", "bee", "cat", "dog"])[KIND].tolist()
FILLER = [" ".join(RANDOM.choice(["one", "two", "three", "four", "five"], 5).tolist()) for _ in range(ROWS)]


def _leaks(target: str = "y", **columns: Any) -> list[Leak]:
    table = Table(pl.DataFrame(columns), Path(), "t")
    return find_leaks(table, infer_schema(table, DataOptions(targets=(target,))))


@pytest.mark.parametrize("leak", [
    [f"{filler} {name} {row}" for row, (filler, name) in enumerate(zip(FILLER, NAMES, strict=True))],
    [f"今天看到{'蚂蜂猫狗'[kind]}在花园里{'春夏秋冬'[row % 4]}" for row, kind in enumerate(KIND)],
    [f"code{kind}" for kind in KIND],
    (10.0 * KIND + RANDOM.random(ROWS)).tolist(),
    [f"{10 * kind + 1},{row % 10} kg" for row, kind in enumerate(KIND)],
], ids=["text", "Chinese text", "category", "number", "number with a unit"])
def test_a_planted_leak_is_found(leak: list[Any]) -> None:
    found = _leaks(x=leak, filler=FILLER, noise=RANDOM.normal(size=ROWS), y=NAMES)
    assert [(f.column, f.target) for f in found] == [("x", "y")] and found[0].score > 0.99


def test_a_leak_with_gaps_is_found() -> None:
    leak = [None if row % 3 == 0 else f"code{kind}" for row, kind in enumerate(KIND)]
    assert [f.column for f in _leaks(x=leak, y=NAMES)] == ["x"]


def test_noise_and_honest_signals_are_no_leak() -> None:
    noisy = [name if RANDOM.random() < 0.9 else "dog" for name in NAMES]
    assert _leaks(x=FILLER, n=RANDOM.normal(size=ROWS), c=noisy, z=(KIND + RANDOM.normal(size=ROWS)), y=NAMES) == []


def test_many_rare_classes() -> None:
    """Classes that the fitted half never saw do not hide a leak."""
    labels = RANDOM.integers(0, 150, ROWS)
    assert [f.column for f in _leaks(x=[f"it is {v} now" for v in labels], y=[f"k{v}" for v in labels])] == ["x"]


def test_a_regressed_target() -> None:
    target = RANDOM.normal(size=ROWS)
    found = _leaks(copy=3.0 - 2.0 * target, near=target + 0.1 * RANDOM.normal(size=ROWS), y=target)
    assert [f.column for f in found] == ["copy"]


def test_one_frequent_class_and_small_tables_are_not_judged() -> None:
    mostly = ["ant" if row % 10 else "bee" for row in range(ROWS)]
    assert _leaks(x=[f"is {m}" for m in mostly], y=mostly) == []
    assert _leaks(x=[f"code{kind}" for kind in KIND[:30]], y=NAMES[:30]) == []


def test_refusal_names_the_columns_and_the_ways_out() -> None:
    refuse_leaks([])
    with pytest.raises(LeakError, match="'y' can be read from 'a' alone .100.0%.*--ignore a --ignore b.*--allow-leak"):
        refuse_leaks([Leak("a", "y", 1.0), Leak("b", "y", 0.995), Leak("a", "z", 1.0)])


@pytest.mark.data
def test_real_tables(shared_data: Path) -> None:
    def found(name: str, target: str, **options: Any) -> list[str]:
        table = read_table(shared_data / name)
        return [f.column for f in find_leaks(table, infer_schema(table, DataOptions(targets=(target,), **options)))]

    assert found("grid/train.csv", "letter") == ["sentence"]
    assert found("avdigits/train.csv", "digit", group="speaker") == []
    assert found("ham10000_small/train.csv", "diagnosis", ignore=("lesion",)) == []
