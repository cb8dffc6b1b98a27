"""The OpenAPI document of one model: its own columns, its own classes, examples that can be sent as they are."""

from __future__ import annotations

from typing import Any

from sensorium import __version__
from sensorium.data.schema import Schema
from sensorium.data.sources import MOST_LISTED
from sensorium.serving.describing import columns_of, is_file
from sensorium.serving.examples import QUESTION, example_row
from sensorium.serving.guarded import unread_columns
from sensorium.serving.options import MANY, OPTIONS
from sensorium.serving.service import Service

Json = dict[str, Any]
SUMMARIES = {
    "predict": "Predict every target from whatever is there", "explain": "Why, modality by modality and token by token",
    "embed": "Where rows are in the shared space", "search": "What in the index is nearest",
    "generate": "Make pictures or texts", "ask": "Answer a question",
}
ERRORS = {
    400: "The body is not understood.", 404: "The model lacks this ability.", 408: "The body did not arrive in time.",
    413: "More than the server's limits.", 415: "Neither JSON nor a form.",
    422: "Understood, but it cannot be answered: a wrong value, or nothing that can be read.",
    503: "Too much is asked at the same time: come back after Retry-After seconds.",
}
KEYS: list[dict[str, list[str]]] = [{"bearer": []}, {"key": []}, {"basic": []}]
MODEL = {"$ref": "#/components/schemas/Model"}
ROW = {"$ref": "#/components/schemas/Row"}
ANSWER = {"$ref": "#/components/schemas/Answer"}


def document(service: Service, *, keyed: bool) -> Json:
    """The document; verbs that the model lacks are left out."""
    paths: Json = {f"/{verb}": {"post": _verb(service, verb, keyed=keyed)}
                   for verb in OPTIONS if verb in service.abilities}
    plain = {"/schema": "What the model reads, predicts and can do", "/metrics": "Counts for Prometheus",
             "/healthz": "Whether the process lives", "/readyz": "Whether it takes requests"}
    for path, summary in plain.items():
        is_open = path in ("/healthz", "/readyz")
        kind = "text/plain" if path == "/metrics" else "application/json"
        answers = {"200": {"description": "As asked.", "content": {kind: {"schema": {
            "type": "string" if path == "/metrics" else "object"}}}}}
        paths[path] = {"get": {"summary": summary, "operationId": path[1:], "responses": {
            **answers, **_errors([503] if path == "/readyz" else [], keyed=keyed and not is_open)},
            **({"security": KEYS} if keyed and not is_open else {})}}
    security = {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
    return {"openapi": "3.1.0", "info": {"title": f"sensorium: {service.identity.id}", "version": __version__,
                                         "description": _about(service)},
            "paths": paths, "components": {"schemas": _schemas(service.schema),
                                           **({"securitySchemes": security} if keyed else {})}}


def _about(service: Service) -> str:
    return (f"Model `{service.identity.id}`, version `{service.identity.version}`. Any subset of the columns may be "
            f"given; what is absent is absent, not guessed. Files are base64, data: URLs or parts of a form; the "
            f"server opens no paths and fetches no addresses.")


def _verb(service: Service, verb: str, *, keyed: bool) -> Json:
    options = OPTIONS[verb].model_json_schema(by_alias=True)["properties"]
    example = _example(service, verb)
    body: Json = {"type": "object", "additionalProperties": False, "properties": {**_given(service, verb), **options},
                  "required": ["rows"] if verb in MANY else [] if verb == "ask" else ["given"], "examples": [example]}
    if verb == "ask":
        body["oneOf"] = [{"required": ["question"]}, {"required": ["spoken"]}]
    content = {"application/json": {"schema": body, "examples": {"made from the schema": {"value": example}}}}
    return {"summary": SUMMARIES[verb], "operationId": verb,
            "description": "As a form (multipart/form-data) a column is a part, and options stand in the query.",
            "requestBody": {"required": True, "content": content},
            "responses": {"200": {"description": "The answer.", "content": {"application/json": {
                "schema": _answer(verb)}}}, **_errors(list(ERRORS), keyed=keyed)},
            **({"security": KEYS} if keyed else {})}


def _given(service: Service, verb: str) -> Json:
    """What a call is about."""
    if verb in MANY:
        most = service.limits.explained if verb == "explain" else service.limits.rows
        return {"rows": {"oneOf": [ROW, {"type": "array", "items": ROW, "minItems": 1, "maxItems": most}]}}
    given = {"given": ROW}
    if verb == "ask":
        return {"question": {"type": "string", "minLength": 1}, "spoken": {
            "type": "string", "contentEncoding": "base64", "description": "A sound that asks."}, **given}
    return given


def _example(service: Service, verb: str) -> Json:
    row = example_row(service.schema)
    if verb == "ask":
        asking = {column for name in service.engine.asking for column in service.schema.modality(name).columns}
        return {"question": QUESTION, "given": {name: value for name, value in row.items() if name not in asking}}
    if verb == "generate":
        made = service.engine.made[0]
        hidden = service.schema.modality(made).columns
        return {"to": made, "given": {name: value for name, value in row.items() if name not in hidden}}
    return {"rows": [row]} if verb in MANY else {"given": row}


def _errors(statuses: list[int], *, keyed: bool) -> Json:
    found = {str(status): ERRORS[status] for status in statuses} | ({"401": "A key is needed."} if keyed else {})
    return {status: {"description": what, "content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/Error"}}}} for status, what in sorted(found.items())}


