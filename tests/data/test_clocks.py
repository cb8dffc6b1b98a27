"""Clocks that disagree: the planted offset of sensors with jitter, gaps and noise is found, and doubt is said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.streams.align import align
from sensorium.data.streams.clocks import estimate_offset
from sensorium.data.streams.correlation import masked_correlation
from sensorium.data.streams.stream import Stream
from sensorium.errors import DataError

SECONDS = 120.0


@dataclass(frozen=True)
class Sensor:
    """A sensor of the planted world: what its stream says, and when each reading was truly taken."""

    stream: Stream
    taken: np.ndarray
    offset: float


def world(seed: int, smooth: float = 0.4) -> Any:
    """A smooth random signal of time, with variance about 1."""
    draws = np.random.default_rng(seed)
    frequencies = draws.uniform(0.02, 1 / smooth, 200)
    phases, sizes = draws.uniform(0, 2 * math.pi, 200), draws.normal(size=200) * 0.1
    return lambda t: (sizes * np.sin(2 * math.pi * np.asarray(t)[..., None] * frequencies + phases)).sum(axis=-1)


def sensor(name: str, rate: float, offset: float, seed: int, *, noise: float = 0.2, gaps: int = 3) -> Sensor:
    """Readings `rate` times a second, each up to 20 % of the interval early or late, some of them lost, with noise."""
    draws = np.random.default_rng([seed, int(100 * rate)])
    taken = (np.arange(int(SECONDS * rate)) + draws.uniform(-0.2, 0.2, int(SECONDS * rate))) / rate
    for start in draws.uniform(0, SECONDS - 4, gaps):
        taken = taken[(taken < start) | (taken > start + draws.uniform(1, 4))]
    taken = taken[draws.random(len(taken)) > 0.02]
    values = world(seed)(taken) + noise * draws.normal(size=len(taken))
    order = np.argsort(taken + (draws.random(len(taken)) < 0.01) * 3 / rate)  # a few arrive late
    return Sensor(Stream(name, (taken + offset)[order], values[order]), taken, offset)


@pytest.mark.parametrize("seed", range(8))
def test_three_sensors_with_jitter_gaps_and_noise_are_put_on_one_clock_within_half_a_sample(seed: int) -> None:
    draws = np.random.default_rng(seed)
    camera, radar, lidar = (sensor(name, rate, float(draws.uniform(-4, 4)), seed)
                            for name, rate in (("camera", 10), ("radar", 20), ("lidar", 50)))
    streams, errors = [camera.stream], [0.0]
    for other in (radar, lidar):
        found = estimate_offset(camera.stream, other.stream, max_offset=10.0)
        errors.append(abs(found.seconds - (camera.offset - other.offset)))
        assert errors[-1] < 0.5 * other.stream.interval and found.correlation > 0.8
        assert errors[-1] < 4 * found.error < 0.5 * camera.stream.interval
        assert not found.runner_up > found.correlation - 0.2 and found.significance > 10
        streams.append(other.stream.shifted(found.seconds))
    aligned = align(streams, every=0.25, method={"lidar": "interpolate"})
    truth = aligned.times - camera.offset
    for one, stream, error in zip((camera, radar), streams, errors, strict=False):
        part, reach = aligned.parts[one.stream.name], stream.usual_tolerance()
        nearest = np.abs(one.taken[:, None] - truth[None, :]).min(axis=0)
        there = part.presence
        assert there[nearest < reach - error].all() and not there[nearest > reach + error].any() and not there.all()
        taken = np.abs(one.taken[part.index] - truth)[there]
        assert (taken <= nearest[there] + 2 * error + 1e-9).all()
        assert (taken <= 0.7 * stream.interval).mean() > 0.9  # half a sample and jitter, unless lost
    values, there = aligned.values("lidar")[:, 0], aligned.presence[:, 2]
    assert np.std(values[there] - world(seed)(truth[there])) < 0.25 and 0.7 < there.mean() < 1


@pytest.mark.parametrize(("noise", "most"), [(0.2, 1.0), (1.0, 1.5)])
def test_the_error_is_about_the_error(noise: float, most: float) -> None:
    deviations = []
    for seed in range(12):
        a, b = sensor("a", 10, 0.31, seed, noise=noise), sensor("b", 20, 0.0, seed, noise=noise)
        found = estimate_offset(a.stream, b.stream, max_offset=5)
        deviations.append((found.seconds - 0.31) / found.error)
    assert 0.1 < np.sqrt(np.mean(np.square(deviations))) < most


def test_the_sign_is_what_must_be_added() -> None:
    for planted in (-3.21, 0.0, 2.5):
        a, b = sensor("a", 20, 0.0, 5), sensor("b", 10, planted, 5)
        assert abs(estimate_offset(a.stream, b.stream, max_offset=5).seconds + planted) < 0.025
        assert abs(estimate_offset(b.stream, a.stream, max_offset=5).seconds - planted) < 0.025


def test_clocks_with_different_origins_need_no_limit() -> None:
    a, b = sensor("a", 20, 1.7e9, 6), sensor("b", 10, 0.3, 6)
    found = estimate_offset(a.stream, b.stream)
    assert abs(found.seconds - (1.7e9 - 0.3)) < 0.025
    with pytest.raises(DataError, match="do not overlap at any offset up to 10 s"):
        estimate_offset(a.stream, b.stream, max_offset=10)


def test_gaps_are_masked_not_bridged() -> None:
    """Half of the recording is lost in one piece: nothing is made up there, and what is left agrees exactly."""
    times, truth = np.arange(2400) / 20, world(11)
    a, kept = Stream("a", times, truth(times)), (times < 30) | (times > 90)
    b = Stream("b", times[kept] + 0.4, truth(times[kept]))
    found = estimate_offset(a, b, max_offset=5)
    assert abs(found.seconds + 0.4) < 1e-3 and found.correlation > 0.999
    assert found.overlap == pytest.approx(60, abs=0.5)


def test_very_different_rates() -> None:
    slow, fast = sensor("gps", 4, -1.3, 7, noise=0.1), sensor("ecg", 250, 0.9, 7, noise=0.5)
    found = estimate_offset(slow.stream, fast.stream, max_offset=5)
    assert abs(found.seconds + 2.2) < 0.02 and found.step == pytest.approx(0.25 / 16, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30), st.integers(-35, 30), st.integers(0, 20))
def test_masked_correlation_is_what_a_loop_would_do(seed: int, num_a: int, num_b: int, low: int, more: int) -> None:
    """A naive reference: numpy's own correlation of what both have, lag by lag; what is masked is poison."""
    draws = np.random.default_rng(seed)
    a, b = draws.normal(size=num_a) + 100, draws.normal(size=num_b)
    there_a, there_b = draws.random(num_a) < 0.7, draws.random(num_b) < 0.7
    poisoned = np.where(there_a, a, np.nan), np.where(there_b, b, np.nan)
    found, num = masked_correlation(poisoned[0], there_a, poisoned[1], there_b, (low, low + more))
    for lag, correlation, count in zip(range(low, low + more + 1), found, num, strict=True):
        both = [(a[j + lag], b[j]) for j in range(num_b) if 0 <= j + lag < num_a and there_a[j + lag] and there_b[j]]
        assert count == len(both)
        if len(both) < 2:
            assert correlation == -math.inf
        else:
            assert correlation == pytest.approx(np.corrcoef(np.array(both).T)[0, 1], abs=1e-6)


