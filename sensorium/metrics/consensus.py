"""CIDEr-D: how much a text says what its references say and those of other rows do not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sensorium.metrics.text_score import References, TextScore, checked, mean_of_rows, words_of

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0

NGrams = Counter[tuple[str, ...]]
Vector = dict[tuple[str, ...], float]


def cider_d(predictions: Sequence[str], references: References) -> TextScore:
    """10 · mean over n = 1 … 4 and over references r of exp(−(l − l_r)² / 2σ²) Σ_g min(v_g, v_rg) v_rg / (|v| |v_r|).

    v are counts of n-grams times log(N / d_g), where d_g of N rows have the n-gram in a reference; l are numbers of
    words; σ = 6. 0 … 10: a text that is its only reference has 10, if it has at least four words and n-grams that not
    all rows have; one of n < 4 words has at most 2.5 n. Weights are of the very rows that are scored (and stay as they
    are in a bootstrap), hence values of two tables are not comparable. Words are those of `words_of`, without the
    stemming of the paper, as in the code used for COCO. NaN for a single row, in which every weight is 0.

    Source: Vedantam et al. 2015, "CIDEr: consensus-based image description evaluation", equation 7.
    """
    checked(predictions, references)
    if len(predictions) < 2:
        return mean_of_rows(np.full(len(predictions), np.nan))
    right = [[words_of(one) for one in row] for row in references]
    said = [words_of(one) for one in predictions]
    values = np.zeros(len(said))
    for order in ORDERS:
        found = [[ngrams(one, order) for one in row] for row in right]
        having = Counter(gram for row in found for gram in set().union(*row))
        rarity = {gram: math.log(len(said) / rows) for gram, rows in having.items()}
        unknown = math.log(len(said))
        for row, words in enumerate(said):
            own = _weighted(ngrams(words, order), rarity, unknown)
            values[row] += sum(
                _alike(own, _weighted(one, rarity, unknown)) * _as_long(len(words), len(its))
                for one, its in zip(found[row], right[row], strict=True)) / len(found[row])
    return mean_of_rows(10.0 * values / len(ORDERS))


def ngrams(words: Sequence[str], order: int) -> NGrams:
    """How often each run of `order` words is there."""
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def _weighted(counts: NGrams, rarity: Vector, unknown: float) -> Vector:
    return {gram: count * rarity.get(gram, unknown) for gram, count in counts.items()}


def _alike(own: Vector, other: Vector) -> float:
    """Σ min(v, v_r) v_r / (|v| |v_r|); 0 where a text has nothing of weight."""
    lengths = math.hypot(*own.values()) * math.hypot(*other.values())
    if lengths == 0.0:
        return 0.0
    return sum(min(value, other.get(gram, 0.0)) * other.get(gram, 0.0) for gram, value in own.items()) / lengths


def _as_long(length: int, right: int) -> float:
    return math.exp(-((length - right) ** 2) / (2 * SIGMA**2))
