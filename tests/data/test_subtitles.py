"""Subtitles: the words of .srt and .vtt files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sensorium.data.decoding.subtitles import subtitle_text
from sensorium.data.kinds import TextKind
from sensorium.errors import BadCell

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> there,
how are you?

2
00:00:03,000 --> 00:00:04,000
Fine &amp; well {\\an8}
"""
VTT = """WEBVTT - a title

NOTE nobody says
00:00.000 --> 00:01.000 this

STYLE
::cue { color: red }

first
00:01.000 --> 00:02.500 align:start
<v Ann>Hello there,</v>
how are <c.loud>you</c>?

00:03.000 --> 00:04.000
Fine &amp; well
"""


@pytest.mark.parametrize(("name", "written"), [
    ("a.srt", SRT.encode()), ("a.vtt", VTT.encode()), ("b.srt", SRT.replace("\n", "\r\n").encode("utf-8-sig")),
    ("c.srt", SRT.encode("utf-16"))])
def test_what_is_said(tmp_path: Path, name: str, written: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(written)
    assert subtitle_text(file) == "Hello there,\nhow are you?\nFine & well"
    assert TextKind(vocabulary=400).decode(file) == "Hello there,\nhow are you?\nFine & well"


def test_what_is_none(tmp_path: Path) -> None:
    file = tmp_path / "a.srt"
    file.write_text("just words\n\nand more")
    with pytest.raises(BadCell, match="no line says from when until when"):
        subtitle_text(file)
    file.write_text("1\n00:00:01,000 --> 00:00:02,500\n")
    with pytest.raises(BadCell, match="blank text"):
        TextKind(vocabulary=400).decode(file)
    file.write_bytes(b"1\n" * (1 << 22))
    with pytest.raises(BadCell, match="at most"):
        subtitle_text(file)
    with pytest.raises(BadCell, match="no such file"):
        subtitle_text(tmp_path / "b.srt")
