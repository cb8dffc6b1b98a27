"""The data of benchmarks/fusion.py: tables made ready once, so that a fit costs the fusion and little else.

Encoders are the dear part of a fit and not what is compared. Here they are trained or taken once and frozen: what they
say of each cell is a few vectors (`Told`), which a small learned stem turns into tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.cells import Arrays, Cells
from sensorium.data.kinds.base import Inputs
from sensorium.data.read import Data
from sensorium.data.samples import Samples
from sensorium.data.table import Table, read_table
from sensorium.demo.scene import Bit, Channel, Plan, ceilings, chance
from sensorium.demo.write import write_world
from sensorium.encoders.base import Encoder, Tokens
from sensorium.evaluation.shallow import plain_features
from sensorium.features import with_stored_features
from sensorium.keyed import Draws
from sensorium.model import Model
from sensorium.recipe import DataOptions, Recipe
from sensorium.training.console import Terminal
from sensorium.training.distributed import Device
from sensorium.training.loop import train
from sensorium.training.plan import make_plan
from sensorium.training.prepare import Prepared, prepare

Array = np.ndarray[Any, np.dtype[Any]]
AT_ONCE = 128
POOLED = 4


@dataclass(frozen=True)
class Task:
    """One table with a target, ready to fit.

    Args:
        name: of the set.
        said: what was sized down, for the table.
        prepared: samples and splits; `splits.test` are the rows that are scored.
        recipe: all but the fusion and the seed.
        told: modality → (vectors a cell, numbers a vector), of those that no encoder reads.
        bayes: subset ("image+sound") → the highest accuracy possible, where it is planted.
        fold: which rows are the test rows; folds of one set are pooled.
    """

    name: str
    said: str
    prepared: Prepared
    recipe: Recipe
    told: dict[str, tuple[int, int]] = field(default_factory=dict)
    bayes: dict[str, float] = field(default_factory=dict)
    fold: int = 0

    def model(self, method: str, seed: int, **training: Any) -> Model:
        """A fresh model with this fusion."""
        recipe = self.recipe.changed("model", fusion=method).changed("training", seed=seed, **training)
        model = Model(self.prepared.samples.schema, recipe)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for place, name in enumerate(model.schema.names):
                if name in self.told:
                    model.encoders[place] = Stem(*self.told[name], recipe.model.width)
        return model


class Told:
    """The kind of cells that are a few vectors of numbers each: stacked, and never varied."""

    name: ClassVar[str] = "told"

    def collate(self, arrays: Sequence[Array]) -> Inputs:
        """(cell, vector, number)."""
        return Inputs(torch.from_numpy(np.stack(arrays)), None, None)

    def augment(self, inputs: Inputs, draws: Draws) -> Inputs:
        """As they are."""
        return inputs


class Stem(Encoder):
    """x_t ↦ MLP(layer_norm(x_t)) + place_t: told vectors → tokens."""

    def __init__(self, num_tokens: int, num_features: int, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(num_features, width), nn.GELU(), nn.Linear(width, width))
        self.place = nn.Parameter(0.02 * torch.randn(num_tokens, width))

    @classmethod
    def build(cls, kind: Any, width: int) -> Encoder:
        """Not made from a kind."""
        raise NotImplementedError

    def forward(self, inputs: Inputs) -> Tokens:
        """(cell, vector, number) → (cell, token, width)."""
        values: Tensor = self.project(F.layer_norm(inputs.values, inputs.values.shape[-1:])) + self.place
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool))


def told(samples: Samples, vectors: dict[str, Array]) -> Samples:
    """The samples with these (cell, vector, number) in place of what the cells of some modalities were."""
    cells: dict[str, Cells] = dict(samples.cells)
    for name, values in vectors.items():
        kind: Any = Told()
        arrays = Arrays(list(values.astype(np.float32)), kind, [None] * len(values))
        cells[name] = dataclasses.replace(samples.cells[name], kind=kind, arrays=arrays)
    return dataclasses.replace(samples, cells=cells)


def joined(train_table: Table, test_table: Table) -> Table:
    """Both tables, one below the other, and a column `split` that says which rows test."""
    frame = pl.concat([train_table.frame, test_table.frame])
    words = ["train"] * len(train_table) + ["test"] * len(test_table)
    return dataclasses.replace(train_table, frame=frame.with_columns(split=pl.Series(words)))


def ready(table: Table, recipe: Recipe) -> Prepared:
    """Split, measured, decoded."""
    return prepare(Data(table, recipe.data), recipe, console=Terminal(), allow_leak=True, strict=False)


def options(**values: Any) -> Recipe:
    """A recipe with these data options."""
    return Recipe().model_copy(update={"data": DataOptions(**values)})


# --- scene worlds -----------------------------------------------------------------------------------------------------

BITS = (Bit("large"), Bit("beating"))
HALF = (Channel("image", "size", ("large",), hidden=0.2), Channel("sound", "rhythm", ("beating",), hidden=0.2))
SENSES = Plan("slots", BITS, HALF, (("large",), ("beating",)), ("a", "b", "c", "d"), ("image", "sound"))
WORLDS = {
    "synergy": Plan("synergy", BITS, (Channel("image", "size", ("large",), wrong=0.02),
                                      Channel("sound", "rhythm", ("beating",), wrong=0.02)),
                    (("large", "beating"),), ("calm", "lively"), ("image", "sound")),
    "redundancy": Plan("redundancy", BITS[:1], (Channel("image", "size", ("large",), wrong=0.1, hidden=0.4),
                                                Channel("sound", "rhythm", ("large",), wrong=0.1, hidden=0.4)),
                       (("large",),), ("calm", "lively"), ("image", "sound")),
}
WORLD_SAID = ("2,000 training and 1,000 test scenes (32 px pictures, .45 s sounds); the encoders were trained once, on "
              "1,500 other scenes in which each modality shows its bit, and frozen; 4 vectors a cell, width 48")


def world(name: str, folder: Path, epochs: int | None) -> list[Task]:
    """A planted world whose cells are told by encoders that know what a cell shows."""
    seen: dict[str, Callable[[Samples], Array]] = senses(folder)
    written = write_world(folder / name, plan=WORLDS[name], rows=2000, test_rows=1000, seed=1)
    recipe = options(targets=(written.target,)).changed("model", width=48)
    recipe = recipe.changed("training", epochs=epochs or 12)
    prepared = ready(joined(read_table(str(written.train)), read_table(str(written.test))), recipe)
    vectors = {modality: look(prepared.samples) for modality, look in seen.items()}
    shapes = {modality: values.shape[1:] for modality, values in vectors.items()}
    return [Task(name, WORLD_SAID, dataclasses.replace(prepared, samples=told(prepared.samples, vectors)), recipe,
                 told=shapes, bayes={**ceilings(written.plan), "": chance(written.plan),
                                     "the best classifier, on these test rows": written.test_optimum})]


def senses(folder: Path) -> dict[str, Callable[[Samples], Array]]:
    """modality → what a trained, frozen encoder says of its cells, (cell, vector, number); trained once a folder."""
    written = write_world(folder / "senses", plan=SENSES, rows=1500, test_rows=0, seed=2)
    recipe = options(targets=(written.target,)).changed("model", fusion="two_stream").changed("training", epochs=8)
    prepared = ready(read_table(str(written.train)), recipe)
    model, weights = Model(prepared.samples.schema, recipe), folder / "senses.pt"
    if weights.exists():
        model.load_state_dict(torch.load(weights, weights_only=True))
    else:
        rows = prepared.splits.train
        progress = train(model, prepared.samples, rows, prepared.splits.validation,
                         make_plan(len(rows), recipe.training), device=Device(), report=lambda *_: None)
        print(f"encoders of the worlds: {progress.history[-1]['scores']}", flush=True)
        torch.save(model.state_dict(), weights)
    model.eval()

    def looker(place: int, name: str) -> Callable[[Samples], Array]:
        kind = prepared.samples.schema.modality(name).kind

        def look(samples: Samples) -> Array:
            cells, found = samples.cells[name], []
            with torch.inference_mode():
                for start in range(0, len(cells.arrays), AT_ONCE):
                    some = cells.arrays.get(range(start, min(start + AT_ONCE, len(cells.arrays))))
                    tokens = model.encoders[place](kind.collate(some)).values
                    found.append(torch.stack([part.mean(dim=1) for part in tokens.tensor_split(POOLED, dim=1)], dim=1))
            return torch.cat(found).numpy()

        return look

    return {name: looker(place, name) for place, name in enumerate(model.schema.names)}


# --- real data --------------------------------------------------------------------------------------------------------


def ham(data: Path, epochs: int | None) -> list[Task]:
    """Skin lesions: a frozen ResNet-50's features of the picture, and a table."""
    folder = data / "ham10000_small"
    recipe = options(targets=("diagnosis",), ignore=("lesion",), settings={"image": {"height": 112, "width": 112}})
    recipe = recipe.changed("model", encoders={"image": {"name": str(data / "weights_resnet50"), "tokens": POOLED}})
    recipe = recipe.changed("training", epochs=epochs or 8, batch_size=128, balance=True)
    prepared = ready(joined(read_table(str(folder / "train.csv")), read_table(str(folder / "test.csv"))), recipe)
    said = "all rows; 4 tokens of the frozen ResNet-50 at 112 px, batches of 128, no refit"
    return [Task("ham10000", said, stored(prepared, recipe), recipe)]


