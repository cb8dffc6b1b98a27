"""What two sources tell about a target: redundant, unique and synergistic bits (Bertschinger et al. 2014, "BROJA").

    I(T; A, B) = redundant + unique_a + unique_b + synergistic        I(T; A) = redundant + unique_a
                                                                      I(T; B) = redundant + unique_b

These are three equations for four numbers. The fourth says that what is redundant and unique can be seen from each
source alone: it depends on P(t, a) and P(t, b) only, so that redundant + unique_a + unique_b is the least information
I_∪ of any joint distribution with these marginals (`union_information`). What the true one holds above is synergistic.

Estimating from rows. Plug-in information is biased by about (number of cells) / (2 N ln 2) bits. The four numbers are
corrected by a jackknife of ten blocks, n θ − (n − 1) · mean θ without a block, which removes the bias of order 1/N from
any smooth functional (Quenouille 1956) and, being linear in the estimates, keeps the three equations exactly. Where the
truth is 0 a corrected number may fall a little below. The bootstrap carries the same bias a second time, therefore an
interval takes from it only the spread: its percentiles, moved so that their mean is the corrected estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import MIN_GROUPS, Estimate, Floats, Ints, interval, replicate_weights
from sensorium.metrics.broja import TOLERANCE, entropy, union_information
from sensorium.metrics.coarsen import Coarse, coarse_numbers, coarse_posteriors

BLOCKS = 10
COUNTS_TRIED = 6
FEWEST_ROWS = 20
REPLICATE_TOLERANCE = 1e-4
MOST_CELLS, ALL_CELLS, CELLS_BY_CLASS = 24, 160, 16
NUMBER_CELLS, NUMBER_CLASSES = 12, 6


@dataclass(frozen=True)
class Decomposition:
    """Bits about the target; `information` is the sum of the other four."""

    redundant: float
    unique_a: float
    unique_b: float
    synergistic: float
    information: float


@dataclass(frozen=True)
class DecompositionEstimate:
    """Bits about the target with intervals.

    Args:
        redundant, unique_a, unique_b, synergistic, information: corrected for bias; the values keep the equations.
        plug_in: the same without the correction, never below 0 where both sources are read together.
        rows: rows read.
        unit: what the intervals resample.
        lost_a, lost_b, lost_ab: bits that predictions lost on their way into cells, were they right; 0 for sources that
            were discrete, NaN for numbers.
    """

    redundant: Estimate
    unique_a: Estimate
    unique_b: Estimate
    synergistic: Estimate
    information: Estimate
    plug_in: Decomposition
    rows: int
    unit: Literal["rows", "groups"]
    lost_a: float = 0.0
    lost_b: float = 0.0
    lost_ab: float = 0.0


def decompose(joint: npt.NDArray[Any]) -> Decomposition:
    """The decomposition of a known distribution, exact to 1e-7 bit.

    Args:
        joint: (t, a, b) probabilities, or weights that are divided by their sum; a·t + b·t at most 1,200.

    Raises:
        DataError: the table is empty, negative, not finite, or too large.

    Example:
        >>> xor = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]])
        >>> round(decompose(xor).synergistic, 6)
        1.0
    """
    table = np.asarray(joint, dtype=np.float64)
    if table.ndim != 3 or table.size == 0 or not np.isfinite(table).all() or table.min() < 0 or table.sum() == 0:
        raise DataError(f"expected a table (t, a, b) of finite weights, none below 0, one above, found {table.shape}")
    table = table[None] / table.sum()
    bits = _bits(table.sum(axis=3), table.sum(axis=2), table.reshape(1, table.shape[1], -1), TOLERANCE)
    return Decomposition(*bits[0].tolist())


def decompose_samples(
    truth: npt.NDArray[Any], source_a: npt.NDArray[Any], source_b: npt.NDArray[Any], *,
    source_ab: npt.NDArray[Any] | None = None, groups: npt.NDArray[Any] | None = None, replicates: int = 200,
    level: float = 0.95, seed: int = 0,
) -> DecompositionEstimate:
    """The decomposition estimated from rows of discrete values.

    Args:
        truth, source_a, source_b: (row,) any discrete values.
        source_ab: (row,) what both sources say together; None = the pair of their values. With it, `synergistic` is
            I(T; AB) − I_∪, below 0 where it says less than the two sources alone could.
        groups: (row,) which rows belong together: blocks and replicates then take groups whole (10 or more of them).
        replicates: of the bootstrap.
        level: nominal coverage of the intervals.
        seed: the run's seed.

    Raises:
        DataError: there are fewer than 20 rows, lengths differ, or there are too many distinct values.

    Example:
        >>> bits = np.random.default_rng(0).integers(0, 2, size=(2, 2000))
        >>> found = decompose_samples(bits[0] ^ bits[1], bits[0], bits[1], replicates=20)
        >>> round(found.synergistic.value, 2), round(found.information.value, 2)
        (1.0, 1.0)
    """
    columns = [np.asarray(column) for column in (truth, source_a, source_b)]
    if source_ab is not None:
        columns.append(np.asarray(source_ab))
    if {column.shape for column in columns} != {(len(truth),)} or len(truth) < FEWEST_ROWS:
        raise DataError(f"expected {FEWEST_ROWS} rows or more with one value each, found "
                        f"{', '.join(str(column.shape) for column in columns)}")
    numbers = [np.unique(column, return_inverse=True)[1] for column in columns]
    if source_ab is None:
        numbers.append(np.unique(numbers[1] * (numbers[2].max() + 1) + numbers[2], return_inverse=True)[1])
    target, *sources = numbers

    def bits(weights: npt.NDArray[Any], tolerance: float) -> Floats:
        with_a, with_b, with_both = (_tables(target, source, weights) for source in sources)
        return _bits(with_a, with_b, with_both, tolerance)

    resampling = replicate_weights(len(target), groups, replicates=replicates, seed=seed)
    whole = bits(np.ones((1, len(target))), TOLERANCE)[0]
    kept = _blocks(len(target), groups if resampling.unit == "groups" else None, seed)
    corrected = BLOCKS * whole - (BLOCKS - 1) * bits(kept, TOLERANCE).mean(axis=0)
    drawn = bits(resampling.weights, REPLICATE_TOLERANCE)
    found: list[Estimate] = []
    for value, column in zip(corrected.tolist(), drawn.T, strict=True):
        low, high = interval(column - column.mean(), level)
        found.append(Estimate(value, value + low, value + high))
    redundant, unique_a, unique_b, synergistic, information = found
    return DecompositionEstimate(redundant, unique_a, unique_b, synergistic, information,
                                 Decomposition(*whole.tolist()), len(target), resampling.unit)


def decompose_predictions(
    predicted_a: npt.NDArray[Any], predicted_b: npt.NDArray[Any], predicted_ab: npt.NDArray[Any],
    truth: npt.NDArray[Any], *, cells: int | None = None, groups: npt.NDArray[Any] | None = None,
    replicates: int = 100, seed: int = 0,
) -> DecompositionEstimate:
    """The decomposition of what a model reads in two modalities, from its predictions for rows it was not trained on.

    A posterior p(T | a) is a sufficient statistic of a: it keeps all of I(T; A), and BROJA's numbers do not change when
    sources are replaced by sufficient statistics (they depend on P(t, a), P(t, b) up to Blackwell equivalence). So the
    posteriors of one modality stand for it, put into a few cells that keep most bits (`coarse_posteriors`). Synergy is
    in neither of them, only in the prediction from both: redundant and unique bits come from P(t, cell_a) and
    P(t, cell_b), the whole from P(t, cell_ab), and no table over t, a and b together is ever filled, which is what
    makes some hundred rows enough. Probabilities need not be calibrated: only cells are read, and the truth beside
    them.

    Bias. Each information is that of the model's predictions, a lower bound of the data's: a modality that the model
    reads badly looks poor, and synergy comes out below 0 where the fused prediction uses less than the single ones
    hold. Cells lose bits on top, estimated in `lost_a`, `lost_b`, `lost_ab`, many where posteriors over ten classes are
    spread widely. I_∪ loses about what the better source loses; where the whole loses less, the difference passes for
    synergy. The prediction from both is therefore put into so few cells, as many as classes at least, that it loses
    about as much. The sampling bias of order 1/N is removed (see above); the cells are not drawn again in the
    bootstrap.

    Args:
        predicted_a, predicted_b, predicted_ab: (row, class_) probabilities from modality a alone, b alone, and both; or
            (row,) numbers. The same rows, all of which have both modalities.
        truth: (row,) class numbers, rows of an unseen class (−1) are left out; or (row,) numbers, which are put into
            six cells of equally many rows, so that at most log2 6 bits can be told.
        cells: of each single prediction, and at most of the one from both; None = 24, fewer beyond six classes (16 for
            10). Time grows with the cube of classes · cells: seconds for 10 · 16, half a minute for 20 · 16.
        groups, replicates, seed: see `decompose_samples`; intervals are of 95 %.

    Raises:
        DataError: shapes disagree, predictions are not finite, there are fewer than 20 rows, or too many classes.

    Example:
        >>> draw = np.random.default_rng(0).integers(0, 2, size=(2, 400))
        >>> nothing, both = np.full((400, 2), 0.5), np.eye(2)[draw[0] ^ draw[1]]
        >>> found = decompose_predictions(nothing, nothing, both, draw[0] ^ draw[1], replicates=20)
        >>> round(found.synergistic.value, 1)
        1.0
    """
    labels = np.asarray(truth)
    given = [np.asarray(one) for one in (predicted_a, predicted_b, predicted_ab)]
    if len({one.shape for one in given}) != 1 or given[0].shape[:1] != labels.shape or given[0].ndim not in (1, 2):
        raise DataError("expected predictions (row, class_) or (row,) from a, from b and from both, and truth (row,), "
                        f"found {', '.join(str(one.shape) for one in given)} and {labels.shape}")
    if given[0].ndim == 2:
        known = labels >= 0
        given, labels = [one[known] for one in given], labels[known]
        groups = None if groups is None else np.asarray(groups)[known]
    if len(labels) < FEWEST_ROWS:
        raise DataError(f"expected {FEWEST_ROWS} rows or more, found {len(labels)}")
    if given[0].ndim == 2:
        classes = given[0].shape[1]
        count = max(min(MOST_CELLS, ALL_CELLS // classes), min(classes, CELLS_BY_CLASS)) if cells is None else cells
        coarse = [coarse_posteriors(one, count, seed=seed) for one in given[:2]]
        better = max(zip(given[:2], coarse, strict=True), key=lambda pair: _told(pair[0]) - pair[1].lost)[1]
        coarse.append(_as_coarse(given[2], better, count, seed))
    else:
        count = NUMBER_CELLS if cells is None else cells
        coarse = [coarse_numbers(one, count) for one in given]
        labels = coarse_numbers(labels, NUMBER_CLASSES).cells
    found = decompose_samples(labels, coarse[0].cells, coarse[1].cells, source_ab=coarse[2].cells, groups=groups,
                              replicates=replicates, seed=seed)
    return replace(found, lost_a=coarse[0].lost, lost_b=coarse[1].lost, lost_ab=coarse[2].lost)


def _told(probabilities: Floats) -> float:
    """I(T; X) in bits, were the posteriors right."""
    return float(entropy(probabilities.mean(axis=0), (0,)) - entropy(probabilities, (1,)).mean())


def _as_coarse(probabilities: Floats, other: Coarse, count: int, seed: int) -> Coarse:
    """Posteriors in at most `count` cells that lose about as much as another source's cells do."""
    fewest = min(probabilities.shape[1], count)
    found = [coarse_posteriors(probabilities, int(size), seed=seed)
             for size in np.unique(np.linspace(fewest, count, COUNTS_TRIED).round())[::-1]]
    return min(found, key=lambda one: abs(one.lost - other.lost))


