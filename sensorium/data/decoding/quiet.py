"""Warnings of a decoding library kept from the terminal: what is wrong with a cell is said beside the cell."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
_INSIDE: dict[str, int] = {}
_KEPT: dict[str, warnings.catch_warnings[None]] = {}


@contextmanager
def without_warnings(module: str) -> Iterator[None]:
    """Ignore the warnings that a package raises, in all threads, until the last of them has left.

    Args:
        module: the package's name; warnings of others are heard as before.

    Example:
        >>> with without_warnings("PIL"):
        ...     pass
    """
    with _LOCK:
        _INSIDE[module] = _INSIDE.get(module, 0) + 1
        if _INSIDE[module] == 1:
            _KEPT[module] = warnings.catch_warnings()
            _KEPT[module].__enter__()
            warnings.filterwarnings("ignore", module=rf"{module}\.")
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE[module] -= 1
            if _INSIDE[module] == 0:
                _KEPT.pop(module).__exit__(None, None, None)
