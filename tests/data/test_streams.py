"""Recordings as sensors leave them: stamps in every notation, out of order, doubled, missing; all of it counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.streams.stamps import to_seconds
from sensorium.data.streams.stream import Events, Stream
from sensorium.errors import DataError

NAN, INF = float("nan"), float("inf")
NOON = datetime(2024, 5, 1, 12, 0, 0, 250_000)
NOON_SECONDS = 1_714_564_800.25


@pytest.mark.parametrize("times", [
    [NOON, NOON + timedelta(seconds=1), None],
    [NOON.replace(tzinfo=UTC), (NOON + timedelta(seconds=1)).replace(tzinfo=UTC).astimezone(
        timezone(timedelta(hours=5))), None],
    ["2024-05-01 12:00:00.25", "2024-05-01T12:00:01.250", "NA"],
    ["2024-05-01T14:00:00.25+02:00", "2024-05-01T12:00:01.25Z", ""],
    ["01.05.2024 12:00:00.25", "1/5/2024 12:00:01.25", "?"],
    np.array(["2024-05-01T12:00:00.250", "2024-05-01T12:00:01.250", "NaT"], dtype="datetime64[ms]"),
    pl.Series([NOON, NOON + timedelta(seconds=1), None]).dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo"),
    [str(NOON_SECONDS), "1714564801,25".replace(",", "."), None],
    [NOON_SECONDS, NOON_SECONDS + 1, NAN],
])
def test_every_notation_of_a_time_is_the_same_second(times: Any) -> None:
    seconds = to_seconds(times)
    assert np.isnan(seconds[2])
    np.testing.assert_allclose(seconds[:2], [NOON_SECONDS, NOON_SECONDS + 1], rtol=0, atol=5e-7)


def test_units_durations_and_decimal_commas() -> None:
    assert to_seconds([1500, 2500], "ms").tolist() == [1.5, 2.5]
    assert to_seconds(np.array([1_500_000_000], dtype=np.int64), "ns").tolist() == [1.5]
    assert to_seconds([timedelta(seconds=1.5)]).tolist() == [1.5]
    assert to_seconds(["0,5", "1,25"]).tolist() == [0.5, 1.25]
    assert to_seconds(["00:00:10", "00:01:00.5"]).tolist() == [10.0, 60.5]


@pytest.mark.parametrize(("times", "unit", "words"), [
    ([1.7e18], "s", "look like unit='ns'"),
    ([1.7e12], "s", "look like unit='ms'"),
    ([1.0], "min", "unknown unit 'min'"),
    (["one", "two"], "s", "expected numbers or dates, found 'one' in row 1"),
    ([[1.0]], "s", "found shape (1, 1)"),
    ([object()], "s", "expected numbers or dates"),
    (pl.Series([b"x"]), "s", "found Binary"),
])
def test_stamps_that_are_none_are_refused(times: Any, unit: Any, words: str) -> None:
    with pytest.raises(DataError) as error:
        to_seconds(times, unit, what="stream 'radar'")
    assert words in str(error.value) and "stream 'radar'" in str(error.value)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([NAN, INF, *np.arange(6) / 4]), st.sampled_from([NAN, INF, 1.0, 2.0, 3.0]))),
       st.sampled_from(["last", "first", "mean"]))
def test_cleaning_is_what_a_loop_would_do(readings: list[tuple[float, float]], duplicates: Any) -> None:
    """A naive reference, reading by reading."""
    kept: dict[float, list[float]] = {}
    bad = empty = late = 0
    newest = -INF
    for stamp, value in readings:
        if not np.isfinite(stamp):
            bad += 1
        elif not np.isfinite(value):
            empty += 1
        else:
            late += stamp < newest
            newest = max(newest, stamp)
            kept.setdefault(stamp, []).append(value)
    times, values = [s for s, _ in readings], [v for _, v in readings]
    if not kept:
        with pytest.raises(DataError, match="no readings that can be used"):
            Stream("s", times, values, duplicates=duplicates)
        return
    stream = Stream("s", times, values, duplicates=duplicates)
    merge = {"last": lambda v: v[-1], "first": lambda v: v[0], "mean": np.mean}[duplicates]
    assert stream.times.tolist() == sorted(kept)
    np.testing.assert_allclose(stream.values[:, 0], [merge(kept[stamp]) for stamp in sorted(kept)])
    done = stream.cleaning
    assert (done.num_given, done.num_bad_stamps, done.num_valueless, done.num_out_of_order) == (
        len(readings), bad, empty, late)
    assert done.num_duplicates == sum(len(v) - 1 for v in kept.values())
    assert done.num_infinite == sum(np.isinf(v) for v in values)


def test_the_mean_of_doubled_stamps_is_taken_channel_by_channel() -> None:
    stream = Stream("s", [1, 1, 1, 2], [[1, NAN], [3, NAN], [5, 8], [0, 0]], duplicates="mean")
    np.testing.assert_array_equal(stream.values, [[3, 8], [0, 0]])
    assert "their mean is kept" in str(stream) and "2 of 4 readings have the same stamp" in str(stream)


def test_what_was_done_is_said() -> None:
    stream = Stream("radar", [0.0, 2.0, 1.0, NAN, 2.0, 3.0], [1, 2, INF, 4, 5, NAN])
    said = str(stream).splitlines()
    assert said[0] == "radar: 2 readings of 1 channel in 2 s, typically every 2 s"
    assert said[1:] == [
        "radar: 1 of 6 readings dropped: their stamp is missing, not finite or not a time",
        "radar: 2 of 6 readings dropped: none of their values is there",
        "radar: 1 of 6 readings have the same stamp as another: the last to arrive is kept",
        "radar: 1 values are infinite and count as missing"]


def test_offsets_move_stamps_and_nothing_else() -> None:
    stream = Stream("s", [0.0, 1.0], [5.0, 6.0], offset=10.0)
    assert stream.times.tolist() == [10.0, 11.0]
    moved = stream.shifted(-9.5)
    assert moved.times.tolist() == [0.5, 1.5] and stream.times.tolist() == [10.0, 11.0]
    assert moved.values is stream.values and moved.name == "s"
    with pytest.raises(DataError, match="expected an offset in seconds, found nan"):
        stream.shifted(NAN)


def test_values_of_every_form(tmp_path: Path) -> None:
    assert Stream("s", [0, 1], np.ones((2, 3), dtype=np.float32)).values.dtype == np.float32
    assert Stream("s", [0, 1], [True, False]).values[:, 0].tolist() == [1.0, 0.0]
    named = Stream("s", [0, 1], {"x": [1, 2], "y": ["3,5", "4,5"]})
    assert named.channels == ("x", "y") and named.values.tolist() == [[1.0, 3.5], [2.0, 4.5]]
    assert Stream("s", [0, 1], pl.Series("v", [1, None])).channels == ("v",)
    assert Stream("s", [0, 1], np.zeros((2, 2)), channels=["a", "b"]).channels == ("a", "b")
    pictures = Stream("camera", [0, 1, 2], [tmp_path / "a.png", None, tmp_path / "b.png"])
    assert pictures.files and not pictures.is_numeric and pictures.cleaning.num_valueless == 1
    assert Stream("camera", [0, 1], ["a.png", "b.PNG"]).files
    assert Stream("camera", [0, 1], np.array(["a.png", "b"])).files
    words = Stream("notes", [0, 1, 2], ["hello there", "", "you"])
    assert not words.files and words.values.tolist() == ["hello there", "you"]
    assert Stream("odd", [0.0], ["frame0"], files=True).files and not Stream("odd", [0.0], ["a.png"], files=False).files


@pytest.mark.parametrize(("arguments", "words"), [
    ({"times": [0, 1], "values": [1]}, "2 stamps but 1 values"),
    ({"name": "a/b"}, "its name also names a folder"),
    ({"name": ""}, "expected a word, found ''"),
    ({"values": np.zeros((2, 3, 4))}, "write pictures or point clouds to files"),
    ({"values": [1.0, "x"]}, "found both"),
    ({"values": [[1.0], [1.0, 2.0]]}, "one number, or as many numbers, a reading"),
    ({"values": np.zeros(2, dtype=complex)}, "found an array of complex128"),
    ({"values": {"x": [1, 2], "file": ["a.png", "b.png"]}}, "choose with columns=…"),
    ({"values": pl.DataFrame({"x": [[1], [2]]})}, "found List(Int64)"),
    ({"channels": ["a", "b"]}, "expected 1 different channel names"),
    ({"duplicates": "middle"}, "unknown rule for duplicates 'middle'"),
    ({"values": ["a.png", "b.png"], "duplicates": "mean"}, "have no mean"),
    ({"offset": INF}, "expected an offset in seconds, found inf"),
    ({"times": [NAN, NAN]}, "2 of 2 readings dropped: their stamp"),
])
def test_a_stream_that_cannot_be_one_says_why(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as error:
        Stream(**{"name": "radar", "times": [0, 1], "values": [1.0, 2.0], **arguments})
    assert words in str(error.value) and "\n" not in str(error.value)
    assert "name" in arguments or "'radar'" in str(error.value)


def test_recordings_in_files(tmp_path: Path) -> None:
    (tmp_path / "gps.csv").write_text("Timestamp;lat;lon\n2024-05-01 12:00:00;48,5;9,1\n2024-05-01 12:00:01;NA;NA\n"
                                      "2024-05-01 12:00:02;48,6;NA\n")
    gps = Stream.read(tmp_path / "gps.csv")
    assert gps.name == "gps" and gps.channels == ("lat", "lon") and gps.interval == 2.0
    np.testing.assert_array_equal(gps.values, [[48.5, 9.1], [48.6, NAN]])
    assert gps.cleaning.num_valueless == 1
    pl.DataFrame({"ns": [0, 10**9], "frame": ["a.png", "b.png"], "blur": [0.1, 0.2]}).write_parquet(
        tmp_path / "log.parquet")
    camera = Stream.read(tmp_path / "log.parquet", "camera", time="ns", unit="ns", columns=["frame"], offset=1.0)
    assert camera.files and camera.values.tolist() == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert camera.times.tolist() == [1.0, 2.0]
    with pytest.raises(DataError, match="say which one holds the stamps: time="):
        Stream.read(tmp_path / "log.parquet")
    with pytest.raises(DataError, match="unknown column 'frames'.*Did you mean 'frame'"):
        Stream.read(tmp_path / "log.parquet", time="ns", columns=["frames"])
    with pytest.raises(DataError, match="no column besides the stamps"):
        Stream.read(tmp_path / "log.parquet", time="ns", columns=[])
    with pytest.raises(DataError, match="no such file"):
        Stream.read(tmp_path / "none.csv")


def test_events_keep_their_order_and_their_doubles(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("time,label\n3,stop\n1,go\nsoon,go\n1,turn\n" + "2,go\n" * 30)
    events = Events.of(tmp_path / "events.csv")
    assert events.times[:3].tolist() == [3.0, 1.0, 1.0]
    assert events.columns["label"][:3].to_list() == ["stop", "go", "turn"]
    assert events.notes == ("1 of 34 events left out: their time is missing or unreadable",)
    assert Events.of(pl.DataFrame({"t": [5], "label": ["x"]}), time="t").times.tolist() == [5.0]
    with pytest.raises(DataError, match="no event has a readable time"):
        Events.of({"time": [NAN]})
    with pytest.raises(DataError, match="unknown column 'when'"):
        Events.of({"time": [1.0]}, time="when")