def _bits(with_a: Floats, with_b: Floats, with_both: Floats, tolerance: float) -> Floats:
    """(table, 5) bits in the order of `Decomposition`'s fields, from (table, t, value) probabilities."""
    told_a, told_b, told = (_information(table) for table in (with_a, with_b, with_both))
    union = union_information(with_a, with_b, tolerance=tolerance).bits
    union = np.clip(union, np.maximum(told_a, told_b), told_a + told_b)
    return np.stack([told_a + told_b - union, union - told_b, union - told_a, told - union, told], axis=1)


def _information(table: Floats) -> Floats:
    """I(T; X) in bits of (table, t, x) probabilities."""
    apart = entropy(table.sum(axis=2), (1,)) + entropy(table.sum(axis=1), (1,))
    return np.asarray(np.maximum(apart - entropy(table, (1, 2)), 0.0))


def _tables(target: Ints, source: Ints, weights: npt.NDArray[Any]) -> Floats:
    """(table, t, x) probabilities for each row of (table, row) weights."""
    num_t, num_x = int(target.max()) + 1, int(source.max()) + 1
    place = target * num_x + source
    counts = np.stack([np.bincount(place, weights=row, minlength=num_t * num_x) for row in weights])
    return np.asarray((counts / counts.sum(axis=1, keepdims=True)).reshape(len(weights), num_t, num_x))


def _blocks(num_rows: int, groups: npt.NDArray[Any] | None, seed: int) -> Floats:
    """(block, row) 0 for the rows of the block, 1 for the others; groups stay whole."""
    unit = np.arange(num_rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    num_units = int(unit.max()) + 1
    assert num_units >= MIN_GROUPS
    block = np.empty(num_units, dtype=np.int64)
    block[Draws(seed, 0, np.arange(num_units)).order("jackknife")] = np.arange(num_units) % BLOCKS
    kept: Floats = (block[unit] != np.arange(BLOCKS)[:, None]).astype(np.float64)
    return kept
