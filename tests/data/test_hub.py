"""Objects of the package `datasets` as tables."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sensorium.data.hub import is_dataset
from sensorium.data.read import as_samples, read
from sensorium.data.samples import measured
from sensorium.errors import DataError

datasets = pytest.importorskip("datasets")


def _png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 5, 3), level, dtype=np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def _dataset(rows: int = 8, **more: Any) -> Any:
    features = datasets.Features({
        "photo": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"]), "note": datasets.Value("string"),
        "views": datasets.List(datasets.Image()), "signal": datasets.List(datasets.Value("float32")), **more})
    return datasets.Dataset.from_dict({
        "photo": [{"bytes": _png(10 * row), "path": None} for row in range(rows)],
        "label": [row % 2 for row in range(rows)],
        "note": [f"the note of row {row} is this" for row in range(rows)],
        "views": [[{"bytes": _png(row), "path": None}] * (1 + row % 2) for row in range(rows)],
        "signal": [[float(row), 1.0, 2.0] for row in range(rows)], **{name: [None] * rows for name in more},
    }, features=features)


def test_media_lists_classes_and_splits() -> None:
    whole = datasets.DatasetDict({"train": _dataset(8), "test": _dataset(4)})
    data = read(whole, targets="label")
    kinds = {modality.name: modality.kind.name for modality in data.schema.modalities}
    assert kinds == {"photo": "image", "note": "text", "views": "image", "signal": "series"}
    assert data.schema.targets[0].classes == ("cat", "dog") and data.schema.split == "split" and len(data) == 12
    samples = as_samples(data, measured(data.table, data.schema, np.arange(12)))
    assert samples.presence.all() and not samples.unreadable
    photo = samples.cells["photo"]
    assert [int(a[0, 0, 0]) for a in photo.arrays.get(photo.cells_of_row[:3, 0].tolist())] == [0, 10, 20]
    assert (samples.cells["views"].cells_of_row >= 0).sum(axis=1).tolist()[:4] == [1, 2, 1, 2]


def test_a_selection_and_a_stream_are_read_as_they_are() -> None:
    chosen = _dataset(8).select([6, 2, 4])
    for source in (chosen, chosen.to_iterable_dataset()):
        assert read(source, targets="label").table.frame["note"].to_list() == [
            f"the note of row {row} is this" for row in (6, 2, 4)]


def test_media_given_as_paths_are_read(tmp_path: Path) -> None:
    for row in range(8):
        (tmp_path / f"{row}.png").write_bytes(_png(row))
    paths = [str(tmp_path / f"{row}.png") for row in range(8)]
    source = datasets.Dataset.from_dict({"photo": [*paths[:7], None], "label": ["a", "b"] * 4})
    data = read(source.cast_column("photo", datasets.Image()), targets="label")
    assert [m.kind.name for m in data.schema.modalities] == ["image"]
    samples = as_samples(data, measured(data.table, data.schema, np.arange(8)))
    assert samples.presence[:, 0].tolist() == [True] * 7 + [False] and not samples.unreadable


def test_what_is_no_table_is_refused() -> None:
    assert is_dataset(_dataset(1)) and not is_dataset([{"a": 1}]) and not is_dataset("x.csv")
    with pytest.raises(DataError, match="no rows"):
        read(_dataset(2).select([]))
    with pytest.raises(DataError, match="a Features of the package datasets"):
        read(_dataset(2).features)
