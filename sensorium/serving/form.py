"""The parts of a multipart body that is in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from sensorium.serving.refusal import Refusal

MOST_HEADER = 4096


@dataclass
class Part:
    """A part of a form: its field's name, the file's name where it is a file, what is in it."""

    name: str = ""
    filename: str | None = None
    content: bytearray = field(default_factory=bytearray)


def parts_of(body: bytes, content_type: str, most: int) -> list[Part]:
    """The parts, in order.

    Args:
        body: the whole body.
        content_type: the header, with the boundary.
        most: parts that are read.

    Raises:
        Refusal: 400 the body is no such form, 413 too many parts.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise Refusal(400, "a form without a boundary in its content-type")
    read = _Read(most)
    try:
        parser = MultipartParser(boundary, {
            "on_part_begin": read.begin, "on_part_data": read.data, "on_header_field": read.header_name,
            "on_header_value": read.header_value, "on_header_end": read.header_end, "on_end": read.end})
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(400, "a broken form: its parts cannot be told apart") from error
    if not read.ended:
        raise Refusal(400, "a broken form: it ends before its last boundary")
    return read.parts


class _Read:
    """What the parser has found so far."""

    def __init__(self, most: int) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._most = most
        self._name = b""
        self._value = b""

    def begin(self) -> None:
        if len(self.parts) == self._most:
            raise Refusal(413, f"a form of more than {self._most} parts: this server reads no more")
        self.parts.append(Part())

    def data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].content += data[start:end]

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._bound()

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._bound()

    def header_end(self) -> None:
        from python_multipart.multipart import parse_options_header

        if self._name.lower() == b"content-disposition":
            options = parse_options_header(self._value)[1]
            self.parts[-1].name = options.get(b"name", b"").decode("utf-8", "replace")
            self.parts[-1].filename = None if b"filename" not in options else options[b"filename"].decode(
                "utf-8", "replace")
        self._name = self._value = b""

    def end(self) -> None:
        self.ended = True

    def _bound(self) -> None:
        if len(self._name) + len(self._value) > MOST_HEADER:
            raise Refusal(400, "a broken form: a part with an endless header")
