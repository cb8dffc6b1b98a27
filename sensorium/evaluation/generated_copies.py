"""Are painted pictures copies of training pictures? The nearest one of each, and how near real pictures come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples
from sensorium.evaluation.generated_features import PictureFeatures, Pixels
from sensorium.evaluation.generated_painting import Painting, real_pictures
from sensorium.evaluation.generated_rows import drawn_order, first_of_each, has_all
from sensorium.evaluation.plots import percent_words
from sensorium.metrics.manifolds import nearest_rows

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
MOST_PLAIN, MOST_PRETRAINED = 10_000, 1_000
SHOWN, NEAREST_SHOWN = 24, 12
FEW = 20
RARE = 0.05
MOSTLY = 0.5


@dataclass(frozen=True)
class Copy:
    """A painted picture and the training picture that is nearest to it.

    Args:
        row: of the scored table, from 0.
        training_row: of the training table, from 0.
        made, nearest: (height, width_px, channel) uint8.
        distance: between them, over the distance at which half of the real pictures have a training picture.
        chosen: whether it is shown as one of the nearest, or drawn at random.
    """

    row: int
    training_row: int
    made: Pixels
    nearest: Pixels
    distance: float
    chosen: bool


@dataclass(frozen=True)
class Copies:
    """How near painted pictures are to training pictures.

    Args:
        features: what they are compared by, in words.
        training: training pictures looked at.
        training_left_out: further ones, not looked at.
        pictures, real: painted and real held-out pictures compared with them.
        nearer: share of painted pictures that are nearer to a training picture than half of the real ones are.
        near: share that are nearer than all but 5 % of the real ones.
        same: share of real pictures that are themselves among the training pictures.
        shown: some of them.
        sentence: the finding.
    """

    features: str
    training: int
    training_left_out: int
    pictures: int
    real: int
    nearer: float
    near: float
    same: float
    shown: tuple[Copy, ...]
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; rows are numbered from 1."""
        def share(value: float) -> float | None:
            return float(f"{value:.6g}") if np.isfinite(value) else None

        return {"features": self.features, "training_pictures": self.training,
                "training_pictures_left_out": self.training_left_out, "pictures": self.pictures,
                "real_pictures": self.real, "nearer_than_half_of_real": share(self.nearer),
                "nearer_than_all_but_5_percent_of_real": share(self.near), "real_in_training": share(self.same),
                "shown": [{"row": one.row + 1, "training_row": one.training_row + 1, "distance": share(one.distance)}
                          for one in self.shown],
                "sentence": self.sentence}


def copies_of(
    painting: Painting, train: Samples, train_rows: Rows, features: PictureFeatures, made: Floats, real: Floats, *,
    seed: int,
) -> Copies | None:
    """Look for the nearest training picture of each painted one; None where there are no training pictures.

    Args:
        painting: the pictures.
        train, train_rows: the decoded training table and its rows that were trained on.
        features: what they are compared by.
        made: (row, feature) of the painted pictures.
        real: (known, feature) of the real ones, in the order of the painting's rows.
        seed: of what is drawn.
    """
    rows = train_rows[has_all(train, [painting.to], train_rows)]
    rows = rows[drawn_order(rows, seed=seed, purpose="copies/training")]
    rows = rows[first_of_each(train.cells[painting.to].cells_of_row[rows, 0])]
    kept = rows[: MOST_PRETRAINED if features.pretrained else MOST_PLAIN]
    if not len(kept):
        return None
    gallery = real_pictures(train, painting.to, kept, painting.shape)
    known = features.of(gallery)
    nearest, distances = nearest_rows(made, known)
    mine, usual = nearest_rows(real, known) if len(real) else (np.zeros(0, dtype=np.int64), np.zeros(0))
    equal = (painting.real[painting.known] == gallery[mine]).all(axis=(1, 2, 3))
    same = float(equal.mean()) if len(usual) else float("nan")
    middle = float(np.median(usual)) if len(usual) else float("nan")
    judged = len(usual) >= FEW and same < MOSTLY and middle > 0
    nearer = float((distances < middle).mean()) if judged else float("nan")
    near = float((distances < np.quantile(usual, RARE)).mean()) if judged else float("nan")
    order = np.argsort(distances, kind="stable")[:NEAREST_SHOWN].tolist()
    drawn = [place for place in drawn_order(painting.rows, seed=seed, purpose="copies/shown").tolist()
             if place not in order]
    shown = tuple(
        Copy(int(painting.rows[place]), int(kept[nearest[place]]), painting.made[place], gallery[nearest[place]],
             float(distances[place]) / middle if judged else float("nan"), number < len(order))
        for number, place in enumerate([*order, *drawn[: SHOWN - len(order)]]))
    found = Copies(features.name, len(kept), len(rows) - len(kept), len(made), len(usual), nearer, near, same, shown,
                   "")
    return Copies(**{**vars(found), "sentence": _sentence(found)})


def _sentence(found: Copies) -> str:
    looked = f"the nearest of {found.training:,} training pictures, by {found.features}"
    if found.real < FEW:
        return (f"Whether pictures are copied cannot be told from numbers: that needs {FEW} real pictures beside, "
                f"there are {found.real}. Shown: {looked}.")
    if not np.isfinite(found.nearer):
        return (f"Whether pictures are copied cannot be told from numbers: {percent_words(found.same)} of the real "
                f"pictures are themselves among the training pictures. Shown: {looked}.")
    verdict = ("Many pictures are near copies of training pictures, or more usual than real ones" if found.near > 0.25
               else "Painted pictures are nearer to the training pictures than real ones are" if found.nearer > 0.75
               else "No sign of learning pictures by heart")
    said = (f"{verdict}: {percent_words(found.nearer)} of them are nearer to a training picture than half of the real "
            f"held-out pictures are (50 % if they were like these), and {percent_words(found.near)} nearer than all "
            f"but 5 % of these ({looked}).")
    if found.same > 0:
        said += f" {percent_words(found.same)} of the real held-out pictures are themselves training pictures."
    return said
