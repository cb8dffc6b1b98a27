"""Which subsets are scored."""

from __future__ import annotations

import pytest

from sensorium.errors import DataError
from sensorium.evaluation.subset_list import subsets_to_score


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_subsets_up_to_five(count: int) -> None:
    names = tuple("edcba"[:count])
    found = subsets_to_score(names)
    assert len(found) == len(set(found)) == 2**count - 1
    assert found[:count] == [(name,) for name in names]
    assert found[-1] == names
    assert [len(subset) for subset in found] == sorted(len(subset) for subset in found)


def test_schema_order_within_and_between() -> None:
    assert subsets_to_score(("z", "a", "m")) == [
        ("z",), ("a",), ("m",), ("z", "a"), ("z", "m"), ("a", "m"), ("z", "a", "m"),
    ]


def test_patterns_change_nothing_below_six() -> None:
    assert subsets_to_score(("b", "a"), [frozenset("a"), frozenset("ab")]) == subsets_to_score(("b", "a"))


def test_beyond_five_only_what_says_most() -> None:
    names = tuple("fedcba")
    patterns = [frozenset("abc"), frozenset("cba"), frozenset("fa"), frozenset("a"), frozenset(), frozenset(names)]
    found = subsets_to_score(names, patterns)
    leave_one_out = [tuple(name for name in names if name != left) for left in reversed(names)]
    assert found == [(name,) for name in names] + [("f", "a"), ("c", "b", "a")] + leave_one_out + [names]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(DataError, match=r"include \['sound'\], which the schema lacks"):
        subsets_to_score(("photo", "note"), [frozenset({"photo", "sound"})])
    with pytest.raises(DataError, match="each modality once"):
        subsets_to_score(("photo", "photo"))
