"""The cache of tokens: whatever crashes, whoever writes beside, however little room there is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import KEY, LONGEST, OTHER, check, fill, names, tokens

from sensorium.data.cache.segment import PART, SUFFIX
from sensorium.data.cache.token_cache import LIMIT_BYTES, CacheKey, TokenCache, default_root
from sensorium.errors import DataError

TESTS = Path(__file__).parents[1]
BEFORE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from stored import CacheKey, KEY, fill, names, tokens
from sensorium.data.cache.token_cache import TokenCache
root = Path(sys.argv[2])
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> TokenCache:
    return TokenCache(tmp_path / "tokens", limit_bytes=1e9, say=said.append)


def _segments(cache: TokenCache, key: CacheKey = KEY) -> list[Path]:
    return sorted((cache.root / key.digest).glob(f"*{SUFFIX}"))


def _process(code: str, cache: TokenCache, *words: object) -> subprocess.Popen[str]:
    """Another process that runs this code; `root` is the cache's folder, `sys.argv[3:]` the words."""
    return subprocess.Popen([sys.executable, "-c", BEFORE + code, str(TESTS), str(cache.root), *map(str, words)],
                            stdout=subprocess.PIPE, text=True)


def _run(code: str, cache: TokenCache, *words: object) -> str:
    process = _process(code, cache, *words)
    out, _ = process.communicate()
    assert process.returncode == 0
    return out


# --- several processes ------------------------------------------------------------------------------------------------

WRITER = """
from sensorium.data.cache import store as store_module
store_module.SEGMENT_BYTES = 2000
first, last, step = map(int, sys.argv[3:])
with TokenCache(root).open(KEY) as store:
    print("ready", flush=True)
    for number in range(first, last, step) if step > 0 else range(last - 1, first - 1, step):
        if len(store.missing(names(number, number + 1))):
            store.add(names(number, number + 1), *tokens(number, number + 1))
"""


