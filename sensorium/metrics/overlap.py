"""BLEU and chrF: shared pieces of text, counted by sacrebleu as everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from sensorium.metrics.bootstrap import Floats
from sensorium.metrics.text_score import References, TextScore, checked, set_apart

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric


def bleu(predictions: Sequence[str], references: References) -> TextScore:
    """BP · exp(mean_n log p_n), 0 … 100: p_n is the share of n-grams (n = 1 … 4) that a reference has; BP ≤ 1 punishes
    texts that are shorter than theirs.

    Of all rows together the n-grams are pooled (corpus BLEU), which the mean over rows is not. Case counts; tokens are
    sacrebleu's "13a", with the signs of scripts without blanks set apart. Orders that no text is long enough for are
    left out, so that equal texts have 100.

    Source: Papineni et al. 2002; Post 2018, "A call for clarity in reporting BLEU scores".
    """
    from sacrebleu.metrics.bleu import BLEU

    checked(predictions, references)
    return _pooled(BLEU(effective_order=True, force=True), [set_apart(text) for text in predictions],
                   [[set_apart(text) for text in right] for right in references])


def chrf(predictions: Sequence[str], references: References) -> TextScore:
    """F_2 of n-grams of characters (n = 1 … 6, blanks left out), 0 … 100: for any language. Case counts.

    Of several references a row has the best. Of all rows together the n-grams are pooled.

    Source: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation".
    """
    from sacrebleu.metrics.chrf import CHRF

    checked(predictions, references)
    return _pooled(CHRF(), predictions, references)


def _pooled(metric: Metric, predictions: Sequence[str], references: References) -> TextScore:
    """Counts of each row, which sacrebleu's own bootstrap resamples too, and its score of their sums."""
    streams = list(zip_longest(*references))  # first references of all rows, then second ones; None where there is none
    counts = np.array(metric._extract_corpus_statistics(predictions, streams), dtype=np.float64)

    def scores(sums: Floats) -> Floats:
        return np.array([metric._compute_score_from_stats(one).score for one in sums.tolist()])

    return TextScore(scores(counts), counts, scores)
