"""Are painted pictures like real ones, and do they differ as those do? Always beside two halves of the real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.evaluation.plots import number_words, percent_words
from sensorium.keyed import Draws
from sensorium.metrics.manifolds import precision_recall
from sensorium.metrics.picture_variety import Variety, collapse
from sensorium.metrics.pictures import frechet_distance, kernel_distance

Floats = npt.NDArray[np.float64]
HALVINGS, FEW_HALVINGS = 20, 5
FEWEST, FEWEST_MORE = 20, 50


@dataclass(frozen=True)
class Distance:
    """A number for painted pictures, and the same for two halves of the real ones.

    Real pictures are halved at random several times; what is painted for the one half is compared with the other half,
    and so is the one half itself.

    Args:
        made, floor: means over the halvings.
        made_range, floor_range: the lowest and the highest of them: how far the halving alone moves the number.
    """

    made: float
    made_range: tuple[float, float]
    floor: float
    floor_range: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"painted": _short(self.made), "painted_range": [*map(_short, self.made_range)],
                "real_halves": _short(self.floor), "real_halves_range": [*map(_short, self.floor_range)]}


@dataclass(frozen=True)
class Likeness:
    """How painted pictures compare with real ones.

    Args:
        features: what they are compared by, in words.
        dimensions: numbers of a picture's features.
        pictures: real pictures, and as many painted ones, one for each of their rows.
        half: pictures on each side of a comparison.
        kernel, frechet, precision, recall: None where there are too few pictures.
        varied, each: conditions that several pictures were painted for, and how many.
        variety: how these differ; None where that cannot be told.
        notes: what was left out, and why.
    """

    features: str
    dimensions: int
    pictures: int
    half: int
    kernel: Distance | None
    frechet: Distance | None
    precision: Distance | None
    recall: Distance | None
    varied: int
    each: int
    variety: Variety | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = {name: None if one is None else one.to_json() for name, one in (
            ("kernel_distance", self.kernel), ("frechet_distance", self.frechet), ("precision", self.precision),
            ("recall", self.recall))}
        variety = None if self.variety is None else {
            "within": _short(self.variety.within), "between": _short(self.variety.between),
            "told": _short(self.variety.told), "collapsed": self.variety.collapsed, "words": self.variety.words}
        return {"features": self.features, "dimensions": self.dimensions, "pictures": self.pictures,
                "on_each_side": self.half, **found, "conditions": self.varied, "pictures_a_condition": self.each,
                "variety": variety, "notes": list(self.notes)}

    @property
    def sentences(self) -> list[str]:
        """The findings in words."""
        said = []
        if self.kernel is not None:
            made, floor = self.kernel, (self.kernel.floor, *self.kernel.floor_range)
            verdict = "no further" if made.made <= floor[2] else "further"
            said.append(f"As a whole, painted pictures are {verdict} from real ones than these are from each other: "
                        f"kernel distance {number_words(made.made)}, where two halves of the real ones are "
                        f"{number_words(floor[0])} apart ({number_words(floor[1])} to {number_words(floor[2])} by how "
                        f"they are halved).")
        if self.precision is not None and self.recall is not None:
            said.append(f"{percent_words(self.precision.made)} of the painted pictures lie among real ones (of real "
                        f"ones, {percent_words(self.precision.floor)} do), and {percent_words(self.recall.made)} of "
                        f"the real ones among painted ones ({percent_words(self.recall.floor)}).")
        if self.variety is not None:
            said.append(variety_words(self.variety, self.varied, self.each))
        return said


def variety_words(variety: Variety, conditions: int, each: int) -> str:
    """What is lost, or that nothing is, with the numbers."""
    start = ("Collapse: " if variety.collapsed else "No collapse: ") + variety.words
    more = ""
    if variety.words == "the pictures of one condition are nearly the same":
        more = ", which is right only where what they are made from says everything about them"
    return (f"{start}{more}. Two pictures of one condition differ by {percent_words(variety.within)} of what two real "
            f"pictures differ by, those of different conditions by {percent_words(variety.between)}; what they are "
            f"made from accounts for {percent_words(max(0.0, variety.told))} of the spread ({conditions} conditions, "
            f"{each} pictures each).")


def likeness(
    made: Floats, real: Floats, varied: npt.NDArray[Any], reference: Floats, *, features: str, seed: int,
) -> Likeness:
    """Compare painted pictures with real ones.

    Args:
        made: (row, feature), one painted picture a row.
        real: (row, feature) the real picture of the same row, each another picture.
        varied: (condition, sample, feature) several painted pictures for each of some different conditions.
        reference: (picture, feature) real pictures of any rows, which tell what a large difference is.
        features: what these are, in words.
        seed: of the halvings.
    """
    half, dimensions, notes = len(real) // 2, varied.shape[2], []
    halves = [Draws(seed, turn, np.arange(len(real))).order("halves") for turn in range(HALVINGS)]

    def compared(measure: Callable[[Floats, Floats], float], turns: int) -> Distance:
        pairs = [(order[:half], order[half : 2 * half]) for order in halves[:turns]]
        ours = [measure(made[a], real[b]) for a, b in pairs]
        floor = [measure(real[a], real[b]) for a, b in pairs]
        return Distance(float(np.mean(ours)), (min(ours), max(ours)), float(np.mean(floor)), (min(floor), max(floor)))

    kernel = frechet = precision = recall = None
    if half >= FEWEST:
        kernel = compared(kernel_distance, HALVINGS)
    else:
        notes.append(f"painted pictures are not compared with real ones as a whole: that needs {2 * FEWEST} different "
                     f"real pictures, there are {len(real)}")
    if half >= FEWEST_MORE:
        frechet = compared(frechet_distance, FEW_HALVINGS)
        precision = compared(lambda a, b: precision_recall(b, a).precision, FEW_HALVINGS)
        recall = compared(lambda a, b: precision_recall(b, a).recall, FEW_HALVINGS)
    elif half >= FEWEST:
        notes.append(f"no Fréchet distance, precision and recall: they need {2 * FEWEST_MORE} different real pictures, "
                     f"there are {len(real)}; with few they say more about their number than about them")
    variety = None
    try:
        variety = collapse(varied, reference)
    except DataError as error:
        notes.append(f"whether pictures collapse cannot be told: {error}")
    return Likeness(features, dimensions, len(real), half, kernel, frechet, precision, recall, len(varied),
                    varied.shape[1], variety, tuple(notes))


def _short(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None
