"""The pictures that a model paints for some of the scored rows, beside the real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples
from sensorium.evaluation.generated_features import Pixels, in_shape
from sensorium.evaluation.generated_rows import (
    drawn_order,
    first_of_each,
    has_all,
    input_codes,
    readable,
    rows_said,
)
from sensorium.evaluation.scored import Scored
from sensorium.made import makeable, painted
from sensorium.objectives import Paint, PaintFlow

Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Names = tuple[str, ...]
MOST_ROWS, MOST_VARIED, EACH = 500, 128, 4
FLOW_ROWS = {32: (400, 64), 64: (140, 30)}
SLOWEST_ROWS = (24, 6)
AT_ONCE = 256


@dataclass(frozen=True)
class Painting:
    """Painted pictures.

    Args:
        to: the column.
        reads: what may be read.
        rows: (row,) of the table, in a random order, each with another real picture or with none.
        made: (row, height, width_px, channel) uint8, one for each.
        real: (row, …) the real pictures in the same shape; of rows without one, black.
        known: (row,) whether there is a real one.
        varied: (condition,) positions among the rows that say different things.
        several: (condition, 4, height, width_px, channel) further pictures for these.
        left_out: scored rows that show nothing to paint from, and whose real picture another row has.
        not_drawn: further rows that were not painted for, to bound the time.
    """

    to: str
    reads: Names
    rows: Rows
    made: Pixels
    real: Pixels
    known: Bools
    varied: Rows
    several: Pixels
    left_out: tuple[int, int]
    not_drawn: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width_px)."""
        return int(self.made.shape[1]), int(self.made.shape[2])

    @property
    def said(self) -> str:
        """How many pictures there are, and of which rows."""
        said = (f"{self.to}: painted one picture for 1 row, and {EACH} more" if len(self.rows) == 1 else
                f"{self.to}: painted one picture for each of {len(self.rows):,} rows, and {EACH} for "
                f"{len(self.varied):,} that say different things")
        more = [f"{rows_said(count, doing)} {words}" for count, doing, words in (
            (self.not_drawn, "were", "not painted for, to bound the time"),
            (self.left_out[0], "show", "nothing to paint from"),
            (self.left_out[1], "have", "the picture of another one"),
            (int((~self.known).sum()), "have", "no real picture")) if count]
        return f"{said} ({'; '.join(more)})." if more else f"{said}."


def painting_of(scored: Scored, maker: Paint, *, most: int | None = None) -> Painting | None:
    """Paint for some of the scored rows; None where none shows anything to paint from.

    Args:
        scored: the rows.
        maker: the objective that paints.
        most: rows; None: 500, or as many as less than a minute of one core allows where painting is slow.
    """
    model, samples = scored.model, scored.samples
    names = readable(model, maker)
    can = makeable(model, maker, samples, scored.rows)
    rows = scored.rows[can]
    rows = rows[drawn_order(rows, seed=scored.seed, purpose="paint/rows")]
    known = has_all(samples, [maker.to_name], rows)
    codes = np.where(known, samples.cells[maker.to_name].cells_of_row[rows, 0], -1 - np.arange(len(rows)))
    first = first_of_each(codes)
    limit, varied_limit = _limits(maker, str(model.device))
    chosen = first[: limit if most is None else most]
    if not len(chosen):
        return None
    some = rows[chosen]
    varied = first_of_each(input_codes(samples, names, some))[:varied_limit]
    made = painted(model, samples, some, seed=scored.seed)[:, 0]
    several = painted(model, samples, some[varied], n=EACH, seed=scored.seed + 1)
    real = np.zeros_like(made)
    here = known[chosen]
    if here.any():
        real[here] = real_pictures(samples, maker.to_name, some[here], (int(made.shape[1]), int(made.shape[2])))
    return Painting(maker.to_name, names, some, made, real, here, varied, several,
                    (int((~can).sum()), len(rows) - len(first)), len(first) - len(chosen))


def real_pictures(samples: Samples, name: str, rows: Rows, shape: tuple[int, int]) -> Pixels:
    """(row, height, width_px, channel) the first picture of each row, stretched; one row at least, all with one."""
    cells = samples.cells[name]
    numbers = cells.cells_of_row[rows, 0].tolist()
    return np.concatenate([in_shape(cells.arrays.get(numbers[start : start + AT_ONCE]), shape)
                           for start in range(0, len(numbers), AT_ONCE)])


def _limits(maker: Paint, device: str) -> tuple[int, int]:
    """Rows to paint for, and conditions to paint several pictures for."""
    if not isinstance(maker, PaintFlow) or device != "cpu":
        return MOST_ROWS, MOST_VARIED
    return FLOW_ROWS.get(maker.painter.size, SLOWEST_ROWS)
