"""Readings at any times → a uniform grid: averaged where the grid is coarser, interpolated between near neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
NEAR = 1.5
EXACT = 1e-3


def in_order(times: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """Readings sorted by time, those of one time averaged, those without a time left out.

    Args:
        times: (reading,) seconds; NaN = none.
        values: (reading, channel); NaN = no reading.
    """
    known = np.isfinite(times)
    times, values = times[known], values[known]
    if len(times) < 2 or bool((np.diff(times) > 0).all()):
        return times, values
    unique, place = np.unique(times, return_inverse=True)
    there = np.isfinite(values)
    sums, counts = np.zeros((len(unique), values.shape[1])), np.zeros((len(unique), values.shape[1]))
    np.add.at(sums, place, np.where(there, values, 0.0))
    np.add.at(counts, place, there)
    with np.errstate(invalid="ignore"):
        return unique, np.where(counts > 0, sums / counts, np.nan)


def typical_interval(times: Numbers) -> float:
    """The median distance in seconds of increasing times; NaN for fewer than two."""
    return float(np.median(np.diff(times))) if len(times) > 1 else float("nan")


def on_grid(times: Numbers, values: Numbers, *, start: float, rate: float, count: int) -> Numbers:
    """The readings at start + k / rate, k = 0 … count − 1.

    Where a step of the grid is over 1.5 times as long as the channel's median distance d between readings, it is the
    mean of its readings. Else it is interpolated linearly between the readings on either side, where these are at most
    1.5 d apart, or is the reading at that very time.

    Args:
        times: (reading,) increasing seconds.
        values: (reading, channel); NaN = no reading.

    Returns: (step, channel), NaN in gaps.

    Example:
        >>> on_grid(np.array([0.0, 1.0, 2.0, 6.0]), np.array([[0.0], [4.0], [8.0], [9.0]]), start=0.0, rate=2.0,
        ...         count=7)[:, 0].tolist()
        [0.0, 2.0, 4.0, 6.0, 8.0, nan, nan]
    """
    grid = np.full((count, values.shape[1]), np.nan)
    for channel in range(values.shape[1]):
        there = np.isfinite(values[:, channel])
        own, readings = times[there], values[there, channel]
        if len(own) == 0:
            continue
        interval = typical_interval(own)
        if 1.0 / rate > NEAR * interval:
            grid[:, channel] = _averaged(own, readings, start, rate, count)
        else:
            grid[:, channel] = _interpolated(own, readings, start + np.arange(count) / rate,
                                             0.0 if np.isnan(interval) else NEAR * interval, EXACT / rate)
    return grid


def _averaged(times: Numbers, values: Numbers, start: float, rate: float, count: int) -> Numbers:
    """(step,) the mean of the readings from start + k / rate up to the next step."""
    steps = np.floor((times - start) * rate + EXACT)
    inside = (steps >= 0) & (steps < count)
    places = steps[inside].astype(np.int64)
    sums = np.bincount(places, weights=values[inside], minlength=count)
    counts = np.bincount(places, minlength=count)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(counts > 0, sums / counts, np.nan))


def _interpolated(times: Numbers, values: Numbers, grid: Numbers, most: float, exact: float) -> Numbers:
    """(step,) between the readings on either side, no more than `most` seconds apart."""
    after = np.minimum(np.searchsorted(times, grid - exact), len(times) - 1)
    before = np.maximum(after - 1, 0)
    distance = times[after] - times[before]
    share = np.clip((grid - times[before]) / np.where(distance > 0, distance, 1.0), 0.0, 1.0)
    between = values[before] * (1.0 - share) + values[after] * share
    near = (distance > 0) & (distance <= most * (1 + 1e-9)) & (grid >= times[before]) & (grid <= times[after])
    return np.where(np.abs(times[after] - grid) <= exact, values[after], np.where(near, between, np.nan))
