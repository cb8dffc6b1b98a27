"""Writes the world of objects to a folder: tables of media alone, and the truth of each row in tables beside them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.demo.objects import (
    COLOURS,
    MOST,
    OBJECT_SPLITS,
    PLACES,
    SHAPES,
    Objects,
    ObjectSplit,
    combinations,
    draw_objects,
)
from sensorium.demo.objects_render import object_pictures
from sensorium.demo.questions import Asked, ask, question_floor
from sensorium.demo.scene import Ints
from sensorium.demo.spoken import speech
from sensorium.demo.wording import captions
from sensorium.demo.write import ROWS_AT_ONCE, png, wav
from sensorium.errors import DataError

Columns = dict[str, list[str]]


@dataclass(frozen=True)
class ObjectWorld:
    """A written world of objects; `world.json` holds the same.

    Args:
        folder: where it lies, absolute.
        about: what it is for, generation or qa.
        rows, test_rows: of train.csv, and of each of test_seen.csv and test.csv.
        size: pixels a side of the pictures.
        most: objects in a scene at most.
        seed: of every draw.
        columns: of the tables; the tables of truth lie beside them (`truth`).
        question_only: of qa, the accuracy in each test table of whoever answers what train.csv answers most often to
            the same words.
    """

    folder: Path
    about: str
    rows: int
    test_rows: int
    size: int
    most: int
    seed: int
    columns: tuple[str, ...]
    question_only: dict[str, float] = field(default_factory=dict)

    def table(self, split: ObjectSplit = "train") -> Path:
        """The table of a split: seen combinations (train, test_seen) or held-out ones (test)."""
        return self.folder / f"{split}.csv"

    def truth(self, split: ObjectSplit = "train") -> Path:
        """What is true of the rows of the split's table, in the same order; never an input."""
        return self.folder / f"{split}_truth.csv"

    def to_json(self) -> dict[str, Any]:
        """Plain values; paths relative to the folder."""
        plain = {"synthetic": True} | {key: value for key, value in asdict(self).items() if key != "folder"}
        held_out = [" ".join((COLOURS[c], SHAPES[s], PLACES[p])) for c, s, p in combinations("test")]
        return plain | {"tables": {split: self.table(split).name for split in OBJECT_SPLITS},
                        "truth": {split: self.truth(split).name for split in OBJECT_SPLITS}, "held_out": held_out}


def write_generation(
    folder: str | Path, *, rows: int = 4000, test_rows: int = 400, size: int = 32, most: int = 1, seed: int = 0,
) -> ObjectWorld:
    """Writes pictures with captions: train.csv, test_seen.csv, test.csv, the truth beside, README.md and world.json.

    The same arguments write the same bytes (with the same numpy and Pillow on the same kind of processor); row i is the
    same whatever `rows` is, and its scene whatever `size` is. Existing files are overwritten; others are left.

    Args:
        folder: made if it does not exist.
        rows: of train.csv. test_rows: of test_seen.csv (seen combinations) and of test.csv (held-out ones).
        size: pixels a side, 32, 64 or 128.
        most: objects in a scene, 1…3 at most; all of them are named in the caption.
        seed: another seed is another draw from the same world; the held-out combinations are always the same.

    Raises:
        DataError: a number that makes no sense.

    Example:
        >>> import tempfile
        >>> world = write_generation(tempfile.mkdtemp(), rows=2, test_rows=1)
        >>> world.table().read_text().splitlines()[0], world.truth().read_text().splitlines()[0]
        ('picture,caption', 'picture,colour,shape,place,size')
    """
    world = ObjectWorld(Path(folder).resolve(), "generation", rows, test_rows, size, most, seed, ("picture", "caption"))

    def part(split: ObjectSplit, numbers: range) -> tuple[Columns, Columns]:
        objects = draw_objects(numbers, seed=seed, split=split, most=most)
        columns = {"picture": _write_pictures(world, split, objects), "caption": captions(objects)}
        return columns, {"picture": columns["picture"], **truths(objects)}

    return _finished(_with_tables(world, part))


def write_qa(
    folder: str | Path, *, rows: int = 4000, test_rows: int = 400, size: int = 32, most: int = MOST, seed: int = 0,
) -> ObjectWorld:
    """Writes pictures with questions, typed or spoken, and answers, as `write_generation` writes captions.

    A third of the rows has the question as text and as sound, a third as text alone, a third as sound alone.

    Args:
        folder, rows, test_rows, size, seed: as of `write_generation`.
        most: objects in a scene, 1…3 at most.

    Raises:
        DataError: a number that makes no sense.

    Example:
        >>> import tempfile
        >>> world = write_qa(tempfile.mkdtemp(), rows=2, test_rows=1)
        >>> world.table().read_text().splitlines()[0], world.truth().read_text().splitlines()[0]
        ('picture,question,spoken,answer', 'picture,type,question,asked_as,answer,colour,shape,place,size')
    """
    world = ObjectWorld(Path(folder).resolve(), "qa", rows, test_rows, size, most, seed,
                        ("picture", "question", "spoken", "answer"))
    every: dict[ObjectSplit, list[Asked]] = {split: [] for split in OBJECT_SPLITS}

    def part(split: ObjectSplit, numbers: range) -> tuple[Columns, Columns]:
        objects, asked = ask(numbers, seed=seed, split=split, most=most)
        every[split] += asked
        ways = objects.draws.integers("ask/way", high=len(ASKED_AS))
        pictures = _write_pictures(world, split, objects)
        answers = [one.answer for one in asked]
        columns = {"picture": pictures, "question": ["" if ASKED_AS[way] == "speech" else one.question
                                                     for one, way in zip(asked, ways, strict=True)],
                   "spoken": _write_speech(world, split, objects, asked, ways), "answer": answers}
        return columns, {"picture": pictures, "type": [one.type for one in asked],
                         "question": [one.question for one in asked], "asked_as": [ASKED_AS[way] for way in ways],
                         "answer": answers, **truths(objects)}

    world = _with_tables(world, part)
    floors: dict[str, float] = {split: question_floor(every["train"], every[split], lambda one: one.question)
              for split in OBJECT_SPLITS if split != "train" and every[split]}
    return _finished(replace(world, question_only=floors))


