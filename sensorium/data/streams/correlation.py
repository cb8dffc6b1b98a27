"""Cross-correlation of signals with holes: at every lag, over what both have, by FFT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
BLOCK = 1 << 16
ROUNDING = 1e-9
PAIRS = ((0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1))


def masked_correlation(
    a: Signal, there_a: Mask, b: Signal, there_b: Mask, lags: tuple[int, int],
) -> tuple[Signal, Signal]:
    """Pearson's correlation of a[j + k] with b[j] over the j where both are there, for every lag k of a range.

    Args:
        a, b: (step,) signals, of any lengths; what stands where they are not there does not matter.
        there_a, there_b: (step,) whether there is a value.
        lags: the first and the last k.

    Returns:
        (lag,) correlations, −inf where fewer than two steps are shared or one of the signals is constant there; and
        (lag,) the number of shared steps.
    """
    num, sum_a, squares_a, sum_b, squares_b, products = _lag_sums(
        _standard(a, there_a), there_a, _standard(b, there_b), there_b, lags)
    num = np.round(num)
    count = np.maximum(num, 1.0)
    spread_a, spread_b = squares_a - sum_a**2 / count, squares_b - sum_b**2 / count
    varies = (num >= 2) & (spread_a > ROUNDING * count) & (spread_b > ROUNDING * count)
    scale = np.sqrt(np.where(varies, spread_a * spread_b, 1.0))
    correlation = np.clip((products - sum_a * sum_b / count) / scale, -1.0, 1.0)
    return np.where(varies, correlation, -np.inf), num


def _standard(values: Signal, there: Mask) -> Signal:
    """(step,) of mean 0 and deviation 1 over the steps that are there, 0 elsewhere: sums then lose no digits."""
    known = values[there]
    deviation = float(known.std()) if len(known) else 0.0
    standard = np.zeros(len(values))
    standard[there] = (known - (known.mean() if len(known) else 0.0)) / (deviation or 1.0)
    return standard


def _lag_sums(first: Signal, there_first: Mask, second: Signal, there_second: Mask, lags: tuple[int, int]) -> Signal:
    """(pair, lag) Σ_j first_m[j + k] · second_n[j] for the pairs (m, n) of PAIRS, by FFT.

    The powers m and n of a signal are its mask (0), itself (1) and its square (2). The second signal is taken block by
    block; the blocks' spectra add up, so that memory does not grow with its length.
    """
    low, high = lags
    size = 1 << max(BLOCK, 2 * (high - low + 1)).bit_length()
    length = size - (high - low)
    total = np.zeros((len(PAIRS), size // 2 + 1), dtype=np.complex128)
    for start in range(0, len(second), length):
        spectrum_a = np.fft.rfft(_powers(first, there_first, start + low, start + length + high), size)
        spectrum_b = np.conj(np.fft.rfft(_powers(second, there_second, start, start + length), size))
        for number, (m, n) in enumerate(PAIRS):
            total[number] += spectrum_a[m] * spectrum_b[n]
    return np.fft.irfft(total, size)[:, : high - low + 1]


def _powers(signal: Signal, there: Mask, start: int, stop: int) -> Signal:
    """(3, stop − start) the mask, the signal and its square, 0 beyond the ends."""
    powers = np.zeros((3, stop - start))
    low, high = max(start, 0), min(stop, len(signal))
    if low < high:
        inside = slice(low - start, high - start)
        powers[0, inside], powers[1, inside] = there[low:high], signal[low:high]
        powers[2, inside] = signal[low:high] ** 2
    return powers
