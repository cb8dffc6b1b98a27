"""Where training rows lie for every pattern of presence, and which rows are unlike them.

A row is embedded from what it has, and embeddings of fewer modalities lie elsewhere, so every pattern has its own
Gaussians and its own threshold (see `outliers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.metrics.bootstrap import Floats, Ints
from sensorium.metrics.outliers import FEWEST_ROWS, Familiar, fit_familiar

Bools = npt.NDArray[np.bool_]
Subset = frozenset[str]
QUANTILE = 0.99
FEWEST_HELD_OUT = 19
ROWS_A_CLASS = 10


@dataclass(frozen=True, eq=False)
class PatternFamiliar:
    """Where the rows of one pattern lie.

    Args:
        modalities: the pattern, in the schema's order.
        familiar: means, whitening and threshold.
        held_out: rows that set the threshold, none of which the model was trained on.
    """

    modalities: tuple[str, ...]
    familiar: Familiar
    held_out: int


@dataclass(frozen=True, eq=False)
class Familiarity:
    """What is known of every pattern.

    Args:
        names: the modalities, in the schema's order.
        patterns: one a pattern; rows of other patterns are not judged.
    """

    names: tuple[str, ...]
    patterns: tuple[PatternFamiliar, ...]

    def pattern_of(self, presence: Bools) -> Ints:
        """(row,) the number of each row's pattern in `patterns`, −1 where it is not among them."""
        if presence.ndim != 2 or presence.shape[1] != len(self.names):
            raise DataError(f"expected presence (row, {len(self.names)}), found {presence.shape}")
        found = np.full(len(presence), -1, dtype=np.int64)
        for number, one in enumerate(self.patterns):
            wanted = np.array([name in one.modalities for name in self.names])
            found[(presence == wanted).all(axis=1)] = number
        return found

    def strangeness(self, vectors: npt.NDArray[Any], presence: Bools) -> Floats:
        """(row,) distance to the nearest mean over the threshold of the row's pattern: above 1 a row is unlike the
        training rows; NaN where it is not judged.

        Args:
            vectors: (row, width) embeddings of what each row has.
            presence: (row, modality) what that is.
        """
        which = self.pattern_of(presence)
        found = np.full(len(which), np.nan)
        for number in np.unique(which[which >= 0]).tolist():
            own, familiar = which == number, self.patterns[number].familiar
            found[own] = familiar.distances(vectors[own]) / familiar.threshold
        return found

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values of every pattern; its arrays are in `arrays`."""
        return [{"modalities": list(one.modalities), "threshold": one.familiar.threshold, "held_out": one.held_out,
                 "quantile": one.familiar.quantile, "rows": one.familiar.rows} for one in self.patterns]

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """What a model folder keeps of every pattern: means and whitening."""
        return {f"{number}.{name}": values.astype(np.float32) for number, one in enumerate(self.patterns)
                for name, values in (("means", one.familiar.means), ("whitening", one.familiar.whitening))}

    @classmethod
    def restored(
        cls, names: Sequence[str], kept: Sequence[Mapping[str, Any]], arrays: Mapping[str, npt.NDArray[Any]],
    ) -> Familiarity:
        """From `to_json` and `arrays`."""
        return cls(tuple(names), tuple(
            PatternFamiliar(tuple(one["modalities"]), Familiar(
                arrays[f"{number}.means"].astype(np.float64), arrays[f"{number}.whitening"].astype(np.float64),
                float(one["threshold"]), float(one["quantile"]), int(one["rows"])), int(one["held_out"]))
            for number, one in enumerate(kept)))


def fit_familiarity(
    vectors: Mapping[Subset, npt.NDArray[Any]], held_out: Mapping[Subset, npt.NDArray[Any]], names: Sequence[str],
    labels: Ints | None = None,
) -> Familiarity | None:
    """Learn where training rows lie, for every pattern with 20 training and 19 held-out rows or more.

    The threshold is passed by one in a hundred rows like the held-out ones; by one in n + 1 where those are n < 99.

    Args:
        vectors: pattern → (row, width) embeddings of training rows from it; NaN in rows that lack some of it.
        held_out: the same of rows that the model was not trained on.
        names: the modalities, in the schema's order.
        labels: (row,) class numbers of the training rows (−1: none): one mean a class, where classes have ten rows or
            more on average.

    Returns:
        What was learnt, in single precision, as a model folder keeps it; None where no pattern has enough rows.
    """
    found = []
    for pattern, rows in vectors.items():
        kept = np.isfinite(rows).all(axis=1)
        others = held_out[pattern][np.isfinite(held_out[pattern]).all(axis=1)]
        classes = None if labels is None else labels[kept & (labels >= 0)]
        told = classes is not None and len(classes) >= ROWS_A_CLASS * max(2, len(np.unique(classes)))
        if told and labels is not None:
            kept &= labels >= 0
        if kept.sum() < FEWEST_ROWS or len(others) < FEWEST_HELD_OUT:
            continue
        quantile = min(QUANTILE, len(others) / (len(others) + 1))
        fitted = fit_familiar(rows[kept], classes if told else None, held_out=others, quantile=quantile)
        if not np.isfinite(fitted.threshold) or fitted.threshold <= 0:
            continue
        kept_as = Familiar(_single(fitted.means), _single(fitted.whitening), fitted.threshold, quantile, fitted.rows)
        found.append(PatternFamiliar(tuple(name for name in names if name in pattern), kept_as, len(others)))
    return Familiarity(tuple(names), tuple(found)) if found else None


def _single(values: Floats) -> Floats:
    """Rounded to what single precision holds."""
    return np.asarray(values.astype(np.float32), dtype=np.float64)
