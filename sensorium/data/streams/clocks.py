"""How far one clock is behind another, from a signal that both recordings see: masked, normalised cross-correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from sensorium.data.streams.correlation import Mask, Signal, masked_correlation
from sensorium.data.streams.sampling import sample_stream
from sensorium.data.streams.stream import Stream
from sensorium.errors import DataError, unknown_name

BRIDGED_INTERVALS = 2.5
STEPS_OF_FAST, STEPS_OF_SLOW = 2.0, 16.0
LEAST_ECHO_LAGS, MOST_ECHO_LAGS = 1000, 1 << 17
MOST_STEPS = 200_000_000
MOST_LAGS = 1 << 21
LEAST_OVERLAP = 0.5
LEAST_STEPS = 16
CHANCE = 1e-3
APART = 3.0


@dataclass(frozen=True)
class Offset:
    """How far a stream's clock is behind the reference's.

    Args:
        seconds: to be added to the stream's stamps: `stream.shifted(offset.seconds)`.
        error: about how far the offset may be off, in seconds: a standard deviation, too large rather than too small.
        correlation: of the two signals at this offset, −1 … 1.
        runner_up: the highest correlation at any other offset in the search, outside the peak; NaN where the peak fills
            the search.
        significance: the correlation in standard deviations of what two unrelated signals, as smooth as these, show.
        step: seconds of the common clock on which they were compared.
        overlap: seconds for which both have readings at this offset.
    """

    seconds: float
    error: float
    correlation: float
    runner_up: float
    significance: float
    step: float
    overlap: float


@dataclass(frozen=True)
class _Grid:
    """A signal on an even clock: values (step,), whether each is there, and the first step's seconds."""

    start: float
    values: Signal
    there: Mask


def estimate_offset(
    reference: Stream, other: Stream, *, max_offset: float | None = None, channels: tuple[str, str] | None = None,
    rate: float | None = None,
) -> Offset:
    """The constant offset between two clocks, where both streams see the same signal.

    Both signals are put on one even clock, steps inside gaps masked. For every lag k the correlation over the steps
    that both have (at least half as many as at the best lag) is

        r(k) = Σ (a_{j+k} − ā_k)(b_j − b̄_k) / √(Σ (a_{j+k} − ā_k)² · Σ (b_j − b̄_k)²),

    all sums by FFT, block by block; the peak is refined between steps by a parabola through three lags. A peak is
    refused where unrelated signals of the same smoothness (Bartlett's effective number of steps) would show it with a
    probability above .1 % over all lags, where another peak is not clearly lower, or where it lies at the edge.

    Args:
        reference: the clock that counts.
        other: the stream whose clock is to be put right.
        max_offset: seconds either way that are searched; left out: every offset at which the recordings overlap enough.
        channels: of the reference and the other; left out: their only ones, or the only name they share.
        rate: steps a second; left out: twice the faster stream's rate, but at most 16 times the slower one's (faster
            readings are averaged).

    Returns:
        The offset; add `seconds` to the other's stamps.

    Raises:
        DataError: no numbers, no shared channel, too little overlap, or no clear peak, saying which.

    Example:
        >>> draws = np.random.default_rng(0)
        >>> truth = np.convolve(draws.normal(size=3000), np.hanning(50), mode="same")
        >>> seconds = np.arange(3000) / 100
        >>> radar = Stream("radar", seconds[::5], truth[::5])
        >>> camera = Stream("camera", seconds[::10] + 0.73, 2 * truth[::10] + 1)
        >>> offset = estimate_offset(radar, camera, max_offset=5)
        >>> round(offset.seconds, 2), round(offset.correlation, 2)
        (-0.73, 1.0)

    Source: Padfield, "Masked object registration in the Fourier domain", 2012, equations 6 to 12, in one dimension;
    Bartlett 1946 for the effective number of steps.
    """
    channel_a, channel_b = _channels(reference, other, channels)
    signal_a, signal_b = _signal(reference, channel_a), _signal(other, channel_b)
    step = _step(signal_a, signal_b, rate)
    a, b = _on_grid(signal_a, step), _on_grid(signal_b, step)
    between = f"streams {reference.name!r} and {other.name!r}"
    lags = _lags(a, b, step, max_offset, between)
    correlation, overlap = masked_correlation(a.values, a.there, b.values, b.there, lags)
    enough = overlap >= max(LEAST_STEPS, LEAST_OVERLAP * overlap.max())
    correlation = np.where(enough, correlation, -np.inf)
    best = int(np.argmax(correlation))
    peak = float(correlation[best])
    if not np.isfinite(peak):
        raise DataError(f"{between} cannot be compared: at no offset in the search do both have {LEAST_STEPS} steps of "
                        f"{step:.4g} s in common at which they change")
    effective = float(overlap[best]) / _smoothness(a, b, len(overlap))
    second = _runner_up(correlation, best)
    offsets = np.asarray(a.start - b.start + step * np.arange(lags[0], lags[1] + 1), dtype=np.float64)
    _refuse_unclear(between, offsets, correlation, best, second, effective)
    shift, error = _parabola(float(correlation[best - 1]), peak, float(correlation[best + 1]), effective)
    return Offset(float(offsets[best]) + step * shift, step * error, peak,
                  math.nan if second is None else float(correlation[second]),
                  _fisher(peak) * math.sqrt(max(effective - 3.0, 0.0)), step, float(overlap[best]) * step)


