"""From the body of a request to what is asked: JSON, or a form with files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sensorium.data.schema import Schema
from sensorium.serving.calls import Call
from sensorium.serving.form import Part, parts_of
from sensorium.serving.given import Cells, from_base64
from sensorium.serving.limits import Limits
from sensorium.serving.options import MANY, AnyOptions, AskOptions, of_json, of_query
from sensorium.serving.refusal import Refusal

JSON, FORM = "application/json", "multipart/form-data"


@dataclass(frozen=True)
class Sent:
    """A request as it came: its body, its content-type, and the pairs of its query."""

    body: bytes
    content_type: str
    query: list[tuple[str, str]]


class Reader:
    """Reads the requests of one model.

    Args:
        schema: of the model.
        limits: of the server.
    """

    def __init__(self, schema: Schema, limits: Limits) -> None:
        self._cells = Cells(schema)
        self._limits = limits

    def call(self, verb: str, sent: Sent) -> Call:
        """What is asked.

        Raises:
            Refusal: 400 not understood, 413 too much, 415 another type of body, 422 a value that is wrong.
        """
        if sent.content_type.partition(";")[0].strip().lower() == JSON:
            return self._of_json(verb, sent)
        return self._of_form(verb, sent)

    def _of_json(self, verb: str, sent: Sent) -> Call:
        if sent.query:
            raise Refusal(422, f"{sent.query[0][0][:60]}: options stand in the JSON body, not in the query")
        given = _parsed(sent.body)
        if not isinstance(given, dict):
            raise Refusal(422, "expected a JSON object")
        rows = self._rows(given.pop("rows" if verb in MANY else "given", None), verb)
        if verb != "ask":
            return _call(of_json(verb, given), rows)
        question = _question(given.pop("question", None), given.pop("spoken", None))
        return _call(of_json(verb, given), rows, question)

    def _rows(self, given: Any, verb: str) -> list[dict[str, Any]]:
        if verb not in MANY:
            return [self._cells.row({} if given is None and verb == "ask" else given, "given")]
        if not isinstance(given, list):
            return [self._cells.row(given, "rows")]
        if len(given) > self._limits.rows:
            raise Refusal(413, f"{len(given)} rows: this server reads at most {self._limits.rows} in one request")
        return [self._cells.row(row, f"rows.{number}") for number, row in enumerate(given)]

    def _of_form(self, verb: str, sent: Sent) -> Call:
        """A form: a part a column, several where a cell is a list; options stand in the query."""
        options = of_query(verb, sent.query)
        row: dict[str, Any] = {}
        question: str | bytes | None = None
        for part in parts_of(sent.body, sent.content_type, self._limits.cells):
            if part.filename == "" and not part.content:
                continue  # a file box that was left empty
            if verb == "ask" and part.name == "question":
                if question is not None:
                    raise Refusal(422, "question: given twice")
                question = _text(part) if part.filename is None else bytes(part.content)
                continue
            value = self._value(part)
            if part.name in row and not self._cells.may_repeat(part.name):
                raise Refusal(422, f"{part.name}: given twice")
            row[part.name] = value if part.name not in row else [
                *(row[part.name] if isinstance(row[part.name], list) else [row[part.name]]), value]
        if verb != "ask":
            return _call(options, [row])
        if question is None:
            raise Refusal(422, "question: missing")
        return _call(options, [row], question)

    def _value(self, part: Part) -> Any:
        if not self._cells.is_file(part.name):
            return _text(part)
        return bytes(part.content) if part.filename is not None else from_base64(part.name, _text(part))


def _call(options: AnyOptions, rows: list[dict[str, Any]], question: str | bytes = "") -> Call:
    return options.call(rows, question) if isinstance(options, AskOptions) else options.call(rows)


def _text(part: Part) -> str:
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(422, f"{part.name}: not UTF-8 text") from error


def _question(text: Any, spoken: Any) -> str | bytes:
    """The question: a text, or a sound as base64."""
    if (text is None) == (spoken is None):
        raise Refusal(422, "question: give a question, or spoken (a sound as base64), one of them")
    if spoken is not None:
        sound = from_base64("spoken", spoken)
        if sound is None:
            raise Refusal(422, "spoken: no sound")
        return sound
    if not isinstance(text, str):
        raise Refusal(422, "question: expected a text")
    return text


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=_no_number)
    except Refusal:
        raise
    except RecursionError as error:
        raise Refusal(400, "JSON nested too deeply") from error
    except UnicodeDecodeError as error:
        raise Refusal(400, "not JSON: not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise Refusal(400, f"not JSON: {error.msg} at character {error.pos}") from error
    except ValueError as error:  # a number of thousands of digits
        raise Refusal(400, "not JSON: a number that cannot be read") from error


def _no_number(word: str) -> Any:
    raise Refusal(400, f"not JSON: {word} is no number there")


def check_type(content_type: str, content_encoding: str) -> None:
    """Refuse bodies that are not read: 415."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (JSON, FORM):
        raise Refusal(415, f"content-type: expected {JSON} or {FORM}, found {kind[:60] or 'none'}")
    if content_encoding.strip().lower() not in ("", "identity"):
        raise Refusal(415, f"content-encoding: bodies are read as they are, found {content_encoding[:60]}")
