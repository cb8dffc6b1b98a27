"""Streams on one clock: every method against a naive loop, windows, gaps that stay gaps, errors that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.streams.align import Aligned, align
from sensorium.data.streams.sampling import at_or_before
from sensorium.data.streams.stream import Events, Stream
from sensorium.errors import DataError

NAN = float("nan")
EIGHTHS = st.integers(-8, 8).map(lambda number: number / 8)  # their differences are exact
TOLERANCES = st.integers(0, 8).map(lambda number: number / 8)


def naive(stream: Stream, moment: float, method: str, tolerance: float) -> float:
    """One reading, by looking at every stamp."""
    stamps, values = stream.times.tolist(), stream.values[:, 0].tolist()
    past = [number for number, stamp in enumerate(stamps) if stamp <= moment]
    if method == "previous":
        return values[past[-1]] if past and moment - stamps[past[-1]] <= tolerance else NAN
    if method == "nearest":
        best = min(range(len(stamps)), key=lambda number: (abs(stamps[number] - moment), stamps[number]))
        return values[best] if abs(stamps[best] - moment) <= tolerance else NAN
    if moment in stamps:
        return values[stamps.index(moment)]
    if not past or past[-1] == len(stamps) - 1 or stamps[past[-1] + 1] - stamps[past[-1]] > tolerance:
        return NAN
    before, after = past[-1], past[-1] + 1
    share = (moment - stamps[before]) / (stamps[after] - stamps[before])
    return values[before] + share * (values[after] - values[before])


@settings(max_examples=200, deadline=None)
@given(st.lists(EIGHTHS, min_size=1, max_size=12), st.lists(EIGHTHS, min_size=1, max_size=12), TOLERANCES,
       st.sampled_from(["nearest", "previous", "interpolate"]))
def test_every_method_is_what_a_loop_would_do(
    stamps: list[float], moments: list[float], tolerance: float, method: Any,
) -> None:
    stream = Stream("s", stamps, np.random.default_rng(0).normal(size=len(stamps)))
    aligned = align([stream], at=moments, method=method, tolerance=tolerance)
    expected = np.array([naive(stream, moment, method, tolerance) for moment in moments])
    np.testing.assert_allclose(aligned.values("s")[:, 0], expected, rtol=1e-12)
    np.testing.assert_array_equal(aligned.presence[:, 0], ~np.isnan(expected))


@settings(deadline=None)
@given(st.lists(EIGHTHS, min_size=1, max_size=12), st.lists(EIGHTHS, min_size=1, max_size=6), TOLERANCES, TOLERANCES)
def test_windows_are_what_a_loop_would_do(
    stamps: list[float], moments: list[float], before: float, after: float,
) -> None:
    stream = Stream("s", stamps, np.arange(len(stamps)))
    if before + after == 0:
        return
    windows = align([stream], at=moments, window=(before, after), tolerance=1.0).windows("s")
    for (seconds, values), moment in zip(windows, moments, strict=True):
        inside = [number for number, stamp in enumerate(stream.times) if moment - before < stamp <= moment + after]
        assert seconds.tolist() == (stream.times[inside] - moment).tolist()
        assert values.tolist() == stream.values[inside].tolist()


@settings(deadline=None)
@given(st.lists(EIGHTHS, min_size=1, max_size=30), st.lists(EIGHTHS, max_size=30))
def test_the_join_finds_the_last_stamp_at_or_before(stamps: list[float], moments: list[float]) -> None:
    ordered = np.unique(stamps)
    expected = np.searchsorted(ordered, np.array(moments), side="right") - 1
    np.testing.assert_array_equal(at_or_before(ordered, np.array(moments)), expected)


def test_of_two_equally_near_readings_the_earlier_counts() -> None:
    stream = Stream("s", np.arange(10) / 10, np.arange(10))
    assert align([stream], at=[0.05, 0.35, 0.85]).values("s")[:, 0].tolist() == [0.0, 3.0, 8.0]
    assert align([stream], at=[0.0501, 0.3499]).values("s")[:, 0].tolist() == [1.0, 3.0]


def test_samples_come_in_the_order_in_which_they_were_asked_for() -> None:
    stream = Stream("s", np.arange(100.0), np.arange(100.0))
    moments = np.random.default_rng(0).permutation(100).astype(float)
    assert align([stream], at=moments).values("s")[:, 0].tolist() == moments.tolist()


@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_rounded_stamps_fall_into_the_window_and_tolerance_they_were_meant_for(start: float) -> None:
    """0.1 + 0.2 is not 0.3 in floats, and half a microsecond is lost at today's dates; neither changes an answer."""
    stream = Stream("s", start + np.arange(1000) * 0.004, np.zeros(1000))
    moments = start + np.arange(1, 40) * 0.1
    windows = align([stream], at=moments, window=(0.1, 0.0)).windows("s")
    assert {len(seconds) for seconds, _ in windows} == {25}
    camera = Stream("camera", start + np.arange(100) * 0.1, np.zeros(100))
    assert align([camera], at=start + np.arange(99) * 0.1 + 0.05, tolerance=0.05).presence.all()
    assert align([camera], at=start + np.arange(100) * 0.1, method="previous", tolerance=0.0).presence.all()
    assert not align([camera], at=start + np.arange(99) * 0.1 + 0.05, tolerance=0.049).presence.any()


