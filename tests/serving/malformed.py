"""Uploads that no server should choke on: each is to be refused, none may cost more than itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, cycle, islice

import numpy as np
from bombs import MAGIC, bombs
from seeds import FORMS, seeds

BOUNDARY = "a-boundary"
GIGABYTE = 1 << 30
READABLE = frozenset({"many small texts", "a giant frame", "many frames", "a ring of directories", "4 GB declared",
                      "samples of 3e+38", "again and again", "many scans, progressive", "many scans, line by line",
                      "an endless comment", "1,024 channels"})
"""Bombs that do no harm: their first picture or sound is read, within the limits, where the machine is quick enough."""


@dataclass(frozen=True)
class Upload:
    """A request to `/predict`: what is wrong with it, its headers, its body."""

    wrong: str
    body: bytes
    content_type: str = f"multipart/form-data; boundary={BOUNDARY}"
    headers: dict[str, str] = field(default_factory=dict)


def malformed(columns: dict[str, str], count: int) -> list[Upload]:
    """So many uploads, of every sort in turn.

    Args:
        columns: kind → the column of this kind: image, audio.
        count: how many.
    """
    sorts = [_bombs(columns), _truncated(columns), _wrong_types(columns), _claims(columns), _words(columns)]
    return list(islice(_in_turn(sorts), count))


def form(name: str, content: bytes, filename: str = "a.bin") -> bytes:
    """A form of one part."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def _in_turn(sorts: list[Iterator[Upload]]) -> Iterator[Upload]:
    left = list(sorts)
    while left:
        for sort in list(left):
            upload = next(sort, None)
            if upload is None:
                left.remove(sort)
            else:
                yield upload


def _bombs(columns: dict[str, str]) -> Iterator[Upload]:
    """Small files that ask for much."""
    for kind, column in columns.items():
        for own in FORMS[kind]:
            for name, content in bombs(kind, own):
                if name.removeprefix("bomb: ") not in READABLE:
                    yield Upload(f"{own} {name}", form(column, content))


def _truncated(columns: dict[str, str]) -> Iterator[Upload]:
    """Pictures that end early, and files of which only the head is there."""
    random = np.random.default_rng(0)
    for kind, column in cycle(columns.items()):
        own = FORMS[kind][int(random.integers(len(FORMS[kind])))]
        content = seeds(kind, own)[0]
        most = 40 if kind == "audio" else len(content) // 2
        yield Upload(f"truncated {own}", form(column, content[: int(random.integers(1, most))]))


def _wrong_types(columns: dict[str, str]) -> Iterator[Upload]:
    """Other files than the column holds, and values that are none."""
    random = np.random.default_rng(1)
    for kind, column in cycle(columns.items()):
        other = "audio" if kind == "image" else "image"
        own = FORMS[other][int(random.integers(len(FORMS[other])))]
        yield Upload(f"a {own} for {kind}", form(column, seeds(other, own)[0]))
        yield Upload("random bytes", form(column, random.bytes(int(random.integers(1, 5000)))))
        value = [5, {"a": 1}, [[1]], True, "not base64!", "/etc/passwd", "http://127.0.0.1/a.png", "data:,a",
                 base64.b64encode(b"junk").decode()][int(random.integers(9))]
        yield Upload(f"JSON {value!r}", json.dumps({"rows": {column: value}}).encode(), "application/json")


def _claims(columns: dict[str, str]) -> Iterator[Upload]:
    """Bodies and files that say that they are huge."""
    random = np.random.default_rng(2)
    for kind, column in cycle(columns.items()):
        own = FORMS[kind][int(random.integers(len(FORMS[kind])))]
        yield Upload("a length of 1 GB", form(column, b"x"), headers={"content-length": str(GIGABYTE)})
        head = MAGIC[own] + b"\xff" * int(random.integers(4, 400))
        yield Upload(f"a {own} of giant sizes", form(column, head))


def _words(columns: dict[str, str]) -> Iterator[Upload]:
    """Bodies that are not what they say."""
    column = next(iter(columns.values()))
    whole = form(column, b"x" * 100)
    yield from cycle([
        Upload("half a form", whole[:-20]), Upload("no boundary", whole, "multipart/form-data"),
        Upload("another boundary", whole, "multipart/form-data; boundary=other"),
        Upload("half of JSON", b'{"rows": {"a"', "application/json"),
        Upload("deep JSON", b"[" * 50_000, "application/json"),
        Upload("no JSON", b"\xff\x00\xfe", "application/json"), Upload("another type", b"a=1", "text/plain"),
        Upload("an unknown column", form("nowhere", b"x"))])


def padded(head: bytes, size: int) -> Iterator[bytes]:
    """A body without a declared length, in pieces."""
    return chain([head], (b" " * 65_536 for _ in range(size // 65_536)))
