"""Rows that share a costly cell are batched together: every row once, fewer cells to encode, the order decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.data.batch import make_batch
from sensorium.data.read import read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.training.together import put_together, shared_cells

Rows = np.ndarray


def _world(num_cells: int, each: int, seed: int = 0) -> tuple[Rows, Rows]:
    """An order in which rows come by chance, and the cell of each row of the table."""
    random = np.random.default_rng(seed)
    return random.permutation(num_cells * each), random.permutation(np.repeat(np.arange(num_cells), each))


def _put_together_slowly(order: Rows, cells: Rows, size: int) -> list[int]:
    """By the definition: a row takes the place of the first row of its group; groups are filled in the given order."""
    groups: list[list[int]] = []
    open_group: dict[int, list[int]] = {}
    for row in order.tolist():
        cell = int(cells[row])
        group = open_group.get(cell)
        if cell < 0 or group is None or len(group) == size:
            group = []
            groups.append(group)
            open_group[cell] = group
        group.append(row)
    return [row for group in groups for row in group]


@pytest.mark.parametrize("size", [1, 2, 4, 7])
@pytest.mark.parametrize(("num_cells", "each"), [(30, 10), (5, 3), (1, 9), (12, 1)])
def test_as_slowly_by_the_definition(num_cells: int, each: int, size: int) -> None:
    order, cells = _world(num_cells, each)
    cells[::5] = -1
    some = order[: len(order) - len(order) // 4]  # the training rows of a larger table
    put = put_together(some, cells, size=size)
    assert put.tolist() == _put_together_slowly(some, cells, size)
    assert sorted(put.tolist()) == sorted(some.tolist())


def test_rows_of_a_cell_stand_side_by_side_in_groups_of_at_most_size() -> None:
    order, cells = _world(40, 10)
    put = cells[put_together(order, cells, size=4)]
    ends = np.flatnonzero(put[1:] != put[:-1])
    runs = np.diff(np.concatenate([[-1], ends, [len(put) - 1]]))
    assert set(runs.tolist()) <= {4, 2, 8, 6}  # 4 + 4 + 2 of each cell; two groups of one cell may meet by chance
    assert (runs == 4).sum() + (runs == 2).sum() > 0.9 * len(runs)
    assert put_together(order, cells, size=1).tolist() == order.tolist()


def test_a_batch_has_fewer_distinct_cells() -> None:
    order, cells = _world(300, 10)

    def distinct(rows: Rows) -> float:
        return float(np.mean([len(np.unique(cells[batch])) for batch in np.array_split(rows, len(rows) // 64)]))

    assert distinct(order) > 55
    assert distinct(put_together(order, cells)) < 30


def test_groups_follow_the_order_and_nothing_else() -> None:
    order, cells = _world(50, 8)
    put = put_together(order, cells)
    assert np.array_equal(put, put_together(order.copy(), cells.copy()))
    assert put[0] == order[0]
    other = put_together(np.random.default_rng(2).permutation(order), cells)
    firsts, others = ([frozenset(rows[place : place + 4].tolist()) for place in range(0, len(rows), 4)]
                      for rows in (put, other))
    assert len(set(firsts) & set(others)) < len(firsts) // 2  # which rows of a cell meet changes with the order
    relabelled = np.random.default_rng(1).permutation(50)[cells]
    assert np.array_equal(put, put_together(order, relabelled))


def test_rows_without_the_cell_stay_alone_where_they_are() -> None:
    order = np.array([4, 1, 3, 0, 2, 5])
    assert put_together(order, np.full(6, -1)).tolist() == order.tolist()
    assert put_together(order, np.array([7, -1, 7, -1, 9, 9])).tolist() == [4, 5, 1, 3, 0, 2]


def _samples(folder: Path, num_pictures: int, **kinds: str) -> Samples:
    random = np.random.default_rng(0)
    for number in range(num_pictures):
        Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    lines = ["photo,note,hr,y", *(f"{row % num_pictures}.png,{('is it red', 'is it blue')[row % 2]} or not,{row % 3},"
                                  f"{'ab'[row % 2]}" for row in range(40))]
    (folder / "t.csv").write_text("\n".join(lines))
    data = read(folder / "t.csv", targets="y", kinds=kinds)
    schema = measured(data.table, data.schema, np.arange(len(data)))
    return decoded(data.table, schema, workers=0, memory_bytes=1e9)


def test_only_costly_kinds_that_are_shared_enough(tmp_path: Path) -> None:
    samples = _samples(tmp_path, 8)
    rows = np.arange(40)
    cells = shared_cells(samples, rows)
    assert cells is not None
    assert len(cells) == 40
    own = cells.reshape(5, 8)  # row % 8 is the picture; the note, shared by 20 rows, is not costly
    assert (own == own[0]).all()
    assert len(np.unique(own[0])) == 8
    batch = make_batch(samples, put_together(rows, cells)[:16])
    assert len(batch.inputs["photo"].cells.unique()) == 4
    few = rows[:31]
    assert shared_cells(samples, few) is None
    assert shared_cells(samples, rows[:32]) is not None
    (tmp_path / "texts").mkdir()
    alone = _samples(tmp_path / "texts", 40)
    assert shared_cells(alone, rows) is None
