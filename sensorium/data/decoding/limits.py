"""What a process that decodes may take: seconds and memory for each cell, and nothing of the terminal.

Where the platform has no such limits (Windows has neither, macOS only the seconds), decoding goes on without them.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from sensorium.data.kinds.base import Cell

SECONDS = 2.0
BYTES_A_SECOND = 1 << 20
MOST_SECONDS = 60.0
PATIENCE = 3.0
MEMORY_BYTES = 512 << 20
DECODERS: dict[str, tuple[str, ...]] = {
    "image": ("PIL.ImageOps", "PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.MpoImagePlugin",
              "PIL.PngImagePlugin", "PIL.PpmImagePlugin", "PIL.TiffImagePlugin", "PIL.WebPImagePlugin"),
    "audio": ("soundfile", "soxr", "av"),
    "video": ("av",),
    "series": ("polars", "pyarrow.parquet", "sensorium.data.streams.stamps"),
    "points": ("polars", "pyarrow.parquet", "sensorium.data.streams.stamps"),
}
_STATM = Path("/proc/self/statm")


def allowed_seconds(source: Cell, seconds: float = SECONDS) -> float:
    """The processor time a cell may take: `seconds`, and one more for every MiB of its file; at most a minute.

    A picture, a sound or a table of usual size takes some milliseconds; ten seconds of 1080p video (about 10 MB) some
    two seconds. A small file that takes longer is a bomb.

    Example:
        >>> allowed_seconds(bytes(1 << 20))
        3.0
    """
    try:
        size = len(source) if isinstance(source, bytes) else os.stat(source).st_size  # noqa: PTH116  (once a cell)
    except (OSError, TypeError, ValueError):
        size = 0
    return max(seconds, min(MOST_SECONDS, seconds + size / BYTES_A_SECOND))


def start_clock(seconds: float) -> None:
    """From now on this process may use so many seconds of processor time, and thrice that by the clock on the wall.

    Then the system ends it, by SIGPROF or SIGALRM: a decoder that hangs in C code would hear nothing else.
    """
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE * seconds)


def stop_clock() -> None:
    """No more limit on time."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def is_overtime(exit_code: int | None) -> bool:
    """Whether a process that ended so had used up its processor time."""
    return sys.platform != "win32" and exit_code == -signal.SIGPROF


def is_overdue(exit_code: int | None) -> bool:
    """Whether a process that ended so had taken too long by the clock on the wall."""
    return sys.platform != "win32" and exit_code == -signal.SIGALRM


def memory_in_use() -> int:
    """Bytes of this process's own memory (heap, anonymous mappings, stack), as RLIMIT_DATA counts it; 0 if unknown."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_bytes().split()[5]) * os.sysconf("SC_PAGE_SIZE")


def limit_memory(kind_name: str, memory_bytes: int) -> int:
    """Import what decodes this kind, then allow so many bytes more.

    Returns: the bytes in use before the first cell; 0 where there is no such limit.
    """
    for module in DECODERS.get(kind_name, ()):
        with suppress(ImportError):  # what reads other files of the kind; a cell that needs it says so
            importlib.import_module(module)
    used = memory_in_use()
    if used and sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = used + memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))
    return used


def retire_from_terminal() -> None:
    """Say nothing, leave no core dump, and leave Ctrl-C to the process that asked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    if sys.platform != "win32":
        import resource

        for number in (signal.SIGPROF, signal.SIGALRM, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
