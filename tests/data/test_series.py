"""Recordings: grids, gaps, clocks, files of numbers, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.kinds import Recording, SeriesKind
from sensorium.data.numeric import columns as columns_file
from sensorium.data.numeric.columns import read_columns
from sensorium.data.numeric.grid import in_order, on_grid
from sensorium.data.numeric.time_column import beginning, seconds, time_column
from sensorium.errors import BadCell
from sensorium.keyed import Draws

TIMES = np.arange(100) / 20
WAVES = np.stack([np.sin(TIMES), 5 + 3 * np.cos(2 * TIMES)], axis=1)
PLAIN = SeriesKind(channels=("0", "1"), time="time", rate=20.0, source_rate=20.0, max_steps=200, mean=(0.0, 0.0),
                   std=(1.0, 1.0))


def _csv(header: str, *columns: Any, separator: str = ",") -> bytes:
    rows = (separator.join(map(str, cells)) for cells in zip(*columns, strict=True))
    return "\n".join([header, *rows]).encode()


def _saved(*arrays: Any, **named: Any) -> bytes:
    buffer = io.BytesIO()
    if arrays:
        np.save(buffer, arrays[0])
    else:
        np.savez_compressed(buffer, **named)
    return buffer.getvalue()


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


# --- the grid -------------------------------------------------------------------------------------------------------


def _naive(times: list[float], values: list[float], start: float, rate: float, count: int) -> list[float]:
    """The definition of `on_grid`, by loops."""
    known = [(t, v) for t, v in zip(times, values, strict=True) if v == v]
    if not known:
        return [float("nan")] * count
    gaps = sorted(b[0] - a[0] for a, b in zip(known, known[1:], strict=False))
    middle = (gaps[(len(gaps) - 1) // 2] + gaps[len(gaps) // 2]) / 2 if gaps else 0.0
    steps = []
    for k in range(count):
        if gaps and 1 / rate > 1.5 * middle:
            inside = [v for t, v in known if k <= (t - start) * rate + 1e-3 < k + 1]
            steps.append(sum(inside) / len(inside) if inside else float("nan"))
            continue
        at = start + k / rate
        exact = [v for t, v in known if abs(t - at) <= 1e-3 / rate]
        below, above = [r for r in known if r[0] <= at], [r for r in known if r[0] >= at]
        if exact:
            steps.append(exact[0])
        elif below and above and above[0][0] - below[-1][0] <= 1.5 * middle * (1 + 1e-9):
            (t0, v0), (t1, v1) = below[-1], above[0]
            steps.append(v0 + (v1 - v0) * (at - t0) / (t1 - t0))
        else:
            steps.append(float("nan"))
    return steps


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.one_of(st.integers(-9, 9), st.just(float("nan")))), min_size=1,
                max_size=25), st.sampled_from([0.3, 1.0, 2.5, 7.0]))
def test_a_grid_equals_the_definition_by_loops(pairs: list[tuple[int, float]], rate: float) -> None:
    times = np.cumsum([gap / 17 for gap, _ in pairs])
    values = np.array([float(value) for _, value in pairs])
    count = int((times[-1] - times[0]) * rate) + 2
    found = on_grid(times, values[:, None], start=float(times[0]), rate=rate, count=count)[:, 0]
    wanted = _naive(times.tolist(), values.tolist(), float(times[0]), rate, count)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_readings_on_the_grid_are_kept_exactly_and_gaps_stay() -> None:
    there = np.delete(np.arange(100), np.arange(40, 60))
    recording = PLAIN.decode({"time": TIMES[there], "0": WAVES[there, 0], "1": WAVES[there, 1]})
    np.testing.assert_allclose(recording.values[there], WAVES[there], atol=1e-6)
    assert np.isnan(recording.values[40:60]).all() and recording.start == 0.0


def test_jittered_readings_are_interpolated_and_many_are_averaged() -> None:
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, 100) / 20
    jitter[0] = 0.0
    cell = {"time": TIMES + jitter, "0": TIMES + jitter, "1": np.ones(100)}
    steps = PLAIN.decode(cell).values[:95, 0]
    np.testing.assert_allclose(steps[np.isfinite(steps)], TIMES[:95][np.isfinite(steps)], atol=1e-4)
    assert np.isfinite(steps).mean() > 0.9
    slow = PLAIN.model_copy(update={"rate": 2.0}).decode({"time": TIMES, "0": TIMES, "1": TIMES})
    np.testing.assert_allclose(slow.values[:, 0], TIMES.reshape(10, 10).mean(axis=1), atol=1e-6)


def test_a_slow_channel_beside_a_quick_one_keeps_its_own_pace() -> None:
    slow = np.where(np.arange(100) % 20 == 0, TIMES, np.nan)
    recording = PLAIN.decode({"time": TIMES, "0": WAVES[:, 0], "1": slow})
    np.testing.assert_allclose(recording.values[:81, 1], TIMES[:81], atol=1e-6)


def test_out_of_order_and_double_stamps() -> None:
    times, values = in_order(np.array([2.0, 0.0, np.nan, 2.0, 1.0]), np.array([[1.0], [5], [9], [3], [np.nan]]))
    np.testing.assert_array_equal(times, [0, 1, 2])
    np.testing.assert_array_equal(values[:, 0], [5, np.nan, 2])


# --- files ----------------------------------------------------------------------------------------------------------

TABLE = pl.DataFrame({"time": TIMES, "0": WAVES[:, 0], "1": WAVES[:, 1]})
CELLS: dict[str, Any] = {
    "csv": _csv("time,0,1", TIMES, *WAVES.T), "tsv": _csv("time\t0\t1", TIMES, *WAVES.T, separator="\t"),
    "semicolons and decimal commas": _csv("time;0;1", TIMES, *WAVES.T, separator=";").replace(b".", b","),
    "savetxt": _csv("# time 0 1", TIMES, *WAVES.T, separator=" "), "utf-16": TABLE.write_csv().encode("utf-16"),
    "windows lines": TABLE.write_csv().replace("\n", "\r\n").encode(), "parquet": _parquet(TABLE),
    "npz": _saved(time=TIMES, **{"0": WAVES[:, 0], "1": WAVES[:, 1]}), "polars": TABLE,
    "milliseconds": _csv("t_ms,0,1", 1000 * TIMES, *WAVES.T), "nanoseconds": TABLE.with_columns(
        time=(1.7e18 + 1e9 * TIMES).astype(np.int64)), "columns": {"time": TIMES, "0": WAVES[:, 0], "1": WAVES[:, 1]},
    "dates": TABLE.with_columns(time=pl.from_epoch((1.7e15 + 1e6 * TIMES).astype(np.int64), time_unit="us")),
    "written dates": _csv("timestamp,0,1", [f"2024-05-01 10:00:{t:09.6f}" for t in TIMES], *WAVES.T),
    "words beside": _csv("time,who,0,1", TIMES, ["ann"] * 100, *WAVES.T),
    "rate": (WAVES, 20.0), "backwards": TABLE.reverse(),
}


@pytest.mark.parametrize("form", list(CELLS))
def test_every_form_is_the_same_recording(form: str, tmp_path: Path) -> None:
    kind = SeriesKind().measure([CELLS[form]])
    assert kind.channels == ("0", "1") and kind.rate == pytest.approx(20.0, rel=1e-4)
    recording = kind.decode(CELLS[form])
    assert recording.values.shape == (100, 2) and recording.start == 0.0 and recording.values.dtype == np.float32
    np.testing.assert_allclose(recording.values * kind.std + kind.mean, WAVES, atol=1e-4)
    np.testing.assert_allclose(recording.values.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(recording.values.std(axis=0), 1, atol=1e-4)
    if isinstance(CELLS[form], bytes):
        file = tmp_path / "recording.dat"
        file.write_bytes(CELLS[form])
        np.testing.assert_array_equal(kind.decode(file).values, recording.values)


@pytest.mark.parametrize("array", [WAVES, WAVES.astype(np.float32), np.asfortranarray(WAVES), WAVES.T.copy()])
def test_arrays_without_times_have_the_rate_that_is_said(array: Any) -> None:
    kind = SeriesKind(rate=20.0).measure([WAVES, WAVES[:50]])
    for cell in (array, _saved(array), _saved(readings=array)):
        np.testing.assert_allclose(kind.decode(cell).values * kind.std + kind.mean, WAVES, atol=1e-3)
    assert SeriesKind().measure([WAVES]).rate == 1.0
    assert SeriesKind(rate=10.0, source_rate=20.0).measure([WAVES]).decode(array).values.shape == (50, 2)
    assert SeriesKind().measure([TIMES]).channels == ("0",)
    assert SeriesKind().measure([np.ones((3, 900))]).channels == ("0", "1", "2"), "channels that stand first"


def test_channels_that_most_have_and_times_that_are_said() -> None:
    most = _csv("stamp,a,b", TIMES, TIMES, TIMES)
    kind = SeriesKind().measure([most, most, _csv("stamp,b,c", TIMES, TIMES, TIMES), b"junk"])
    assert kind.time == "stamp" and kind.channels == ("a", "b")
    assert np.isnan(kind.decode(_csv("stamp,b,c", TIMES, TIMES, TIMES)).values[:, 0]).all()
    other = SeriesKind(time="b", channels=("a",)).measure([most])
    assert other.channels == ("a",) and other.rate == pytest.approx(20.0)


@pytest.mark.parametrize(("header", "first", "found", "scale"), [
    ("t,x", 0.0, "t", 1.0), ("Time (ms),x", 0.0, "Time (ms)", 1e-3), ("gps_time_us,x", 0.0, "gps_time_us", 1e-6),
    ("timestamp,x", 1.7e12, "timestamp", 1e-3), ("ns,x", 0.0, "ns", 1e-9), ("elapsed[s],x", 0.0, "elapsed[s]", 1.0),
    ("turn,x", 0.0, "", 1.0), ("items,x", 0.0, "", 1.0), ("weight,x", 0.0, "", 1.0)])
def test_time_columns_by_their_names_and_units(header: str, first: float, found: str, scale: float) -> None:
    columns = read_columns(_csv(header, first + np.arange(5.0), np.ones(5)))
    assert time_column(columns) == found
    if found:
        np.testing.assert_allclose(np.diff(seconds(columns, found)), scale, rtol=1e-3)
    shaken = read_columns(_csv(header, [3, 1, 4, 1, 5], np.ones(5)))
    assert time_column(shaken) == "", "a clock does not jump back"


def test_clocks_count_as_written_near_zero() -> None:
    assert beginning(np.array([3.0, 9.0])) == 3.0 and beginning(np.array([-4.0, 6.0])) == -4.0
    assert beginning(np.array([30.0, 90.0])) == 30.0 and beginning(np.array([1.7e9, 1.7e9 + 5])) == 0.0
    kind = SeriesKind().measure([_csv("t,x", 3 + TIMES, TIMES)])
    recording = kind.decode(_csv("t,x", 3 + TIMES, TIMES))
    span = kind.collate([recording]).span
    assert span is not None and span[0, 0].tolist() == pytest.approx([3.0, 3.05]) and len(span[0]) == 100


def test_a_stamp_from_another_age_is_none() -> None:
    kind = SeriesKind().measure([_csv("t,x", TIMES, TIMES)])
    times = TIMES.copy()
    times[[0, 99]] = (-1e300, 9e18)
    recording = kind.decode(_csv("t,x", times, TIMES))
    assert recording.start == pytest.approx(0.05) and len(recording.values) == 98
    span = kind.collate([recording]).span
    assert span is not None and span.isfinite().all()


def test_long_recordings_are_cut_and_slow_enough() -> None:
    kind = SeriesKind().measure([(np.arange(5000.0), 500.0)] * 3)
    assert kind.max_steps == 1024 and kind.rate == pytest.approx(102.3, rel=1e-2)
    assert kind.decode((np.arange(50_000.0), 500.0)).values.shape == (1024, 1)
    assert SeriesKind().measure([(np.arange(100.0), 10.0)]).max_steps == 125


def test_recordings_that_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kind = SeriesKind().measure([_csv("time,a", TIMES, TIMES)])
    objects = io.BytesIO()
    np.save(objects, np.array([{"a": 1}, None]), allow_pickle=True)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }"
    giant = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.ljust(117) + b"\n" + b"\0" * 64
    for cell, words in (
        (b"time,a\n", "without readings"), (_csv("time,a", TIMES, [""] * 100), "without readings"),
        (_csv("time,b", TIMES, TIMES), "none of the channels 'a' is among the columns 'time', 'b'"),
        (_csv("a,b", TIMES, TIMES), "no time column 'time'"), (objects.getvalue(), "Python objects"),
        (giant, "99,999,999,999 values: at most 8,388,608"), (b"", "0 bytes"), (b"\0\1\2\3" * 9, "neither an array"),
        (b"time,a\n1,2\n3,4,5,6\n", "not columns of numbers"), (str(tmp_path / "no.csv"), "no such file"),
        (3, "found int"), ({"time": TIMES, "a": TIMES[:3]}, "unequal length"), (np.zeros((2, 2, 2)), "shape"),
        (np.array(["a"]), "expected numbers"), ((WAVES, -1.0), "readings per second"),
        (np.zeros((7, 3)), "3 columns without names, expected 1"), (_saved(np.zeros(50))[:200], "cut short"),
        (_parquet(TABLE)[:-30], "broken numbers"), (_saved(a=TIMES)[:-40], "broken numbers"),
    ):
        with pytest.raises(BadCell, match=words):
            kind.decode(cell)
    monkeypatch.setattr(columns_file, "MOST_VALUES", 50)
    for cell in (CELLS["csv"], CELLS["parquet"], CELLS["npz"], _saved(WAVES), WAVES, TABLE):
        with pytest.raises(BadCell, match="at most 50 are read"):
            kind.decode(cell)


# --- variants -------------------------------------------------------------------------------------------------------

ROWS = np.arange(64)


def _gappy(kind: SeriesKind, augmentation: float = 1.0) -> tuple[SeriesKind, Any]:
    values = WAVES.copy()
    values[30:35, 0] = np.nan
    kind = kind.model_copy(update={"augmentation": augmentation})
    return kind, kind.collate([Recording(values.astype(np.float32), 2.0)] * 64)


def test_augmentation_varies_what_it_says_and_keeps_the_seconds() -> None:
    kind, inputs = _gappy(PLAIN)
    varied = kind.augment(inputs, Draws(0, 0, ROWS))
    readings, there = varied.values[..., :2], varied.values[..., 2:]
    assert varied.mask is not None and varied.span is not None
    lengths = varied.mask.sum(dim=1)
    assert 75 <= int(lengths.min()) < 95 and 100 < int(lengths.max()) <= 112
    assert ((there == 0) | (there == 1)).all() and (readings[there == 0] == 0).all()
    untouched = [row for row in range(64) if lengths[row] == 100
                 and torch.equal(varied.values[row, :100], inputs.values[row])]
    assert 5 <= len(untouched) <= 28
    holes = 1 - there[..., 1].sum(dim=1) / lengths
    assert float(holes.max()) < 0.17 and (holes > 0.02).sum() > 10
    row = next(row for row in range(64) if row not in untouched)
    assert 1.99 <= float(varied.span[row, 0, 0]) < 2.31
    assert (varied.span[row, : lengths[row], 0].diff() > 0).all(), "steps keep the seconds of what they show"
    assert (varied.values[~varied.mask] == 0).all()


def test_corruption_fills_gaps_and_buries_readings() -> None:
    kind, inputs = _gappy(PLAIN)
    damaged = kind.corrupt(inputs, 1.0, Draws(0, 0, ROWS))
    assert (damaged.values[..., 2:] == 1).all(), "at 1 not even the gaps are left"
    half = kind.corrupt(inputs, 0.5, Draws(0, 0, ROWS))
    assert float(half.values[:, 30:35, 2].mean()) == pytest.approx(0.5, abs=0.12)
    assert float(damaged.values[..., :2].std()) == pytest.approx(1.0, abs=0.03)


def test_what_is_shown_breaks_at_gaps_and_names_the_channels() -> None:
    kind = SeriesKind().measure([_csv("t,<x>,b", TIMES, *WAVES.T)])
    values = kind.decode(_csv("t,<x>,b", TIMES, *WAVES.T)).values
    values[30:35, 0] = np.nan
    page = kind.show(Recording(values, 0.0))
    assert page.count("<polyline") == 3 and "&lt;x&gt;" in page and "<x>" not in page and "2.001 to 8<" in page


def test_description_is_of_normalised_time_and_tells_frequencies() -> None:
    kind = PLAIN.model_copy(update={"channels": ("0",), "mean": (0.0,), "std": (1.0,)})
    turns = np.linspace(0, 2 * np.pi, 200)
    slow, fast = (Recording(np.sin(k * turns)[:, None].astype(np.float32), 0.0) for k in (2, 20))
    assert np.abs(kind.describe(slow)[36:44] - kind.describe(fast)[36:44]).max() > 5
    half = Recording(np.sin(2 * turns[:-1:2])[:, None].astype(np.float32), 0.0)
    np.testing.assert_allclose(kind.describe(half)[:32], kind.describe(slow)[:32], atol=0.08)
