"""Stored tokens for tests: what each made-up cell has is a pure function of its number."""

from __future__ import annotations

import numpy as np

from sensorium.data.cache.digest import CacheKey, content_digest
from sensorium.data.cache.store import TokenStore

WIDTH, LONGEST = 8, 5
KEY = CacheKey("resnet", "00ff", {"kind": "image", "height": 112}, LONGEST)
OTHER = CacheKey("bert", "11ff", {"kind": "text"})


def names(first: int, last: int) -> list[str]:
    """Digests of the cells first … last − 1."""
    return [content_digest(f"cell {number}") for number in range(first, last)]


def tokens(first: int, last: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(values, mask, span) of the cells first … last − 1; cell 3 has no tokens."""
    values = np.stack([scale * np.random.default_rng(n).normal(size=(LONGEST, WIDTH)) for n in range(first, last)])
    counts = np.array([0 if n == 3 else n % LONGEST + 1 for n in range(first, last)])
    span = np.stack([np.random.default_rng(n + 10_000).random((LONGEST, 2)) for n in range(first, last)])
    return values.astype(np.float32), np.arange(LONGEST) < counts[:, None], span.astype(np.float32)


def fill(store: TokenStore, first: int, last: int, scale: float = 1.0) -> None:
    """Add these cells and write them."""
    store.add(names(first, last), *tokens(first, last, scale))
    store.flush()


def check(store: TokenStore, numbers: list[int], scale: float = 1.0, atol: float = 0.003) -> None:
    """Every one of these cells is in the store and is what was computed for it."""
    found = store.find([names(n, n + 1)[0] for n in numbers])
    assert (found >= 0).all()
    got = store.gather(found)
    for row, number in enumerate(numbers):
        values, mask, span = (part[0] for part in tokens(number, number + 1, scale))
        kept = got.mask[row]
        assert kept.sum() == mask.sum() and kept[: mask.sum()].all()
        np.testing.assert_allclose(got.values[row][kept], values[mask], atol=scale * atol)
        assert not got.values[row][~kept].any()
        assert got.span is not None
        np.testing.assert_array_equal(got.span[row][kept], span[mask])
