"""Cross-correlation of signals with holes: at every lag, over what both have, by FFT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float64]
BLOCK = 1 << 16
ROUNDING = 1e-9
PAIRS = ((0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1))


def masked_correlation(
    a: Signal, there_a: Signal, b: Signal, there_b: Signal, lags: tuple[int, int],
) -> tuple[Signal, Signal]:
    """Pearson's correlation of a[j + k] with b[j] over the j where both are there, for every lag k of a range.

    Args:
        a, b: (step,) signals, of any lengths; what stands where they are not there does not matter.
        there_a, there_b: (step,) 1 where there is a value, else 0.
        lags: the first and the last k.

    Returns:
        (lag,) correlations, −inf where fewer than two steps are shared or one of the signals is constant there; and
        (lag,) the number of shared steps.
    """
    num, sum_a, squares_a, sum_b, squares_b, products = _lag_sums(_moments(a, there_a), _moments(b, there_b), lags)
    num = np.round(num)
    count = np.maximum(num, 1.0)
    spread_a, spread_b = squares_a - sum_a**2 / count, squares_b - sum_b**2 / count
    varies = (num >= 2) & (spread_a > ROUNDING * count) & (spread_b > ROUNDING * count)
    scale = np.sqrt(np.where(varies, spread_a * spread_b, 1.0))
    correlation = np.clip((products - sum_a * sum_b / count) / scale, -1.0, 1.0)
    return np.where(varies, correlation, -np.inf), num


def _moments(values: Signal, there: Signal) -> Signal:
    """(3, step) presence, the standardised signal and its square, all 0 where it is not there."""
    real = there > 0
    known = values[real]
    deviation = float(known.std()) if len(known) else 0.0
    standard = np.where(real, (values - (known.mean() if len(known) else 0.0)) / (deviation or 1.0), 0.0)
    return np.stack([real.astype(np.float64), standard, standard**2])


def _lag_sums(first: Signal, second: Signal, lags: tuple[int, int]) -> Signal:
    """(pair, lag) Σ_j first[m, j + k] · second[n, j] for the pairs (m, n) of PAIRS, by FFT.

    The second signal is taken block by block; the blocks' spectra add up, so that memory does not grow with its length.
    """
    low, high = lags
    size = 1 << max(BLOCK, 2 * (high - low + 1)).bit_length()
    length = size - (high - low)
    total = np.zeros((len(PAIRS), size // 2 + 1), dtype=np.complex128)
    for start in range(0, second.shape[1], length):
        spectrum_a = np.fft.rfft(_part(first, start + low, start + length + high), size)
        spectrum_b = np.conj(np.fft.rfft(_part(second, start, start + length), size))
        for number, (m, n) in enumerate(PAIRS):
            total[number] += spectrum_a[m] * spectrum_b[n]
    return np.fft.irfft(total, size)[:, : high - low + 1]


def _part(signal: Signal, start: int, stop: int) -> Signal:
    """(3, stop − start) of a signal, 0 beyond its ends."""
    part = np.zeros((len(signal), stop - start))
    low, high = max(start, 0), min(stop, signal.shape[1])
    if low < high:
        part[:, low - start : high - start] = signal[:, low:high]
    return part
