"""Channels of a recording as lines that a person looks at, and as plain numbers for shallow baselines."""

from __future__ import annotations

import html

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
DESCRIBED_STEPS = 32
DESCRIBED_BANDS = 8
SHOWN_STEPS = 240


def channel_line(values: Numbers, top: int, colour: str) -> str:
    """A channel in a strip 30 high, broken where there is no reading."""
    places = np.unique(np.linspace(0, len(values) - 1, SHOWN_STEPS).round().astype(int))
    known = values[np.isfinite(values)]
    least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    pieces: list[list[str]] = [[]]
    for place in places:
        if not np.isfinite(values[place]):
            pieces.append([])
            continue
        share = (values[place] - least) / (most - least) if most > least else 0.5
        pieces[-1].append(f"{240 * place / max(1, len(values) - 1):.1f},{top + 28 - 26 * share:.1f}")
    return "".join(f'<polyline fill="none" stroke="{colour}" stroke-linecap="round" points="{" ".join(piece)}"/>'
                   for piece in pieces if piece)


def channel_label(name: str, values: Numbers, colour: str) -> str:
    known = values[np.isfinite(values)]
    extent = f"{known.min():.4g} to {known.max():.4g}" if len(known) else "no readings"
    return f'<li style="color:{colour}">{html.escape(name)}: {extent}</li>'


def described_channel(values: Numbers) -> Numbers:
    """One channel in plain numbers; NaN for everything but its gaps where it has no reading."""
    there = np.isfinite(values)
    if not there.any():
        return np.append(np.full(DESCRIBED_STEPS + 4 + DESCRIBED_BANDS, np.nan), 1.0)
    places = np.arange(len(values))
    full = np.interp(places, places[there], values[there])
    stretched = np.interp(np.linspace(0, len(full) - 1, DESCRIBED_STEPS), places, full)
    fine = np.interp(np.linspace(0, len(full) - 1, 1 << DESCRIBED_BANDS), places, full)
    power = np.abs(np.fft.rfft(fine - fine.mean())) ** 2 / len(fine)
    edges = [1 << band for band in range(DESCRIBED_BANDS)]
    bands = [np.log(power[edge : 2 * edge].sum() + 1e-6) for edge in edges]
    known = values[there]
    return np.concatenate([stretched, [known.mean(), known.std(), known.min(), known.max()], bands,
                           [1.0 - there.mean()]])
