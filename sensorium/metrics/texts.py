"""How good predicted texts are: every metric of texts with its interval.

Each takes predictions, one text a row, and references, a list of right texts for each row.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from sensorium.metrics.bootstrap import Estimate, Resampling
from sensorium.metrics.consensus import cider_d
from sensorium.metrics.longest_common import rouge_l
from sensorium.metrics.overlap import bleu, chrf
from sensorium.metrics.text_score import References, TextScore, checked, mean_of_rows


def exact_match(predictions: Sequence[str], references: References) -> TextScore:
    """The share of texts that are one of their references, 0 … 1; case and the width of blanks do not count."""
    checked(predictions, references)
    return mean_of_rows(np.array([_plain(said) in map(_plain, right)
                                  for said, right in zip(predictions, references, strict=True)], dtype=np.float64))


TEXT_METRICS: dict[str, Callable[[Sequence[str], References], TextScore]] = {
    "exact_match": exact_match, "bleu": bleu, "chrf": chrf, "rouge_l": rouge_l, "cider_d": cider_d,
}
"""All higher is better."""


def text_metrics(
    predictions: Sequence[str], references: References, resampling: Resampling,
) -> dict[str, Estimate]:
    """Every metric of `TEXT_METRICS` with its interval.

    Args:
        predictions: one text a row.
        references: right texts for each row, one at least.
        resampling: weights for the same rows.

    Raises:
        DataError: what `checked` refuses.
    """
    return {name: metric(predictions, references).estimate(resampling) for name, metric in TEXT_METRICS.items()}


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())
