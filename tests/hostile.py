"""A kind that does harm, for the tests of what guards against it. Decoding processes import this: it stays light."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium.errors import BadCell

KEPT: list[Any] = []


@dataclass(frozen=True)
class HarmfulKind:
    """Does to its process what the cell says; a cell of digits becomes that number, and one that is a path its text."""

    name: ClassVar[str] = "harmful"
    broken: bool = False

    def decode(self, cell: Any) -> Any:
        word, _, rest = cell.partition(" ") if isinstance(cell, str) else ("bytes", "", "")
        assert not self.broken, "a kind that is broken"
        if word == "segfault":
            ctypes.string_at(0)
        elif word == "exit":
            os._exit(int(rest))
        elif word == "once":  # crashes over the file's first reader only
            marker = Path(rest)
            if not marker.exists():
                marker.touch()
                os.abort()
        elif word == "spin":
            while True:
                pass
        elif word == "sleep":
            time.sleep(float(rest))
        elif word == "swallow":
            return len(np.ones(int(rest) << 20, dtype=np.uint8))
        elif word == "keep":
            KEPT.append(np.ones(int(rest) << 20, dtype=np.uint8))
        elif word == "hide":  # as decoders do that turn every error into their own
            try:
                np.ones(1 << 40, dtype=np.uint8)
            except MemoryError as error:
                raise BadCell("broken") from error
        elif word == "raise":
            raise KeyError(rest)
        elif word == "bad":
            raise BadCell(rest)
        elif word == "shout":
            os.write(2, b"noise of a decoder\n")
            print("more noise", flush=True)
        elif word == "pid":
            return os.getpid()
        elif word == "modules":
            return sorted(sys.modules)
        elif word == "array":
            return np.full((int(rest), 1 << 10), 7, dtype=np.uint8)
        elif word == "bytes":
            return len(cell)
        return int(word) if word.isdigit() else word
