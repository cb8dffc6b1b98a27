"""Files that cells name, and reasons in a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sensorium.errors import BadCell


def first_line(error: Exception) -> str:
    """An exception's first line, shortened: enough for a reason beside a cell."""
    text = str(error).splitlines()
    return text[0][:120] if text else type(error).__name__


def existing_file(cell: Any) -> Path:
    """The path of a media cell, if there is a file with something in it."""
    if not isinstance(cell, str | Path):
        raise BadCell(f"expected a path or bytes, found {type(cell).__name__}")
    path = Path(cell)
    try:
        if not path.is_file():
            raise BadCell("is a folder, not a file" if path.is_dir()
                          else "is a device or a pipe, not a file" if path.exists()
                          else "a link to no file" if path.is_symlink() else f"no such file in {str(path.parent)!r}")
        if path.stat().st_size == 0:
            raise BadCell("empty file (0 bytes)")
    except BadCell:
        raise
    except (OSError, ValueError) as error:
        raise BadCell(f"unreadable ({first_line(error)})") from error
    return path
