"""One recording read at chosen moments: the nearest, the previous or the interpolated reading, or all in a window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from sensorium.data.streams.stamps import Seconds
from sensorium.data.streams.stream import Stream
from sensorium.errors import DataError, unknown_name

Method = Literal["nearest", "previous", "interpolate"]
METHODS: tuple[str, ...] = ("nearest", "previous", "interpolate")
SAME_MOMENT = 1e-9
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sampled:
    """One stream's reading at every sample.

    Args:
        stream: whose readings they are.
        values: (sample, channel) numbers, NaN = absent; or (sample,) files or texts, None = absent.
        index: (sample,) number of the reading taken, of the earlier of the two where it is interpolated; −1 = absent.
        method: nearest, previous or interpolate.
        tolerance: seconds; what is farther away is absent, and no gap longer than that is bridged.
    """

    stream: Stream
    values: npt.NDArray[Any]
    index: Index
    method: Method
    tolerance: float

    @property
    def presence(self) -> npt.NDArray[np.bool_]:
        """(sample,) whether there is a reading."""
        return self.index >= 0


@dataclass(frozen=True)
class Windows:
    """One stream's readings around every sample: those with sample − before < stamp ≤ sample + after.

    Args:
        stream: whose readings they are.
        times: (sample,) seconds on the common clock.
        starts, stops: (sample,) the window's readings are starts … stops − 1; as many as there are.
        before, after: the window, seconds. Windows of length d every d seconds share no reading.
        method, tolerance: how `grid` puts them on an even clock.
    """

    stream: Stream
    times: Seconds
    starts: Index
    stops: Index
    before: float
    after: float
    method: Method
    tolerance: float

    @property
    def presence(self) -> npt.NDArray[np.bool_]:
        """(sample,) whether there is any reading in the window."""
        return self.stops > self.starts

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, sample: int) -> tuple[Seconds, npt.NDArray[Any]]:
        """(step,) seconds from the sample's moment (negative before it) and the (step, …) readings, as recorded."""
        if not 0 <= sample < len(self):
            raise IndexError(f"sample {sample} of {len(self)}")
        part = slice(int(self.starts[sample]), int(self.stops[sample]))
        return self.stream.times[part] - self.times[sample], self.stream.values[part]

    def __iter__(self) -> Iterator[tuple[Seconds, npt.NDArray[Any]]]:
        return (self[sample] for sample in range(len(self)))

    def grid(self, rate: float) -> npt.NDArray[Any]:
        """The windows on an even clock, read by the stream's method and tolerance.

        Args:
            rate: steps a second; the last step is at sample + after.

        Returns:
            (sample, step, channel) numbers, NaN = absent; or (sample, step) files or texts, None = absent.
        """
        steps = round((self.before + self.after) * rate) if 0 < rate < np.inf else 0
        if steps < 1:
            raise DataError(f"stream {self.stream.name!r}: no step of {rate!r} Hz fits into a window of "
                            f"{self.before + self.after:g} s")
        back = np.arange(steps - 1, -1, -1) / rate
        moments = (self.times[:, None] + self.after - back[None, :]).ravel()
        values = sample_stream(self.stream, moments, self.method, self.tolerance).values
        return values.reshape(len(self), steps, *values.shape[1:])


