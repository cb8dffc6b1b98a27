"""What every metric of written texts answers: a number for the whole, one for each row, and what makes an interval."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Estimate, Floats, Resampling, Score, Weights, one_or_many, ratio, weight_matrix
from sensorium.metrics.bootstrap import estimate as estimated

References = Sequence[Sequence[str]]
_ALONE = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
                    "\U00020000-\U0003ffff])")


@dataclass(frozen=True)
class TextScore:
    """A metric of predicted texts.

    Args:
        rows: (row,) the metric of each text by itself.
        sums: (row, statistic) what is added up over rows.
        of_sums: (replicate, statistic) sums → (replicate,) the metric of the whole.
    """

    rows: Floats
    sums: Floats
    of_sums: Callable[[Floats], Floats]

    @property
    def value(self) -> float:
        """The metric of all rows together."""
        return float(self.of_sums(self.sums.sum(axis=0, keepdims=True))[0])

    def estimate(self, resampling: Resampling) -> Estimate:
        """The value and its interval, from weights for the same rows."""

        def metric(_: Any, sums: Any, weights: Weights | None = None, /) -> Score:
            return one_or_many(self.of_sums(weight_matrix(weights, len(sums)) @ sums), weights)

        return estimated(metric, self.sums, self.sums, resampling)


def mean_of_rows(rows: Floats) -> TextScore:
    """A metric that is a mean over rows."""
    return TextScore(rows, np.stack([rows, np.ones_like(rows)], axis=1), lambda sums: ratio(sums[:, 0], sums[:, 1]))


def checked(predictions: Sequence[str], references: References) -> None:
    """Refuse what cannot be scored.

    Raises:
        DataError: no rows, different numbers of them, or a row without a list of references.
    """
    if len(predictions) == 0 or len(predictions) != len(references):
        raise DataError(f"expected at least one predicted text, and a list of references for each, found "
                        f"{len(predictions)} texts and {len(references)} lists")
    for row, right in enumerate(references):
        if isinstance(right, str) or len(right) == 0:
            raise DataError(f"row {row}: expected a list of one reference or more, found {right!r}")


def set_apart(text: str) -> str:
    """Blanks around each sign of a script that puts none between words: Chinese, Japanese, Thai and the like."""
    return _ALONE.sub(r" \1 ", text)


def words_of(text: str) -> list[str]:
    """Case-folded words of NFC text: what stands between blanks and punctuation (`set_apart` first); no stemming.

    A text of punctuation alone is itself.

    Example:
        >>> words_of("A red circle, top-left: 赤い"), words_of("?!")
        (['a', 'red', 'circle', 'top', 'left', '赤', 'い'], ['?!'])
    """
    folded = unicodedata.normalize("NFC", text).casefold()
    parted = "".join(" " if unicodedata.category(sign)[0] == "P" else sign for sign in folded)
    return set_apart(parted).split() or folded.split()
