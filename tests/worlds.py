"""Small data that tests make themselves: planted, seeded, quick."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from sensorium.recipe import Recipe

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 220), "yellow": (220, 220, 40),
           "pink": (240, 150, 190), "grey": (128, 128, 128)}
QUICK = Recipe().changed("model", width=32).changed(
    "training", epochs=2, batch_size=16, refit="never", workers=0)


def write_small_world(folder: Path, rows: int = 48, *, seed: int = 0, missing: float = 0.2) -> Path:
    """A table with image, sound, note, two numbers and a category; targets `kind` (3 classes) and `size` (a number).

    Every input knows something of `kind`; a share of the cells is blank.
    """
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    lines = ["image,sound,note,hr,bp,ward,kind,size"]
    for row in range(rows):
        kind = int(random.integers(3))
        pixels = random.integers(0, 120, (12, 12, 3), dtype=np.uint8)
        pixels[:, :, kind] += 120
        Image.fromarray(pixels).save(folder / f"{row}.png")
        seconds = np.arange(800 + 100 * (row % 3)) / 4000
        tone = np.sin(2 * np.pi * (300 + 300 * kind) * seconds) + 0.1 * random.standard_normal(len(seconds))
        soundfile.write(folder / f"{row}.wav", 0.5 * tone, 4000)
        cells = [f"{row}.png", f"{row}.wav", f"this one looks {('red', 'green', 'blue')[kind]} to me",
                 f"{60 + 10 * kind + random.normal():.2f}", f"{random.normal():.3f}", ("east", "west")[row % 2]]
        kept = ["" if random.random() < missing else cell for cell in cells]
        lines.append(",".join([*kept, ("ant", "bee", "cat")[kind], f"{kind + 0.1 * random.normal():.3f}"]))
    table = folder / "table.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def write_pairs(folder: Path, rows: int = 240, *, seed: int = 0) -> Path:
    """Pictures of two colours, left and right, with words that say which: 36 different captions."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    names = list(COLOURS)
    lines = ["picture,words,first"]
    for row in range(rows):
        left, right = (names[int(random.integers(len(names)))] for _ in range(2))
        pixels = np.concatenate([np.full((12, 6, 3), COLOURS[left]), np.full((12, 6, 3), COLOURS[right])], axis=1)
        noise = random.integers(-15, 16, pixels.shape)
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{left} on the left and {right} on the right,{left}")
    table = folder / "table.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table
