"""Stored tokens of one frozen encoder: which cells are there, added as they are computed, gathered into batches."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sensorium.data.cache.digest import DIGEST_BYTES
from sensorium.data.cache.segment import SUFFIX, DamagedSegment, Floats, Int64s, Segment, compact, write_segment

SEGMENT_BYTES = 64_000_000
SEGMENT_SECONDS = 30.0


@dataclass(frozen=True)
class PaddedTokens:
    """Tokens of some cells, padded to the longest of them.

    Args:
        values: (cell, token, width) float16; float32 where one of the cells does not fit float16; 0 under the padding.
        mask: (cell, token) bool, True = real.
        span: (cell, token, place) float32, or None where the encoder gives none.
    """

    values: Floats
    mask: npt.NDArray[np.bool_]
    span: npt.NDArray[np.float32] | None


class TokenStore:
    """The cells' tokens for one CacheKey, made by `TokenCache.open`; used by one thread.

    What is added is written in segments of about 64 MB, or what half a minute gave; leaving the `with` block (or
    `flush`) writes the rest, and only then can it be read. Cells that several processes computed are kept as the first
    of them wrote them. Where the disk cannot be written to, one line says so, nothing more is added, and `missing` goes
    on naming the cells: they are computed each time.

    Args:
        folder: where the segments are.
        description: the key as JSON, written beside them.
        make_room: called with a number of bytes; True where they may be written.
        say: called with a line.
    """

    def __init__(
        self, folder: Path, description: str, make_room: Callable[[int], bool], say: Callable[[str], None],
    ) -> None:
        self.writable = True
        self._folder, self._description, self._make_room, self._say = folder, description, make_room, say
        self._segments: list[Segment] = []
        self._dropped: set[int] = set()
        self._bases: Int64s = np.zeros(1, dtype=np.int64)  # the position of each segment's first cell, and the next
        self._index: dict[bytes, int] = {}
        self._known: set[str] = set()
        self._waiting: dict[bytes, tuple[Floats, npt.NDArray[np.float32]]] = {}
        self._waiting_bytes, self._waiting_since = 0, 0.0

    def __enter__(self) -> TokenStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def __len__(self) -> int:
        return len(self._index)

    # --- what is there ----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """See what other processes have written since. A damaged segment is named, removed and never read."""
        try:
            with os.scandir(self._folder) as files:
                names = sorted(file.name for file in files if file.name.endswith(SUFFIX))
        except OSError:  # no folder yet, or none that may be read
            return
        damaged = []
        for name in names:
            if name in self._known:
                continue
            try:
                self._append(Segment.open(self._folder / name))
            except FileNotFoundError:  # removed by another process since it was listed
                continue
            except DamagedSegment as error:
                damaged.append(self._discard(self._folder / name, error))
            except OSError as error:
                damaged.append(f"{name}: {error.strerror or error}")
            self._known.add(name)
        self._name_damaged(damaged)

    def find(self, digests: Sequence[str]) -> Int64s:
        """(cell,) each cell's position in the store, for `gather`; −1 where it is not there."""
        keys = [bytes.fromhex(digest) for digest in digests]
        while True:
            found = np.array([self._index.get(key, -1) for key in keys], dtype=np.int64)
            damaged = []
            for number in np.unique(self._numbers(found[found >= 0])).tolist():
                segment = self._segments[number]
                try:
                    segment.check()
                    segment.use()
                except DamagedSegment as error:
                    self._dropped.add(number)
                    damaged.append(self._discard(segment.path, error))
            if not damaged:
                return found
            self._name_damaged(damaged)
            self._index = {}
            for number in range(len(self._segments)):
                self._enter(number)

    def missing(self, digests: Sequence[str]) -> Int64s:
        """Which of these cells (their places in the list) no process has stored and this one has not added."""
        self.refresh()
        waiting = np.array([bytes.fromhex(digest) in self._waiting for digest in digests], dtype=bool)
        return np.flatnonzero((self.find(digests) < 0) & ~waiting)

    # --- adding -----------------------------------------------------------------------------------------------------

    def add(
        self, digests: Sequence[str], values: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_],
        span: npt.NDArray[np.floating] | None = None,
    ) -> None:
        """Store cells as an encoder returned them; those that are there already are left as they are.

        Args:
            digests: (cell,) of `content_digest`.
            values: (cell, token, width) of any float type.
            mask: (cell, token), True = real; only these are kept.
            span: (cell, token, place), from all cells of a store or from none.
        """
        if not self.writable:
            return
        stored = compact(values, mask)
        places = np.zeros((*mask.shape, 0), dtype=np.float32) if span is None else span.astype(np.float32)
        for cell, digest in enumerate(digests):
            key = bytes.fromhex(digest)
            assert len(key) == DIGEST_BYTES
            if key in self._index or key in self._waiting:
                continue
            if not self._waiting:
                self._waiting_since = time.monotonic()
            real = mask[cell]
            self._waiting[key] = stored[cell][real], places[cell][real]
            self._waiting_bytes += sum(part.nbytes for part in self._waiting[key])
        if self._waiting_bytes >= SEGMENT_BYTES or time.monotonic() - self._waiting_since >= SEGMENT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was added."""
        waiting, num_bytes = self._waiting, self._waiting_bytes
        self._waiting, self._waiting_bytes = {}, 0
        if not waiting:
            return
        starts = np.cumsum([0, *(len(values) for values, _ in waiting.values())], dtype=np.int64)
        values = np.concatenate([values for values, _ in waiting.values()])
        span = np.concatenate([span for _, span in waiting.values()])
        if not self._make_room(num_bytes):
            self._step_aside("it is full of what this run uses, or the disk nearly is; `sensorium cache --limit` sets "
                             "its size")
            return
        try:
            try:
                segment = self._written(list(waiting), starts, values, span)
            except FileNotFoundError:  # another process removed the emptied folder just now
                segment = self._written(list(waiting), starts, values, span)
        except (OSError, DamagedSegment) as error:
            self._step_aside(str(error.strerror or error) if isinstance(error, OSError) else str(error))
            return
        self._known.add(segment.path.name)
        segment.use()
        self._append(segment)

    def _written(self, digests: list[bytes], starts: Int64s, values: Floats, span: npt.NDArray[np.float32]) -> Segment:
        self._folder.mkdir(parents=True, exist_ok=True)
        described = self._folder / "key.json"
        if not described.exists():
            part = self._folder / f"key-{os.getpid()}.part"
            part.write_text(self._description, encoding="utf-8")
            os.replace(part, described)
        return Segment.open(write_segment(self._folder, digests, starts, values, span))

    def _step_aside(self, reason: str) -> None:
        self.writable = False
        self._say(f"the cache of tokens in {str(self._folder)!r} is not written to: {reason}. What is not in it is "
                  f"computed each time")

    # --- reading ----------------------------------------------------------------------------------------------------

    def gather(self, positions: Int64s) -> PaddedTokens:
        """The tokens of cells at these positions of `find`, which must all be there.

        Args:
            positions: (cell,) ≥ 0, in any order, repeated or not.
        """
        assert len(positions) and positions.min() >= 0, "cells that are not in the store cannot be gathered"
        segments = [self._segments[number] for number in self._numbers(positions).tolist()]
        cells = (positions - self._bases[self._numbers(positions)]).tolist()
        first = [int(segment.starts[cell]) for segment, cell in zip(segments, cells, strict=True)]
        last = [int(segment.starts[cell + 1]) for segment, cell in zip(segments, cells, strict=True)]
        counts = np.array(last) - np.array(first)
        longest = max(1, int(counts.max()))
        dtype = np.result_type(*{segment.values.dtype for segment in segments})
        width, place = segments[0].values.shape[1], segments[0].span.shape[1]
        values = np.zeros((len(cells), longest, width), dtype=dtype)
        span = np.zeros((len(cells), longest, place), dtype=np.float32) if place else None
        for row, (segment, begin, end) in enumerate(zip(segments, first, last, strict=True)):
            values[row, : end - begin] = segment.values[begin:end]
            if span is not None:
                span[row, : end - begin] = segment.span[begin:end]
        return PaddedTokens(values, np.arange(longest)[None, :] < counts[:, None], span)

    # --- segments ---------------------------------------------------------------------------------------------------

    def _append(self, segment: Segment) -> None:
        self._segments.append(segment)
        self._bases = np.append(self._bases, self._bases[-1] + len(segment.digests))
        self._enter(len(self._segments) - 1)

    def _enter(self, number: int) -> None:
        """Index a segment's cells; a cell that an earlier segment has stays that one's."""
        if number not in self._dropped:
            for position, key in enumerate(self._segments[number].digests, start=int(self._bases[number])):
                self._index.setdefault(key, position)

    def _numbers(self, positions: Int64s) -> Int64s:
        """The segment of each position."""
        return np.searchsorted(self._bases, positions, side="right") - 1

    def _discard(self, path: Path, error: DamagedSegment) -> str:
        with contextlib.suppress(OSError):  # a read-only cache keeps it, unread
            path.unlink(missing_ok=True)
        return str(error)

    def _name_damaged(self, damaged: list[str]) -> None:
        if damaged:
            more = f" (and {len(damaged) - 1} more)" if len(damaged) > 1 else ""
            self._say(f"a damaged segment of the cache of tokens was left out: {damaged[0]}{more}; its cells are "
                      f"computed again")


@dataclass(frozen=True)
class StoredTokens:
    """The stored tokens of one modality's cells, by the cells' numbers: what batches read instead of an encoder.

    Args:
        store: where they are.
        positions: (cell,) of `TokenStore.find`; −1 where a cell is not stored.
    """

    store: TokenStore
    positions: Int64s

    @property
    def stored(self) -> npt.NDArray[np.bool_]:
        """(cell,) which cells are there."""
        return self.positions >= 0

    def get(self, cells: Sequence[int] | Int64s) -> PaddedTokens:
        """The padded tokens of the cells of these numbers, all of them stored."""
        return self.store.gather(self.positions[np.asarray(cells, dtype=np.int64)])
