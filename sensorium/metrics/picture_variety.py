"""Does the same condition give different pictures, and do different conditions? What is called collapse is that not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Floats
from sensorium.metrics.pictures import checked_features

NEARLY = 0.1


@dataclass(frozen=True)
class Variety:
    """How pictures differ within a condition and between conditions.

    Args:
        within: mean distance between pictures of one condition, over that between different real pictures.
        between: mean distance between pictures of different conditions, over the same.
        told: the share of the pictures' spread that the condition accounts for: 0 where it changes nothing, 1 where all
            pictures of a condition are equal and those of others are not.
        collapsed: whether something of that is lost.
        words: what it is, in a sentence.
    """

    within: float
    between: float
    told: float
    collapsed: bool
    words: str


def diversity(generated: npt.NDArray[Any], real: npt.NDArray[Any]) -> float:
    """The mean distance between pictures of one condition, over the mean distance between different real pictures.

    Args:
        generated: (condition, sample, feature), two samples a condition or more.
        real: (row, feature), two rows or more.

    Raises:
        DataError: too few rows or samples, widths that differ, features that are not finite, or real pictures that are
            all the same.

    Example:
        >>> diversity(np.array([[[0.0], [1.0]], [[5.0], [6.0]]]), np.array([[0.0], [4.0]]))
        0.25
    """
    return _distances(generated, real)[0]


def collapse(generated: npt.NDArray[Any], real: npt.NDArray[Any], *, nearly: float = NEARLY) -> Variety:
    """Look for collapse: one picture a condition, one picture for all, or pictures that do not follow the condition.

    With s² the mean squared distance of pictures within a condition and d² between conditions, told = 1 − s² / d²: on
    average 0 where the pictures do not depend on the condition, whatever the numbers of conditions and samples.

    Args:
        generated: (condition, sample, feature), two or more of each; the conditions should call for different pictures.
        real: (row, feature) of real pictures, which tell what a large distance is.
        nearly: below this share of the distance between real pictures, pictures are nearly the same; below this share
            of their spread, the condition changes nearly nothing.

    Raises:
        DataError: as `diversity`, or one condition only.

    Example:
        >>> one_for_all = np.zeros((3, 2, 4))
        >>> collapse(one_for_all, np.eye(4)).words
        'all pictures are nearly the same, whatever the condition'
    """
    if len(generated) < 2:
        raise DataError(f"expected pictures of two conditions or more, found {len(generated)}")
    within, between, squares_within, squares_between = _distances(generated, real)
    told = 0.0 if squares_between == 0 else 1.0 - squares_within / squares_between
    if between < nearly:
        words = "all pictures are nearly the same, whatever the condition"
    elif within < nearly:
        words = "the pictures of one condition are nearly the same"
    elif told < nearly:
        words = "the condition changes nearly nothing in the pictures"
    else:
        words = "pictures differ within a condition and between conditions"
    return Variety(within, between, told, between < nearly or within < nearly or told < nearly, words)


def _distances(generated: npt.NDArray[Any], real: npt.NDArray[Any]) -> tuple[float, float, float, float]:
    """Mean distance of one condition's pictures and of different conditions', over real ones' (NaN: no such pair); then
    the same of squared distances."""
    if generated.ndim != 3 or generated.shape[1] < 2:
        raise DataError("expected features (condition, sample, feature) of two samples a condition or more, found "
                        f"shape {generated.shape}")
    num_conditions, num_samples, width = generated.shape
    rows, real = checked_features(generated.reshape(num_conditions * num_samples, width), real)
    scale = _pair_sum(real, 1) / (len(real) * (len(real) - 1))
    if scale == 0.0:
        raise DataError(f"all {len(real)} real pictures are the same: they cannot tell what a large distance is")
    num_within = num_conditions * num_samples * (num_samples - 1)
    num_between = num_conditions * (num_conditions - 1) * num_samples**2
    means = []
    for power, unit in ((1, scale), (2, scale**2)):
        within = sum(_pair_sum(np.asarray(one, dtype=np.float64), power) for one in generated)
        between = (_pair_sum(rows, power) - within) / num_between if num_between else float("nan")
        means.append((within / num_within / unit, between / unit))
    (within, between), (squares_within, squares_between) = means
    return within, between, squares_within, squares_between


def _pair_sum(rows: Floats, power: int) -> float:
    """Σ_ij ‖x_i − x_j‖^power."""
    return float(sum((np.linalg.norm(rows - row, axis=1) ** power).sum() for row in rows))
