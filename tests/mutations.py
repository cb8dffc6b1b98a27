"""Hostile files: bombs, and valid files damaged in every way a seed allows."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, islice

import numpy as np
from bombs import MAGIC, bombs
from seeds import seeds

GIANTS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF,
          0xFFFFFFFFFFFFFFFF)
Random = np.random.Generator
Mutation = Callable[[bytearray, Random], bytearray]


def mutated(
    kind: str, form: str, count: int, *, seed: int = 0, most_bombs: int | None = None,
) -> Iterator[tuple[str, bytes]]:
    """(what was done, the file), so many of them: first the bombs, then damaged seeds."""
    yield from islice(chain(islice(bombs(kind, form), most_bombs), _damaged(kind, form, seed)), count)


def _damaged(kind: str, form: str, seed: int) -> Iterator[tuple[str, bytes]]:
    random = np.random.default_rng([seed, *form.encode(), *kind.encode()])
    yield "empty", b""
    yield "only magic", MAGIC[form]
    given = seeds(kind, form)
    others = [one for forms in (("image", "png"), ("audio", "wav"), ("video", "mp4"), ("series", "parquet"))
              for one in seeds(*forms)]
    names = list(MUTATIONS)
    number = 0
    while True:
        name = names[number % len(names)]
        damaged = bytearray(given[int(random.integers(len(given)))])
        if name == "garbage":
            damaged = bytearray(MAGIC[form] + random.bytes(int(random.integers(1, 4000))))
        elif name == "other header":
            other = others[int(random.integers(len(others)))]
            length = int(random.integers(4, 200))
            damaged[:length] = other[:length]
        else:
            for _ in range(int(random.integers(1, 4)) if name != "cut" else 1):
                damaged = MUTATIONS[name](damaged, random)
        if form in RESEALED and number % 3:
            damaged = RESEALED[form](damaged)
        yield name, bytes(damaged)
        number += 1


def _flip(data: bytearray, random: Random) -> bytearray:
    for place in random.integers(0, 8 * len(data), int(random.integers(1, 24))).tolist():
        data[place // 8] ^= 1 << place % 8
    return data


def _flip_head(data: bytearray, random: Random) -> bytearray:
    for place in random.integers(0, 8 * min(len(data), 160), int(random.integers(1, 9))).tolist():
        data[place // 8] ^= 1 << place % 8
    return data


def _cut(data: bytearray, random: Random) -> bytearray:
    return data[: int(random.integers(0, len(data)))]


def _giant(data: bytearray, random: Random) -> bytearray:
    """Some field of 1, 2, 4 or 8 bytes becomes an extreme number; most often one near the start or the end."""
    width = int(random.choice((1, 2, 4, 8)))
    reach = int(random.choice((64, 512, len(data))))
    place = int(random.integers(0, max(1, min(reach, len(data)) - width)))
    place = max(0, len(data) - width - place) if random.random() < 0.25 else place
    value = GIANTS[int(random.integers(len(GIANTS)))] & ((1 << 8 * width) - 1)
    data[place : place + width] = value.to_bytes(width, "little" if random.random() < 0.5 else "big")
    return data


def _overwrite(data: bytearray, random: Random) -> bytearray:
    first = int(random.integers(0, max(1, len(data))))
    length = min(int(random.integers(1, 300)), len(data) - first)
    data[first : first + length] = (bytes(length), b"\xff" * length, random.bytes(length))[int(random.integers(3))]
    return data


def _move(data: bytearray, random: Random) -> bytearray:
    """A piece taken out, doubled, or put elsewhere."""
    first, last = sorted(random.integers(0, len(data) + 1, 2).tolist())
    piece = data[first:last]
    way = int(random.integers(3))
    if way == 0:
        del data[first:last]
    elif len(data) < 1 << 18:
        place = last if way == 1 else int(random.integers(0, len(data) + 1))
        data[place:place] = piece
    return data or bytearray(b"\0")


def _numbers(data: bytearray, random: Random) -> bytearray:
    """A digit becomes many, as text formats (headers of NPY, PPM, CSV) allow."""
    digits = [place for place, value in enumerate(data[:2000]) if 48 <= value <= 57]
    if digits:
        place = digits[int(random.integers(len(digits)))]
        word = random.choice(("9" * 9, "9" * 25, "-1", "1e999", "nan", "0x7fffffff", "", ",", "(" * 90))
        data[place : place + 1] = str(word).encode()
    return data


MUTATIONS: dict[str, Mutation] = {
    "flipped bits": _flip, "flipped bits in the header": _flip_head, "cut": _cut, "giant number": _giant,
    "overwritten": _overwrite, "moved": _move, "other header": _cut, "garbage": _cut, "digits": _numbers,
}


def _resealed_png(data: bytearray) -> bytearray:
    """Checksums are right again, so that the damage gets through to the decoder."""
    place = 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return data


def _resealed_ogg(data: bytearray) -> bytearray:
    place = 0
    while (place := data.find(b"OggS", place)) >= 0 and place + 27 <= len(data):
        end = place + 27 + data[place + 26] + sum(data[place + 27 : place + 27 + data[place + 26]])
        data[place + 22 : place + 26] = bytes(4)
        total = 0
        for value in data[place:end]:
            total = (total << 8 & 0xFFFFFFFF) ^ OGG_SUMS[total >> 24 ^ value]
        data[place + 22 : place + 26] = struct.pack("<I", total)
        place += 27
    return data


def _ogg_sum(value: int) -> int:
    total = value << 24
    for _ in range(8):
        total = (total << 1 ^ (0x04C11DB7 if total & 0x80000000 else 0)) & 0xFFFFFFFF
    return total


OGG_SUMS = [_ogg_sum(value) for value in range(256)]
RESEALED: dict[str, Callable[[bytearray], bytearray]] = {"png": _resealed_png, "ogg": _resealed_ogg}
