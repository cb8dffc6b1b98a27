"""How long ten million readings take to be put on one clock, beside the plain ways of doing it.

A day of sensors with jitter, losses and late arrivals: one at 100 Hz and one at 15 Hz (ten million readings in all), a
camera's stamps at 1 Hz. The plain loop looks for every reading with `bisect`, on a hundredth of the samples; the plain
numpy way is `searchsorted` on stamps that somebody has cleaned before. All answers are compared.

    python benchmarks/streams.py
"""

from __future__ import annotations

import resource
import time
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

import numpy as np

from sensorium.data.streams.align import align
from sensorium.data.streams.clocks import estimate_offset
from sensorium.data.streams.stream import Stream

SECONDS = 86_400
RATES = {"motion": 100.0, "radar": 15.74}
OFFSET = 0.437
SHARE = 100


def timed(what: str, do: Callable[[], Any]) -> tuple[Any, float]:
    """The result and its seconds, which are printed."""
    started = time.perf_counter()
    result = do()
    seconds = time.perf_counter() - started
    print(f"{what}: {seconds:.2f} s", flush=True)
    return result, seconds


def readings(rate: float, seed: int, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stamps with jitter, 1 % lost, one in a thousand arriving ten readings late; values of the truth."""
    draws = np.random.default_rng(seed)
    count = int(SECONDS * rate)
    times = (np.arange(count) + draws.uniform(-0.3, 0.3, count)) / rate
    times = times[draws.random(count) > 0.01]
    values = np.interp(times, np.arange(len(truth)) / 20, truth) + 0.3 * draws.normal(size=len(times))
    order = np.argsort(times + (draws.random(len(times)) < 0.001) * 10 / rate)
    return times[order], values[order]


def loop(stamps: list[float], values: list[float], moments: list[float], tolerance: float) -> list[float]:
    """The nearest reading of every moment, in plain Python."""
    found = []
    for moment in moments:
        after = bisect_right(stamps, moment)
        near = [n for n in (after - 1, after) if 0 <= n < len(stamps)]
        best = min(near, key=lambda n: abs(stamps[n] - moment))
        found.append(values[best] if abs(stamps[best] - moment) <= tolerance else float("nan"))
    return found


def searched(stream: Stream, moments: np.ndarray, tolerance: float) -> np.ndarray:
    """The same in numpy."""
    after = np.clip(np.searchsorted(stream.times, moments, side="right"), 1, len(stream) - 1)
    left = np.abs(moments - stream.times[after - 1]) <= np.abs(stream.times[after] - moments)
    best = np.where(left, after - 1, after)
    return np.where(np.abs(stream.times[best] - moments) <= tolerance, stream.values[best, 0], np.nan)


def main() -> None:
    """Measure and compare."""
    noise = np.random.default_rng(0).normal(size=SECONDS * 20)
    truth = np.convolve(noise, np.hanning(15), mode="same")
    raw = {name: readings(rate, seed, truth) for seed, (name, rate) in enumerate(RATES.items())}
    total = sum(len(times) for times, _ in raw.values())
    streams, cleaning = timed(f"clean {total:,} readings (sort, count, merge)",
                              lambda: [Stream(name, *readings) for name, readings in raw.items()])
    motion = streams[0]
    camera = np.arange(0, SECONDS, 1.0)
    _, seconds = timed(f"align them at {len(camera):,} moments of a camera, nearest and interpolated",
                       lambda: align(streams, at=camera, method={"radar": "interpolate"}))
    print(f"  cleaned and aligned together: {cleaning + seconds:.2f} s")
    timed("  windows of 1 s around each", lambda: align(streams, at=camera, window=(1.0, 0.0)))
    moments = motion.times + 0.003
    aligned, seconds = timed(f"align them at {len(moments):,} moments, nearest", lambda: align(streams, at=moments))
    tolerance = aligned.parts["motion"].tolerance
    answer, plain = timed("  plain numpy, the first stream alone", lambda: searched(motion, moments, tolerance))
    _, alone = timed("  ours, the first stream alone", lambda: align([motion], at=moments))
    np.testing.assert_array_equal(aligned.values("motion")[:, 0], answer)
    stamps, values = motion.times.tolist(), motion.values[:, 0].tolist()
    some = moments[::SHARE]
    looped, slow = timed(f"  plain Python, the first stream at {len(some):,} of the moments",
                         lambda: loop(stamps, values, some.tolist(), tolerance))
    np.testing.assert_array_equal(aligned.values("motion")[::SHARE, 0], looped)
    print(f"  ratio: {plain / alone:.2f} of numpy's speed, {SHARE * slow / alone:.0f} times plain Python's")
    timed("align all at 20 Hz, interpolated", lambda: align(streams, every=0.05, method="interpolate"))
    shifted = streams[1].shifted(OFFSET)
    found, _ = timed("estimate the offset of their clocks, up to 60 s either way",
                     lambda: estimate_offset(motion, shifted, max_offset=60.0))
    print(f"  planted {-OFFSET:.4f} s, found {found.seconds:.4f} s, correlation {found.correlation:.2f}")
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
