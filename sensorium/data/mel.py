"""The mel filter bank, shared by the sound encoder and the shallow description of sound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def mel_filters(num_bands: int, num_fft: int, rate: int, low_hz: float = 20.0) -> npt.NDArray[np.float32]:
    """(num_bands, num_fft // 2 + 1) triangular filters, equally spaced on the HTK mel scale, each of unit area.

    Args:
        num_bands: mel bands.
        num_fft: samples of the Fourier transform.
        rate: samples per second.
        low_hz: the lowest band's lower edge; the highest band ends at rate / 2.

    Source: Davis and Mermelstein 1980; mel(f) = 2595 log10(1 + f / 700).
    """
    edges_mel = np.linspace(_mel(low_hz), _mel(rate / 2), num_bands + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins_hz = np.arange(num_fft // 2 + 1) * rate / num_fft
    rising = (bins_hz[None, :] - edges_hz[:-2, None]) / (edges_hz[1:-1] - edges_hz[:-2])[:, None]
    falling = (edges_hz[2:, None] - bins_hz[None, :]) / (edges_hz[2:] - edges_hz[1:-1])[:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    area = filters.sum(axis=1, keepdims=True)
    nearest = np.argmin(np.abs(bins_hz[None, :] - edges_hz[1:-1, None]), axis=1)
    empty = area[:, 0] == 0.0  # a band narrower than a Fourier bin takes the nearest bin
    filters[empty, nearest[empty]] = 1.0
    return np.asarray(filters / filters.sum(axis=1, keepdims=True), dtype=np.float32)


def _mel(hz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hz / 700.0))