def test_no_gap_longer_than_the_tolerance_is_bridged() -> None:
    stamps = np.concatenate([np.arange(0, 2, 0.1), np.arange(4, 6, 0.1)])
    ramp = Stream("ramp", stamps, 3 * stamps)
    aligned = align([ramp], every=0.01, method="interpolate")
    inside = (aligned.times > 1.9 + 1e-9) & (aligned.times < 4 - 1e-9)
    np.testing.assert_array_equal(aligned.presence[:, 0], ~inside)
    np.testing.assert_allclose(aligned.values("ramp")[~inside, 0], 3 * aligned.times[~inside], atol=1e-9)
    bridged = align([ramp], every=0.01, method="interpolate", tolerance=2.2)
    assert bridged.presence.all()
    assert "not between two readings at most 0.15 s apart" in str(aligned)


def test_a_channel_that_is_missing_stays_missing() -> None:
    stream = Stream("s", [0.0, 1.0, 2.0], [[1.0, NAN], [2.0, 5.0], [3.0, 7.0]])
    values = align([stream], at=[0.0, 0.5, 1.5], method="interpolate").values("s")
    np.testing.assert_array_equal(values, [[1.0, NAN], [1.5, NAN], [2.5, 6.0]])
    assert align([stream], at=[0.0]).presence.all()
    crossed = align([Stream("s", [0.0, 1.0], [[1.0, NAN], [NAN, 2.0]])], at=[0.0, 0.5], method="interpolate")
    assert crossed.presence[:, 0].tolist() == [True, False]  # between them no channel has two readings


def test_absent_readings_are_never_read() -> None:
    """Poison: what lies out of reach may be anything, even beside a moment that is absent."""
    stamps, moments = np.arange(10.0), np.array([-5.0, 3.2, 30.0])
    clean = Stream("s", stamps, np.arange(10.0))
    poisoned = Stream("s", stamps, np.where(np.isin(stamps, [3, 4]), np.arange(10.0), 1e300))
    for method in ("nearest", "previous", "interpolate"):
        a, b = (align([s], at=moments, method=method, tolerance=1.0).values("s") for s in (clean, poisoned))
        np.testing.assert_array_equal(a, b)
        assert np.isnan(a[[0, 2]]).all()


def test_even_windows_are_read_step_by_step() -> None:
    stamps = np.round(np.concatenate([np.arange(0, 4, 0.1), np.arange(5.1, 10, 0.1)]), 9)
    stream = Stream("s", stamps, np.where(stamps < 4, 1.0, 2.0))
    aligned = align([stream], at=[3.0, 4.2, 9.0, 20.0], window=(0.5, 0.5), tolerance=0.06)
    grid = aligned.windows("s").grid(rate=10)
    assert grid.shape == (4, 10, 1) and aligned.presence[:, 0].tolist() == [True, True, True, False]
    assert grid[0, :, 0].tolist() == [1.0] * 10 and grid[2, :, 0].tolist() == [2.0] * 10
    np.testing.assert_array_equal(grid[1, :, 0], [1.0, 1.0] + [NAN] * 8)  # 3.8 and 3.9; the last reading is at 3.9
    assert np.isnan(grid[3]).all()
    words = Stream("w", [0.0, 1.0], ["a", "b"])
    assert align([words], at=[1.0], window=(2.0, 0.0), tolerance=0.1).windows("w").grid(1).tolist() == [["a", "b"]]


