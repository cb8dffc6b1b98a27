"""Subtitles beside a video: the words of .srt and .vtt files, without numbers, times and marks."""

from __future__ import annotations

import html
import re
from pathlib import Path

from sensorium.data.decoding.files import existing_file
from sensorium.errors import BadCell

MOST_BYTES = 1 << 22
_TIMES = re.compile(r"^\s*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*-->\s*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}")
_MARK = re.compile(r"<[^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")
_NOT_SAID = re.compile(r"^(?:NOTE|STYLE|REGION)\b")


def subtitle_text(path: Path) -> str:
    """What is said, line after line, in the order of the file.

    Raises: BadCell: no such file, over 4 MB, or no line with times in it.
    """
    path = existing_file(path)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise BadCell(f"subtitles of {size:,} bytes: at most {MOST_BYTES:,} are read")
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
    blocks = re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n").replace("\r", "\n"))
    said: list[str] = []
    num_times = 0
    for block in blocks:
        lines = block.strip("\n").split("\n")
        place = next((place for place, line in enumerate(lines) if _TIMES.match(line)), None)
        if place is None or _NOT_SAID.match(lines[0]):
            continue
        num_times += 1
        words = [html.unescape(_MARK.sub("", line)).strip() for line in lines[place + 1 :]]
        said.extend(line for line in words if line)
    if not num_times:
        raise BadCell("not subtitles: no line says from when until when (00:00:01,000 --> 00:00:02,000)")
    return "\n".join(said)