def test_long_signals_are_summed_block_by_block() -> None:
    draws = np.random.default_rng(0)
    a, there = draws.normal(size=400_000), draws.random(400_000) < 0.9
    b = np.concatenate([a[123:], np.zeros(50)])
    found, num = masked_correlation(a, there, b, np.ones(len(b), dtype=bool), (0, 300))
    assert int(np.argmax(found)) == 123 and found[123] == pytest.approx(1.0, abs=1e-9)
    assert num[123] == there[123:].sum()


def _sine(offset: float, noise: float = 0.0, seconds: float = 60.0) -> Stream:
    times = np.arange(0, seconds, 0.05)
    values = np.sin(2 * math.pi * times) + noise * np.random.default_rng(int(100 * offset)).normal(size=len(times))
    return Stream(f"sine{offset}", times + offset, values)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_periodic_signal_is_ambiguous_unless_the_search_is_shorter_than_its_period(noise: float) -> None:
    with pytest.raises(DataError, match=r"may be chance|ambiguous|edge"):
        estimate_offset(_sine(0.0, noise), _sine(0.2, noise), max_offset=5)


def test_two_peaks_are_named() -> None:
    draws = np.random.default_rng(0)
    once = np.convolve(draws.normal(size=600), np.hanning(9), mode="same")
    times = np.arange(1200) / 20
    repeated = Stream("repeated", times, np.concatenate([once, once]))
    single = Stream("single", times[:600], once)
    with pytest.raises(DataError, match=r"ambiguous: correlation 1\.000 at \+(0|30)\.000 s and 1\.000 at \+"):
        estimate_offset(repeated, single, max_offset=40)
    assert abs(estimate_offset(repeated, single, max_offset=10).seconds) < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_unrelated_signals_have_no_offset(seed: int) -> None:
    a, b = sensor("a", 20, 0.0, seed), sensor("b", 20, 0.0, seed + 100)
    with pytest.raises(DataError, match=r"no offset can be told: the best correlation, 0\.\d\d at"):
        estimate_offset(a.stream, b.stream, max_offset=10)