ASKED_AS = ("both", "text", "speech")


def truths(objects: Objects) -> Columns:
    """The attributes of each scene's objects in words, joined by "; " where there are several."""
    rows = [objects.row(row) for row in range(len(objects))]
    return {
        "colour": ["; ".join(COLOURS[one.colour] for one in row) for row in rows],
        "shape": ["; ".join(SHAPES[one.shape] for one in row) for row in rows],
        "place": ["; ".join(PLACES[one.place] for one in row) for row in rows],
        "size": ["; ".join("large" if large else "small" for large in objects.large[number, : len(row)])
                 for number, row in enumerate(rows)],
    }


def _with_tables(world: ObjectWorld, part: Callable[[ObjectSplit, range], tuple[Columns, Columns]]) -> ObjectWorld:
    """Writes the tables, a part at a time; `part` gives a part's cells and truth."""
    if world.rows < 1 or world.test_rows < 0:
        raise DataError(f"a world of objects needs rows >= 1 and test_rows >= 0, found {world.rows} and "
                        f"{world.test_rows}")
    world.folder.mkdir(parents=True, exist_ok=True)
    for split in OBJECT_SPLITS:
        count = world.rows if split == "train" else world.test_rows
        with (world.table(split).open("w", newline="", encoding="utf-8") as table,
              world.truth(split).open("w", newline="", encoding="utf-8") as truth):
            for start in range(0, max(count, 1), ROWS_AT_ONCE):
                for file, columns in zip((table, truth), part(split, range(start, min(start + ROWS_AT_ONCE, count))),
                                         strict=True):
                    writer = csv.writer(file, lineterminator="\n")
                    if start == 0:
                        writer.writerow(columns)
                    writer.writerows(zip(*columns.values(), strict=True))
    return world


def _finished(world: ObjectWorld) -> ObjectWorld:
    """Writes what the folder is."""
    (world.folder / "world.json").write_text(json.dumps(world.to_json(), indent=2) + "\n", encoding="utf-8")
    (world.folder / "README.md").write_text(_readme(world), encoding="utf-8")
    return world


def _write_pictures(world: ObjectWorld, split: ObjectSplit, objects: Objects) -> list[str]:
    """Relative paths of one PNG a scene."""
    return _write_files(world, "picture", split, objects.draws.rows, ".png",
                        [png(pixels) for pixels in object_pictures(objects, world.size)])


def _write_speech(
    world: ObjectWorld, split: ObjectSplit, objects: Objects, asked: Sequence[Asked], ways: Ints,
) -> list[str]:
    """Relative paths of the spoken questions, "" where a question is text alone."""
    aloud = np.flatnonzero(ways != ASKED_AS.index("text"))
    speakers = replace(objects.draws, rows=objects.draws.rows[aloud])
    paths = [""] * len(asked)
    written = _write_files(world, "spoken", split, objects.draws.rows[aloud], ".wav",
                           [wav(wave) for wave in speech([asked[int(row)].question for row in aloud], speakers)])
    for row, path in zip(aloud, written, strict=True):
        paths[row] = path
    return paths


def _write_files(
    world: ObjectWorld, column: str, split: ObjectSplit, rows: Ints, ending: str, contents: Sequence[bytes],
) -> list[str]:
    """Relative paths of one file a row."""
    (world.folder / column).mkdir(exist_ok=True)
    paths = [f"{column}/{split}-{row:05d}{ending}" for row in rows]
    for path, content in zip(paths, contents, strict=True):
        (world.folder / path).write_bytes(content)
    return paths


def _readme(world: ObjectWorld) -> str:
    """What the folder is, said plainly."""
    lines = [f"Whoever reads only the question is right in {value:.0%} of {split}.csv."
             for split, value in world.question_only.items()]
    return "\n".join([f"""# A synthetic data set: the world of objects, for {world.about}

Nothing here was photographed, recorded or written by a person. A seeded generator (sensorium.demo, seed {world.seed})
drew scenes of coloured shapes ({world.size} pixels, at most {world.most} in a picture).

| table | rows | combinations of colour, shape and place |
|---|---|---|
| train.csv | {world.rows} | the {len(combinations("train"))} seen ones |
| test_seen.csv | {world.test_rows} | seen ones, in new pictures |
| test.csv | {world.test_rows} | the {len(combinations("test"))} held-out ones, which train.csv never shows |

Columns: {", ".join(world.columns)}. What is true of each row lies in train_truth.csv, test_seen_truth.csv and
test_truth.csv, in the same order: for judging, not for training. world.json lists the held-out combinations.
""", *lines, *([""] if lines else [])])