def easy_vqa(data: Path, epochs: int | None) -> list[Task]:
    """Questions about coloured shapes: a frozen ResNet-50 and a frozen MiniLM."""
    folder = data / "easy_vqa"
    recipe = options(targets=("answer",), settings={"image": {"height": 64, "width": 64}})
    recipe = recipe.changed("model", encoders={
        "image": {"name": str(data / "weights_resnet50"), "tokens": POOLED},
        "question": {"name": str(data / "weights_minilm_l6"), "tokens": 2 * POOLED}})
    recipe = recipe.changed("training", epochs=epochs or 10, batch_size=128)
    parts = [some_rows(read_table(str(folder / f"{part}.csv")), images)
             for part, images in (("train", 1200), ("test", 400))]
    prepared = ready(joined(parts[0], parts[1]), recipe)
    said = (f"{len(parts[0]):,} training and {len(parts[1]):,} test questions, five each of 1,200 and 400 pictures; "
            "both encoders frozen (ResNet-50 at 64 px, 4 tokens; MiniLM, 8 tokens), batches of 128")
    return [Task("easy_vqa", said, stored(prepared, recipe), recipe)]


def some_rows(table: Table, num_images: int, per_image: int = 5) -> Table:
    """At most five questions each about some of the pictures, drawn by a key."""
    rows = np.arange(len(table))
    frame = table.frame.with_columns(order=pl.Series(Draws(0, 0, rows).uniform("rows")), row=pl.Series(rows))
    images = table.frame["image"].unique(maintain_order=True)
    chosen = images.gather(Draws(0, 0, np.arange(len(images))).order("images")[:num_images])
    frame = frame.filter(pl.col("image").is_in(chosen.implode())).sort("order")
    frame = frame.filter(pl.int_range(pl.len()).over("image") < per_image).sort("row")
    return dataclasses.replace(table, frame=frame.drop("order", "row"))


