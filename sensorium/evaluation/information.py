"""What pairs of modalities tell about a target: the same bits, bits of their own, bits that only both together tell.

Read off the predictions from either modality and from both, which the table of subsets needs anyway; see
`metrics/information.py` for the estimate and its limits. The cost grows with the square of classes · cells, so that the
number of replicates, and of pairs, is set by a fixed budget: about 20 seconds for all targets together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.schema import Target
from sensorium.errors import DataError
from sensorium.evaluation.embedder import estimate_json
from sensorium.evaluation.scored import Scored
from sensorium.keyed import Draws
from sensorium.metrics.information import (
    ALL_CELLS,
    BLOCKS,
    CELLS_BY_CLASS,
    MOST_CELLS,
    NUMBER_CELLS,
    NUMBER_CLASSES,
    DecompositionEstimate,
    decompose_predictions,
)

Floats = npt.NDArray[np.float64]
Pair = tuple[str, str]
MOST_PAIRS, MOST_ROWS = 10, 2000
MOST_REPLICATES, FEWEST_REPLICATES = 100, 30
SECONDS, SECONDS_A_SQUARE = 20.0, 6e-7
LEAST = 0.005
ROWS_A_CELL = 10


@dataclass(frozen=True)
class Information:
    """What two modalities tell about a target, as far as the model reads it.

    Args:
        target: the target.
        modality_a, modality_b: the pair.
        parts: redundant, unique and synergistic bits with intervals.
    """

    target: str
    modality_a: str
    modality_b: str
    parts: DecompositionEstimate

    @property
    def sentence(self) -> str:
        """The finding in words."""
        a, b, parts = self.modality_a, self.modality_b, self.parts
        more = parts.synergistic
        together = (f"together they tell {_bits(more.value)} that neither tells alone" if more.low > 0 else
                    f"read together, {_bits(-more.value)} of that are lost"
                    if more.high < 0 and more.value <= -0.05 else
                    "together they tell nothing that neither tells alone")
        same = (f"{a} and {b} tell the same {_bits(parts.redundant.value)}" if parts.redundant.value >= LEAST
                else f"{a} and {b} tell nothing alike")
        return (f"{self.target}: {same}; {a} alone adds {_bits(parts.unique_a.value)}, {b} alone "
                f"{_bits(parts.unique_b.value)}; {together}.")

    def to_json(self) -> dict[str, Any]:
        """Plain values, in bits."""
        parts = self.parts
        return {"target": self.target, "modality_a": self.modality_a, "modality_b": self.modality_b, "rows": parts.rows,
                "unit": parts.unit,
                **{name: estimate_json(getattr(parts, name))
                   for name in ("redundant", "unique_a", "unique_b", "synergistic", "information")},
                "lost_a": _finite(parts.lost_a), "lost_b": _finite(parts.lost_b), "lost_ab": _finite(parts.lost_ab),
                "sentence": self.sentence}


def pairs_to_decompose(names: Sequence[str], presence: npt.NDArray[np.bool_]) -> list[Pair]:
    """At most ten pairs of modalities, those that most rows have; ties in the schema's order.

    Args:
        names: the schema's modalities.
        presence: (row, modality) what each row has.
    """
    pairs = list(combinations(range(len(names)), 2))
    rows = [int((presence[:, a] & presence[:, b]).sum()) for a, b in pairs]
    kept = sorted(sorted(range(len(pairs)), key=lambda place: -rows[place])[:MOST_PAIRS])
    return [(names[pairs[place][0]], names[pairs[place][1]]) for place in kept if rows[place]]


def decompose_pairs(
    scored: Scored, target: Target, raw: Mapping[frozenset[str], Floats], pairs: Sequence[Pair], *,
    seconds: float = SECONDS,
) -> tuple[list[Information], list[str]]:
    """The decomposition of each pair, on the labelled rows that have both.

    Args:
        scored: the rows.
        target: classes or a number.
        raw: set of modalities → (row, output) raw outputs: each modality of a pair alone, and both.
        pairs: the modalities.
        seconds: about how long it may take on one core.

    Returns:
        What was found, and a line for what was left out.
    """
    if not pairs:
        return [], []
    cells = _cells(target, int(scored.labelled(target).sum()))
    allowed, replicates = _affordable(target, cells, len(pairs), seconds)
    found: list[Information] = []
    unable: dict[str, list[str]] = {}
    notes = []
    if allowed < len(pairs):
        notes.append(f"{target.name}: of {len(pairs)} pairs of modalities the information of "
                     f"{allowed or 'none'} is decomposed: with {len(target.classes)} classes more would take minutes")
    for a, b in pairs[:allowed]:
        kept = _some(scored.labelled(target) & scored.has((a, b)), scored.rows, scored.seed)
        of_a, of_b, of_both = (_shaped(target, scored.predicted(target, raw[frozenset(subset)][kept]))
                               for subset in ((a,), (b,), (a, b)))
        try:
            parts = decompose_predictions(of_a, of_b, of_both, scored.truth(target)[kept], cells=cells,
                                          replicates=replicates, seed=scored.seed,
                                          groups=None if scored.groups is None else scored.groups[kept])
        except DataError as error:
            unable.setdefault(str(error), []).append(f"{a} and {b}")
            continue
        found.append(Information(target.name, a, b, parts))
    notes += [f"{target.name}: the information of {'; '.join(some)} cannot be decomposed: {why}"
              for why, some in unable.items()]
    return found, notes


def _cells(target: Target, rows: int) -> int:
    """How many cells predictions are put into: as many as the estimate likes, but ten rows each or one a class."""
    classes = len(target.classes)
    if target.task == "regress":
        return max(2, min(NUMBER_CELLS, rows // ROWS_A_CELL))
    most = max(min(MOST_CELLS, ALL_CELLS // max(1, classes)), min(classes, CELLS_BY_CLASS))
    return max(2, min(most, max(classes, rows // ROWS_A_CELL)))


def _affordable(target: Target, cells: int, pairs: int, seconds: float) -> tuple[int, int]:
    """How many pairs are decomposed within the budget, and with how many replicates."""
    classes = len(target.classes) if target.task == "classify" else NUMBER_CLASSES
    tables = seconds / (SECONDS_A_SQUARE * (2 * classes * cells) ** 2)
    allowed = min(pairs, int(tables / (FEWEST_REPLICATES + BLOCKS + 1)))
    return allowed, min(MOST_REPLICATES, int(tables / max(1, allowed)) - BLOCKS - 1)


def _some(kept: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """At most 2,000 positions of the rows that are kept, by keyed draws, in their order."""
    places = np.flatnonzero(kept)
    order = np.argsort(Draws(seed, 0, rows[places]).uniform("information/rows"), kind="stable")
    return np.sort(places[order[:MOST_ROWS]])


def _shaped(target: Target, predicted: Floats) -> Floats:
    return predicted if target.task == "classify" else predicted[:, 0]


def _bits(value: float) -> str:
    """Bits with two decimals, or nothing."""
    return f"{value:.2f} bits" if value >= LEAST else "nothing"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
