"""Hugging Face `datasets` objects as tables: media stay undecoded, class numbers become names, splits a column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from sensorium.data.table import Table, unwrapped
from sensorium.errors import DataError


def is_dataset(source: Any) -> bool:
    """Whether something is an object of the package `datasets`, which is not imported for the question."""
    return type(source).__module__.split(".")[0] == "datasets"


def table_of_dataset(source: Any) -> Table:
    """A Dataset, a DatasetDict (its splits as a column `split`), or their iterable kin, read to the end.

    Columns of pictures, sounds and videos are read as the bytes or paths they hold; sensorium decodes them itself.

    Raises:
        DataError: an object of another type, or without rows.
    """
    import datasets

    if isinstance(source, datasets.DatasetDict | datasets.IterableDatasetDict):
        frames = [_frame(part).with_columns(pl.lit(str(name)).alias("split")) for name, part in source.items()]
        frame = pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()
    elif isinstance(source, datasets.Dataset | datasets.IterableDataset):
        frame = _frame(source)
    else:
        raise DataError(f"cannot read a {type(source).__name__} of the package datasets: expected a Dataset or a "
                        f"DatasetDict")
    if frame.width == 0 or frame.height == 0:
        raise DataError(f"the dataset has no rows: {frame.width} columns, {frame.height} rows")
    return Table(frame, Path(), f"a dataset of {frame.height} rows", allow_outside=True)


def _frame(part: Any) -> pl.DataFrame:
    """One split's cells."""
    import datasets

    for name, feature in (part.features or {}).items():
        if isinstance(feature, datasets.Image | datasets.Audio | datasets.Video):
            part = part.cast_column(name, _undecoded(feature))
        elif isinstance(feature, datasets.List) and isinstance(
                feature.feature, datasets.Image | datasets.Audio | datasets.Video):
            part = part.cast_column(name, datasets.List(_undecoded(feature.feature)))
    if isinstance(part, datasets.IterableDataset):
        part = datasets.Dataset.from_list(list(part), features=part.features)
    frame = pl.DataFrame(pl.from_arrow(part.with_format("arrow")[:]))
    for name, feature in part.features.items():
        if isinstance(feature, datasets.ClassLabel):
            names = dict(enumerate(feature.names))
            frame = frame.with_columns(pl.col(name).replace_strict(names, default=None, return_dtype=pl.String))
    return unwrapped(frame)


def _undecoded(feature: Any) -> Any:
    """The same feature, giving bytes and paths instead of decoded media."""
    return type(feature)(decode=False)
