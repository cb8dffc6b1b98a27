"""Aligned samples as a table: read back by sensorium with the same presence, and trained on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from sensorium.data.kinds import SeriesKind
from sensorium.data.read import read
from sensorium.data.samples import decoded, measured
from sensorium.data.streams.align import Aligned, align
from sensorium.data.streams.aligned_table import write_table
from sensorium.data.streams.stream import Events, Stream
from sensorium.errors import DataError


def recording(folder: Path, seed: int = 0, events: int = 30) -> Aligned:
    """A camera that is off for a while, a GPS with two channels, a pulse as windows, remarks; labelled events."""
    draws = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    pictures = []
    for number in range(40):
        Image.fromarray(draws.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        pictures.append(folder / f"{number}.png")
    stamps = np.arange(40) / 2
    kept = (stamps < 5) | (stamps > 8)
    camera = Stream("camera", stamps[kept], [p for p, k in zip(pictures, kept, strict=True) if k])
    gps = Stream("gps", np.arange(0.0, 15.0), {"lat": draws.normal(size=15), "lon": draws.normal(size=15)})
    pulse = Stream("pulse", np.arange(400) / 20 + 3, draws.normal(size=400))
    notes = Stream("notes", [2.0, 2.5, 16.0],
                   ["all quiet here today", "a dog barks nearby, loudly", "rain begins to fall"])
    moments = np.sort(draws.uniform(0, 20, events))
    labels = Events.of({"time": moments, "label": ["walk" if m % 2 < 1 else "stand" for m in moments]})
    return align([camera, gps, pulse, notes], events=labels, method={"gps": "interpolate"},
                 window={"pulse": (1.0, 0.5), "notes": (3.0, 0.0)}, tolerance={"camera": 0.3})


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_what_is_read_back_is_what_was_aligned(tmp_path: Path, format: str) -> None:
    aligned = recording(tmp_path / "raw")
    path = aligned.to_table(tmp_path / "table", format=format)  # type: ignore[arg-type]
    assert sorted(p.name for p in path.parent.iterdir()) == ["clock.csv", "files", f"table.{format}", "windows"]
    frame = pl.read_parquet(path) if format == "parquet" else pl.read_csv(path)
    assert frame.columns == ["label", "camera", "gps.lat", "gps.lon", "pulse", "notes"]
    there = np.stack([~frame[name].is_null().to_numpy() for name in ("camera", "gps.lat", "pulse", "notes")], axis=1)
    np.testing.assert_array_equal(there, aligned.presence)
    assert not aligned.presence.all(axis=0).any() and aligned.presence.any(axis=0).all()
    np.testing.assert_allclose(frame["gps.lat"].to_numpy(), aligned.values("gps")[:, 0])
    for row, (cell, source) in enumerate(zip(frame["camera"], aligned.values("camera"), strict=True)):
        assert cell is None or (path.parent / cell).read_bytes() == Path(source).read_bytes(), row
    clock = pl.read_csv(path.parent / "clock.csv")
    np.testing.assert_allclose(clock["time"].to_numpy(), aligned.times)
    late = clock["camera.seconds"].drop_nulls().to_numpy()
    assert len(late) == aligned.presence[:, 0].sum() and np.abs(late).max() <= 0.3 + 1e-9


def test_the_library_reads_it_with_presence_and_seconds(tmp_path: Path) -> None:
    aligned = recording(tmp_path / "raw")
    path = aligned.to_table(tmp_path / "table")
    data = read(path, targets="label", kinds={"notes": "text"}, modalities={"gps": ["gps.lat", "gps.lon"]})
    assert {m.name: m.kind.name for m in data.schema.modalities} == {
        "camera": "image", "gps": "table", "pulse": "series", "notes": "text"}
    samples = decoded(data.table, measured(data.table, data.schema, np.arange(len(data))), workers=0, memory_bytes=1e9)
    order = [samples.schema.names.index(name) for name in aligned.names]
    np.testing.assert_array_equal(samples.presence[:, order], aligned.presence)
    assert not samples.unreadable
    cells = [str(path.parent / cell) for cell in data.table.frame["pulse"] if cell is not None]
    kind = SeriesKind().measure(cells)
    assert kind.channels == ("pulse",) and kind.time == "time" and kind.rate == pytest.approx(20, rel=0.01)
    windows = [window for window in aligned.windows("pulse") if len(window[0])]
    for cell, (seconds, values) in zip(cells, windows, strict=True):
        window = kind.decode(cell)
        assert window.start == pytest.approx(seconds[0]) and seconds[0] > -1.0 and seconds[-1] <= 0.5
        standard = (values[:, 0] - kind.mean[0]) / kind.std[0]
        np.testing.assert_allclose(window.values[: len(seconds), 0], standard[: len(window.values)], atol=1e-3)


def test_windows_of_files_are_lists_and_files_are_brought_in_once(tmp_path: Path) -> None:
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            (tmp_path / folder / f"{number}.png").write_text(f"{folder} {number}")
    frames = [tmp_path / side / f"{number}.png" for number in range(3) for side in ("left", "right")]
    camera = Stream("camera", np.arange(6.0), frames)
    aligned = align([camera], at=[1.0, 2.0, 50.0], window=(2.0, 0.0))
    path = aligned.to_table(tmp_path / "table")
    cells = pl.read_parquet(path)["camera"].to_list()
    assert cells[2] is None and len(json.loads(cells[1])) == 2
    texts = [[(path.parent / name).read_text() for name in json.loads(cell)] for cell in cells[:2]]
    assert texts == [["left 0", "right 0"], ["right 0", "left 1"]]
    assert len(list((path.parent / "files/camera").iterdir())) == 3  # the one of both windows is there once


def test_a_file_that_is_not_there_stays_a_cell_that_cannot_be_read(tmp_path: Path) -> None:
    camera = Stream("camera", [0.0, 1.0], [tmp_path / "a.png", tmp_path / "gone.png"])
    (tmp_path / "a.png").write_text("a")
    path = align([camera], at="camera").to_table(tmp_path / "table")
    assert pl.read_parquet(path)["camera"].to_list() == ["files/camera/a.png", "files/camera/gone.png"]
    assert [p.name for p in (path.parent / "files/camera").iterdir()] == ["a.png"]


def test_a_channel_called_time_is_not_the_time(tmp_path: Path) -> None:
    stream = Stream("s", np.arange(10.0), {"time": np.full(10, 7.0), "x": np.arange(10.0)})
    path = align([stream], at=[5.0], window=(3.0, 0.0)).to_table(tmp_path / "table")
    window = np.load(path.parent / "windows/s/000000.npy")
    assert window.dtype.names == ("time_s", "time", "x") and window["time_s"].tolist() == [-2.0, -1.0, 0.0]


def test_several_recordings_are_told_apart(tmp_path: Path) -> None:
    parts = {"monday": recording(tmp_path / "a", 1, events=5), "tuesday": recording(tmp_path / "b", 2, events=7)}
    path = write_table(tmp_path / "table", parts, format="csv")
    frame = pl.read_csv(path)
    assert frame["recording"].to_list() == ["monday"] * 5 + ["tuesday"] * 7
    files = [cell for cell in frame["pulse"] if cell is not None]
    assert len(set(files)) == len(files) and all((path.parent / cell).is_file() for cell in files)
    pictures = frame["camera"].drop_nulls().to_list()
    sources = [v for aligned in parts.values() for v in aligned.values("camera") if v is not None]
    assert [(path.parent / p).read_bytes() for p in pictures] == [Path(s).read_bytes() for s in sources]


def test_what_cannot_be_written_says_why(tmp_path: Path) -> None:
    gps = Stream("gps", [0.0, 1.0], [1.0, 2.0])
    aligned = align([gps], at=[0.0])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(DataError, match="is not an empty folder: choose a new one"):
        aligned.to_table(tmp_path / "full")
    with pytest.raises(DataError, match="unknown format 'xls'"):
        aligned.to_table(tmp_path / "new", format="xls")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no recordings given"):
        write_table(tmp_path / "new", {})
    doubled = align([gps], events=Events.of({"time": [0.0], "gps": [3]}))
    with pytest.raises(DataError, match="two columns would be called 'gps'"):
        doubled.to_table(tmp_path / "new")
    other = align([Stream("imu", [0.0, 1.0], [1.0, 2.0])], at=[0.0])
    with pytest.raises(DataError, match="recording 'b' has the columns recording, imu"):
        write_table(tmp_path / "new", {"a": aligned, "b": other})
    assert not (tmp_path / "new").exists()


def test_the_page_s_example_runs_and_says_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "streams.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/streams.md", "exec"), {})
    said = capsys.readouterr().out
    for promised in re.findall(r"print\(.*#\s(\S.*)$", code, flags=re.MULTILINE):
        assert promised in said or promised == "what was dropped, what is absent"
    assert pl.read_parquet(tmp_path / "drive" / "table.parquet")["label"].to_list() == ["brake", "none"] * 2
