"""What stands in a cell: one thing, a list, a part of a video, or a path that may not be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from sensorium.data.batch import Augmentation, make_batch
from sensorium.data.cells import cell_numbers, decode_cells
from sensorium.data.decoding.workers import Refused
from sensorium.data.kinds import ImageKind, TextKind
from sensorium.data.read import as_samples, read
from sensorium.data.samples import Samples
from sensorium.data.schema import Modality
from sensorium.data.sources import MOST_LISTED, num_cut_lists, row_cells
from sensorium.data.split import split_rows
from sensorium.data.table import Table, table_of_rows

IMAGE = ImageKind(height=4, width=4, channels=1, augmentation=2.0)


def _photos(folder: Path, count: int = 5) -> list[str]:
    for number in range(count):
        Image.fromarray(np.full((4, 4), 40 * number, dtype=np.uint8)).save(folder / f"{number}.png")
    return [f"{number}.png" for number in range(count)]


def _modality(separator: Any = "") -> Modality:
    return Modality(name="photo", columns=("photo",), kind=IMAGE, separator=separator)


@pytest.mark.parametrize(("separator", "written"), [
    (";", "0.png; 1.png;;2.png"), ("|", "0.png|1.png|2.png"), ("json", json.dumps(["0.png", "1.png", None, "2.png"])),
    ("", ["0.png", "1.png", "", "2.png"])])
def test_lists_in_every_form_name_the_same_files(tmp_path: Path, separator: str, written: Any) -> None:
    table = Table(table_of_rows([{"photo": written}, {"photo": None}]).frame, tmp_path, "t")
    assert row_cells(table, _modality(separator)) == [tuple(str(tmp_path / f"{n}.png") for n in range(3)), ()]


def test_a_list_is_cut_and_the_cut_is_said(tmp_path: Path) -> None:
    files = _photos(tmp_path, 2)
    table = Table(pl.DataFrame({"photo": [";".join(files * 10), "0.png"]}), tmp_path, "t")
    values = table.frame["photo"].to_list()
    assert num_cut_lists(values, _modality(";")) == 1 and num_cut_lists(values, _modality()) == 0
    cells = decode_cells(table, _modality(";"), workers=0, memory_bytes=1e9)
    assert cells.cells_of_row.shape == (2, MOST_LISTED) and "1 rows list more than 16 cells" in cells.notes[0]


def test_what_is_unreadable_in_a_list_leaves_the_rest(tmp_path: Path) -> None:
    _photos(tmp_path, 3)
    table = Table(pl.DataFrame({"photo": ["gone.png;1.png", "gone.png", "2.png;1.png;0.png", ""]}), tmp_path, "t")
    cells = decode_cells(table, _modality(";"), workers=0, memory_bytes=1e9)
    assert (cells.cells_of_row >= 0).sum(axis=1).tolist() == [1, 0, 3, 0] and cells.num_blank == 1
    assert [cell.row for cell in cells.unreadable] == [1, 2] and "no such file" in cells.unreadable[0].reason
    assert [int(cells.arrays.get([c])[0][0, 0, 0]) for c in cells.cells_of_row[2]] == [80, 40, 0]


def _listed(tmp_path: Path) -> Samples:
    _photos(tmp_path)
    rows = [{"photo": ";".join(f"{(row + k) % 5}.png" for k in range(1 + row % 3)), "y": "ab"[row % 2]}
            for row in range(12)]
    pl.DataFrame(rows).write_csv(tmp_path / "t.csv")
    data = read(tmp_path / "t.csv", targets="y")
    [photo] = data.schema.modalities
    assert photo.kind.name == "image" and photo.separator == ";" and "lists of files" in photo.reason
    schema = data.schema.model_copy(update={"modalities": (photo.model_copy(update={"kind": IMAGE}),)})
    return as_samples(str(tmp_path / "t.csv"), schema)


def test_a_batch_holds_each_cell_of_its_lists_once(tmp_path: Path) -> None:
    samples = _listed(tmp_path)
    packed = make_batch(samples, np.array([1, 2, 0])).inputs["photo"]
    assert packed.cells.tolist() == [[1, 2, -1], [2, 3, 4], [0, -1, -1]] and len(packed.inputs) == 5
    assert packed.inputs.values[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160]
    assert make_batch(samples, np.array([0, 3])).inputs["photo"].cells.shape == (2, 1)


def test_the_photos_of_a_row_have_variants_of_their_own(tmp_path: Path) -> None:
    samples = _listed(tmp_path)
    assert len(set(samples.cells["photo"].identities.tolist())) == 5
    varied = make_batch(samples, np.array([2]), Augmentation(0, 1)).inputs["photo"].inputs.values
    plain = make_batch(samples, np.array([2])).inputs["photo"].inputs.values
    change = (varied - plain.float()).mean(dim=(1, 2, 3))
    assert change.unique().numel() == 3


def test_rows_that_share_a_photo_of_their_lists_stay_together(tmp_path: Path) -> None:
    _photos(tmp_path, 3)
    cells = [f"{row}a.png;{row}b.png" for row in range(30)]
    cells[7], cells[21] = "7a.png;shared.png", "shared.png;21b.png"
    numbers = cell_numbers(Table(pl.DataFrame({"photo": cells}), tmp_path, "t"), _modality(";"))
    for seed in range(8):
        splits = split_rows(np.arange(30), groups=None, shared=[numbers], named=None, seed=seed)
        for part in (splits.train, splits.validation, splits.calibration):
            assert (7 in part) == (21 in part)


def test_subtitles_are_found_beside_a_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello there\n")
    table = Table(pl.DataFrame({"clip": ["a.mp4", "b.mp4", None]}), tmp_path, "t")
    said = Modality(name="clip.text", columns=("clip",), kind=TextKind(), part="text")
    assert row_cells(table, said) == [(tmp_path / "a.srt",), (), ()]
    kind = TextKind(vocabulary=300).measure(["Hello there"])
    cells = decode_cells(table, said.model_copy(update={"kind": kind}), workers=0, memory_bytes=1e9)
    assert cells.arrays.get([0]) == ["Hello there"] and cells.num_blank == 2


def test_files_outside_the_table_s_folder_are_missing_cells_unless_allowed(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    _photos(tmp_path, 2)
    table = Table(pl.DataFrame({"photo": ["../0.png", str(tmp_path / "1.png"), "../../etc/passwd"]}),
                  tmp_path / "inside", "t")
    assert all(isinstance(cell, Refused) for [cell] in row_cells(table, _modality()))
    cells = decode_cells(table, _modality(), workers=0, memory_bytes=1e9)
    assert not (cells.cells_of_row >= 0).any() and len(cells.unreadable) == 3
    assert all("outside the table's folder" in cell.reason and "--allow-outside" in cell.reason
               for cell in cells.unreadable)
    allowed = Table(table.frame, table.root, "t", allow_outside=True)
    assert (decode_cells(allowed, _modality(), workers=0, memory_bytes=1e9).cells_of_row[:2] >= 0).all()
