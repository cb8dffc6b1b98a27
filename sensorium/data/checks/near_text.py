"""Texts that are nearly the same: other case, spaces or signs, a mended word, a sentence more."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sensorium.data.checks.neighbours import NO_PAIRS, Pairs

LEAST_WORDS, LEAST_LETTERS = 6, 30
LEAST_LIKENESS = 0.9
GRAM = 4
NUM_HASHES, BAND = 48, 3
FREQUENT = 0.2
COMPARED = 20_000
LARGEST_BUCKET = 40
_SIGNS = re.compile(r"[^\w]+")
_NUMBERS = re.compile(r"\d+")


def plain_text(text: str) -> str:
    """In lower case, its words joined by single spaces, without punctuation; two texts that agree here are the same.

    Example:
        >>> plain_text("A  red, RED bird!")
        'a red red bird'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _SIGNS.sub(" ", folded).strip() or folded.strip()


def near_texts(texts: Sequence[str], *, thoroughly: bool = True, most: int = 50_000) -> Pairs:
    """Pairs of texts that are the same in `plain_text`, or nearly: cosine of weighted letter groups ≥ .9.

    Letter groups that a fifth of the texts have say nothing: two filled-in forms are not alike for being one form.
    Texts of fewer than 6 words and 30 letters, and texts with other numbers in them, are only ever the same or not.
    Candidates come from MinHash signatures (Broder 1997) in 16 bands of 3: a pair of Jaccard likeness .8 is found with
    a probability above .999, one of .5 with .88.

    Args:
        texts: as they are.
        thoroughly: whether to look for more than sameness; phrases that many rows share are too alike for that.
        most: pairs to return at most, the most alike.
    """
    if len(texts) < 2:
        return NO_PAIRS
    plain = [plain_text(text) for text in texts]
    first_of: dict[str, int] = {}
    same = np.array([first_of.setdefault(text, number) for number, text in enumerate(plain)], dtype=np.int64)
    repeats = np.flatnonzero(same != np.arange(len(texts)))
    equal = Pairs(same[repeats], repeats, np.ones(len(repeats)))
    long = [number for number in first_of.values()
            if len(plain[number].split()) >= LEAST_WORDS or len(plain[number]) >= LEAST_LETTERS]
    near = _near([plain[number] for number in long], most) if thoroughly else NO_PAIRS
    names = np.array(long, dtype=np.int64)
    if len(near) == 0:
        return equal
    likeness = np.concatenate([equal.likeness, near.likeness])
    kept = np.sort(np.argsort(-likeness, kind="stable")[:most])
    return Pairs(np.concatenate([equal.first, names[near.first]])[kept],
                 np.concatenate([equal.second, names[near.second]])[kept], likeness[kept],
                 near.cut or len(likeness) > most)


def _near(texts: list[str], most: int) -> Pairs:
    """Pairs of different texts."""
    if len(texts) < 2:
        return NO_PAIRS
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashed = HashingVectorizer(analyzer="char_wb", ngram_range=(GRAM, GRAM), n_features=2**20, alternate_sign=False,
                               norm=None, lowercase=False, dtype=np.float32)
    counts = hashed.transform([text[:COMPARED] for text in texts]).tocsr()
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    often = np.bincount(counts.indices, minlength=counts.shape[1])
    common = often > max(20.0, FREQUENT * len(texts))
    first, second, cut = _candidates(counts.indptr, counts.indices, common)
    if len(first) == 0:
        return NO_PAIRS
    likeness = np.concatenate([
        np.asarray(weighted[first[part : part + 10_000]].multiply(weighted[second[part : part + 10_000]]).sum(axis=1))
        .ravel() for part in range(0, len(first), 10_000)]).astype(np.float64)
    numbers = [tuple(_NUMBERS.findall(text)) for text in texts]
    near = likeness >= LEAST_LIKENESS
    near &= np.array([numbers[a] == numbers[b] for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    found = Pairs(first[near], second[near], likeness[near], cut)
    best = np.sort(np.argsort(-found.likeness, kind="stable")[:most])
    return Pairs(found.first[best], found.second[best], found.likeness[best], cut or len(found) > most)


def _candidates(
    starts: npt.NDArray[np.int32], grams: npt.NDArray[np.int32], common: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], bool]:
    """Pairs of texts that agree in a band of their MinHash signatures; whether some were left out."""
    num_texts = len(starts) - 1
    owner = np.repeat(np.arange(num_texts), np.diff(starts))
    telling = ~common[grams]
    owner, grams = owner[telling], grams[telling].astype(np.uint64)
    if len(grams) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), False
    edges = np.flatnonzero(np.diff(owner, prepend=-1))
    present = owner[edges]
    random = np.random.default_rng(0)
    pairs: set[tuple[int, int]] = set()
    cut = False
    for _ in range(NUM_HASHES // BAND):
        key = np.zeros(len(present), dtype=np.uint64)
        for _ in range(BAND):
            factor, shift = (int(number) | 1 for number in random.integers(1, 2**62, size=2))
            hashed = (grams * np.uint64(factor) + np.uint64(shift)) >> np.uint64(32)
            key = key * np.uint64(0x9E3779B97F4A7C15) + np.minimum.reduceat(hashed, edges)
        order = np.argsort(key, kind="stable")
        ends = np.flatnonzero(np.diff(key[order])) + 1
        for bucket in np.split(present[order], ends):
            if len(bucket) > LARGEST_BUCKET:
                cut = True
                pairs.update(zip(bucket[:-1].tolist(), bucket[1:].tolist(), strict=True))
            elif len(bucket) > 1:
                pairs.update((int(a), int(b)) for place, a in enumerate(bucket) for b in bucket[place + 1 :])
    if not pairs:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), cut
    first, second = np.array(sorted(pairs), dtype=np.int64).T
    return first, second, cut


