"""The files that `sensorium generate` writes: pictures, a sheet of them, a table of what was made of each row."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class MadeFiles:
    """Where things go.

    Args:
        to: the modality that is made.
        folder: the folder; it is made where it is not there.
        number: things a row.
        pictures: whether they are pictures; else texts.
    """

    to: str
    folder: Path
    number: int
    pictures: bool

    @property
    def table(self) -> Path:
        """The table of what was made of each row: photo.csv."""
        return self.folder / f"{self._stem}.csv"

    @property
    def headers(self) -> list[str]:
        """Of its columns: photo, or photo 1, photo 2 …"""
        return [self.to] if self.number == 1 else [f"{self.to} {place + 1}" for place in range(self.number)]

    def refuse_taken(self, rows: Sequence[int | None], *, overwrite: bool, read: Path | None = None) -> None:
        """Raise DataError where one of the files is there already, or is the table that is read.

        Args:
            rows: row numbers from 0, or None for the only row.
            overwrite: replace them, but for the table that is read.
            read: that table.
        """
        files = [] if not self.pictures else [file for row in rows for file in self._files(row)]
        if read is not None:
            files.append(self.table)
        if self.pictures and len(files) > 1:
            files.append(self._sheet)
        for file in files:
            if read is not None and file.resolve() == read.resolve():
                raise DataError(f"{str(file)!r} is the table that is read: choose another --out")
            if not overwrite and file.exists():
                raise DataError(f"{str(file)!r} is there already: choose another --out, or --overwrite to replace it")

    def save(self, row: int | None, made: Sequence[Image]) -> list[str]:
        """Write a row's pictures; returns their paths."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = self._files(row)
        for file, picture in zip(files, made, strict=True):
            picture.save(file)
        return [str(file) for file in files]

    def save_sheet(self, made: Sequence[Sequence[Image]]) -> str | None:
        """Write a sheet of the first rows' pictures, where there are several; returns its path."""
        from sensorium.evaluation.sheet import sheet

        if sum(map(len, made)) < 2:
            return None
        sheet([list(own) for own in made]).save(self._sheet)
        return str(self._sheet)

    def save_table(self, copied: Sequence[Mapping[str, Any]], made: Sequence[Sequence[str]]) -> None:
        """Write a CSV with a line a row: its number, from 1, its copied cells, then its texts or its pictures' names.

        Args:
            copied: each row's cells of some columns.
            made: each row's texts or paths; none where nothing was made.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        names = list(copied[0])
        with self.table.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened, lineterminator="\n")
            writer.writerow(["row", *names, *self.headers])
            for row, (cells, own) in enumerate(zip(copied, made, strict=True)):
                told = [Path(one).name for one in own] if self.pictures else list(own)
                writer.writerow([row + 1, *cells.values(), *told, *[""] * (self.number - len(told))])

    def refuse_repeated(self, copied: Sequence[str]) -> None:
        """Raise DataError where a copied column is called as another one of the table."""
        names = ["row", *copied, *self.headers]
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise DataError(f"two columns of {self.table.name} would be named {repeated[0]!r}: leave it out of --id")

    @property
    def _stem(self) -> str:
        return "".join(letter if letter.isalnum() else "_" for letter in self.to)

    @property
    def _sheet(self) -> Path:
        return self.folder / f"{self._stem}-all.png"

    def _files(self, row: int | None) -> list[Path]:
        """photo-1.png …, or photo-row3-1.png … of a table."""
        stem = self._stem if row is None else f"{self._stem}-row{row + 1}"
        return [self.folder / f"{stem}-{place + 1}.png" for place in range(self.number)]
