"""What pairs of modalities tell: planted logic, budgets, words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sensorium.answers import predictions
from sensorium.data.schema import Target
from sensorium.evaluation.information import decompose_pairs, pairs_to_decompose

ROWS = 400
YES_NO = Target(name="answer", task="classify", classes=("no", "yes"), prior=(0.5, 0.5))


def _scored(truth: np.ndarray, *, presence: np.ndarray | None = None, labelled: np.ndarray | None = None) -> Any:
    """Rows of two modalities a and b; a stand-in for `Scored`."""
    there = np.ones((len(truth), 2), dtype=bool) if presence is None else presence
    known = np.ones(len(truth), dtype=bool) if labelled is None else labelled
    return SimpleNamespace(
        rows=np.arange(len(truth)), seed=0, groups=None, labelled=lambda target: known, truth=lambda target: truth,
        has=lambda names: there[:, ["ab".index(name) for name in names]].all(axis=1),
        predicted=lambda target, raw: predictions(target, raw, temperature=1.0, balance=False))


def _sure(bits: np.ndarray) -> np.ndarray:
    """Logits that are sure of these classes."""
    return np.where(np.eye(2, dtype=bool)[bits], 9.0, -9.0)


def _raw(a: np.ndarray, b: np.ndarray, ab: np.ndarray) -> dict[frozenset[str], np.ndarray]:
    return {frozenset("a"): a, frozenset("b"): b, frozenset("ab"): ab}


def test_planted_logic_is_found() -> None:
    first, second = np.random.default_rng(0).integers(0, 2, size=(2, ROWS))
    nothing = np.zeros((ROWS, 2))
    worlds = {
        "synergistic": (first ^ second, _raw(nothing, nothing, _sure(first ^ second))),
        "redundant": (first, _raw(_sure(first), _sure(first), _sure(first))),
        "unique_a": (first, _raw(_sure(first), nothing, _sure(first))),
        "unique_b": (second, _raw(nothing, _sure(second), _sure(second))),
    }
    for planted, (truth, raw) in worlds.items():
        [found], notes = decompose_pairs(_scored(truth), YES_NO, raw, [("a", "b")])
        assert not notes
        for name in ("redundant", "unique_a", "unique_b", "synergistic"):
            assert getattr(found.parts, name).value == pytest.approx(float(name == planted), abs=0.05)
        assert found.to_json()[planted]["value"] == pytest.approx(getattr(found.parts, planted).value)
        told = {"synergistic": "together they tell 1.00 bits that neither tells alone",
                "redundant": "same 1.00 bits; a alone adds nothing, b alone nothing; together they tell nothing",
                "unique_a": "a alone adds 1.00 bits", "unique_b": "b alone 1.00 bits"}[planted]
        assert told in found.sentence


def test_reading_both_worse_than_either_is_said() -> None:
    truth = np.random.default_rng(0).integers(0, 2, ROWS)
    raw = _raw(_sure(truth), _sure(truth), np.zeros((ROWS, 2)))
    [found], _ = decompose_pairs(_scored(truth), YES_NO, raw, [("a", "b")])
    assert "read together, 1.00 bits of that are lost" in found.sentence


def test_numbers() -> None:
    truth = np.random.default_rng(0).normal(size=ROWS)
    target = Target(name="size", task="regress", mean=0.0, std=1.0)
    raw = _raw(truth[:, None], 0 * truth[:, None], truth[:, None])
    [found], _ = decompose_pairs(_scored(truth), target, raw, [("a", "b")])
    assert found.parts.unique_a.value == pytest.approx(np.log2(6), abs=0.1)
    assert found.parts.redundant.value == pytest.approx(0.0, abs=0.05)
    assert found.to_json()["lost_a"] is None  # NaN is no JSON


def test_only_labelled_rows_with_both_are_read() -> None:
    truth = np.random.default_rng(0).integers(0, 2, ROWS)
    presence, labelled = np.ones((ROWS, 2), dtype=bool), np.arange(ROWS) < 300
    presence[:100, 1] = False
    raw = _raw(_sure(truth), _sure(truth), _sure(truth))
    raw[frozenset("b")][:100], raw[frozenset("ab")][:100] = np.nan, np.nan
    scored = _scored(np.where(labelled, truth, -5), presence=presence, labelled=labelled)
    [found], _ = decompose_pairs(scored, YES_NO, raw, [("a", "b")])
    assert found.parts.rows == 200
    presence[30:] = False
    none, notes = decompose_pairs(_scored(truth, presence=presence), YES_NO, raw, [("a", "b")])
    assert not none
    assert "cannot be decomposed: expected 20 rows or more" in notes[0]
    none, notes = decompose_pairs(_scored(truth, presence=presence), YES_NO, raw, [("a", "b"), ("b", "a")])
    assert not none and len(notes) == 1 and "of a and b; b and a cannot be decomposed" in notes[0]


def test_what_would_take_minutes_is_left_out_and_said() -> None:
    """The budget is arithmetic, so that the same table gives the same report on every machine."""
    classes = tuple(str(number) for number in range(40))
    many = Target(name="species", task="classify", classes=classes, prior=(1 / 40,) * 40)
    found, notes = decompose_pairs(_scored(np.zeros(ROWS, dtype=np.int64)), many, {}, [("a", "b")])
    assert not found
    assert "of 1 pairs of modalities the information of none is decomposed: with 40 classes" in notes[0]
    assert decompose_pairs(_scored(np.zeros(ROWS)), many, {}, []) == ([], [])


def test_pairs_that_most_rows_have() -> None:
    names = tuple("abcdef")
    presence = np.ones((9, 6), dtype=bool)
    assert pairs_to_decompose(names[:3], presence[:, :3]) == [("a", "b"), ("a", "c"), ("b", "c")]
    presence[0, 0] = False
    found = pairs_to_decompose(names, presence)
    assert len(found) == 10
    assert all("a" not in pair for pair in found)
    presence[:, 1] = False
    assert all("b" not in pair for pair in pairs_to_decompose(names, presence))
    assert pairs_to_decompose(("a",), presence[:, :1]) == []