def test_a_trend_tells_no_offset() -> None:
    times = np.arange(0, 60, 0.1)
    with pytest.raises(DataError, match=r"may be chance|edge"):
        estimate_offset(Stream("a", times, times), Stream("b", times, times**1.5), max_offset=5)


def test_a_true_offset_outside_the_search_is_not_invented() -> None:
    a, b = sensor("a", 20, 0.0, 9), sensor("b", 20, 8.0, 9)
    with pytest.raises(DataError, match=r"no offset can be told|edge"):
        estimate_offset(a.stream, b.stream, max_offset=5)


GOOD = sensor("good", 10, 0.0, 1).stream


@pytest.mark.parametrize(("other", "arguments", "words"), [
    (Stream("camera", [0, 1], ["a.png", "b.png"]), {}, "stream 'camera' holds files"),
    (Stream("two", [0, 1, 2], np.ones((3, 2))), {}, "channels=('good', '0')"),
    (GOOD, {"channels": ("good", "bad")}, "stream 'good': unknown channel 'bad'"),
    (GOOD, {"rate": 0}, "expected a rate in steps a second, above 0, found 0"),
    (GOOD, {"rate": 1e12}, "give a lower rate="),
    (GOOD, {"max_offset": -1.0}, "expected max_offset in seconds, above 0, found -1.0"),
    (Stream("short", [0, 1], [1, 2]), {}, "has 2 readings; an offset needs many"),
    (Stream("flat", np.arange(900) / 10, np.ones(900)), {"max_offset": 5}, "in common at which they change"),
    (Stream("brief", np.arange(9) / 10, np.arange(9) % 4), {"max_offset": 5, "rate": 10}, "16 steps"),
    (GOOD, {"rate": 30_000}, "give max_offset= or a lower rate="),
])
def test_what_cannot_be_compared_says_why(other: Stream, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as error:
        estimate_offset(GOOD, other, **arguments)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_shared_channel_is_found_by_its_name() -> None:
    a, b = sensor("a", 20, 0.0, 3).stream, sensor("b", 20, 1.5, 3).stream
    wide_a = Stream("a", a.times, {"heat": np.zeros(len(a)), "speed": a.values[:, 0]})
    wide_b = Stream("b", b.times, {"speed": b.values[:, 0], "noise": np.arange(len(b))})
    found = estimate_offset(wide_a, wide_b, max_offset=5)
    assert found == estimate_offset(wide_a, wide_b, max_offset=5, channels=("speed", "speed"))
    assert abs(found.seconds + 1.5) < 0.025
