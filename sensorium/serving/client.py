"""A client for a server of `sensorium serve`: the methods of a model, over HTTP."""

from __future__ import annotations

import base64
import datetime
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from sensorium.answers import Answer
from sensorium.errors import DataError, SensoriumError
from sensorium.serving.describing import is_file

if TYPE_CHECKING:
    from httpx import Client as Http
    from httpx import Response

Row = Mapping[str, Any]


class ServerError(SensoriumError):
    """A server refused a request, or cannot be reached.

    Args:
        what: the server's words.
        status: of HTTP; 0 where there was no answer.
        retry_s: when it is worth asking again; None where the server does not say.
    """

    def __init__(self, what: str, status: int, retry_s: float | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.retry_s = retry_s


@dataclass(frozen=True)
class Hit:
    """A result of a search: the row's id, how near it is, which modality was near, and the row."""

    id: str
    score: float
    modality: str
    row: dict[str, Any]


@dataclass(frozen=True)
class TokenShares:
    """What each token of a modality did: their sum, their values, where or when they are, and of which cell."""

    total: float
    values: npt.NDArray[np.float64]
    span: npt.NDArray[np.float64] | None
    cell: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Explanation:
    """Why a row was answered as it was.

    Args:
        answers: target → Answer, with contributions.
        target, class_: what the tokens explain.
        unit: "bits" for classes, "" for numbers.
        value, baseline: of the row, and of neutral tokens in its place.
        tokens: modality → what its tokens did.
    """

    answers: dict[str, Answer]
    target: str
    class_: str | None
    unit: str
    value: float
    baseline: float
    tokens: dict[str, TokenShares]


class Client:
    """A model on a server. Rows are dictionaries as for `Model.predict`; files are sent, whatever names them.

    A cell of a media column may be a path of this machine, bytes, a file object or a picture of Pillow.

    Args:
        address: "http://127.0.0.1:8000".
        api_key: where the server asks for one.
        timeout: seconds that an answer may take.
        http: an `httpx.Client` to use instead of a new one.

    Example: sensorium.Client("http://127.0.0.1:8000").predict({"photo": "a.jpg", "note": "dry cough"})
    """

    def __init__(
        self, address: str, *, api_key: str | None = None, timeout: float = 60.0, http: Http | None = None,
    ) -> None:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise SensoriumError('the client needs httpx: pip install "sensorium[serve]"') from error
        headers = {} if api_key is None else {"authorization": f"Bearer {api_key}"}
        self._address = address.rstrip("/")
        self._headers = headers
        self._http = httpx.Client(timeout=timeout) if http is None else http
        self._schema: dict[str, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def schema(self) -> dict[str, Any]:
        """What the model reads, predicts and can do; asked for once."""
        if self._schema is None:
            self._schema = self._read(self._send("GET", "/schema"))
        return self._schema

    @property
    def model(self) -> tuple[str, str]:
        """The model's id and version."""
        return self.schema()["model"]["id"], self.schema()["model"]["version"]

    def ready(self) -> bool:
        """Whether the server takes requests."""
        try:
            return self._send("GET", "/readyz").status_code == 200
        except ServerError:
            return False

    def predict(
        self, rows: Row | Sequence[Row], *, modalities: Sequence[str] | None = None, explain: bool = False,
    ) -> Any:
        """Target → Answer for one dictionary; else one such dictionary a row."""
        body = {"rows": self._rows(rows), "explain": explain, **_some(modalities=modalities)}
        answers = [_answers(row) for row in self._post("predict", body)["answers"]]
        return answers[0] if isinstance(rows, Mapping) else answers

    def explain(
        self, rows: Row | Sequence[Row], *, target: str | None = None, class_: str | None = None,
        modalities: Sequence[str] | None = None,
    ) -> Any:
        """An Explanation for one dictionary; else one a row."""
        body = {"rows": self._rows(rows), **_some(modalities=modalities, target=target, **{"class": class_})}
        found = [_explanation(row) for row in self._post("explain", body)["answers"]]
        return found[0] if isinstance(rows, Mapping) else found

    def embed(
        self, rows: Row | Sequence[Row], *, modalities: Sequence[str] | None = None,
    ) -> npt.NDArray[np.float32]:
        """(row, width) unit-length vectors."""
        found = self._post("embed", {"rows": self._rows(rows), **_some(modalities=modalities)})
        return np.array([row["vector"] for row in found["rows"]], dtype=np.float32)

    def search(
        self, given: Row, *, k: int = 10, where: str | None = None, to: str | None = None,
        modalities: Sequence[str] | None = None,
    ) -> list[Hit]:
        """The nearest in the server's index, the best first."""
        body = {"given": self._row(given), "k": k, **_some(where=where, to=to, modalities=modalities)}
        return [Hit(hit["id"], hit["score"], hit["modality"], hit["row"]) for hit in self._post("search", body)["hits"]]

    def generate(
        self, to: str | None = None, given: Row | None = None, *, n: int = 1, seed: int = 0,
        guidance: float | None = None, beams: int = 4, modalities: Sequence[str] | None = None,
    ) -> list[Any]:
        """Pictures (PIL) or texts."""
        body = {"given": self._row(given or {}), "n": n, "seed": seed, "beams": beams,
                **_some(to=to, guidance=guidance, modalities=modalities)}
        found = self._post("generate", body)
        if found["type"] == "text":
            return list(found["results"])
        from PIL import Image as Pillow

        return [Pillow.open(io.BytesIO(base64.b64decode(one))) for one in found["results"]]

    def ask(
        self, question: str | bytes | Path, given: Row, *, target: str | None = None, explain: bool = False,
        modalities: Sequence[str] | None = None,
    ) -> Answer:
        """The answer to a question: a text; or a sound, as bytes or a Path."""
        asked = {"question": question} if isinstance(question, str) else {"spoken": _file("spoken", question)}
        found = self._post("ask", {**asked, "given": self._row(given), "explain": explain,
                                   **_some(target=target, modalities=modalities)})
        return _answer(found["answer"], found)

    def _rows(self, rows: Row | Sequence[Row]) -> list[dict[str, Any]]:
        given: Any = rows
        if isinstance(given, str | bytes) or not isinstance(given, Mapping | Sequence):
            raise DataError(f"rows: expected one dictionary of column and cell, or several, found "
                            f"{type(rows).__name__}")
        return [self._row(row) for row in ([rows] if isinstance(rows, Mapping) else rows)]

    def _row(self, row: Row) -> dict[str, Any]:
        """A row with its files as base64."""
        given: Any = row
        if not isinstance(given, Mapping):
            raise DataError(f"a row: expected a dictionary of column and cell, found {type(row).__name__}")
        columns = self.schema()["columns"]
        return {name: _cell(name, value, columns.get(name, {}).get("holds", "")) for name, value in row.items()}

    def _post(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._read(self._send("POST", f"/{verb}", body))

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Response:
        import httpx

        try:
            return self._http.request(method, self._address + path, json=body, headers=self._headers)
        except (TypeError, ValueError) as error:
            raise DataError(f"cannot be sent as JSON: {error}") from error
        except httpx.HTTPError as error:
            raise ServerError(f"no answer from {self._address}: {error or type(error).__name__}", 0) from error

    def _read(self, response: Response) -> dict[str, Any]:
        try:
            found = response.json()
        except ValueError as error:
            raise ServerError(f"{self._address} does not answer as a server of sensorium does (status "
                              f"{response.status_code})", response.status_code) from error
        if response.status_code == 200 and isinstance(found, dict):
            return found
        told = found.get("error") if isinstance(found, dict) else None
        what = told.get("what") if isinstance(told, dict) else None
        retry = response.headers.get("retry-after", "")
        raise ServerError(what or f"status {response.status_code} from {self._address}", response.status_code,
                          float(retry) if retry.isdigit() else None)


def _some(**given: Any) -> dict[str, Any]:
    """Those that are not None."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()
            if value is not None}


def _cell(column: str, value: Any, holds: str) -> Any:
    """A cell as JSON."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if not is_file(holds):
        return [_cell(column, one, holds) for one in value] if isinstance(value, list | tuple) else _plain(value)
    if isinstance(value, np.ndarray) and holds in ("series", "points"):
        return value.tolist()
    if isinstance(value, list):
        numbers = bool(value) and isinstance(value[0], int | float | list)
        return value if numbers else [_file(column, one) for one in value]
    return _file(column, value)


def _plain(value: Any) -> Any:
    """Dates, and numbers that JSON has no signs for, as texts that are read as they would be by the model."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _file(column: str, value: Any) -> str:
    """What a path, bytes, a file object or a picture holds, as base64."""
    if isinstance(value, str | Path):
        try:
            value = Path(value).read_bytes()
        except OSError as error:
            raise DataError(f"{column}: cannot read {str(value)!r}: {error.strerror or error}") from error
    elif not isinstance(value, bytes) and hasattr(value, "read"):
        value = value.read()
    elif not isinstance(value, bytes):
        value = _png(column, value)
    return base64.b64encode(value).decode()


def _png(column: str, value: Any) -> bytes:
    from PIL import Image as Pillow

    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        value = Pillow.fromarray(value)
    if not isinstance(value, Pillow.Image):
        raise DataError(f"{column}: expected a path, bytes, a file object or a picture, found {type(value).__name__}")
    buffer = io.BytesIO()
    value.save(buffer, format="PNG")
    return buffer.getvalue()


def _answers(row: dict[str, Any]) -> dict[str, Answer]:
    return {name: _answer(one, row) for name, one in row["targets"].items()}


def _answer(one: dict[str, Any], read: dict[str, Any]) -> Answer:
    """An Answer as `Model.predict` gives it."""
    sure, interval = one["confidence_set"], one["interval"]
    return Answer(one["value"], one["probabilities"], tuple(read["modalities"]), one["contributions"],
                  tuple(read["unreadable"]), None if sure is None else tuple(sure),
                  None if interval is None else (interval[0], interval[1]), one["unlike"])


def _explanation(row: dict[str, Any]) -> Explanation:
    one = row["attribution"]
    tokens = {name: TokenShares(shares["total"], np.array(shares["values"]),
                                None if shares["span"] is None else np.array(shares["span"]),
                                np.array(shares["cell"], dtype=np.int64)) for name, shares in one["tokens"].items()}
    return Explanation(_answers(row), one["target"], one["class"], one["unit"], one["value"], one["baseline"], tokens)
