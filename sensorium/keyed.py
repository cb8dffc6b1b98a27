"""Keyed randomness: every draw about a row is a pure function of (seed, epoch, row, purpose).

No generator has a state, so a draw never depends on the order of rows, on the other rows of a batch, on the number
of workers or on what was drawn before. A run can therefore be resumed at any step, bit for bit.

The draws are a counter-based hash: SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
generators") applied to each part of the key in turn.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

UInt64s = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(state: UInt64s) -> UInt64s:
    """The SplitMix64 finaliser, elementwise on uint64 (wrapping arithmetic)."""
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@lru_cache(maxsize=4096)
def _purpose_key(seed: int, epoch: int, purpose: str) -> int:
    text = f"{seed}\x1f{epoch}\x1f{purpose}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Draws:
    """Random numbers for some rows of one epoch.

    Args:
        seed: the run's seed.
        epoch: the pass over the data, from 0; use 0 where passes have no meaning.
        rows: (row,) integer identities; equal identities get equal draws.

    Example:
        >>> draws = Draws(seed=0, epoch=3, rows=np.array([7, 8]))
        >>> bool((draws.uniform("shift")[1] == Draws(0, 3, np.array([8])).uniform("shift")[0]).all())
        True
    """

    seed: int
    epoch: int
    rows: npt.NDArray[np.int64]

    def bits(self, purpose: str, *shape: int) -> UInt64s:
        """(row, \\*shape) independent uniform 64-bit integers."""
        count = int(np.prod(shape, dtype=np.int64)) if shape else 1
        key = np.uint64(_purpose_key(self.seed, self.epoch, purpose))
        with np.errstate(over="ignore"):
            per_row = _mix(self.rows.astype(np.uint64) ^ key)
            counters = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
            drawn = _mix(per_row[:, None] + counters[None, :])
        return drawn.reshape(len(self.rows), *shape)

    def uniform(self, purpose: str, *shape: int, low: float = 0.0, high: float = 1.0) -> npt.NDArray[np.float64]:
        """(row, \\*shape) uniform numbers in [low, high)."""
        unit = (self.bits(purpose, *shape) >> np.uint64(11)).astype(np.float64) * (1.0 / (1 << 53))
        return low + (high - low) * unit

    def normal(self, purpose: str, *shape: int) -> npt.NDArray[np.float64]:
        """(row, \\*shape) standard normal numbers (Box and Muller 1958)."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(purpose + "/radius", *shape)))
        return np.asarray(radius * np.cos(2.0 * np.pi * self.uniform(purpose + "/angle", *shape)))

    def integers(self, purpose: str, *shape: int, high: int) -> npt.NDArray[np.int64]:
        """(row, \\*shape) uniform integers in 0 … high − 1."""
        return np.minimum((self.uniform(purpose, *shape) * high).astype(np.int64), high - 1)

    def order(self, purpose: str) -> npt.NDArray[np.int64]:
        """A uniformly random permutation of 0 … row − 1."""
        return np.argsort(self.bits(purpose), kind="stable").astype(np.int64)
