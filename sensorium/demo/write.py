"""Writes a scene world to a folder as real files (PNG, WAV, MP4, CSV, NPY), with a README that names it synthetic."""

from __future__ import annotations

import csv
import io
import json
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.demo import film, render, sensors
from sensorium.demo.plans import PLANS
from sensorium.demo.scene import (
    Plan,
    Scenes,
    Split,
    ceiling_as_found,
    ceilings,
    chance,
    draw_scenes,
    posterior,
)
from sensorium.errors import DataError, unknown_name

TARGET = "scene"
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class World:
    """A written world and what is known about it; `world.json` holds the same.

    Args:
        folder: where it lies. train, test: its tables, absolute.
        plan: what was planted. seed, rows, test_rows: what it was made with.
        target: the column to predict. columns: the input columns of each modality.
        chance: accuracy of the best constant answer.
        ceilings: Bayes accuracy of every subset ("image+sound"), on rows that have all of the subset.
        ceiling_as_found: Bayes accuracy with the planted missing cells.
        test_optimum: accuracy of the Bayes classifier on these very test rows, as found; NaN without test rows.
    """

    folder: Path
    train: Path
    test: Path
    plan: Plan
    seed: int
    rows: int
    test_rows: int
    target: str
    columns: dict[str, list[str]]
    chance: float
    ceilings: dict[str, float]
    ceiling_as_found: float
    test_optimum: float

    @property
    def best_single(self) -> float:
        """The highest ceiling of one modality alone."""
        return max(self.ceilings[modality] for modality in self.plan.modalities)

    @property
    def full(self) -> float:
        """The ceiling of all modalities together."""
        return self.ceilings["+".join(self.plan.modalities)]

    def to_json(self) -> dict[str, Any]:
        """Plain values; paths relative to the folder."""
        plain: dict[str, Any] = {"synthetic": True}
        plain |= {key: value for key, value in asdict(self).items() if key not in {"folder", "train", "test"}}
        plain |= {"train": self.train.name, "test": self.test.name, "best_single": self.best_single}
        plain["test_optimum"] = None if np.isnan(self.test_optimum) else self.test_optimum
        return plain


COLUMNS = {"image": ["image"], "sound": ["sound"], "caption": ["caption"], "table": ["hour", "temperature", "wind"],
           "video": ["video"], "motion": ["motion"], "returns": ["returns"]}


def write_world(
    folder: str | Path, *, plan: Plan | str = "scenes", rows: int = 3000, test_rows: int = 800, seed: int = 0,
) -> World:
    """Writes train.csv, test.csv, world.json, README.md and a folder of files for each modality that has files.

    The same arguments write the same bytes (with the same numpy, Pillow and PyAV on the same kind of processor); row i
    is the same whatever `rows` is. Existing files are overwritten; others are left.

    Args:
        folder: made if it does not exist.
        plan: a Plan or a name of PLANS.
        rows, test_rows: how many; at least 1 and 0.
        seed: another seed is another draw from the same world.

    Raises:
        RecipeError: an unknown plan. DataError: a number of rows that makes no sense.

    Example:
        >>> import tempfile
        >>> world = write_world(tempfile.mkdtemp(), rows=4, test_rows=2)
        >>> sorted(path.name for path in world.folder.iterdir())
        ['README.md', 'image', 'sound', 'test.csv', 'train.csv', 'world.json']
    """
    if isinstance(plan, str):
        if plan not in PLANS:
            raise unknown_name("plan of the scene world", plan, list(PLANS))
        plan = PLANS[plan]
    if rows < 1 or test_rows < 0:
        raise DataError(f"a scene world needs rows >= 1 and test_rows >= 0, found {rows} and {test_rows}")
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _write_split(folder, plan, "train", rows, seed)
    right = _write_split(folder, plan, "test", test_rows, seed)
    world = World(
        folder=folder, train=folder / "train.csv", test=folder / "test.csv", plan=plan, seed=seed, rows=rows,
        test_rows=test_rows, target=TARGET, columns={m: COLUMNS[m] for m in plan.modalities}, chance=chance(plan),
        ceilings=ceilings(plan), ceiling_as_found=ceiling_as_found(plan),
        test_optimum=right / test_rows if test_rows else float("nan"))
    (folder / "world.json").write_text(json.dumps(world.to_json(), indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(world), encoding="utf-8")
    return world


def _write_split(folder: Path, plan: Plan, split: Split, count: int, seed: int) -> int:
    """Writes one table and its media; returns how many rows the Bayes classifier gets right."""
    names = [name for modality in plan.modalities for name in COLUMNS[modality]]
    right = 0
    with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, TARGET])
        for scenes in _chunks(plan, split, count, seed):
            cells = _cells(folder, scenes, split)
            labels = [plan.labels[i] for i in scenes.classes]
            writer.writerows(zip(*(cells[name] for name in names), labels, strict=True))
            right += int(np.sum(posterior(scenes).argmax(axis=1) == scenes.classes))
    return right


