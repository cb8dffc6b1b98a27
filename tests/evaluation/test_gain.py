"""Whether fusing pays, in words."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sensorium.data.schema import Target
from sensorium.evaluation.gain import fusion_gain
from sensorium.metrics.bootstrap import replicate_weights

ROWS = 60


@pytest.mark.parametrize("worse", [False, True])
def test_the_interval_of_a_difference_is_about_that_difference(worse: bool) -> None:
    """A difference is told without its sign, and better and worse in words: the interval must lie around it."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=ROWS)
    near, far = (truth[:, None] + scale * rng.normal(size=(ROWS, 1)) for scale in (0.2, 1.0))
    everywhere = np.ones(ROWS, dtype=bool)
    scored: Any = SimpleNamespace(
        labelled=lambda target: everywhere, has=lambda names: everywhere, truth=lambda target: truth,
        resampling=lambda kept: replicate_weights(int(kept.sum()), seed=0),
        model=SimpleNamespace(recipe=SimpleNamespace(training=SimpleNamespace(balance=False))))
    target = Target(name="size", task="regress", mean=0.0, std=1.0)
    predicted = {("a",): near if worse else far, ("b",): 2 * far, ("a", "b"): far if worse else near}
    [found] = fusion_gain(scored, target, predicted, ("a", "b"))
    assert ("are worse than a alone" if worse else "beat the best single one (a)") in found.sentence
    value, low, high = map(float, re.search(  # type: ignore[union-attr]
        r"a difference of (\S+) \(95 % interval (\S+) to (\S+),", found.sentence).groups())
    assert 0 < low < value < high
    assert (found.difference.value < 0) == worse  # in the object it keeps its sign
