"""One file of stored tokens: it appears whole or not at all, is mapped into memory, and is checked before it is read.

A segment is a safetensors file, so any reader of that format opens it:

======= ==================== ==================================================================================
name    shape                content
======= ==================== ==================================================================================
digests (cell, 16) uint8     what each cell is
starts  (cell + 1,) int64    the tokens of cell c are those from starts[c] up to starts[c + 1]
values  (token, width)       float16; float32 where a value is beyond float16's range or all are below it
span    (token, place)       float32; place 0 where the encoder gives none
======= ==================== ==================================================================================

Its metadata holds a CRC-32 of each of these and of their types and shapes. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from sensorium.data.cache.digest import DIGEST_BYTES
from sensorium.errors import DataError

SUFFIX, PART = ".tokens", ".part"
TYPES = {"U8": np.uint8, "I64": np.int64, "F16": np.float16, "F32": np.float32}
NAMES = ("digests", "span", "starts", "values")
LARGEST, SMALLEST = float(np.finfo(np.float16).max), float(np.finfo(np.float16).smallest_normal)
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float16] | npt.NDArray[np.float32]


class DamagedSegment(DataError):
    """A segment is not what was written: cut short, or changed."""


@dataclass(eq=False)
class Segment:
    """A segment mapped into memory; it stays readable when its file is unlinked.

    Args:
        path: the file.
        digests: (cell,) of 16 bytes.
        starts: (cell + 1,) where each cell's tokens start.
        values: (token, width) mapped.
        span: (token, place) mapped.
        checksums: the CRC-32 that values and span must have.
        checked: whether they have been found to have it.
    """

    path: Path
    digests: list[bytes]
    starts: Int64s
    values: Floats
    span: npt.NDArray[np.float32]
    checksums: dict[str, int] = field(default_factory=dict)
    checked: bool = False

    @classmethod
    def open(cls, path: Path) -> Segment:
        """Map a segment; head and index are checked now, values and span by `check` before they are read.

        Raises:
            DamagedSegment: it is not whole.
            OSError: it cannot be read (not there any more, no permission).
        """
        try:
            arrays, checksums = _mapped(path)
            if any(zlib.crc32(arrays[name].data) != checksums[name] for name in ("digests", "starts")):
                raise ValueError("the checksum of its index is wrong")
            starts, raw = arrays["starts"], arrays["digests"].tobytes()
            if len(starts) != len(arrays["digests"]) + 1 or starts[-1] != len(arrays["values"]):
                raise ValueError("its index does not fit its values")
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
            raise DamagedSegment(f"{path.name}: {str(error).splitlines()[0] if str(error) else 'broken'}") from error
        digests = [raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES)]
        return cls(path, digests, np.array(starts), arrays["values"], arrays["span"], checksums)

    def check(self) -> None:
        """Compare values and span with their checksums, once. Raises DamagedSegment."""
        if not self.checked:
            found = {"values": zlib.crc32(self.values.data), "span": zlib.crc32(self.span.data)}
            if any(self.checksums[name] != checksum for name, checksum in found.items()):
                raise DamagedSegment(f"{self.path.name}: the checksum of its values is wrong")
            self.checked = True

    def use(self) -> None:
        """Note that this process reads the segment: it is the most recently used, and this process keeps it."""
        if self not in _USED:
            _USED.add(self)
            with contextlib.suppress(OSError):  # a read-only cache is read all the same
                os.utime(self.path)


_USED: WeakSet[Segment] = WeakSet()


def paths_in_use() -> set[Path]:
    """The files of the segments that this process reads."""
    return {segment.path for segment in _USED}


def write_segment(
    folder: Path, digests: list[bytes], starts: Int64s, values: Floats, span: npt.NDArray[np.float32],
) -> Path:
    """Write a segment under a name that no other process chooses; it appears whole or not at all.

    Args:
        folder: where.
        digests: (cell,) of 16 bytes.
        starts: (cell + 1,) where each cell's tokens start.
        values: (token, width).
        span: (token, place).

    Raises:
        OSError: the disk is full, or cannot be written to.
    """
    from safetensors.numpy import save

    index = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(digests), DIGEST_BYTES)
    arrays: dict[str, npt.NDArray[Any]] = {
        "digests": index, "starts": starts, "values": np.ascontiguousarray(values),
        "span": np.ascontiguousarray(span)}
    words = {dtype: word for word, dtype in TYPES.items()}
    facts = {name: [words[array.dtype.type], list(array.shape), zlib.crc32(array.data)]
             for name, array in arrays.items()}
    checksums = json.dumps(facts, sort_keys=True)
    content = save(arrays, metadata={"checksums": checksums, "head": str(zlib.crc32(checksums.encode()))})
    path = folder / f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    part = path.with_suffix(PART)
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    return path


def compact(values: npt.NDArray[np.floating], mask: npt.NDArray[np.bool_]) -> Floats:
    """Float16, or float32 where a real value is beyond its range, or a cell's largest one is below it."""
    sizes = np.abs(values) if mask.all() else np.where(mask[:, :, None], np.abs(values), 0.0)
    largest = np.fmax.reduce(sizes, axis=(1, 2), initial=0.0)
    if ((largest <= LARGEST) & ((largest >= SMALLEST) | (largest == 0.0))).all():
        with np.errstate(over="ignore"):  # under the mask
            return values.astype(np.float16)
    return values.astype(np.float32)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """A safetensors header and where the data starts."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"cut short: {size} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no dictionary")
    return header, 8 + length


def segment_counts(path: Path) -> tuple[int, int]:
    """(cells, tokens) of a segment as its header says, unchecked. Raises OSError or ValueError."""
    try:
        header, _ = _header(path)
        return int(header["digests"]["shape"][0]), int(header["values"]["shape"][0])
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path.name}: not a segment") from error


def _mapped(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, int]]:
    """The arrays of a segment and their checksums. Raises ValueError and its like where the head is wrong."""
    header, begin = _header(path)
    metadata = header["__metadata__"]
    if zlib.crc32(metadata["checksums"].encode()) != int(metadata["head"]):
        raise ValueError("the checksum of its head is wrong")
    facts = json.loads(metadata["checksums"])
    if {name: [header[name]["dtype"], header[name]["shape"]] for name in NAMES} != {
            name: facts[name][:2] for name in NAMES}:
        raise ValueError("its header is not what was written")
    mapped = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    if len(mapped) != begin + max(header[name]["data_offsets"][1] for name in NAMES):
        raise ValueError(f"cut short: {len(mapped)} bytes")
    arrays = {}
    for name in NAMES:
        first, last = header[name]["data_offsets"]
        dtype: type[Any] = TYPES[header[name]["dtype"]]
        arrays[name] = mapped[begin + first : begin + last].view(dtype).reshape(header[name]["shape"])
    return arrays, {name: int(facts[name][2]) for name in NAMES}
