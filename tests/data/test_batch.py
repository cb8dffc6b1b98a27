"""Batches: the present rows packed, each distinct cell once, variants keyed by the cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from worlds import write_small_world

from sensorium.data.batch import Augmentation, make_batch, prefetch
from sensorium.data.read import read
from sensorium.data.samples import Samples, decoded, measured

ROWS = np.array([7, 3, 30, 3, 11, 25])


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """A small world whose row 11 shows the picture of row 7."""
    table = write_small_world(tmp_path_factory.mktemp("world"), rows=40, missing=0.3)
    lines = [line.split(",") for line in table.read_text().splitlines()]
    lines[8][0] = lines[12][0] = "7.png"
    table.write_text("\n".join(map(",".join, lines)) + "\n")
    data = read(table, targets=["kind", "size"])
    return decoded(data.table, measured(data.table, data.schema, np.arange(40)), workers=0, memory_bytes=1e9)


def test_presence_rows_and_cells_agree_with_the_table(samples: Samples) -> None:
    """A naive reference, row by row."""
    batch = make_batch(samples, ROWS)
    assert len(batch) == 6 and batch.rows.tolist() == ROWS.tolist()
    for place, name in enumerate(samples.schema.names):
        cells, packed = samples.cells[name], batch.inputs[name]
        present = [position for position, row in enumerate(ROWS) if cells.cells_of_row[row, 0] >= 0]
        assert packed.rows.tolist() == present
        assert batch.presence[:, place].tolist() == [position in present for position in range(6)]
        for position, [cell] in zip(packed.rows.tolist(), packed.cells.tolist(), strict=True):
            alone = cells.kind.collate(cells.arrays.get([int(cells.cells_of_row[ROWS[position], 0])]))
            width = alone.values.shape[1]
            assert torch.equal(packed.inputs.values[cell][:width], alone.values[0]), name
            if alone.mask is not None and packed.inputs.mask is not None:
                assert not packed.inputs.mask[cell][width:].any()
        assert len(packed.inputs) == len({int(cells.cells_of_row[ROWS[p], 0]) for p in present})


def test_a_repeated_cell_is_packed_once(samples: Samples) -> None:
    packed = make_batch(samples, np.array([7, 11, 7])).inputs["image"]
    assert len(packed.inputs) == 1 and packed.cells.tolist() == [[0], [0], [0]]


def test_targets_and_their_masks(samples: Samples) -> None:
    batch = make_batch(samples, ROWS)
    assert batch.targets["kind"].values.dtype == torch.int64 and batch.targets["size"].values.dtype == torch.float64
    assert batch.targets["kind"].values.tolist() == samples.labels["kind"].values[ROWS].tolist()
    assert batch.targets["size"].mask.all()


def test_a_modality_that_no_row_has_is_left_out(samples: Samples) -> None:
    place = samples.schema.names.index("image")
    absent = np.flatnonzero(~samples.presence[:, place])[:2]
    batch = make_batch(samples, absent)
    assert "image" not in batch.inputs and not batch.presence[:, place].any()
    moved = batch.to(torch.device("cpu"))
    assert set(moved.inputs) == set(batch.inputs) and torch.equal(moved.presence, batch.presence)


@pytest.mark.parametrize("epoch", [0, 5])
def test_a_variant_belongs_to_the_cell_not_to_the_batch(samples: Samples, epoch: int) -> None:
    augmentation = Augmentation(seed=1, epoch=epoch)
    together = make_batch(samples, ROWS, augmentation)
    backwards = make_batch(samples, ROWS[::-1].copy(), augmentation)
    for name, packed in together.inputs.items():
        for position, [cell] in zip(packed.rows.tolist(), packed.cells.tolist(), strict=True):
            alone = make_batch(samples, ROWS[position : position + 1], augmentation).inputs[name].inputs.values[0]
            other = backwards.inputs[name]
            turned = other.inputs.values[other.cells[other.rows.tolist().index(5 - position), 0]]
            for variant in (alone, turned):
                width = min(len(variant), packed.inputs.values.shape[1])
                torch.testing.assert_close(packed.inputs.values[cell][:width], variant[:width], atol=1e-2, rtol=0.0)


def test_variants_change_with_the_epoch_and_the_seed(samples: Samples) -> None:
    values = [make_batch(samples, ROWS, a).inputs["image"].inputs.values.float()
              for a in (None, Augmentation(0, 0), Augmentation(0, 1), Augmentation(1, 0))]
    assert all(not torch.equal(a, b) for i, a in enumerate(values) for b in values[i + 1 :])


def test_prefetch_changes_nothing(samples: Samples, tmp_path: Path) -> None:
    data = read(write_small_world(tmp_path, rows=20), targets="kind")
    schema = measured(data.table, data.schema, np.arange(20))
    rich, poor = (decoded(data.table, schema, workers=0, memory_bytes=memory) for memory in (1e9, 0.0))
    rows = np.arange(4, 12)
    prefetch(poor, rows)
    for name, packed in make_batch(rich, rows).inputs.items():
        assert torch.equal(packed.inputs.values, make_batch(poor, rows).inputs[name].inputs.values), name
