"""Small files that ask for much: giant declared sizes, archives and pictures that unfold, tables without end."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from seeds import FORMS, film, seeds

MAGIC = {
    "png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff\xe0", "gif": b"GIF89a", "webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    "bmp": b"BM", "tiff": b"II*\0\x08\0\0\0", "ppm": b"P6\n", "wav": b"RIFF\xff\xff\xff\xffWAVEfmt ", "flac": b"fLaC\0",
    "ogg": b"OggS\0\2", "mp3": b"\xff\xfb\x90\x64", "mp4": b"\0\0\0\x18ftypisom", "mov": b"\0\0\0\x14ftypqt  ",
    "webm": b"\x1aE\xdf\xa3", "mkv": b"\x1aE\xdf\xa3", "avi": b"RIFF\xff\xff\xff\xffAVI LIST", "npy": b"\x93NUMPY\1\0",
    "npz": b"PK\3\4", "parquet": b"PAR1", "csv": b"time,a\n0,", "srt": b"1\n00:00:00,000 --> ", "vtt": b"WEBVTT\n\n",
}
"""What a file of each form begins with."""
ZEROS = bytes(1 << 20)


def bombs(kind: str, form: str) -> Iterator[tuple[str, bytes]]:
    """Small files that ask for much."""
    for (one, another), make in BOMBS.items():
        if (one, another) == (kind, form):
            for name, data in make():
                yield f"bomb: {name}", data


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def zeros_packed(count: int) -> bytes:
    """So many zeros by deflate, without ever making them: one packed MiB again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -15)
    return block * (count >> 20) + end.compress(bytes(count & ((1 << 20) - 1))) + end.flush()


def zeros_zipped(count: int) -> bytes:
    """The same as zlib's stream, with its checksum."""
    return b"\x78\xda" + zeros_packed(count) + struct.pack(">HH", count % 65521, 1)


def _png(width: int, height: int, extra: bytes = b"", colours: int = 2, depth: int = 8) -> bytes:
    """A picture of zeros: a thousandth of what it unfolds to."""
    row = 1 + -(-width * {0: 1, 2: 3, 6: 4}[colours] * depth // 8)
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return (MAGIC["png"] + _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zeros_zipped(row * height))
            + _chunk(b"IEND", b""))


def _png_bombs() -> Iterator[tuple[str, bytes]]:
    yield "50,000 by 50,000", _png(50_000, 50_000)
    yield "a row of 2,000,000,000", _png(2_000_000_000, 1, depth=1, colours=0)
    unfolding = zeros_zipped(100 << 20)
    yield "a text that unfolds", _png(8, 8, _chunk(b"zTXt", b"Comment\0\0" + unfolding))
    yield "a profile that unfolds", _png(8, 8, _chunk(b"iCCP", b"icc\0\0" + unfolding))
    yield "9,000 by 9,000", _png(9_000, 9_000)
    yield "9,000 by 9,000, 16 bit, alpha", _png(9_000, 9_000, colours=6, depth=16)
    yield "80,000,000 by 1", _png(80_000_000, 1)
    yield "many small texts", _png(8, 8, _chunk(b"tEXt", b"a\0b") * 100_000)


def _gif_bombs() -> Iterator[tuple[str, bytes]]:
    small = seeds("image", "gif")[0]
    screen = bytearray(small)
    screen[6:10] = b"\xff\xff\xff\xff"
    yield "a giant screen", bytes(screen)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\x02\x00\x01\x00"
    yield "a giant frame", small[:-1] + frame + b"\x3b"
    dot = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    yield "many frames", small[:-1] + dot * 100_000
    yield "an endless comment", small[:-1] + b"\x21\xfe" + (b"\xff" + b"a" * 255) * 20_000


def _sized(form: str, *fields: tuple[int, bytes]) -> bytes:
    data = bytearray(seeds("image", form)[0])
    for place, value in fields:
        data[place : place + len(value)] = value
    return bytes(data)


def _bmp_bombs() -> Iterator[tuple[str, bytes]]:
    for width, height in ((50_000, 50_000), (2_000_000_000, 1), (9_000, 9_000), (9_000, -9_000)):
        yield f"{width} by {height}", _sized("bmp", (18, struct.pack("<ii", width, height)))
    packed = struct.pack("<ii", 9_000, 9_000) + struct.pack("<HHI", 1, 8, 1)
    yield "run lengths", _sized("bmp", (18, packed)) + b"\xff\0" * 1000


