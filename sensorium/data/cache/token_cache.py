"""The cache of frozen tokens: what a frozen encoder makes of a cell is computed once, and kept on disk.

`root/<key>/` holds the tokens of one encoder with one preprocessing (`store.py`), in segments (`segment.py`); all of it
can be deleted at any time. Processes share it without locks: segments have names of their own, are never changed,
and appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.data.cache.digest import DIGEST_BYTES, CacheKey
from sensorium.data.cache.segment import PART, SUFFIX, paths_in_use, segment_counts
from sensorium.data.cache.store import TokenStore
from sensorium.errors import DataError

LIMIT_BYTES = 20e9
DISK_RESERVE = 1e9
ABANDONED_SECONDS = 600.0
SETTINGS = "limit.json"


@dataclass(frozen=True)
class CacheEntry:
    """What the cache holds for one key.

    Args:
        key: its digest, the folder's name.
        encoder: what a person calls the encoder; "" where that cannot be read.
        preprocessing: see CacheKey.
        tokens_per_cell: the most tokens a cell, or None.
        num_cells: stored cells; one that two processes computed at once counts twice.
        num_tokens: stored tokens.
        num_bytes: on disk.
        last_used: when it was read or written last, in seconds since 1970.
    """

    key: str
    encoder: str
    preprocessing: Mapping[str, Any]
    tokens_per_cell: int | None
    num_cells: int
    num_tokens: int
    num_bytes: int
    last_used: float


@dataclass(frozen=True)
class _File:
    path: Path
    num_bytes: int
    used: float


class TokenCache:
    """Stored tokens of all frozen encoders, in one folder.

    Beyond its size limit, the segments that were used least recently go first; never those that this process reads.
    (Another process goes on reading what it has mapped, even when it is unlinked.)

    Args:
        root: the folder; None: `default_root()`.
        limit_bytes: its size; None: what `set_limit` has remembered, else 20 GB.
        say: called with a line when something had to be left out; on standard error by default.
    """

    def __init__(
        self, root: Path | None = None, *, limit_bytes: float | None = None, say: Callable[[str], None] | None = None,
    ) -> None:
        self.root = default_root() if root is None else root
        self.limit_bytes = self._remembered_limit() if limit_bytes is None else limit_bytes
        self._say = _to_stderr if say is None else say

    def open(self, key: CacheKey) -> TokenStore:
        """The store of a key: made when something is added to it."""
        self._sweep()
        store = TokenStore(self.root / key.digest, key.to_json(), self.make_room, self._say)
        store.refresh()
        return store

    def entries(self) -> list[CacheEntry]:
        """What is there, the most recently used first."""
        by_folder: dict[Path, list[_File]] = {}
        for file in self._files():
            by_folder.setdefault(file.path.parent, []).append(file)
        found = [_entry(folder, files) for folder, files in by_folder.items()]
        return sorted(found, key=lambda entry: -entry.last_used)

    @property
    def num_bytes(self) -> int:
        """The size of everything in the cache."""
        return sum(file.num_bytes for file in self._files())

    def clear(self, which: str = "all") -> int:
        """Remove a key's tokens, or all; returns the bytes that were freed.

        Args:
            which: a key or its first digits, or "all".

        Raises:
            DataError: no key, or several, begin like this.
        """
        files = self._files()
        if which != "all":
            keys = {file.path.parent.name for file in files if file.path.parent.name.startswith(which)}
            if len(keys) != 1:
                raise DataError(f"{len(keys) or 'no'} entries of the cache begin with {which!r}: expected one key, as "
                                f"`sensorium cache` lists them, or its first digits, or all")
            files = [file for file in files if file.path.parent.name in keys]
        return sum(_remove(file) for file in files)

    def set_limit(self, num_bytes: float) -> int:
        """Remember the cache's size limit, and shrink to it; returns the bytes that were freed. 0 = keep nothing.

        Raises:
            OSError: the cache's folder cannot be written to.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        part = self.root / f"{SETTINGS}.{os.getpid()}{PART}"
        part.write_text(json.dumps({"limit_bytes": num_bytes}), encoding="utf-8")
        os.replace(part, self.root / SETTINGS)
        self.limit_bytes = num_bytes
        before = self.num_bytes
        self._evict(before - num_bytes, everything_possible=True)
        return before - self.num_bytes

    def make_room(self, num_bytes: int) -> bool:
        """Whether so many bytes may be written now: within the limit and leaving 1 GB of the disk free.

        What was used least recently is removed for it, unless even that would not be enough.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.root).free
        except OSError:  # said by whoever then tries to write
            return True
        excess = max(self.num_bytes + num_bytes - self.limit_bytes, num_bytes + DISK_RESERVE - free)
        return self._evict(excess)

    def _evict(self, excess: float, *, everything_possible: bool = False) -> bool:
        """Remove the least recently used segments until so many bytes are freed; False where that cannot be."""
        if excess <= 0:
            return True
        kept = paths_in_use()
        free = sorted((file for file in self._files() if file.path not in kept), key=lambda file: file.used)
        if sum(file.num_bytes for file in free) < excess and not everything_possible:
            return False
        for file in free:
            if excess <= 0:
                break
            excess -= _remove(file)
        return excess <= 0

    def _sweep(self) -> None:
        """Remove unfinished files that nobody has written to for ten minutes: their process was killed."""
        for file in self._files():
            if file.path.suffix == PART and time.time() - file.used > ABANDONED_SECONDS:
                _remove(file)

    def _files(self) -> list[_File]:
        """Segments, finished or not: only what is named like one is ever counted or removed."""
        found = []
        with contextlib.suppress(OSError):
            for folder in sorted(self.root.iterdir()):
                if not re.fullmatch(rf"[0-9a-f]{{{2 * DIGEST_BYTES}}}", folder.name):
                    continue
                with contextlib.suppress(OSError):
                    for path in sorted(folder.iterdir()):
                        if path.suffix in (SUFFIX, PART):
                            with contextlib.suppress(FileNotFoundError):
                                state = path.stat()
                                found.append(_File(path, state.st_size, state.st_mtime))
        return found

    def _remembered_limit(self) -> float:
        try:
            return float(json.loads((self.root / SETTINGS).read_text(encoding="utf-8"))["limit_bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            return LIMIT_BYTES


def default_root() -> Path:
    """The cache's folder: SENSORIUM_CACHE, else sensorium/tokens in XDG_CACHE_HOME or ~/.cache."""
    given = os.environ.get("SENSORIUM_CACHE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sensorium" / "tokens"


def _remove(file: _File) -> int:
    """Unlink a file, and its folder with it when it was the last; returns the bytes that were freed."""
    try:
        file.path.unlink()
    except OSError:  # gone already, or a read-only cache
        return 0
    folder = file.path.parent
    with contextlib.suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {"key.json"}:
            (folder / "key.json").unlink(missing_ok=True)
            folder.rmdir()
    return file.num_bytes


def _entry(folder: Path, files: list[_File]) -> CacheEntry:
    try:
        described = dict(json.loads((folder / "key.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        described = {}
    num_cells = num_tokens = 0
    for file in files:
        if file.path.suffix == SUFFIX:
            with contextlib.suppress(OSError, ValueError):
                cells, tokens = segment_counts(file.path)
                num_cells, num_tokens = num_cells + cells, num_tokens + tokens
    return CacheEntry(folder.name, str(described.get("encoder", "")), described.get("preprocessing", {}),
                      described.get("tokens"), num_cells, num_tokens, sum(file.num_bytes for file in files),
                      max(file.used for file in files))


def _to_stderr(line: str) -> None:
    print(f"sensorium: {line}", file=sys.stderr)