def _channels(reference: Stream, other: Stream, channels: tuple[str, str] | None) -> tuple[int, int]:
    """The channels to compare, by number."""
    for stream in (reference, other):
        if not stream.is_numeric:
            raise DataError(f"stream {stream.name!r} holds {'files' if stream.files else 'texts'}: an offset is "
                            f"estimated from numbers; make a stream of a number that tells the same (the brightness of "
                            f"a picture, the loudness of a sound)")
    if channels is None:
        shared = [name for name in reference.channels if name in other.channels]
        alone = len(reference.channels) == len(other.channels) == 1
        if not alone and len(shared) != 1:
            raise DataError(f"streams {reference.name!r} ({', '.join(reference.channels)}) and {other.name!r} "
                            f"({', '.join(other.channels)}): say which channels see the same signal: "
                            f"channels=({reference.channels[0]!r}, {other.channels[0]!r})")
        channels = (reference.channels[0], other.channels[0]) if alone else (shared[0], shared[0])
    for stream, name in zip((reference, other), channels, strict=True):
        if name not in stream.channels:
            raise DataError(f"stream {stream.name!r}: {unknown_name('channel', name, list(stream.channels))}")
    return reference.channels.index(channels[0]), other.channels.index(channels[1])


def _signal(stream: Stream, channel: int) -> Stream:
    """The stream with one channel only, without the readings that lack it."""
    values = stream.values[:, channel].astype(np.float64)
    there = ~np.isnan(values)
    if there.sum() < 3:
        raise DataError(f"stream {stream.name!r}: channel {stream.channels[channel]!r} has {int(there.sum())} "
                        f"readings; an offset needs many")
    return Stream(stream.name, stream.times[there], values[there])


def _step(reference: Stream, other: Stream, rate: float | None) -> float:
    """Seconds between two steps of the common clock."""
    if rate is not None:
        if not isinstance(rate, int | float) or not 0 < rate < np.inf:
            raise DataError(f"estimate_offset: expected a rate in steps a second, above 0, found {rate!r}")
        step = 1.0 / rate
    else:
        fast, slow = sorted([reference.interval, other.interval])
        step = max(fast / STEPS_OF_FAST, slow / STEPS_OF_SLOW)
    for stream in (reference, other):
        steps = (stream.times[-1] - stream.times[0]) / step
        if steps > MOST_STEPS:
            raise DataError(f"stream {stream.name!r} would have {steps:.3g} steps of {step:.3g} s: give a lower rate=")
    return step


def _on_grid(stream: Stream, step: float) -> _Grid:
    """A stream of one channel on an even clock: averaged where its readings are much closer, else interpolated."""
    start = float(stream.times[0])
    num_steps = 1 + math.floor((float(stream.times[-1]) - start) / step + 0.5)
    if step >= 2 * stream.interval:
        place = np.rint((stream.times - start) / step).astype(np.int64)
        count = np.bincount(place, minlength=num_steps).astype(np.float64)
        values = np.bincount(place, weights=stream.values[:, 0], minlength=num_steps) / np.maximum(count, 1.0)
        return _Grid(start, values, count > 0)
    moments = np.asarray(start + step * np.arange(num_steps), dtype=np.float64)
    values = sample_stream(stream, moments, "interpolate", BRIDGED_INTERVALS * stream.interval).values[:, 0]
    return _Grid(start, values, ~np.isnan(values))