def test_moments_are_chosen_in_one_way() -> None:
    camera = Stream("camera", [0.05, 0.15, 0.26], [1, 2, 3])
    radar = Stream("radar", np.arange(12) / 20, np.arange(12))
    assert align([camera, radar], at="camera").times.tolist() == [0.05, 0.15, 0.26]
    np.testing.assert_allclose(align([camera, radar], every=0.1).times, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    events = Events.of({"time": [0.2, 0.1], "label": ["b", "a"]})
    aligned = align([camera, radar], events=events)
    assert aligned.columns["label"].to_list() == ["b", "a"] and aligned.times.tolist() == [0.2, 0.1]
    assert align([camera], at=["1970-01-01 00:00:00.150"]).values("camera").tolist() == [[2.0]]


CAMERA = Stream("camera", np.arange(10) / 10, [f"{number}.png" for number in range(10)])
RADAR = Stream("radar", np.arange(20) / 20, np.arange(20))


@pytest.mark.parametrize(("arguments", "words"), [
    ({}, "expected one of at=, every= and events=, found none"),
    ({"at": [0.0], "every": 1.0}, "found at and every"),
    ({"at": [0.0, NAN]}, "moment 2 of at= is no time: nan"),
    ({"at": []}, "holds no moment"),
    ({"at": "radr"}, "unknown stream 'radr'"),
    ({"every": 0.0}, "every= as seconds above 0, found 0.0"),
    ({"every": 1e-12}, "do the streams share a clock and a unit?"),
    ({"at": [0.0], "method": "linear"}, "stream 'camera': unknown method 'linear'"),
    ({"at": [0.0], "method": "interpolate"}, "stream 'camera': files cannot be interpolated"),
    ({"at": [0.0], "method": {"cam": "nearest"}}, "align, method: unknown stream 'cam'"),
    ({"at": [0.0], "tolerance": -1.0}, "tolerance of 0 or more seconds, found -1.0"),
    ({"at": [0.0], "tolerance": {"radar": NAN}}, "stream 'radar': expected a tolerance"),
    ({"at": [0.0], "window": (1.0, -1.0)}, "stream 'camera': expected a window (before, after)"),
    ({"at": [0.0], "window": {"radar": 3.0}}, "stream 'radar': expected a window (before, after)"),
    ({"streams": [RADAR, RADAR], "at": [0.0]}, "two streams are called 'radar'"),
    ({"streams": [], "at": [0.0]}, "expected a list of Stream"),
    ({"streams": [Stream("one", [1.0], [2.0])], "at": [0.0]}, "single reading"),
])
def test_what_cannot_be_aligned_says_why(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as error:
        align(**{"streams": [CAMERA, RADAR], **arguments})
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_wrong_way_to_ask_says_the_right_one() -> None:
    aligned = align([CAMERA, RADAR], at=[0.2], window={"radar": (0.1, 0.0)})
    with pytest.raises(DataError, match=r"use windows\('radar'\)"):
        aligned.values("radar")
    with pytest.raises(DataError, match=r"align with window=\{'camera'"):
        aligned.windows("camera")
    with pytest.raises(DataError, match="unknown stream 'rader'"):
        aligned.values("rader")
    with pytest.raises(DataError, match=r"no step of 1 Hz fits into a window of 0\.1 s"):
        aligned.windows("radar").grid(1)
    with pytest.raises(IndexError):
        aligned.windows("radar")[1]


def test_streams_that_never_meet_are_named() -> None:
    said = str(align([CAMERA, RADAR], at=[100.0, 101.0]))
    assert "radar: present in 0 of 2 samples: its stamps run from 0 to 0.95 s, the samples from 100 to 101 s" in said


def test_four_rates_on_one_clock(tmp_path: Path) -> None:
    """Camera 10 Hz, radar 20 Hz, GPS 1 Hz and ECG 250 Hz around events, each in its own way."""
    camera = Stream("camera", np.arange(100) / 10, [tmp_path / f"{number}.png" for number in range(100)])
    radar = Stream("radar", np.arange(200) / 20 + 0.013, np.arange(200))
    gps = Stream("gps", np.arange(11.0), {"x": np.arange(11.0), "y": -np.arange(11.0)})
    ecg = Stream("ecg", np.arange(2500) / 250, np.sin(np.arange(2500)))
    aligned: Aligned = align(
        [camera, radar, gps, ecg], at=np.array([2.04, 5.5, 9.98]), method={"radar": "previous", "gps": "interpolate"},
        window={"ecg": (1.0, 0.0)})
    assert [Path(value).name for value in aligned.values("camera")] == ["20.png", "55.png", "99.png"]
    assert aligned.values("radar")[:, 0].tolist() == [40.0, 109.0, 199.0]
    np.testing.assert_allclose(aligned.values("gps"), [[2.04, -2.04], [5.5, -5.5], [9.98, -9.98]])
    assert [len(seconds) for seconds, _ in aligned.windows("ecg")] == [250, 250, 250]
    assert aligned.presence.all() and aligned.names == ("camera", "radar", "gps", "ecg")
    assert isinstance(aligned.columns, pl.DataFrame) and len(aligned) == 3
