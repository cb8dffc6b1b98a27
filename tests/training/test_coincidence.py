"""A planted world that only time solves: which of three beeps coincides with the flash."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.data.kinds import Clip, Inputs, VideoKind
from sensorium.data.read import read
from sensorium.evaluation.evaluate import evaluate
from sensorium.recipe import Recipe
from sensorium.training.fit import fit

RATE, SECONDS, FPS = 8000, 2.0, 10.0
KINDS = {"film": "video", "sound": "audio"}
PITCHES = (300.0, 800.0, 2000.0)


def coincidences(count: int, seed: int) -> list[dict[str, Any]]:
    """Two seconds of three beeps, of three pitches in random order, and of a grey film with a flash during one of them.

    The label is that beep's pitch. Film alone and sound alone say nothing about it: a third is chance.
    """
    random = np.random.default_rng(seed)
    moment = np.arange(int(RATE * SECONDS)) / RATE
    frame = (np.arange(int(FPS * SECONDS)) + 0.5) / FPS
    rows = []
    for _ in range(count):
        times = np.array([0.25, 0.9, 1.55]) + random.uniform(-0.1, 0.1, 3)
        order = random.permutation(3)
        sound = 0.01 * random.standard_normal(len(moment))
        for pitch, time in zip(order, times, strict=True):
            sound += 0.5 * np.exp(-(((moment - time) / 0.06) ** 2)) * np.sin(2 * np.pi * PITCHES[pitch] * moment)
        chosen = random.integers(3)
        film = random.integers(60, 90, (len(frame), 12, 12, 1)).astype(np.uint8)
        film[np.abs(frame - times[chosen]) < 0.1] += 120
        rows.append({"film": (film, FPS), "sound": (sound.astype(np.float32), RATE),
                     "label": ("low", "middle", "high")[order[chosen]]})
    return rows


def _shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds of every film's frames in another order, the same each time."""
    collate = VideoKind.collate

    def shuffled(self: VideoKind, arrays: Sequence[Clip]) -> Inputs:
        inputs = collate(self, arrays)
        assert inputs.span is not None
        span = inputs.span.clone()
        for row, clip in enumerate(arrays):
            order = np.random.default_rng(int(clip.frames.sum(dtype=np.int64))).permutation(len(clip.frames))
            span[row, : len(order)] = span[row, torch.from_numpy(order)]
        return dataclasses.replace(inputs, span=span)

    monkeypatch.setattr(VideoKind, "collate", shuffled)


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [False, True])
def test_which_beep_coincides_with_the_flash(monkeypatch: pytest.MonkeyPatch, shuffled: bool) -> None:
    if shuffled:
        _shuffled(monkeypatch)
    recipe = Recipe().changed("training", epochs=25, refit="never", workers=0)
    model = fit(read(coincidences(1500, 0), targets="label", kinds=KINDS), recipe, progress=False)
    scored = evaluate(model, read(coincidences(500, 1), targets="label", kinds=KINDS))
    accuracy = {score.modalities: score.metrics["accuracy"].value for score in scored.subsets}
    assert max(accuracy[("film",)], accuracy[("sound",)]) < 0.42
    if shuffled:
        assert accuracy["film", "sound"] < 0.42
    else:
        assert accuracy["film", "sound"] >= 0.95
