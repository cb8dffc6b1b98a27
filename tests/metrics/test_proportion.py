"""Wilson's interval: its definition, its ends, its coverage for few rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from sensorium.errors import DataError
from sensorium.metrics.proportion import wilson


@pytest.mark.parametrize(("hits", "rows"), [(3, 10), (1, 200), (50, 70)])
def test_the_ends_are_the_shares_that_are_z_standard_errors_away(hits: int, rows: int) -> None:
    found = wilson(hits, rows)
    for end in (found.low, found.high):
        assert abs(hits / rows - end) == pytest.approx(1.959964 * np.sqrt(end * (1 - end) / rows), rel=1e-5)
    assert found.low < found.value == hits / rows < found.high


def test_rows_that_all_agree_have_a_width() -> None:
    none, every = wilson(0, 4), wilson(4, 4)
    assert none.low == 0 and none.high == pytest.approx(1 - every.low)
    assert every.high == 1 and 0.5 < every.low < 0.52


def test_it_covers_about_as_often_as_it_says() -> None:
    ends = [(wilson(hits, 12).low, wilson(hits, 12).high) for hits in range(13)]
    covered = [sum(binom.pmf(hits, 12, share) for hits, (low, high) in enumerate(ends) if low <= share <= high)
               for share in np.linspace(0.02, 0.98, 97)]
    assert np.mean(covered) == pytest.approx(0.955, abs=0.015)
    assert min(covered) > 0.83


def test_no_rows_and_what_is_refused() -> None:
    assert np.isnan(wilson(0, 0).value) and np.isnan(wilson(0, 0).low)
    with pytest.raises(DataError, match="3 of 2"):
        wilson(3, 2)
