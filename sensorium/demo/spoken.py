"""Spoken-style sound: every word has a short sound of its own, made of its letters; speakers differ.

It is no language that a person would understand, but it is built like speech: vowels are a pitch with two formants,
consonants hums, hisses and bursts, words a fixed sequence of them with pauses between, and every sentence has a speaker
with a pitch, a tempo, a size of throat, a loudness and a noise of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sensorium.demo.render import SOUND_RATE
from sensorium.demo.scene import Floats
from sensorium.errors import DataError
from sensorium.keyed import Draws

VOICED = {"a": (760, 1300), "e": (540, 1850), "i": (310, 2350), "o": (520, 900), "u": (330, 1150), "y": (280, 2100),
          "m": (240, 980), "n": (260, 1550), "l": (400, 1420), "r": (450, 1080), "w": (320, 700), "j": (290, 1900)}
"""The two formants, in Hz, of vowels and hums."""
HISSED = {"s": (2800, 500), "z": (2550, 450), "f": (2300, 1000), "v": (1900, 900), "h": (1300, 700), "x": (3100, 250)}
BURST = {"p": (650, 400), "b": (450, 300), "t": (2600, 500), "d": (2100, 500), "k": (1750, 300), "c": (1600, 350),
         "g": (1350, 300), "q": (1150, 300)}
"""The middle and the half width, in Hz, of hisses and bursts."""
VOWELS = "aeiouy"
SECONDS = {"vowel": 0.085, "hum": 0.05, "hiss": 0.055, "burst": 0.025, "silence": 0.02}
PITCHES = tuple(95.0 * 2.0 ** (step / 6) for step in range(8))
"""Hz: voices from low to high."""
SHORTEST, LONGEST = 1.5, 4.0
"""Seconds of a spoken sentence."""


def speech(sentences: Sequence[str], draws: Draws) -> list[npt.NDArray[np.float32]]:
    """A waveform (sample,) in −1…1 at SOUND_RATE for each row's sentence, 1.5…4 seconds, spoken by the row's speaker.

    Raises:
        DataError: a sentence without any letter.
    """
    voice = draws.integers("spoken/voice", high=len(PITCHES))
    tempo = draws.uniform("spoken/tempo", low=0.87, high=1.15)
    pause = draws.uniform("spoken/pause", low=0.03, high=0.08)
    start = draws.uniform("spoken/start", low=0.05, high=0.25)
    loudness = draws.uniform("spoken/loudness", low=0.25, high=0.8)
    noise = draws.uniform("spoken/noise", low=0.002, high=0.03)
    hiss = draws.uniform("spoken/hiss", round(LONGEST * SOUND_RATE), low=-1.0, high=1.0).astype(np.float32)
    spoken = []
    for row, sentence in enumerate(sentences):
        words = re.findall(r"[a-z]+", sentence.lower())
        if not words:
            raise DataError(f"nothing to say in {sentence!r}: expected words of the letters a to z")
        said = _sentence(words, int(voice[row]), float(pause[row]))
        length = min(round(len(said) / tempo[row]), round((LONGEST - start[row] - 0.05) * SOUND_RATE))
        said = np.interp(np.linspace(0.0, len(said) - 1, length), np.arange(len(said)), said)
        begin = round(start[row] * SOUND_RATE)
        whole = noise[row] * hiss[row, : max(begin + length + round(0.05 * SOUND_RATE), round(SHORTEST * SOUND_RATE))]
        whole[begin : begin + length] += loudness[row] * said / np.abs(said).max()
        spoken.append(np.asarray(np.clip(whole, -1.0, 1.0), dtype=np.float32))
    return spoken


def _sentence(words: list[str], voice: int, pause: float) -> Floats:
    """(sample,) the words of a voice with pauses between."""
    silence = np.zeros(round(pause * SOUND_RATE))
    parts = [part for word in words for part in (word_sound(word, voice), silence)]
    return np.concatenate(parts[:-1])


@lru_cache(maxsize=4096)
def word_sound(word: str, voice: int = 0) -> Floats:
    """(sample,) the sound of a word of the letters a to z in one of the PITCHES: the same letters, the same sound.

    Example:
        >>> bool((word_sound("red") == word_sound("red")).all()), len(word_sound("circle")) > len(word_sound("red"))
        (True, True)
    """
    return np.concatenate([_letter(letter, PITCHES[voice]) for letter in word])


def _letter(letter: str, pitch: float) -> Floats:
    if letter in VOICED:
        seconds = SECONDS["vowel" if letter in VOWELS else "hum"]
        return (1.0 if letter in VOWELS else 0.5) * _hum(VOICED[letter], pitch, seconds)
    if letter in HISSED:
        return 0.35 * _noise(HISSED[letter], SECONDS["hiss"])
    silence = np.zeros(round(SECONDS["silence"] * SOUND_RATE))
    return np.concatenate([silence, 0.6 * _noise(BURST[letter], SECONDS["burst"])])


def _hum(formants: tuple[int, int], pitch: float, seconds: float) -> Floats:
    """(sample,) the harmonics of a pitch, loud near the two formants; its largest value is 1."""
    tone = pitch * np.arange(1, int(3400 / pitch) + 1)[:, None]
    loudness = sum(weight / (1.0 + ((tone - formant) / width) ** 2)
                   for formant, width, weight in zip(formants, (90.0, 140.0), (1.0, 0.7), strict=True))
    return _shaped(np.sum(loudness * np.sin(2 * np.pi * tone * _clock(seconds)), axis=0))


def _noise(band: tuple[int, int], seconds: float) -> Floats:
    """(sample,) a noise of a band that is always the same one: tones whose phases jump."""
    middle, half = band
    number = np.arange(32)[:, None]
    tone = middle + half * (number / 15.5 - 1.0)
    phase = 2 * np.pi * (0.6180339887 * number**2 % 1.0)
    return _shaped(np.sum(np.sin(2 * np.pi * tone * _clock(seconds) + phase), axis=0))


def _clock(seconds: float) -> Floats:
    return np.asarray(np.arange(round(seconds * SOUND_RATE))[None, :] / SOUND_RATE)


def _shaped(wave: Floats) -> Floats:
    """The wave with soft ends and a largest value of 1."""
    ramp = np.clip(np.minimum(np.arange(len(wave)), np.arange(len(wave))[::-1]) / (0.006 * SOUND_RATE), 0.0, 1.0)
    shaped = wave * ramp
    return np.asarray(shaped / np.abs(shaped).max())
