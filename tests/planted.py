"""A small clean table of pictures, sounds, notes, numbers and categories, into which tests plant one fault each."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from sensorium.data.inspect import Inspection, inspect_table
from sensorium.data.read import read
from sensorium.data.table import read_table

ROWS, RATE = 60, 4000
WORDS = [first + second for first in ("ka", "lo", "mi", "ne", "su", "ta", "ro", "vi", "pe", "du") for second in (
    "bra", "sti", "nog", "lem", "far", "quo", "dis", "wen", "mul", "hep", "zor", "cly")]
Columns = dict[str, list[str]]


def picture(seed: int) -> Image.Image:
    """A smooth random picture with a little grain, unlike every other."""
    random = np.random.default_rng(1000 + seed)
    patches = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    coarse = patches.resize((48, 48), Image.Resampling.BICUBIC)
    grain = random.normal(0.0, 12.0, (48, 48, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))


def sound(seed: int) -> np.ndarray:
    """Bursts of noise, unlike every other sound."""
    random = np.random.default_rng(2000 + seed)
    loudness = np.repeat(random.uniform(0.05, 1.0, 10), 120)
    return (0.2 * loudness * random.normal(size=1200)).clip(-0.9, 0.9).astype(np.float32)


def clean_world(folder: Path, *, rows: int = ROWS, seed: int = 0) -> Columns:
    """Write the media of a table without a fault and return its columns."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(rows):
        picture(seed * 1000 + row).save(folder / f"{seed}_{row}.png")
        soundfile.write(folder / f"{seed}_{row}.wav", sound(seed * 1000 + row), RATE)
    return {
        "photo": [f"{seed}_{row}.png" for row in range(rows)],
        "cry": [f"{seed}_{row}.wav" for row in range(rows)],
        "note": [" ".join(random.choice(WORDS, 9)) for _ in range(rows)],
        "hr": [f"{value:.1f}" for value in random.normal(70.0, 9.0, rows)],
        "ward": [("east", "west", "north")[number] for number in random.integers(0, 3, rows)],
        "owner": [f"{seed}p{row // 3}" for row in range(rows)],
        "label": [("ant", "bee")[number] for number in random.permutation(rows) % 2],
    }


def write(folder: Path, columns: Columns, name: str = "table.csv") -> Path:
    """The columns as a CSV file."""
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


def inspected(table: Path, against: Path | None = None, **options: str) -> Inspection:
    """What is found, with `owner` as the group unless told otherwise."""
    data = read(table, **{"targets": "label", "group": "owner", **options})
    return inspect_table(data, None if against is None else read_table(against))


def rows_of(found: Inspection, topic: str, words: str) -> tuple[list[int], list[int]]:
    """The rows, from 1, of both tables that the one finding with this topic and these words is about."""
    [finding] = [one for one in found.findings if one.topic == topic and words in one.said]
    described = finding.to_json()
    return described["rows"], described["rows_of_the_other_table"]
