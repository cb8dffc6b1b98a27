"""The interval of a share of rows, for few rows and shares near 0 or 1 as well (Wilson 1927)."""

from __future__ import annotations

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Estimate


def wilson(hits: float, rows: float, level: float = 0.95) -> Estimate:
    """The share hits / rows and its score interval: all shares from which it is less than z standard errors away.

        centre ± z √(p(1 − p)/n + z²/4n²) / (1 + z²/n),   centre = (p + z²/2n) / (1 + z²/n)

    Never empty of width where all rows agree, and never outside 0…1, unlike a bootstrap of few rows.

    Args:
        hits: how many rows, 0 … rows.
        rows: of how many; NaN everywhere where it is 0.
        level: nominal coverage, in 0…1.

    Example:
        >>> found = wilson(5, 5)
        >>> found.value, round(found.low, 3), found.high
        (1.0, 0.566, 1.0)
    """
    from scipy.special import ndtri

    if not 0 <= hits <= rows or not 0 < level < 1:
        raise DataError(f"expected 0 ≤ hits ≤ rows and a level in 0…1, found {hits!r} of {rows!r} at {level!r}")
    if rows == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    z2 = float(ndtri((1 + level) / 2)) ** 2
    share = hits / rows
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    reach = (z2 * (share * (1 - share) / rows + z2 / (4 * rows**2))) ** 0.5 / (1 + z2 / rows)
    return Estimate(share, 0.0 if hits == 0 else centre - reach, 1.0 if hits == rows else centre + reach)
