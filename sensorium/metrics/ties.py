"""What to expect of a ranking whose items tie, over all orders of those that do (McSherry and Najork 2008)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sensorium.metrics.bootstrap import Floats, Ints


@dataclass(frozen=True)
class PlaceSums:
    """Running sums over the places of a ranking: entry n is that of the places 1 … n.

    Args:
        harmonic: of 1 / place.
        discounts: of 1 / log2(1 + place).
        cut_discounts: the same, 0 beyond the first few places.
    """

    harmonic: Floats
    discounts: Floats
    cut_discounts: Floats

    @classmethod
    def of(cls, num_items: int, cut: int) -> PlaceSums:
        """The sums for rankings of so many items; discounts are cut after `cut` places."""
        places = np.arange(1, num_items + 1)
        discounts = np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + places))])
        return cls(np.concatenate([[0.0], np.cumsum(1 / places)]), discounts,
                   discounts[np.minimum(np.arange(num_items + 1), cut)])


def expected_precision(above: Ints, tied: Ints, right_above: Ints, right_tied: Ints, harmonic: Floats) -> Floats:
    """Expected precision at the place of a right answer that ties with some items, `right_tied` of which are right.

    The mean over places j = 1 … tied of (right_above + 1 + (j − 1) c) / (above + j), c = (right_tied − 1) / (tied − 1):
    how many of the j − 1 items before it are right.
    """
    share = (right_tied - 1) / np.maximum(tied - 1, 1)
    rest = right_above + 1 - share * (above + 1)
    return np.asarray(share + rest * (harmonic[above + tied] - harmonic[above]) / tied, dtype=np.float64)


def expected_discount(above: Ints, tied: Ints, sums: Floats) -> Floats:
    """Mean discount of the places above + 1 … above + tied."""
    return np.asarray((sums[above + tied] - sums[above]) / tied, dtype=np.float64)


def all_wrong(total: Ints, right: Ints, drawn: Ints) -> Floats:
    """Probability that `drawn` of `total` items, drawn without replacement, include none of the right ones."""
    wrong = np.ones(len(total))
    for taken in range(int(drawn.max(initial=0))):
        share = np.maximum(total - right - taken, 0) / np.maximum(total - taken, 1)
        wrong = np.where(taken < drawn, wrong * share, wrong)
    return wrong


def median_first_place(total: Ints, right: Ints) -> float:
    """Median rank of the first right answer over queries and all orders of their items."""
    from scipy.special import gammaln

    pairs, often = np.unique(np.stack([total, right], axis=1), axis=0, return_counts=True)
    items, wrong = pairs[:, 0].astype(np.float64), (pairs[:, 0] - pairs[:, 1]).astype(np.float64)

    def found_by(place: int) -> float:
        left = np.maximum(wrong - place, 0)
        missed = np.exp(gammaln(wrong + 1) - gammaln(left + 1) + gammaln(np.maximum(items - place, 0) + 1)
                        - gammaln(items + 1))
        return float(often @ np.where(place > wrong, 1.0, 1.0 - missed) / often.sum())

    def first_place(share: float) -> int:
        low, high = 1, int(wrong.max()) + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if found_by(middle) >= share else (middle + 1, high)
        return low

    return (first_place(0.5 - 1e-9) + first_place(0.5 + 1e-9)) / 2