def sample_stream(
    stream: Stream, times: Seconds, method: Method = "nearest", tolerance: float | None = None,
) -> Sampled:
    """One stream's reading at every moment; see `align`."""
    _check_method(stream, method)
    near = _checked_tolerance(stream, tolerance)
    slack = _rounding(stream.times, times)
    stamps = np.concatenate([[-np.inf], stream.times, [np.inf]])
    index = at_or_before(stream.times, times + slack)
    earlier, later = stamps[index + 1], stamps[index + 2]
    age = np.abs(times - earlier)
    if method == "interpolate":
        exact = age <= slack
        index[~exact & (later - earlier > near + slack)] = -1
        moved = ~exact & (index >= 0)
        share = np.divide(times - earlier, later - earlier, out=np.zeros(len(times)), where=moved)
        values = _between(stream.values, index, share, moved)
    else:
        if method == "nearest":
            ahead = np.abs(later - times)
            index += ahead < age - slack
            age = np.minimum(age, ahead)
        index[age > near + slack] = -1
        values = stream.values[np.maximum(index, 0)]
    if stream.is_numeric:
        values[index < 0] = np.nan
        index[np.isnan(values).all(axis=1)] = -1
    else:
        values[index < 0] = None
    return Sampled(stream, values, index, method, near)


def window_stream(
    stream: Stream, times: Seconds, window: tuple[float, float], method: Method = "nearest",
    tolerance: float | None = None,
) -> Windows:
    """One stream's readings in a window around every moment; see `align`."""
    _check_method(stream, method)
    try:
        before, after = (float(seconds) for seconds in window)
    except (TypeError, ValueError):
        before = after = np.nan
    if not 0 < before + after < np.inf:
        raise DataError(f"stream {stream.name!r}: expected a window (before, after) in seconds that is longer than 0, "
                        f"found {window!r}")
    near = _checked_tolerance(stream, tolerance)
    slack = _rounding(stream.times, times)
    starts = at_or_before(stream.times, times - before + slack) + 1
    stops = at_or_before(stream.times, times + after + slack) + 1
    return Windows(stream, times, starts, np.maximum(starts, stops), before, after, method, near)


def at_or_before(stamps: Seconds, times: Seconds) -> Index:
    """(sample,) the last stamp at or before each moment, −1 where there is none.

    Args:
        stamps: (reading,) increasing.
        times: (sample,) in any order.
    """
    ordered = bool(np.all(times[1:] >= times[:-1]))
    order = None if ordered else np.argsort(times, kind="stable")
    left = pl.DataFrame({"time": pl.Series(times if order is None else times[order]).set_sorted()})
    right = pl.DataFrame({"time": pl.Series(stamps).set_sorted(), "index": np.arange(len(stamps))})
    found = left.join_asof(right, on="time", strategy="backward")["index"].fill_null(-1).to_numpy(writable=True)
    if order is None:
        return found
    index = np.empty_like(found)
    index[order] = found
    return index


def _between(values: npt.NDArray[Any], index: Index, share: Seconds, moved: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """(1 − share) · this reading + share · the next where `moved` says so, else this reading exactly."""
    start = values[np.maximum(index, 0)]
    rows = np.flatnonzero(moved)
    first = start[rows]
    start[rows] = first + share[rows, None].astype(values.dtype) * (values[index[rows] + 1] - first)
    return start


def _rounding(stamps: Seconds, times: Seconds) -> float:
    """Seconds by which stamps that mean the same moment may differ: a nanosecond, or four units in the last place."""
    ends = [abs(float(stamps[0])), abs(float(stamps[-1]))]
    return max(SAME_MOMENT, float(4 * np.spacing(max(*ends, float(np.abs(times).max(initial=0.0))))))


def _check_method(stream: Stream, method: str) -> None:
    if method not in METHODS:
        raise DataError(f"stream {stream.name!r}: {unknown_name('method', method, list(METHODS))}")
    if method == "interpolate" and not stream.is_numeric:
        raise DataError(f"stream {stream.name!r}: {'files' if stream.files else 'texts'} cannot be interpolated: "
                        f"choose method={{{stream.name!r}: 'nearest'}} or 'previous'")


def _checked_tolerance(stream: Stream, tolerance: float | None) -> float:
    if tolerance is None:
        return stream.usual_tolerance()
    if not isinstance(tolerance, int | float) or not tolerance >= 0:
        raise DataError(f"stream {stream.name!r}: expected a tolerance of 0 or more seconds, found {tolerance!r}")
    return float(tolerance)
