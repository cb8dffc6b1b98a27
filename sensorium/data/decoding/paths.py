"""Which files a table may name: those in its own folder, unless the user allows others."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sensorium.data.decoding.files import first_line
from sensorium.errors import BadCell

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_HERE = ("file:///", "file://localhost/")


class TableFolder:
    """The folder that a table's paths start from. What is found out about folders is remembered, so keep it briefly.

    Args:
        root: the folder.
        allow_outside: whether paths may lead out of it.

    Example:
        >>> TableFolder("/data").located("a/b.png")
        '/data/a/b.png'
        >>> TableFolder("/data").located("../etc/passwd")
        Traceback (most recent call last):
        sensorium.errors.BadCell: lies outside the table's folder '/data'; --allow-outside reads such files too
    """

    def __init__(self, root: str | Path, *, allow_outside: bool = False) -> None:
        self._root = Path(root).absolute()
        self._inside = None if allow_outside else Path(root).resolve()
        self._folders: dict[Path, bool] = {}

    def located(self, value: str | Path) -> str:
        """The absolute path that a cell names. That a file is there is not yet said.

        A path written on Windows is read too where there is no file of that very name. Links count as what they lead
        to: a link in the folder to a file outside lies outside.

        Raises:
            BadCell: the path leads out of the folder, to another machine, or is none.
        """
        text = str(value).strip()
        if "\0" in text:
            raise BadCell("a path with a NUL character in it")
        for prefix in _HERE:
            if text.lower().startswith(prefix):
                text = text[len(prefix) - 1 :]
        if _ADDRESS.match(text):
            raise BadCell("an address, not a file: only files are read")
        if text.startswith("\\\\"):
            raise BadCell("a path on another machine: only files of this one are read")
        path = self._root / text
        if "\\" in text and not os.path.lexists(path):
            path = self._root / text.replace("\\", "/")
        if not self._is_inside(path):
            raise BadCell(f"lies outside the table's folder {str(self._root)!r}; --allow-outside reads such files too")
        return str(path)

    def _is_inside(self, path: Path) -> bool:
        """Whether the file lies in the folder, or need not; every folder on the way is looked at once."""
        if self._inside is None:
            return True
        try:
            if path.name == ".." or path.is_symlink():
                return path.resolve().is_relative_to(self._inside)
            folder = path.parent
            if folder not in self._folders:
                self._folders[folder] = folder.resolve().is_relative_to(self._inside)
        except (OSError, RuntimeError) as error:  # a link to itself is a RuntimeError
            raise BadCell(f"a path that leads nowhere ({first_line(error)})") from error
        return self._folders[folder]


def located(value: str | Path, root: str | Path, *, allow_outside: bool = False) -> str:
    """The same for one path; see `TableFolder.located`.

    Example:
        >>> located("/data/a.png", "/data")
        '/data/a.png'
    """
    return TableFolder(root, allow_outside=allow_outside).located(value)