def test_two_processes_write_overlapping_cells_and_a_third_reads(cache: TokenCache, said: list[str]) -> None:
    writers = [_process(WRITER, cache, 0, 300, 1), _process(WRITER, cache, 100, 400, -1)]
    store, seen = cache.open(KEY), 0
    while any(writer.poll() is None for writer in writers):
        lacking = set(store.missing(names(0, 400)).tolist())
        there = [number for number in range(400) if number not in lacking]
        assert len(there) >= seen
        seen = len(there)
        if there:
            check(store, there[:: max(1, len(there) // 20)])
        time.sleep(0.02)
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0] and not said
    assert len(store.missing(names(0, 400))) == 0
    check(store, list(range(400)))
    again = cache.open(KEY)
    assert len(again) == 400
    positions = again.find(names(0, 400))
    assert len(np.unique(positions)) == 400


def test_a_killed_process_loses_only_what_it_had_not_written(cache: TokenCache, said: list[str]) -> None:
    for wanted in (1, 4, 9):
        writer = _process(WRITER, cache, 0, 100_000, 1)
        while len(_segments(cache)) < wanted:
            assert writer.poll() is None
            time.sleep(0.003)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        store = cache.open(KEY)
        lacking = set(store.missing(names(0, 2000)).tolist())
        there = [number for number in range(2000) if number not in lacking]
        assert len(there) == len(store) > 10 * wanted and there == list(range(len(there)))
        check(store, there[::7])
    assert not said


# --- room -------------------------------------------------------------------------------------------------------------


def _age(cache: TokenCache, key: CacheKey, seconds: float) -> None:
    for path in _segments(cache, key):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_the_least_recently_used_go_first_and_use_is_noted(cache: TokenCache, said: list[str]) -> None:
    keys = [CacheKey(f"encoder {number}", f"{number:04d}", {}) for number in range(3)]
    for age, key in zip((300, 200, 100), keys, strict=True):
        _run("fill(TokenCache(root).open(CacheKey('e', sys.argv[3], {})), 0, 40)", cache, key.weights)
        _age(cache, key, age)
    size = cache.num_bytes // 3
    check(cache.open(keys[0]), [1, 2])  # the oldest is now the last used
    cache.limit_bytes = 3 * size + 10
    fill(cache.open(KEY), 0, 40)
    assert [bool(_segments(cache, key)) for key in (*keys, KEY)] == [True, False, True, True]
    assert not (cache.root / keys[1].digest).exists() and not said


def test_what_this_process_reads_is_kept_and_the_store_steps_aside(cache: TokenCache, said: list[str]) -> None:
    store = cache.open(KEY)
    fill(store, 0, 40)
    _age(cache, KEY, 1000)
    cache.limit_bytes = cache.num_bytes + 100
    other = cache.open(OTHER)
    fill(other, 0, 40)
    assert not other.writable and len(other.missing(names(0, 40))) == 40
    assert len(said) == 1 and "full of what this run uses" in said[0] and "--limit" in said[0], said
    fill(other, 40, 80)
    assert len(said) == 1
    check(store, list(range(40)))


def test_unlinked_segments_stay_readable(cache: TokenCache) -> None:
    store = cache.open(KEY)
    fill(store, 0, 40)
    reader = TokenCache(cache.root).open(KEY)
    assert cache.clear() > 0
    assert not cache.root.exists() or not list(cache.root.iterdir())
    check(reader, list(range(40)))
    check(store, list(range(40)))
    fill(store, 40, 44)  # the folder is made again
    assert cache.open(KEY).missing(names(38, 44)).tolist() == [0, 1]


def test_the_limit_is_remembered_and_zero_keeps_nothing(cache: TokenCache, said: list[str]) -> None:
    _run("fill(TokenCache(root).open(KEY), 0, 40)", cache)
    size = cache.num_bytes
    assert cache.set_limit(size + 1) == 0 and cache.num_bytes == size
    assert TokenCache(cache.root).limit_bytes == size + 1
    assert cache.set_limit(0) == size and cache.num_bytes == 0
    zero = TokenCache(cache.root, say=said.append)
    fill(zero.open(KEY), 0, 4)
    assert zero.num_bytes == 0 and len(said) == 1
    (cache.root / "limit.json").write_text("{broken")
    assert TokenCache(cache.root).limit_bytes == LIMIT_BYTES


def test_a_nearly_full_disk_is_left_alone(
    cache: TokenCache, said: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 10**9, 10**9))
    fill(cache.open(KEY), 0, 4)
    assert len(said) == 1 and "the disk nearly is" in said[0] and not _segments(cache)


FULL = """
import resource
said = []
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
store = TokenCache(root, say=said.append).open(KEY)
for first, last in ((0, 4), (4, 80), (80, 84)):
    fill(store, first, last)
assert store.missing(names(0, 84)).tolist() == list(range(4, 84)), store.missing(names(0, 84))
[line] = said
print(line)
"""


def test_a_write_that_fails_half_way_is_one_line_and_leaves_nothing(cache: TokenCache) -> None:
    assert "is not written to: File too large. What is not in it is computed each time" in _run(FULL, cache)
    assert len(_segments(cache)) == 1 and not list(cache.root.rglob(f"*{PART}"))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").write_text("")
    store = TokenCache(tmp_path / "file" / "tokens", say=said.append).open(KEY)
    assert len(store.missing(names(0, 4))) == 4
    with store:
        store.add(names(0, 4), *tokens(0, 4))
    assert len(said) == 1 and "Not a directory" in said[0]


def test_a_read_only_cache_is_read(cache: TokenCache, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    fill(cache.open(KEY), 0, 4)
    for name in ("utime", "replace", "unlink"):
        monkeypatch.setattr(os, name, refused)
    for name in ("mkdir", "unlink", "write_text"):
        monkeypatch.setattr(Path, name, refused)
    store = TokenCache(cache.root, limit_bytes=1e9, say=said.append).open(KEY)
    check(store, [0, 1])
    assert not said
    fill(store, 4, 8)
    assert len(said) == 1 and "Read-only file system" in said[0]
    check(store, [0, 1])


# --- listing ----------------------------------------------------------------------------------------------------------


def test_entries_and_clearing_by_key(cache: TokenCache) -> None:
    fill(cache.open(KEY), 0, 10)
    fill(cache.open(KEY), 10, 12)
    with cache.open(OTHER) as store:
        values, mask, _ = tokens(0, 3)
        store.add(names(0, 3), values, mask)
    _age(cache, KEY, 100)
    newest, oldest = cache.entries()
    assert (newest.encoder, newest.num_cells, newest.num_tokens, newest.tokens_per_cell) == ("bert", 3, 6, None)
    assert (oldest.encoder, oldest.num_cells, oldest.tokens_per_cell) == ("resnet", 12, LONGEST)
    assert oldest.num_tokens == int(tokens(0, 12)[1].sum()) and oldest.preprocessing == KEY.preprocessing
    assert oldest.num_bytes == sum(path.stat().st_size for path in _segments(cache))
    assert abs(time.time() - 100 - oldest.last_used) < 5
    with pytest.raises(DataError, match="no entries of the cache begin with 'zz'"):
        cache.clear("zz")
    with pytest.raises(DataError, match="2 entries of the cache begin with ''"):
        cache.clear("")
    assert cache.clear(KEY.digest[:10]) == oldest.num_bytes
    assert [entry.encoder for entry in cache.entries()] == ["bert"]


def test_clearing_touches_nothing_else(cache: TokenCache) -> None:
    fill(cache.open(KEY), 0, 4)
    mine = [cache.root / "precious.tokens", cache.root / "photos" / "a.tokens", cache.root / KEY.digest / "notes.txt"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    cache.clear()
    assert cache.entries() == [] and all(path.read_text() == "mine" for path in mine)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SENSORIUM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / ".cache" / "sensorium" / "tokens"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_root() == tmp_path / "xdg" / "sensorium" / "tokens"
    monkeypatch.setenv("SENSORIUM_CACHE", "~/mine")
    assert default_root() == tmp_path / "mine"


def test_it_imports_no_torch() -> None:
    code = "import sys, sensorium.data.cache.token_cache; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