def _chunks(plan: Plan, split: Split, count: int, seed: int) -> Iterator[Scenes]:
    for start in range(0, count, ROWS_AT_ONCE):
        yield draw_scenes(plan, range(start, min(start + ROWS_AT_ONCE, count)), seed=seed, split=split)


def _cells(folder: Path, scenes: Scenes, split: Split) -> dict[str, list[str]]:
    """The text of every column of the plan; media files are written and named; "" where a modality is missing."""
    cells: dict[str, list[str]] = {}
    for modality in scenes.plan.modalities:
        if modality == "caption":
            columns = {"caption": render.captions(scenes)}
        elif modality == "table":
            columns = render.table_cells(scenes)
        else:
            columns = {modality: _write_files(folder, scenes, split, modality)}
        for name, values in columns.items():
            cells[name] = [value if there else ""
                           for value, there in zip(values, scenes.present[modality], strict=True)]
    return cells


def _write_files(folder: Path, scenes: Scenes, split: Split, modality: str) -> list[str]:
    """Relative paths of one file a scene; what is missing has no file."""
    ending, rendered, written = _FILES[modality]
    (folder / modality).mkdir(exist_ok=True)
    paths = [f"{modality}/{split}-{row:05d}{ending}" for row in scenes.draws.rows]
    for path, one, there in zip(paths, rendered(scenes), scenes.present[modality], strict=True):
        if there:
            (folder / path).write_bytes(written(one))
    return paths


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A PNG file of (height, width_px, 3) pixels."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def wav(waveform: npt.NDArray[np.float32]) -> bytes:
    """A mono 16-bit WAV file of a waveform (sample,) in −1…1."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(render.SOUND_RATE)
        file.writeframes(np.rint(32767.0 * np.clip(waveform, -1.0, 1.0)).astype("<i2").tobytes())
    return buffer.getvalue()


_FILES: dict[str, tuple[str, Callable[[Scenes], Iterable[Any]], Callable[[Any], bytes]]] = {
    "image": (".png", render.pictures, png),
    "sound": (".wav", render.sounds, wav),
    "video": (".mp4", film.films, film.mp4),
    "motion": (".csv", sensors.motions, sensors.motion_csv),
    "returns": (".npy", sensors.returns, sensors.npy),
}
"""Of each modality that has files: their ending, what renders them, and what makes their bytes."""


def _readme(world: World) -> str:
    """What the folder is, said plainly, with the ceilings."""
    lines = "\n".join(f"| {name.replace('+', ' + ')} | {value:.3f} |" for name, value in world.ceilings.items())
    return f"""# A synthetic data set: the scene world `{world.plan.name}`

Nothing here was photographed, recorded, observed or written by a person. A seeded generator (sensorium.demo, seed
{world.seed}) drew random scenes of coloured, sounding shapes, and planted what each modality knows about the target
`{world.target}`. {world.rows} training rows (train.csv), {world.test_rows} test rows (test.csv); the plan is in
world.json.

The highest accuracy that any model can reach, exact, on rows that have all of the named modalities (a constant answer
reaches {world.chance:.3f}; with the planted missing cells the ceiling is {world.ceiling_as_found:.3f}; the best
possible classifier gets {world.test_optimum:.3f} of these test rows right):

| modalities | ceiling |
|---|---|
{lines}
"""
