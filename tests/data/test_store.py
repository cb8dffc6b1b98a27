"""A store of tokens: what comes out is what went in, and damage is noticed, named and computed again."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from stored import KEY, OTHER, WIDTH, check, fill, names, tokens

from sensorium.data.cache import store as store_module
from sensorium.data.cache.digest import DIGEST_BYTES
from sensorium.data.cache.segment import PART, SUFFIX, DamagedSegment, Segment
from sensorium.data.cache.store import StoredTokens
from sensorium.data.cache.token_cache import ABANDONED_SECONDS, CacheKey, TokenCache


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> TokenCache:
    return TokenCache(tmp_path / "tokens", limit_bytes=1e9, say=said.append)


def _segments(cache: TokenCache, key: CacheKey = KEY) -> list[Path]:
    return sorted((cache.root / key.digest).glob(f"*{SUFFIX}"))


# --- values -----------------------------------------------------------------------------------------------------------


def test_what_was_added_is_gathered_after_a_restart(cache: TokenCache) -> None:
    store = cache.open(KEY)
    assert store.missing(names(0, 9)).tolist() == list(range(9))
    with store:
        store.add(names(0, 6), *tokens(0, 6))
        assert store.missing(names(0, 9)).tolist() == [6, 7, 8]  # added, though not written yet
        assert (store.find(names(0, 6)) == -1).all()
    fill(store, 6, 9)
    again = TokenCache(cache.root).open(KEY)
    for one in (store, again):
        assert one.missing(names(0, 11)).tolist() == [9, 10]
        check(one, [8, 0, 3, 3, 7, 1, 8])
        check(one, [3])
    got = again.gather(again.find(names(3, 4)))
    assert got.values.shape == (1, 1, WIDTH) and not got.mask.any() and got.values.dtype == np.float16
    assert cache.open(OTHER).missing(names(0, 2)).tolist() == [0, 1]


def test_of_cells_computed_twice_the_first_written_counts(cache: TokenCache) -> None:
    stores = [cache.open(KEY), cache.open(KEY)]
    fill(stores[0], 0, 4)
    fill(stores[1], 2, 6, scale=2.0)
    fill(stores[0], 0, 2, scale=3.0)
    assert len(_segments(cache)) == 2
    for store in (stores[0], cache.open(KEY)):
        store.refresh()
        check(store, [0, 1, 2, 3])
        check(store, [4, 5], scale=2.0)


def test_without_spans_and_by_cell_number(cache: TokenCache) -> None:
    values, mask, _ = tokens(0, 6)
    with cache.open(KEY) as store:
        store.add(names(0, 6), values, mask)
    stored = StoredTokens(store, store.find(names(4, 8)))
    assert stored.stored.tolist() == [True, True, False, False]
    got = stored.get([1, 0])
    assert got.span is None
    np.testing.assert_allclose(got.values[1, :5], values[4], atol=0.003)
    with pytest.raises(AssertionError, match="not in the store"):
        stored.get([2])


@pytest.mark.parametrize("scale", [1e6, 1e-7, 3e4])
def test_values_beyond_float16_keep_their_precision(cache: TokenCache, scale: float) -> None:
    with cache.open(KEY) as store:
        fill(store, 4, 6)
        store.add(names(6, 9), *tokens(6, 9))
        store.add(names(9, 12), *tokens(9, 12, scale))
    again = TokenCache(cache.root).open(KEY)
    check(again, [9, 10, 11], scale, atol=1e-6)
    check(again, [4, 5, 6, 7, 8])
    mixed = again.gather(again.find([*names(4, 5), *names(9, 10)]))
    assert mixed.values.dtype == np.float32 and np.isfinite(mixed.values).all()


def test_what_is_under_the_mask_is_never_kept(cache: TokenCache) -> None:
    values, mask, span = tokens(0, 6)
    values[~mask], span[~mask] = np.nan, np.nan
    values[0, -1] = 1e30
    with cache.open(KEY) as store:
        store.add(names(0, 6), values, mask, span)
    check(store, list(range(6)))
    assert store.gather(store.find(names(0, 6))).values.dtype == np.float16


def test_a_mask_with_holes_keeps_the_real_tokens(cache: TokenCache) -> None:
    values, _, span = tokens(0, 1)
    with cache.open(KEY) as store:
        store.add(names(0, 1), values, np.array([[False, True, False, True, False]]), span)
    got = store.gather(store.find(names(0, 1)))
    np.testing.assert_allclose(got.values[0], values[0, [1, 3]], atol=0.003)
    assert got.mask.all() and got.span is not None
    np.testing.assert_array_equal(got.span[0], span[0, [1, 3]])


def test_segments_are_safetensors_files_with_nothing_pickled(cache: TokenCache) -> None:
    fill(cache.open(KEY), 0, 4)
    [path] = _segments(cache)
    arrays = load_file(path)
    assert {name: array.dtype.name for name, array in arrays.items()} == {
        "digests": "uint8", "starts": "int64", "values": "float16", "span": "float32"}
    assert [row.tobytes().hex() for row in arrays["digests"]] == names(0, 4)
    described = json.loads((path.parent / "key.json").read_text())
    assert described["encoder"] == "resnet" and described["preprocessing"]["height"] == 112


def test_segments_are_cut_by_size_and_by_time(cache: TokenCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SEGMENT_BYTES", 200)
    store = cache.open(KEY)
    for number in range(10):
        store.add(names(number, number + 1), *tokens(number, number + 1))
    assert 2 <= len(_segments(cache)) <= 5
    monkeypatch.setattr(store_module, "SEGMENT_SECONDS", 0.0)
    before = len(_segments(cache))
    store.add(names(20, 21), *tokens(20, 21))
    assert len(_segments(cache)) == before + 1


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_segment_cut_at_any_byte_is_left_out_with_one_line(cache: TokenCache, said: list[str]) -> None:
    fill(cache.open(KEY), 0, 4)
    [whole] = _segments(cache)
    content = whole.read_bytes()
    fill(cache.open(KEY), 4, 8)
    for size in [*range(0, len(content), 37), len(content) - 1]:
        said.clear()
        whole.write_bytes(content[:size])
        store = cache.open(KEY)
        assert store.missing(names(0, 8)).tolist() == [0, 1, 2, 3]
        check(store, [4, 7])
        assert len(said) == 1 and "damaged segment" in said[0] and "computed again" in said[0], said
        assert not whole.exists()
    whole.write_bytes(content)
    assert len(cache.open(KEY).missing(names(0, 8))) == 0


def test_any_changed_byte_is_noticed(cache: TokenCache, said: list[str]) -> None:
    fill(cache.open(KEY), 0, 4)
    [whole] = _segments(cache)
    content = whole.read_bytes()
    for place in range(0, len(content), 13):
        said.clear()
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        whole.write_bytes(changed)
        store = cache.open(KEY)
        if len(store.missing(names(0, 4))) == 0:  # the one byte that means nothing: a space that pads the header
            assert changed[place] in b"\t\n\r " or content[place : place + 1] == b" "
            check(store, [0, 1, 2])
            continue
        assert len(said) == 1 and not whole.exists(), place


def test_a_cell_of_a_damaged_segment_is_read_from_another_one(cache: TokenCache, said: list[str]) -> None:
    first, second = cache.open(KEY), cache.open(KEY)
    fill(first, 0, 4)
    fill(second, 2, 6)
    earlier = _segments(cache)[0]
    content = bytearray(earlier.read_bytes())
    content[-4 * DIGEST_BYTES - 1] ^= 255  # the last of the values, before the digests
    earlier.write_bytes(content)
    store = cache.open(KEY)
    lacking = store.missing(names(0, 6)).tolist()
    assert lacking == [0, 1] and len(said) == 1
    check(store, [2, 4, 5])


def test_unfinished_files_are_never_read_and_removed_when_old(cache: TokenCache, said: list[str]) -> None:
    fill(cache.open(KEY), 0, 4)
    [whole] = _segments(cache)
    content, folder = whole.read_bytes(), whole.parent
    whole.unlink()
    for name, size in (("empty", 0), ("half", 100), ("whole", len(content))):
        (folder / f"{name}{PART}").write_bytes(content[:size])
    assert len(cache.open(KEY).missing(names(0, 4))) == 4
    assert len(list(folder.glob(f"*{PART}"))) == 3  # another process may be writing them now
    old = time.time() - 2 * ABANDONED_SECONDS
    os.utime(folder / f"half{PART}", (old, old))
    cache.open(KEY)
    assert {path.stem for path in folder.glob(f"*{PART}")} == {"empty", "whole"} and not said


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_an_interrupted_write_leaves_nothing(cache: TokenCache, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    store = cache.open(KEY)
    fill(store, 0, 2)
    monkeypatch.setattr(os, broken, interrupted)
    store.add(names(2, 4), *tokens(2, 4))
    with pytest.raises(KeyboardInterrupt):
        store.flush()
    monkeypatch.undo()
    assert sorted(path.suffix for path in store._folder.iterdir()) == [".json", SUFFIX]
    assert cache.open(KEY).missing(names(0, 4)).tolist() == [2, 3]


def test_a_file_that_is_no_segment_is_damage(tmp_path: Path) -> None:
    for number, content in enumerate([b"", b"x", b"\0" * 8, b"\x02" + b"\0" * 7 + b"[]", b"\xff" * 100]):
        path = tmp_path / f"{number}{SUFFIX}"
        path.write_bytes(content)
        with pytest.raises(DamagedSegment, match=path.name):
            Segment.open(path)
