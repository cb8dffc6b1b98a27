"""What identifies content: a cell by its bytes, an encoder by its weights, stored tokens by both and all settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
DIGEST_BYTES = 16
REMEMBERED_FILES = 1_000_000


def content_digest(cell: Any) -> str:
    """The digest of a cell's content.

    A file and the same bytes in memory have the same digest; a file is read again only when its size or time changes.

    Args:
        cell: a Path (its file is read), bytes, a string (the text itself, never taken for a path), a number, None, an
            array, a picture of Pillow, a decoded cell that is a dataclass of these, or a sequence of these.

    Returns:
        32 hexadecimal digits (blake2b).

    Raises:
        OSError: the file cannot be read.
        TypeError: it is none of these.

    Example:
        >>> content_digest("dry cough") == content_digest("dry cough ")
        False
    """
    if isinstance(cell, Path):
        found = cell.stat()
        return _file_digest(str(cell.absolute()), found.st_size, found.st_mtime_ns)
    if isinstance(cell, bytes):
        return _bytes_digest(cell)
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in _parts(cell):
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.hexdigest()


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """The digest of a model's weights and buffers: names, types, shapes and values, whatever their order.

    Args:
        state: a state_dict, on any device.
    """
    import torch

    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        hasher.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
        hasher.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()


@dataclass(frozen=True)
class CacheKey:
    """What stored tokens depend on besides the cell.

    Args:
        encoder: what a person calls the encoder; shown only.
        weights: `weights_digest` of it.
        preprocessing: everything else that the tokens depend on, as JSON values: the encoder's class and
            configuration, the settings of the kind, a tokenizer's digest.
        tokens: the most tokens a cell; None: as many as the encoder gives.

    Example:
        >>> key = CacheKey("resnet50", "00ff", {"height": 112}, tokens=16)
        >>> key.digest == CacheKey("the same under another name", "00ff", {"height": 112}, 16).digest
        True
        >>> key.digest == CacheKey("resnet50", "00ff", {"height": 224}, 16).digest
        False
    """

    encoder: str
    weights: str
    preprocessing: Mapping[str, Any]
    tokens: int | None = None

    @property
    def digest(self) -> str:
        """32 hexadecimal digits."""
        facts = [FORMAT, self.weights, self.preprocessing, self.tokens]
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()

    def to_json(self) -> str:
        """The key as it is written beside its tokens."""
        return json.dumps({"format": FORMAT, "encoder": self.encoder, "weights": self.weights,
                           "preprocessing": self.preprocessing, "tokens": self.tokens}, indent=1)


def _bytes_digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


@lru_cache(maxsize=REMEMBERED_FILES)
def _file_digest(path: str, size: int, mtime_ns: int) -> str:
    """Size and time are part of what is remembered, so that a changed file is read anew."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()


def _parts(cell: Any) -> list[bytes | memoryview]:
    """What is hashed of a cell: its type's name and its content."""
    if isinstance(cell, np.ndarray | np.generic):
        array = np.ascontiguousarray(cell)
        if array.dtype.hasobject:
            raise TypeError("an array of Python objects has no digest")
        return [f"array {array.dtype.str} {array.shape}".encode(), array.reshape(-1).view(np.uint8).data]
    if isinstance(cell, str):
        return [b"text", cell.encode("utf-8", "surrogatepass")]
    if cell is None or isinstance(cell, bool | int | float):
        return [b"value", repr(cell).encode()]
    if is_dataclass(cell) and not isinstance(cell, type):
        named = [part for field in fields(cell)
                 for part in (field.name.encode(), content_digest(getattr(cell, field.name)).encode())]
        return [type(cell).__name__.encode(), *named]
    if isinstance(cell, Sequence):
        return [b"several", *(content_digest(one).encode() for one in cell)]
    from PIL import Image

    if isinstance(cell, Image.Image):
        return [f"picture {cell.mode} {cell.size}".encode(), cell.tobytes()]
    raise TypeError(f"a {type(cell).__name__} has no digest: expected a Path, bytes, text, numbers, an array, a "
                    f"picture or a sequence of these")
