"""ROUGE-L: the longest sequence of words that two texts share, in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.metrics.text_score import References, TextScore, checked, mean_of_rows, words_of

BETA = 1.2


def rouge_l(predictions: Sequence[str], references: References) -> TextScore:
    """(1 + β²) P R / (R + β² P), 0 … 1, with β = 1.2 as for COCO captions; the mean over rows.

    P and R are the length of the longest common subsequence of words over the number of words of the prediction and of
    the reference; of several references, each has its best (COCO). Words are those of `words_of`.

    Source: Lin 2004, "ROUGE: a package for automatic evaluation of summaries", section 3.
    """
    checked(predictions, references)
    return mean_of_rows(np.array([_of_row(words_of(said), [words_of(one) for one in right])
                                  for said, right in zip(predictions, references, strict=True)]))


def common_length(words_a: Sequence[str], words_b: Sequence[str]) -> int:
    """The length of the longest common subsequence.

    Row by row of the usual table, a row's steps as the zero bits of one integer.

    Source: Hyyrö 2004, "Bit-parallel LCS-length computation revisited".
    """
    at: dict[str, int] = {}
    for place, word in enumerate(words_a):
        at[word] = at.get(word, 0) | 1 << place
    every = (1 << len(words_a)) - 1
    steps = every
    for word in words_b:
        matched = steps & at.get(word, 0)
        steps = (steps + matched | steps - matched) & every
    return len(words_a) - steps.bit_count()


def _of_row(said: list[str], right: list[list[str]]) -> float:
    lengths = [common_length(said, one) for one in right]
    if max(lengths) == 0:
        return float(said in right)  # of texts without words, only equal ones are alike
    precision = max(lengths) / len(said)
    recall = max(length / len(one) for length, one in zip(lengths, right, strict=True) if one)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
