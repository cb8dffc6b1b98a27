"""Files that survive a crash: written beside, forced to the disk, renamed; and one writer at a time."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensorium.errors import DataError, SensoriumError

LOCK = "lock"


def force(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that whoever reads it finds the old content or the new one, whole."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    force(path.parent)


def force_folder(folder: Path) -> None:
    """Wait until the files of a folder, and its own name, are on the disk."""
    for file in folder.iterdir():
        force(file)
    force(folder)
    force(folder.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder with what is in it, where it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; it is free again when this process ends, however it ends.

    Raises:
        DataError: another process holds it.
    """
    try:
        import fcntl
    except ImportError as error:  # Windows
        raise SensoriumError("an index is written on Linux and macOS only; it can be read here") from error

    with (folder / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"the index {str(folder)!r} is being written by another process: try again when it is "
                            f"done") from error
        yield