def _schemas(schema: Schema) -> Json:
    columns = {name: _column(one) for name, one in columns_of(schema).items()}
    unread = {name: {"description": "Not read."} for name in unread_columns(schema) if name not in columns}
    texts = {"type": "array", "items": {"type": "string"}}
    shares = {"type": ["object", "null"], "additionalProperties": {"type": "number"}}
    return {
        "Row": {"type": "object", "additionalProperties": False, "properties": {**columns, **unread},
                "description": "Column and cell; null, and what is left out, is absent."},
        "Model": _object({"id": {"type": "string"}, "version": {"type": "string"}}),
        "Answer": _object({
            "value": {"type": ["string", "number"]}, "probabilities": shares, "confidence_set": {
                **texts, "type": ["array", "null"]}, "interval": {"type": ["array", "null"], "items": {
                    "type": "number"}}, "contributions": shares, "unlike": {"type": ["boolean", "null"]}}),
        "Predicted": _object({"modalities": texts, "unreadable": texts, "targets": {
            "type": "object", "additionalProperties": ANSWER}}),
        "Error": _object({"error": _object({"what": {"type": "string"}})}),
    }


def _column(column: Json) -> Json:
    """A column's values as JSON Schema."""
    holds = column["holds"]
    if is_file(holds):
        one: Json = {"type": "string", "contentEncoding": "base64"}
        numbers = [{"type": "array", "items": {"type": ["number", "array"]}}] if holds in ("series", "points") else []
        return {"description": f"{holds}: a file as base64 or a data: URL, or a list of them.",
                "oneOf": [one, {"type": "array", "items": one, "maxItems": MOST_LISTED}, *numbers, {"type": "null"}]}
    if holds == "text":
        return {"description": "A text, or a list of them.", "oneOf": [
            {"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": MOST_LISTED},
            {"type": "null"}]}
    listed = ", ".join(column.get("categories", ())[:20])
    return {"description": f"{holds}{f': {listed}' if listed else ''}",
            "type": ["number", "string", "boolean", "null"]}


def _answer(verb: str) -> Json:
    """The body of a good answer."""
    texts = {"type": "array", "items": {"type": "string"}}
    read = {"model": MODEL, "modalities": texts, "unreadable": texts}
    if verb == "predict":
        return _object({"model": MODEL, "answers": {"type": "array", "items": {
            "$ref": "#/components/schemas/Predicted"}}})
    if verb == "explain":
        return _object({"model": MODEL, "answers": {"type": "array", "items": {"type": "object"}}})
    if verb == "embed":
        row = _object({"modalities": texts, "unreadable": texts, "vector": {
            "type": "array", "items": {"type": "number"}}})
        return _object({"model": MODEL, "width": {"type": "integer"}, "aligned": {"type": "boolean"},
                        "rows": {"type": "array", "items": row}})
    if verb == "ask":
        return _object({**read, "answer": ANSWER})
    if verb == "generate":
        return _object({**read, "made": {"type": "string"}, "type": {"enum": ["text", "image/png"]}, "results": texts})
    hit = _object({"id": {"type": "string"}, "score": {"type": "number"}, "modality": {"type": "string"},
                   "row": {"type": "object"}})
    return _object({**read, "hits": {"type": "array", "items": hit}})


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
