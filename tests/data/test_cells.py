"""Decoding: what cannot be read is a missing cell with a reason, and neither workers nor memory change a bit."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image

from sensorium.data import cells as cells_module
from sensorium.data.cells import Cells, cell_numbers, decode_cells, measured_kind
from sensorium.data.kinds import AudioKind, ImageKind, TableColumn, TableKind, TextKind
from sensorium.data.notation import Notation
from sensorium.data.schema import Modality
from sensorium.data.table import Table, table_of_rows
from sensorium.errors import BadCell

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Pillow leaves broken pictures open
IMAGE = ImageKind(height=8, width=8, channels=3)
AUDIO = AudioKind(rate=8000, max_seconds=1.0)


@pytest.fixture(autouse=True)
def _close_pictures() -> Iterator[None]:
    yield
    gc.collect()


def _files(folder: Path) -> None:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(folder / "good.png")
    whole = (folder / "good.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "header.png").write_bytes(whole[:30])
    (folder / "zero.png").write_bytes(b"")
    (folder / "text.png").write_text("I am no picture")
    soundfile.write(folder / "good.wav", 0.1 * random.standard_normal(800), 8000)
    (folder / "sound.png").write_bytes((folder / "good.wav").read_bytes())
    (folder / "picture.wav").write_bytes(whole)
    (folder / "zero.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes((folder / "good.wav").read_bytes()[:20])
    (folder / "folder.png").mkdir()
    (folder / "dead.png").symlink_to(folder / "gone.png")
    (folder / "alive.png").symlink_to(folder / "good.png")


def _decoded(table: Table, column: str, kind: Any, *, workers: int = 0, memory: float = 1e9) -> Cells:
    return decode_cells(table, Modality(name=column, columns=(column,), kind=kind), workers=workers,
                        memory_bytes=memory)


def _table(folder: Path, values: list[Any], column: str = "photo") -> Table:
    return Table(table_of_rows([{column: value} for value in values]).frame, folder, "t")


def test_every_broken_picture_is_a_missing_cell_with_row_column_and_reason(tmp_path: Path) -> None:
    _files(tmp_path)
    broken = {"truncated.png": "broken picture", "header.png": "picture", "zero.png": "empty file (0 bytes)",
              "text.png": "not a picture", "sound.png": "not a picture", "missing.png": "no such file in",
              "folder.png": "is a folder", "dead.png": "a link to no file", "a\0b.png": "a NUL character"}
    cells = _decoded(_table(tmp_path, ["good.png", *broken, None, " ", "alive.png"]), "photo", IMAGE)
    assert [(c.row, c.column, c.value) for c in cells.unreadable] == [
        (row, "photo", repr(name)) for row, name in enumerate(broken, start=2)]
    for cell, words in zip(cells.unreadable, broken.values(), strict=True):
        assert (words in cell.reason) and "unreadable (empty" not in cell.reason and "\n" not in str(cell), cell
    assert cells.num_blank == 2 and len(cells.arrays) == 2
    assert cells.cells_of_row[:, 0].tolist() == [0, *[-1] * (len(broken) + 2), 1]
    assert cells.identities.tolist() == [0, len(broken) + 3]


def test_broken_sounds(tmp_path: Path) -> None:
    _files(tmp_path)
    cells = _decoded(_table(tmp_path, ["good.wav", "picture.wav", "zero.wav", "cut.wav", "none.wav"]), "photo", AUDIO)
    assert cells.cells_of_row[:, 0].tolist() == [0, -1, -1, -1, -1]
    assert [c.row for c in cells.unreadable] == [2, 3, 4, 5]


def test_paths_as_people_write_them(tmp_path: Path) -> None:
    (tmp_path / "my photos").mkdir()
    _files(tmp_path / "my photos")
    picture = tmp_path / "my photos" / "good.png"
    written = ["my photos/good.png", "my photos\\good.png", f"  {picture}  ", f"file://{picture}",
               "./my photos/../my photos/good.png"]
    assert (_decoded(_table(tmp_path, written), "photo", IMAGE).cells_of_row >= 0).all()
    assert _decoded(Table(pl.DataFrame([pl.Series("photo", [picture], dtype=pl.Object)]), Path("/nowhere"), "t",
                          allow_outside=True),
                    "photo", IMAGE).cells_of_row[:, 0].tolist() == [0]


def test_waveforms_of_other_makes_are_read_as_files_are(tmp_path: Path) -> None:
    waveform = np.linspace(-1, 1, 800, dtype=np.float32)
    whole, channels = (waveform * 32767).astype(np.int16), np.stack([waveform, waveform])
    unsigned = ((waveform + 1) * 127.5).astype(np.uint8)
    for given in (whole, channels, channels.T, unsigned, waveform.tolist()):
        heard = AUDIO.decode((given, 8000))
        assert heard.shape == (800,) and np.abs(heard - waveform).max() < 0.02
    for broken in ((waveform, 0), (waveform, -1), (np.zeros((2, 2, 2)), 8000)):
        with pytest.raises(BadCell, match="expected"):
            AUDIO.decode(broken)


def test_bytes_pictures_and_waveforms_in_cells(tmp_path: Path) -> None:
    _files(tmp_path)
    raw = (tmp_path / "good.png").read_bytes()
    by_path, by_bytes = (_decoded(_table(tmp_path, [v, v]), "photo", IMAGE) for v in ("good.png", raw))
    assert len(by_bytes.arrays) == 1
    assert np.array_equal(by_path.arrays.get([0])[0], by_bytes.arrays.get([0])[0])
    broken = _decoded(_table(tmp_path, [raw, b"junk", b""]), "photo", IMAGE)
    assert broken.cells_of_row[:, 0].tolist() == [0, -1, -1] and broken.unreadable[0].value == "bytes"
    waveform = np.linspace(-1, 1, 800, dtype=np.float32)
    heard = _decoded(_table(tmp_path, [(waveform, 8000), (waveform, 8000)]), "photo", AUDIO)
    assert np.array_equal(heard.arrays.get([1])[0], waveform)


def _many(folder: Path, number: int = 30) -> Table:
    random = np.random.default_rng(1)
    for index in range(number):
        Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    (folder / "3.png").write_bytes(b"broken")
    return _table(folder, [f"{row % number}.png" for row in range(2 * number)])


def _same(first: Cells, second: Cells) -> bool:
    every = range(len(first.arrays))
    return (first.unreadable == second.unreadable and np.array_equal(first.cells_of_row, second.cells_of_row)
            and np.array_equal(first.identities, second.identities) and len(first.arrays) == len(second.arrays)
            and all(map(np.array_equal, first.arrays.get(list(every)), second.arrays.get(list(every)))))


def test_the_number_of_workers_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "INLINE_CELLS", 0)
    monkeypatch.setattr(cells_module, "CHUNK", 7)
    table = _many(tmp_path)
    alone = _decoded(table, "photo", IMAGE, workers=0)
    assert _same(alone, _decoded(table, "photo", IMAGE, workers=2))
    assert len(alone.arrays) == 29 and [c.row for c in alone.unreadable] == [4, 34]


@pytest.mark.parametrize("memory", [0.0, 1000.0])
def test_without_memory_the_arrays_are_the_same(tmp_path: Path, memory: float) -> None:
    table = _many(tmp_path)
    rich, poor = _decoded(table, "photo", IMAGE), _decoded(table, "photo", IMAGE, memory=memory)
    assert rich.arrays.fits and not poor.arrays.fits and poor.arrays.num_bytes <= memory
    assert _same(rich, poor)
    poor.arrays.prefetch([5, 6, 5])
    assert np.array_equal(poor.arrays.get([6, 5, 6])[2], rich.arrays.get([6])[0])


def test_a_cell_that_repeats_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = _many(tmp_path)
    decoded: list[str] = []
    whole = ImageKind.decode

    def counted(self: ImageKind, cell: str) -> Any:
        decoded.append(cell)
        return whole(self, cell)

    monkeypatch.setattr(ImageKind, "decode", counted)
    cells = _decoded(table, "photo", IMAGE)
    cells.arrays.get([0, 0, 1])
    assert len(decoded) == len(set(decoded)) == 30


def test_blank_text_is_missing_and_the_word_na_is_text(tmp_path: Path) -> None:
    kind = TextKind().measure(["NA", "some text", "NA"])
    cells = _decoded(_table(tmp_path, ["NA", "", None, "  ", "some text", "NA"]), "photo", kind)
    assert cells.cells_of_row[:, 0].tolist() == [0, -1, -1, -1, 1, 0] and cells.num_blank == 3 and not cells.unreadable
    gaps = Table(pl.DataFrame([pl.Series("photo", ["a b", float("nan")], dtype=pl.Object)]), tmp_path, "t")
    assert _decoded(gaps, "photo", kind).cells_of_row[:, 0].tolist() == [0, -1]


COLUMNS = {
    "plain": ["1.5", "NA", " 2 ", "oops", None, "1e400", "nan", "inf", "1_0", "-3", ".5", "5."],
    "comma": ["1,5", "1.000", "2", "3,25", "", "x", "0,1", "7", "8", "-1,5", "1.234,5", "3.14"],
    "unit": ["5 kg", "6kg", "7", "8 lb", None, "9 kg", "kg", "1,000 kg", "-2 kg", "1", "2", "3"],
    "word": ["a", "True", "TRUE", "new", "", "NA", "1.0", "1", "a", "b ", " b", "é"],
    "day": ["2020-01-02", "3.4.2021", "NA", "no", None, "2020-01-02T12:00:00", "1/2/2020", "May 5, 2020", "2020-01-02",
            "12:30", "31.12.1999", "2020-13-01"],
    "typed": [1.5, None, float("inf"), float("nan"), -2.0, 0.0, 1e300, 7.0, 8.0, 9.0, 1e-9, 4.0],
    "whole": [1, 2, None, 3, 4, 5, 6, 7, 8, 9, 10, 2**40],
    "flag": [True, False, None] * 4,
    "object": [1, "2", None, 3.5, True, b"x", [1], "x", "4", float("nan"), 5, 6],
}
TYPES: dict[str, Any] = {"word": "category", "flag": "category", "day": "date"}


def _modality() -> tuple[Table, Modality]:
    series = [pl.Series(name, values, dtype=pl.Object if name == "object" else None)
              for name, values in COLUMNS.items()]
    notations = {"comma": Notation(decimal=","), "unit": Notation(unit="kg")}
    columns = tuple(TableColumn(name=name, type=TYPES.get(name, "number"), notation=notations.get(name, Notation()))
                    for name in COLUMNS)
    table = Table(pl.DataFrame(series), Path(), "t")
    modality = Modality(name="table", columns=tuple(COLUMNS), kind=TableKind(columns=columns))
    return table, modality.model_copy(update={"kind": measured_kind(table, modality, np.arange(9))})


def test_a_table_decoded_by_columns_equals_decode_of_every_row() -> None:
    """The naive reference: TableKind.decode and TableColumn.parse, cell by cell."""
    table, modality = _modality()
    cells = decode_cells(table, modality, workers=0, memory_bytes=0.0)
    kind = cells.kind
    assert isinstance(kind, TableKind)
    rows = list(zip(*COLUMNS.values(), strict=True))
    expected, refused = [], set()
    for number, row in enumerate(rows):
        with contextlib.suppress(BadCell):
            expected.append(kind.decode(row))
        for column, value in zip(kind.columns, row, strict=True):
            try:
                column.parse(value)
            except BadCell as error:
                refused.add((number + 1, column.name, str(error)))
    assert np.array_equal(np.stack(expected), np.stack(cells.arrays.get(range(len(expected)))), equal_nan=True)
    assert {(c.row, c.column, c.reason) for c in cells.unreadable} == refused
    assert [c.row for c in cells.unreadable] == sorted(c.row for c in cells.unreadable)
    assert np.isfinite(np.stack(expected)[~np.isnan(np.stack(expected))]).all()


def test_measuring_by_columns_equals_measuring_cells() -> None:
    table, modality = _modality()
    assert isinstance(modality.kind, TableKind)
    rows = list(zip(*(values[:9] for values in COLUMNS.values()), strict=True))
    assert modality.kind.measure(rows) == modality.kind


def test_unseen_categories_are_counted_not_unreadable() -> None:
    kind = TableKind(columns=(TableColumn(name="w", type="category"),)).measure([("a",), ("b",), ("True",)])
    table = Table(pl.DataFrame({"w": ["a", "new", "new", "other", "NA", "TRUE"]}), Path(), "t")
    cells = decode_cells(table, Modality(name="table", columns=("w",), kind=kind), workers=0, memory_bytes=1e9)
    assert cells.cells_of_row[:, 0].tolist() == [0, -1, -1, -1, -1, 1] and not cells.unreadable and cells.num_blank == 4
    assert cells.notes == ("column 'w': 3 cells hold categories unseen in training or too rare there ('new' 2, "
                           "'other' 1) and count as missing",)


def test_thousands_of_categories_keep_the_most_frequent() -> None:
    values = [f"w{min(row % 3000, row % 7)}" for row in range(3000)] + [f"rare{row}" for row in range(3000)]
    column = TableColumn(name="w", type="category").measure(values)
    assert len(column.categories) == 1000 and set(column.categories[:7]) == {f"w{i}" for i in range(7)}


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    decode_cells(_many(tmp_path), Modality(name="photo", columns=("photo",), kind=IMAGE), workers=0, memory_bytes=1e9,
                 progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (30, 30)


def test_cell_numbers_name_shared_files() -> None:
    table = Table(pl.DataFrame({"photo": ["a.png", "b.png", None, "a.png"]}), Path(), "t")
    assert cell_numbers(table, Modality(name="photo", columns=("photo",), kind=IMAGE)).tolist() == [[0], [1], [-1], [0]]
