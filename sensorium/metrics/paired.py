"""Two predictors on the same rows: where they agree, and whether one is right more often than chance allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """How two classifiers a and b answer the same rows.

    Args:
        both_right, only_a, only_b, both_wrong: rows in which both, one or neither is right.
        alike: rows in which both give the same answer.
        p: of the exact McNemar test, two-sided: how often a coin would split the rows in which one alone is right at
            least as unevenly. It takes rows as independent.
    """

    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    alike: int
    p: float

    @property
    def rows(self) -> int:
        """Rows compared."""
        return self.both_right + self.only_a + self.only_b + self.both_wrong


def agreement(right_a: Bools, right_b: Bools, alike: Bools) -> Agreement:
    """Counts of agreement, and the exact McNemar test.

    p = min(1, 2 · Σ_{k ≤ min(n_a, n_b)} C(n, k) / 2ⁿ), with n_a and n_b the rows in which a or b alone is right and n
    their sum.

    Args:
        right_a, right_b: (row,) whether each is right.
        alike: (row,) whether both give the same answer.

    Raises:
        DataError: shapes disagree.

    Example:
        >>> right = np.array([True, False, True])
        >>> agreement(right, right, np.ones(3, dtype=bool)).p
        1.0

    Source: McNemar, Psychometrika 1947, in its exact (binomial) form.
    """
    from scipy.stats import binom

    if right_a.shape != right_b.shape or right_a.shape != alike.shape or right_a.ndim != 1:
        raise DataError(f"expected three (row,) arrays of the same rows, found {right_a.shape}, {right_b.shape} and "
                        f"{alike.shape}")
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = min(1.0, 2.0 * float(binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))
    return Agreement(int((right_a & right_b).sum()), only_a, only_b, int((~right_a & ~right_b).sum()),
                     int(alike.sum()), p)
