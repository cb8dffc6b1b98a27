"""Rows → tokens: each encoder's graph runs once, on the distinct cells of the rows that have the modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.cells import Cells, numbered
from sensorium.data.samples import Samples
from sensorium.runtime.manifest import Manifest
from sensorium.runtime.placing import TokenArrays, nothing, placed, rows_of
from sensorium.runtime.sessions import Session

CELLS_AT_ONCE = 32


@dataclass(frozen=True)
class Encoded:
    """Some rows after the encoders.

    Args:
        start: so many rows stand before them.
        tokens: place of a modality → its tokens, in every row.
        presence: (row, modality) what each row has that is read.
    """

    start: int
    tokens: Mapping[int, TokenArrays]
    presence: npt.NDArray[np.bool_]

    def given(self, presence: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[Any]]]:
        """The rows that have something of the presence, and what a graph of the fusion reads of them."""
        rows = np.flatnonzero((presence & self.presence).any(axis=1))
        arrays: dict[str, npt.NDArray[Any]] = {"presence": (presence & self.presence)[rows]}
        for place, tokens in self.tokens.items():
            own = tokens if len(rows) == len(presence) else rows_of(tokens, rows)
            arrays |= {f"tokens_{place}": own.values, f"mask_{place}": own.mask}
            if own.span is not None:
                arrays[f"span_{place}"] = own.span
        return rows, arrays


def encoded_rows(
    samples: Samples, start: int, stop: int, encoders: Mapping[str, Session], manifest: Manifest,
) -> Encoded:
    """Encode rows `start` to `stop` of some decoded ones."""
    rows = np.arange(start, stop)
    tokens = {}
    for place, name in enumerate(samples.schema.names):
        if name not in encoders:
            continue
        cells = samples.cells[name]
        wanted = cells.cells_of_row[rows]
        present = np.flatnonzero((wanted >= 0).any(axis=1))
        if not len(present):
            tokens[place] = nothing(len(rows), manifest.width, timed=name in manifest.timed)
            continue
        distinct, which = numbered(wanted[present])
        tokens[place] = placed(_encoded(cells, distinct, encoders[name]), present, which, len(rows))
    read = np.array([name in encoders for name in samples.schema.names])
    return Encoded(start, tokens, samples.presence[rows] & read)


def _encoded(cells: Cells, distinct: npt.NDArray[np.int64], encoder: Session) -> TokenArrays:
    """The tokens of some cells; so many at a time, those of like length together, that little is padding."""
    parts, order = [], np.argsort(cells.lengths[distinct], kind="stable")
    for start in range(0, len(order), CELLS_AT_ONCE):
        chosen = distinct[order[start : start + CELLS_AT_ONCE]]
        padded = cells.kind.pad(cells.arrays.get(chosen.tolist()))
        given = {"values": padded.values, "mask": padded.mask, "span": padded.span}
        found = encoder({name: array for name, array in given.items() if array is not None})
        parts.append(TokenArrays(found["tokens"], found["tokens_mask"], found.get("tokens_span")))
    back = np.argsort(order, kind="stable")
    longest = max(part.mask.shape[1] for part in parts)
    spans = [_padded(part.span, longest) for part in parts if part.span is not None]
    return TokenArrays(np.concatenate([_padded(part.values, longest) for part in parts])[back],
                       np.concatenate([_padded(part.mask, longest) for part in parts])[back],
                       np.concatenate(spans)[back] if spans else None)


def _padded(values: npt.NDArray[Any], longest: int) -> npt.NDArray[Any]:
    """(row, token, …) with as many tokens as the longest part."""
    missing = longest - values.shape[1]
    return np.pad(values, [(0, 0), (0, missing), *[(0, 0)] * (values.ndim - 2)]) if missing else values