def _tiff_bombs() -> Iterator[tuple[str, bytes]]:
    from PIL import Image

    for way in ("tiff_lzw", "tiff_deflate", "packbits"):
        buffer = io.BytesIO()
        Image.new("L", (9_000, 9_000)).save(buffer, format="TIFF", compression=way)
        yield f"9,000 by 9,000, {way}", buffer.getvalue()
    tags = [(256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
            (277, 3, 1, 1), (278, 4, 1, 60_000), (279, 4, 1, 0xFFFFFFFF)]
    yield "60,000 by 60,000", _tiff(tags)
    yield "a tag of 4 billion values", _tiff([(256, 4, 0xFFFFFFFF, 8), *tags[1:]])
    yield "a ring of directories", _tiff([(256, 4, 1, 8), (257, 4, 1, 8), *tags[2:]], following=8)


def _tiff(tags: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    return (MAGIC["tiff"] + struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
            + struct.pack("<I", following) + bytes(64))


def _ppm_bombs() -> Iterator[tuple[str, bytes]]:
    for head in (b"P6 50000 50000 255\n", b"P5 9000 9000 65535\n", b"P3 9000 9000 255\n1 1 1 ", b"P1 99999 900\n1 0 ",
                 b"P6 " + b"9" * 5000 + b" 1 255\n", b"Pf 9000 9000 -1.0\n", b"P6 #" + b"x" * 1_000_000):
        yield repr(head[:24]), head + bytes(100)


def _webp_bombs() -> Iterator[tuple[str, bytes]]:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (8_000, 8_000)).save(buffer, format="WEBP", lossless=True, quality=0, method=0)
    yield "8,000 by 8,000", buffer.getvalue()


def _jpg_bombs() -> Iterator[tuple[str, bytes]]:
    for seed, frame in ((0, b"\xff\xc0"), (2, b"\xff\xc2")):
        data = bytearray(seeds("image", "jpg")[seed])
        place = data.find(frame)
        data[place + 5 : place + 9] = struct.pack(">HH", 9_000, 9_000)
        yield f"9,000 by 9,000, {'progressive' if seed else 'line by line'}", bytes(data)
    for seed in (0, 2):
        data = bytearray(seeds("image", "jpg")[seed])
        scan = data.find(b"\xff\xda")
        yield f"many scans, {'progressive' if seed else 'line by line'}", bytes(
            data[:-2]) + bytes(data[scan:-2]) * 2000 + b"\xff\xd9"
        place = data.find(b"\xff\xc2" if seed else b"\xff\xc0")
        data[place + 5 : place + 9] = struct.pack(">HH", 9_000, 9_000)
        yield f"many large scans, {'progressive' if seed else 'line by line'}", bytes(
            data[:-2]) + bytes(data[scan:-2]) * 400 + b"\xff\xd9"


def _wav(rate: int, channels: int, bits: int, size: int, data: bytes) -> bytes:
    align = channels * bits // 8
    head = struct.pack("<IHHIIHH", 16, 1, channels & 0xFFFF, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    return b"RIFF\xff\xff\xff\xffWAVEfmt " + head + b"data" + struct.pack("<I", size) + data


def _wav_bombs() -> Iterator[tuple[str, bytes]]:
    yield "4 GB declared", _wav(16_000, 1, 16, 0xFFFFFFFF, bytes(1000))
    yield "2 GHz", _wav(2_000_000_000, 1, 8, 4000, bytes(4000))
    yield "1 Hz", _wav(1, 1, 16, 40_000, bytes(40_000))
    yield "1,024 channels", _wav(16_000, 1024, 16, 1 << 21, bytes(1 << 21))
    yield "65,535 channels", _wav(16_000, 65_535, 8, 1 << 21, bytes(1 << 21))
    yield "a rate of 0", _wav(0, 1, 16, 4000, bytes(4000))
    for value in (np.nan, np.inf, 3e38):
        samples = np.full(1000, value, dtype="<f4").tobytes()
        head = struct.pack("<IHHIIHH", 16, 3, 1, 16_000, 64_000, 4, 32)
        yield f"samples of {value}", (b"RIFF\xff\xff\xff\xffWAVEfmt " + head + b"data"
                                      + struct.pack("<I", len(samples)) + samples)


def _flac_bombs() -> Iterator[tuple[str, bytes]]:
    data = bytearray(seeds("audio", "flac")[0])
    for rate, total in ((655_350, 2**36 - 1), (1, 2**36 - 1), (1_048_575, 10**9)):
        data[18:26] = (rate << 44 | 0 << 41 | 15 << 36 | total).to_bytes(8, "big")
        yield f"{total} samples at {rate} Hz", bytes(data)


def _ogg_bombs() -> Iterator[tuple[str, bytes]]:
    data = seeds("audio", "ogg")[0]
    yield "again and again", data * 200
    yield "a page's place far away", data[:6] + b"\xff" * 7 + b"\x7f" + data[14:]


def _mp3_bombs() -> Iterator[tuple[str, bytes]]:
    data = seeds("audio", "mp3")[0]
    yield "a giant tag", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + data
    yield "many tags", (b"ID3\4\0\0\0\0\0\0" * 50_000) + data
    yield "again and again", data * 500
    yield "sync words", b"\xff\xfb\x90\x64" * 100_000


def _film_bombs(form: str) -> Iterator[tuple[str, bytes]]:
    coding, sound = {"webm": ("libvpx", "libopus"), "avi": ("mpeg4", "libmp3lame")}.get(form, ("mpeg4", "aac"))
    data = film(form, coding, sound)
    width, height = struct.pack(">H", 64), struct.pack(">H", 48)
    yield "giant frames", data.replace(width + height, b"\x3f\xff\x3f\xff")
    yield "only its first half, then zeros", data[: len(data) // 2] + bytes(1 << 20)
    yield "a play list", b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    yield "a list of files", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "a session", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    if form in ("mp4", "mov"):
        yield from _box_bombs(data)
    yield "many frames", film(form, coding, sound, (16, 16), 1500)
    yield "large frames", film(form, coding, sound, (3840, 2160) if form != "webm" else (1280, 720), 3)


def _box_bombs(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Tables of an MP4 that claim billions of entries, and boxes within boxes."""
    for box in (b"stts", b"stsz", b"stsc", b"stco", b"stsd", b"ctts"):
        place = data.find(box)
        if place > 0:
            field = place + 8 + 4 * (box == b"stsz")
            yield f"{box.decode()} of 4 billion", data[:field] + b"\xff\xff\xff\xff" + data[field + 4 :]
    track = data[data.find(b"trak") - 4 :]
    length = int.from_bytes(track[:4], "big")
    movie = data.find(b"moov") - 4
    body = data[movie + 8 :] + track[:length] * 2000
    yield "2,000 tracks", data[:movie] + struct.pack(">I", 8 + len(body)) + b"moov" + body
    nested = b""
    for _ in range(3000):
        nested = struct.pack(">I", 8 + len(nested)) + b"moov" + nested
    yield "3,000 boxes in each other", data[:24] + nested


def _npy(shape: str, dtype: str = "<f8", body: bytes = b"\0" * 64) -> bytes:
    header = f"{{'descr': {dtype if dtype[0] == '[' else repr(dtype)}, 'fortran_order': False, 'shape': {shape}}}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return MAGIC["npy"] + struct.pack("<H", len(header)) + header.encode() + body


def _npy_bombs() -> Iterator[tuple[str, bytes]]:
    for shape in ("(10**12,)", "(1000000000000,)", "(100000, 100000)", "(-1, 2)", "(0, 1000000000)",
                  "(4294967296, 0)", "(1,) * 33", "(" + "1, " * 60 + ")", "(True,)", "'a'", "(2, 3.5)", "(0,)",
                  "(9223372036854775807, 3)"):
        yield f"shape {shape[:24]}", _npy(shape)
    for dtype in ("O", "V1000000000", "U1000000000", "M8[s]", "<c16", "|S0", "[('a', 'O')]",
                  "[('a', '<f8', (100000,))]", "[" + "('a', '<f8'), " * 9 + "]", ">f2", "V0"):
        yield f"type {dtype[:24]}", _npy("(8,)", dtype)
    yield "a pickle", MAGIC["npy"] + b"v\0" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(117) + (
        b"\ncos\nsystem\n(S'touch /tmp/pickled'\ntR.")
    yield "a deep header", _npy("(" * 3000 + ")" * 3000)


def _npz_bombs() -> Iterator[tuple[str, bytes]]:
    yield "a gigabyte of zeros", _archive([("a.npy", _npy("(134217720,)", body=b""), (1 << 30) - 64)])
    yield "many of 100 MB", _archive([(f"{k}.npy", _npy("(13107192,)", body=b""), (100 << 20) - 64) for k in range(40)])
    yield "many members", _archive([(f"{k}.npy", _npy("(8,)"), 0) for k in range(10_000)])
    yield "names that lead out", _archive([("../../a.npy", _npy("(8,)"), 0), ("/etc/b.npy", _npy("(8,)"), 0)])
    yield "a pickle", _archive([("a.npy", _npy("(1,)", "O", b"cos\nsystem\n(S'touch /tmp/pickled'\ntR."), 0)])


@lru_cache(maxsize=4)
def _member(data: bytes, zeros: int) -> tuple[bytes, int]:
    """(packed, checksum) of the bytes and the zeros behind them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH) + zeros_packed(zeros)
    total = zlib.crc32(data)
    for _ in range(zeros >> 20):
        total = zlib.crc32(ZEROS, total)
    return packed, zlib.crc32(ZEROS[: zeros & ((1 << 20) - 1)], total)


def _archive(members: list[tuple[str, bytes, int]]) -> bytes:
    """A zip file of (name, bytes, zeros behind them), which needs no memory for the zeros."""
    body, index = bytearray(), bytearray()
    for name, data, zeros in members:
        packed, total = _member(data, zeros)
        facts = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, total, len(packed), len(data) + zeros, len(name), 0)
        place = struct.pack("<HHHII", 0, 0, 0, 0, len(body))
        index += b"PK\1\2" + struct.pack("<H", 20) + facts + place + name.encode()
        body += b"PK\3\4" + facts + name.encode() + packed
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(index), len(body), 0)
    return bytes(body + index + b"PK\5\6" + end)


def _parquet_bombs() -> Iterator[tuple[str, bytes]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(columns: dict[str, Any], **options: Any) -> bytes:
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer, compression="zstd", **options)
        return buffer.getvalue()

    yield "long words", table({"a": ["x" * 20_000_000] * 4})
    yield "5,000 columns", table({f"c{k}": [1.0] for k in range(5000)})
    yield "lists", table({"a": pa.array([np.zeros(5_000_000)])})
    yield "a deep type", table({"a": pa.array([_nested(60)])})
    yield "20 million equal numbers", table({"a": pa.repeat(1.5, 20_000_000)})
    yield "a huge dictionary", table({"a": pa.DictionaryArray.from_arrays(pa.repeat(0, 100).cast(pa.int32()),
                                                                          pa.array(["x" * 50_000_000]))})


def _nested(depth: int) -> Any:
    return 1.0 if depth == 0 else {"a": _nested(depth - 1)}


def _csv_bombs() -> Iterator[tuple[str, bytes]]:
    yield "a name of 5 MB", b"a" * 5_000_000 + b"\n1\n"
    yield "one long line", b"1," * 2_000_000
    yield "an open quote", b'time,a\n0,"' + b"1,\n" * 500_000
    yield "quotes", b'"' * 1_000_000
    yield "blank lines", b"\n" * 3_000_000
    yield "many short lines", b"time,a\n" + b"0,1\n" * 1_000_000
    yield "longer and longer", b"\n".join(b"1," * k for k in range(1200))
    yield "NULs", bytes(100_000)
    yield "huge numbers", b"time,a\n" + b"1e308,-1e308\n" * 1000 + b"9" * 400 + b",1\n"
    yield "a bomb of digits", b"time,a\n0," + b"9" * 3_000_000


def _srt_bombs() -> Iterator[tuple[str, bytes]]:
    yield "one long line", b"1\n00:00:00,000 --> 00:00:01,000\n" + b"word " * 1_000_000
    yield "many cues", b"".join(b"%d\n00:00:00,000 --> 00:00:01,000\nw\n\n" % k for k in range(100_000))
    yield "tags", b"1\n00:00:00,000 --> 00:00:01,000\n" + b"<" * 500_000
    yield "closed tags", b"1\n00:00:00,000 --> 00:00:01,000\n" + b"<i>" * 300_000
    yield "arrows", b"-->" * 500_000
    yield "blank lines", b"\n" * 2_000_000
    yield "spaces", b"1\n" + b" " * 2_000_000 + b"-->"
    yield "NULs", bytes(100_000)
    yield "digits", b"9" * 1_000_000 + b"\n" + b"9" * 1_000_000 + b":00:00,000 --> 1\nw\n"


BOMBS: dict[tuple[str, str], Callable[[], Iterator[tuple[str, bytes]]]] = {
    ("image", "png"): _png_bombs, ("image", "gif"): _gif_bombs, ("image", "bmp"): _bmp_bombs,
    ("image", "tiff"): _tiff_bombs, ("image", "ppm"): _ppm_bombs, ("image", "webp"): _webp_bombs,
    ("image", "jpg"): _jpg_bombs, ("audio", "wav"): _wav_bombs, ("audio", "flac"): _flac_bombs,
    ("audio", "ogg"): _ogg_bombs, ("audio", "mp3"): _mp3_bombs,
    **{("video", form): lambda form=form: _film_bombs(form) for form in FORMS["video"]},
    **{(kind, form): make for kind in ("series", "points") for form, make in (
        ("npy", _npy_bombs), ("npz", _npz_bombs), ("parquet", _parquet_bombs), ("csv", _csv_bombs))},
    ("text", "srt"): _srt_bombs, ("text", "vtt"): _srt_bombs,
}