def _lags(a: _Grid, b: _Grid, step: float, max_offset: float | None, between: str) -> tuple[int, int]:
    """The first and last lag to try: one step beyond the search, so that a peak at its edge is seen to be one."""
    low, high = 1 - len(b.values), len(a.values) - 1
    if max_offset is not None:
        if not isinstance(max_offset, int | float) or not 0 < max_offset < np.inf:
            raise DataError(f"{between}: expected max_offset in seconds, above 0, found {max_offset!r}")
        apart = a.start - b.start
        low = max(low, math.floor((-max_offset - apart) / step) - 1)
        high = min(high, math.ceil((max_offset - apart) / step) + 1)
        if low > high:
            raise DataError(f"{between} do not overlap at any offset up to {max_offset:g} s: the first starts at "
                            f"{a.start:.6g} s, the second at {b.start:.6g} s; raise max_offset or leave it out")
    if high - low + 1 > MOST_LAGS:
        raise DataError(f"{between}: the search has {high - low + 1:,} offsets of {step:.3g} s, more than "
                        f"{MOST_LAGS:,}: give max_offset= or a lower rate=")
    return low, high


def _smoothness(a: _Grid, b: _Grid, num_lags: int) -> float:
    """Steps that count as one independent one: 1 + 2 Σ_k ρ_a(k) ρ_b(k) · (share of the steps that lag k compares).

    As far as a quarter of the recordings, and no farther than the search or a thousand steps.
    """
    most = min(len(a.values) // 4, len(b.values) // 4, MOST_ECHO_LAGS, max(num_lags, LEAST_ECHO_LAGS))
    lags = (0, max(1, most))
    echo_a, num_a = masked_correlation(a.values, a.there, a.values, a.there, lags)
    echo_b, num_b = masked_correlation(b.values, b.there, b.values, b.there, lags)
    weight = np.minimum(num_a / num_a[0], num_b / num_b[0])
    products = np.where(np.isfinite(echo_a) & np.isfinite(echo_b), echo_a * echo_b, 0.0) * weight
    return max(1.0, float(1.0 + 2.0 * products[1:].sum()))


def _fisher(correlation: float) -> float:
    """atanh(r), whose error does not depend on r: about 1 / √(independent steps − 3)."""
    return math.atanh(min(max(correlation, -1.0 + 1e-12), 1.0 - 1e-12))


def _runner_up(correlation: Signal, best: int) -> int | None:
    """The highest correlation outside the peak, which reaches as far as half its height; None where nothing is left."""
    low = correlation < 0.5 * correlation[best]
    left = np.flatnonzero(low[:best])
    right = np.flatnonzero(low[best:])
    outside = np.full(len(correlation), -np.inf)
    if len(left):
        outside[: left[-1] + 1] = correlation[: left[-1] + 1]
    if len(right):
        outside[best + right[0] :] = correlation[best + right[0] :]
    second = int(np.argmax(outside))
    return second if np.isfinite(outside[second]) else None


def _refuse_unclear(between: str, offsets: Signal, correlation: Signal, best: int, second: int | None,
                    effective: float) -> None:
    """Raise where the peak may be chance, lies at the edge of the search, or is not the only one."""
    peak, num_lags = float(correlation[best]), int(np.isfinite(correlation).sum())
    sureness = math.sqrt(max(effective - 3.0, 0.0))
    needed = NormalDist().inv_cdf(1.0 - CHANCE / max(num_lags, 1))
    if _fisher(peak) * sureness < needed:
        raise DataError(f"{between}: no offset can be told: the best correlation, {peak:.2f} at {offsets[best]:+.3f} "
                        f"s, may be chance (as smooth as they are, they amount to {effective:.0f} independent "
                        f"readings); do they see the same signal? Longer recordings or a smaller max_offset may help")
    if best in (0, len(offsets) - 1) or not np.isfinite(correlation[best - 1 : best + 2]).all():
        raise DataError(f"{between}: the correlation is highest ({peak:.2f}) at the edge of the search, "
                        f"{offsets[best]:+.3f} s: raise max_offset, or record longer")
    if second is not None and (_fisher(peak) - _fisher(float(correlation[second]))) * sureness < APART * math.sqrt(2.0):
        raise DataError(f"{between}: the offset is ambiguous: correlation {peak:.3f} at {offsets[best]:+.3f} s and "
                        f"{correlation[second]:.3f} at {offsets[second]:+.3f} s (a periodic signal?); record "
                        f"longer, or give a smaller max_offset if the clocks are known to agree better")


def _parabola(before: float, peak: float, after: float, effective: float) -> tuple[float, float]:
    """Where a parabola through three equidistant lags is highest, in steps from the middle one, and its standard error.

    The error is √((1 − r²) / (n r |r″|)) for n independent steps: the slope of the correlation that chance gives, taken
    to be as smooth as the peak, over the peak's bend.
    """
    bend = 2.0 * peak - before - after
    if bend <= 0 or peak <= 0:
        return 0.0, 0.5
    return 0.5 * (after - before) / bend, math.sqrt(max(1.0 - peak**2, 0.0) / (effective * peak * bend))
