"""Time: the seconds between spans, and fusions that prefer what happens at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of

from sensorium.encoders.base import Tokens
from sensorium.fusion import FUSIONS
from sensorium.fusion.timing import Clock, first_slopes, time_bias

SEES_TIME = ("attention", "cross_attention", "transformer")
TIMED = frozenset({"a", "b"})


def test_the_bias_is_slope_times_seconds_between_spans() -> None:
    spans = torch.tensor([[[0.0, 1.0], [0.5, 2.0], [3.0, 3.5], [9.0, 9.0]]])
    known = torch.tensor([[True, True, True, False]])
    bias = time_bias(torch.tensor([2.0, 4.0]).log(), 3, Clock(spans[:, :2], known[:, :2]), Clock(spans, known))
    gaps = torch.tensor([[0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    torch.testing.assert_close(bias[0], torch.stack([-2.0 * gaps, -4.0 * gaps, 0.0 * gaps]))


def test_half_of_the_heads_have_slopes_from_1_to_64() -> None:
    torch.testing.assert_close(first_slopes(6).exp(), torch.tensor([1.0, 8.0, 64.0]), atol=1e-4, rtol=1e-4)


def _with_spans(shift: dict[str, float], *, shuffled: bool = False) -> dict[str, Tokens]:
    found = {}
    for name, one in tokens_of().items():
        start = torch.arange(one.values.shape[1], dtype=torch.float32).expand(7, -1) / 4.0 + shift.get(name, 0.0)
        span = torch.stack([start, start + 0.1], dim=-1)
        found[name] = replace(one, span=span.flip(1) if shuffled and name == "a" else span)
    return found


@pytest.mark.parametrize("name", SEES_TIME)
def test_only_times_between_timed_modalities_matter(name: str) -> None:
    torch.manual_seed(0)
    fusion = shaken(FUSIONS[name](NAMES, WIDTH, TIMED))
    vector = fusion(_with_spans({}), SUBSETS).vector
    later = fusion(_with_spans({"a": 5.0, "b": 5.0, "c": -7.0}), SUBSETS).vector
    torch.testing.assert_close(later, vector, atol=1e-5, rtol=1e-5)
    both = SUBSETS[:, 0] & SUBSETS[:, 1]
    apart = fusion(_with_spans({"a": 0.3}), SUBSETS).vector
    assert (apart - vector).abs().amax(dim=1)[both].min() > 1e-4
    torch.testing.assert_close(apart[~both], vector[~both], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(set(FUSIONS) - set(SEES_TIME)))
def test_the_others_say_that_time_means_nothing_to_them(name: str) -> None:
    fusion = shaken(FUSIONS[name](NAMES, WIDTH, TIMED))
    shuffled = fusion(_with_spans({"a": 0.3}, shuffled=True), SUBSETS).vector
    assert torch.equal(shuffled, fusion(_with_spans({}), SUBSETS).vector)
    assert "timed: of no meaning here" in (FUSIONS[name].__doc__ or "")
