"""Fingerprints: what makes two pictures, sounds, clips, recordings or clouds nearly the same, and how sure that is.

Every kind has a quick test and a thorough one. The quick one is the correlation of short vectors, which all pairs of a
table can take; the thorough one looks at the two arrays again and is asked only about pairs that passed the first. The
numbers beside each kind were chosen on photographs, drawings and spoken digits: copies that were compressed, halved in
size, brightened or made quieter pass, different pictures of one subject and one speaker's same words do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.kinds.base import Array, Kind
from sensorium.data.mel import mel_filters

Vector = npt.NDArray[np.float32]
COARSE, FINE, EDGE, MOST_CONTRAST = 16, 32, 5, 1.6
FRAMES, BANDS, FLOOR = 32, 32, 1e-5
COMPARED_SAMPLES = 32_768
CLIP_FRAMES, CLIP_SIDE, LEAST_MOTION, STILL = 12, 8, 2.0, 10
STEPS, POINTS = 64, 2000


@dataclass(frozen=True)
class Look:
    """How two cells of a kind are compared.

    Args:
        vector: (array, rate) → numbers whose mean is taken away and whose length becomes 1.
        floor: the deviation below which a vector counts as featureless: it is like nothing.
        least: the correlation from which a pair is looked at again.
        prepare: what `likeness` reads of an array, so that a cell in many pairs is prepared once.
        likeness: (prepared, prepared) → 0…1.
        least_likeness: from which the pair is nearly the same.
    """

    vector: Callable[[Array, float], npt.NDArray[Any]]
    floor: float
    least: float
    prepare: Callable[[Array], Any]
    likeness: Callable[[Any, Any], float]
    least_likeness: float


def fingerprint(kind: Kind, array: Array) -> Vector:
    """The cell as a vector of length 1, or shorter where it is nearly featureless (silence, one colour).

    The dot product of two fingerprints is their correlation.
    """
    look = LOOKS[kind.name]
    return _unit(look.vector(array, float(getattr(kind, "rate", None) or 1.0)), look.floor)


def nearly_same(kind: Kind, first: Array, second: Array) -> bool:
    """Whether two cells pass both tests."""
    look = LOOKS[kind.name]
    return bool(fingerprint(kind, first) @ fingerprint(kind, second) >= look.least
                and look.likeness(look.prepare(first), look.prepare(second)) >= look.least_likeness)


def content_key(array: Array) -> bytes:
    """Equal for equal contents: a digest of an array, of a dataclass of arrays, or of a string."""
    digest = hashlib.blake2b(digest_size=16)
    parts = [getattr(array, field.name) for field in fields(array)] if is_dataclass(array) else [array]
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.shape}{part.dtype}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode("utf-8", "replace"))
    return digest.digest()


# ---- pictures ----

def _picture(array: npt.NDArray[np.uint8], _: float) -> npt.NDArray[Any]:
    return _resized(array, COARSE)


def _resized(array: npt.NDArray[np.uint8], side: int) -> Vector:
    """(side, side, channel) float32, averaged over areas, or interpolated where the picture is smaller."""
    from PIL import Image

    way = Image.Resampling.BOX if min(array.shape[:2]) >= side else Image.Resampling.BILINEAR
    planes = [Image.fromarray(np.ascontiguousarray(array[:, :, c])).resize((side, side), way)
              for c in range(array.shape[2])]
    return np.stack([np.asarray(plane, dtype=np.float32) for plane in planes], axis=-1)


def _picture_likeness(ours: Vector, theirs: Vector) -> float:
    """The correlation of two pictures' details, shifted by up to a pixel of 32; 0 where one's are far stronger."""
    weak, strong = sorted((float(ours.std()), float(theirs.std())))
    if strong > MOST_CONTRAST * weak:
        return 0.0
    inner = _unit(ours[1:-1, 1:-1], 0.5)
    return max(float(inner @ _unit(theirs[1 + down : FINE - 1 + down, 1 + across : FINE - 1 + across], 0.5))
               for down in (-1, 0, 1) for across in (-1, 0, 1))


def _detail(array: npt.NDArray[np.uint8]) -> Vector:
    """(32, 32, channel) less its mean over 5 × 5 pixels."""
    half = EDGE // 2
    picture = _resized(array, FINE)
    padded = np.pad(picture, ((half, half), (half, half), (0, 0)), mode="edge")
    down = np.lib.stride_tricks.sliding_window_view(padded, EDGE, axis=0).mean(axis=-1)
    across = np.lib.stride_tricks.sliding_window_view(down, EDGE, axis=1).mean(axis=-1)
    return np.asarray(picture - across, dtype=np.float32)


# ---- sounds ----

def _sound(array: Vector, rate: float) -> npt.NDArray[Any]:
    """32 time-normalised log-mel frames without silent ends, each band's mean removed: gain and filters cancel."""
    loud = np.flatnonzero(np.abs(array) > 0.02 * float(np.abs(array).max(initial=0.0)))
    if len(loud) == 0:
        return np.zeros(FRAMES * BANDS, dtype=np.float32)
    sound = array[loud[0] : loud[-1] + 1]
    size = 1 << max(6, int(0.032 * rate - 1).bit_length())
    padded = np.pad(sound, (0, max(0, size - len(sound))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)
    hop = max(1, int(0.010 * rate), len(windows) // 1000)
    power = np.abs(np.fft.rfft(windows[::hop] * np.hanning(size), axis=1)) ** 2
    bands = power @ mel_filters(BANDS, size, int(rate)).T
    mel = np.log(bands + FLOOR * bands.max() + 1e-20)
    return np.ravel(_stretched(mel, FRAMES) - mel.mean(axis=0))


def _sound_likeness(first: Vector, second: Vector) -> float:
    """The largest correlation of the waveforms over all shifts, thinned to at most 32,768 samples."""
    thin = max(1, -(-max(len(first), len(second)) // COMPARED_SAMPLES))
    ours, theirs = (_thinned(sound, thin) for sound in (first, second))
    size = 1 << (len(ours) + len(theirs)).bit_length()
    shifted = np.fft.irfft(np.fft.rfft(ours, size) * np.conj(np.fft.rfft(theirs, size)), size)
    return float(np.abs(shifted).max() / (np.linalg.norm(ours) * np.linalg.norm(theirs) + 1e-12))


def _thinned(sound: Vector, thin: int) -> Vector:
    """Every `thin` samples as their mean."""
    whole = len(sound) // thin * thin
    return np.asarray(sound[:whole].reshape(-1, thin).mean(axis=1) if whole else sound, dtype=np.float32)


# ---- clips, recordings, clouds ----

def _clip(array: Any, _: float) -> npt.NDArray[Any]:
    return _frames(array).ravel()


def _frames(clip: Any) -> Vector:
    """(12, 8, 8, channel): evenly chosen frames, small."""
    chosen = np.linspace(0, len(clip.frames) - 1, CLIP_FRAMES).round().astype(int)
    return np.stack([_resized(clip.frames[frame], CLIP_SIDE) for frame in chosen])


def _clip_likeness(ours: Vector, theirs: Vector) -> float:
    """The correlation of what moves; where nothing does, of what is seen."""
    moving = [frames - frames.mean(axis=0) for frames in (ours, theirs)]
    if max(float(motion.std()) for motion in moving) >= LEAST_MOTION:
        return float(_unit(moving[0], LEAST_MOTION / 2) @ _unit(moving[1], LEAST_MOTION / 2))
    return float(_unit(ours, 3.0) @ _unit(theirs, 3.0)) ** STILL


def _recording(array: Any, _: float) -> npt.NDArray[Any]:
    return _stretched(_filled(array.values), STEPS).ravel()


def _readings(array: Any) -> Vector:
    return _filled(array.values)


def _filled(values: npt.NDArray[Any]) -> Vector:
    """(step, channel) less each channel's mean over its deviation; 0 where there is no reading."""
    there = np.isfinite(values)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, values, 0.0).sum(axis=0) / count
    centred = np.where(there, values - mean, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    return np.asarray(centred / np.where(spread > 1e-9, spread, 1.0), dtype=np.float32)


def _recording_likeness(ours: Vector, theirs: Vector) -> float:
    """The correlation step by step, of recordings of one length."""
    if abs(len(ours) - len(theirs)) > 2:
        return 0.0
    steps = min(len(ours), len(theirs))
    return float(_unit(ours[:steps], 1e-6) @ _unit(theirs[:steps], 1e-6))


def _cloud(array: npt.NDArray[Any], _: float) -> npt.NDArray[Any]:
    """Quantiles of every column: whatever the order of the points."""
    if len(array) == 0:
        return np.zeros(9 * array.shape[1], dtype=np.float32)
    return np.ravel(np.quantile(array, np.linspace(0.0, 1.0, 9), axis=0).T)


def _cloud_likeness(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """1 − the mean distance to the other cloud's nearest point over the clouds' spread."""
    from scipy.spatial import cKDTree

    if min(len(first), len(second)) < 4 or abs(len(first) - len(second)) > 0.05 * max(len(first), len(second)):
        return 0.0
    spread = float(np.sqrt(first.var(axis=0).sum())) or 1.0
    apart = [cKDTree(one).query(other[:POINTS])[0].mean() for one, other in ((first, second), (second, first))]
    return max(0.0, 1.0 - float(max(apart)) / spread)


def _itself(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array


def _stretched(values: npt.NDArray[Any], steps: int) -> Vector:
    """(steps, …) by linear interpolation along the first axis."""
    where = np.linspace(0, len(values) - 1, steps)
    low = where.astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    share = (where - low)[:, None]
    return np.asarray(values[low] * (1 - share) + values[high] * share, dtype=np.float32)


def _unit(values: npt.NDArray[Any], floor: float) -> Vector:
    """Flat, its mean removed, of length 1; divided by no less than the length that a deviation of `floor` has."""
    flat = np.asarray(values, dtype=np.float32).ravel()
    flat = flat - flat.mean()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), floor * len(flat) ** 0.5), dtype=np.float32)


LOOKS = {
    "image": Look(_picture, 3.0, 0.97, _detail, _picture_likeness, 0.7),
    "audio": Look(_sound, 0.05, 0.88, _itself, _sound_likeness, 0.95),
    "video": Look(_clip, 3.0, 0.97, _frames, _clip_likeness, 0.92),
    "series": Look(_recording, 1e-3, 0.97, _readings, _recording_likeness, 0.998),
    "points": Look(_cloud, 1e-3, 0.99, _itself, _cloud_likeness, 0.97),
}