def stored(prepared: Prepared, recipe: Recipe) -> Prepared:
    """With what the frozen encoders say, computed once and read from the cache."""
    model = Model(prepared.samples.schema, recipe)
    return dataclasses.replace(prepared, samples=with_stored_features(model, prepared.samples))


def grid(data: Path, epochs: int | None, folds: int = 5) -> list[Task]:
    """Sentences spoken into a camera, five folds: plain features of the film and the sound."""
    folder = data / "grid"
    table = joined(read_table(str(folder / "train.csv")), read_table(str(folder / "test.csv")))
    recipe = options(targets=("colour",), inputs=("clip",), settings={"clip.video": {"rate": 4}})
    recipe = recipe.changed("training", epochs=epochs or 20, batch_size=32, refit="never")
    fold_of = Draws(0, 0, np.arange(len(table))).order("folds") % folds
    prepared = ready(table, recipe)
    plain = plain_features(prepared.samples, np.arange(len(table)))
    shown, heard = plain["clip.video"], plain["clip.audio"]
    pixels = (shown.shape[1]) // 17
    film = np.concatenate([shown[:, pixels : 9 * pixels].reshape(-1, 8, pixels),
                           shown[:, 9 * pixels :].reshape(-1, 8, pixels)], axis=2)
    vectors = {"clip.video": film, "clip.audio": heard.reshape(-1, 12, 2 * 32)}
    vectors = {name: values[rows_of_cells(prepared.samples.cells[name])] for name, values in vectors.items()}
    samples = told(prepared.samples, vectors)
    said = ("colour only; no encoder: 8 vectors of the film (thumbnails and what moves in them) and 12 of the sound "
            "(two log-mel frames of 32 bands each); each row scored by the model trained without its fold")
    tasks = []
    for fold in range(folds):
        rows, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        held = Draws(0, fold, rows).order("held") < len(rows) // 8
        splits = dataclasses.replace(prepared.splits, train=rows[~held], validation=rows[held], test=test)
        tasks.append(Task("grid", said, dataclasses.replace(prepared, samples=samples, splits=splits), recipe,
                          told={name: values.shape[1:] for name, values in vectors.items()}, fold=fold))
    return tasks


def rows_of_cells(cells: Cells) -> Array:
    """(cell,) a row that has each cell."""
    found = np.zeros(len(cells.arrays), dtype=np.int64)
    there = np.flatnonzero(cells.cells_of_row[:, 0] >= 0)
    found[cells.cells_of_row[there, 0]] = there
    return found


def tasks_of(name: str, *, data: Path, work: Path, epochs: int | None) -> list[Task]:
    """The tasks of a set: one, or one a fold."""
    if name in WORLDS:
        return world(name, work, epochs)
    return {"ham10000": ham, "easy_vqa": easy_vqa, "grid": grid}[name](data, epochs)


SETS = (*WORLDS, "ham10000", "easy_vqa", "grid")
