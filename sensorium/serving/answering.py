"""What was found out, as JSON: every answer with the model's id and version and what was read."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import PurePath
from typing import Any

from sensorium.answers import Answer
from sensorium.serving.calls import Ask, Call, Embed, Embedded, Explain, Explained, Found, Generate, Made, Predict
from sensorium.serving.describing import columns_of, is_file
from sensorium.serving.engine import Engine

Json = dict[str, Any]


def answered(call: Call, result: Any, engine: Engine) -> Json:
    """The body of an answer."""
    model = asdict(engine.identity)
    if isinstance(call, Predict):
        return {"model": model, "answers": [row_json(row) for row in result]}
    if isinstance(call, Embed):
        return {"model": model, **_embedded(result, engine)}
    if isinstance(call, Explain):
        return {"model": model, **_explained(result)}
    if isinstance(call, Generate):
        return {"model": model, **_made(result)}
    if isinstance(call, Ask):
        return {"model": model, "modalities": list(result.modalities), "unreadable": list(result.unreadable),
                "answer": answer_json(result)}
    return {"model": model, **_found(result, engine)}


def row_json(row: dict[str, Answer]) -> Json:
    """The answers of one row, with what was read of it and what could not be."""
    first = next(iter(row.values()))
    return {"modalities": list(first.modalities), "unreadable": list(first.unreadable),
            "targets": {name: answer_json(answer) for name, answer in row.items()}}


def answer_json(answer: Answer) -> Json:
    """One answer."""
    return {"value": answer.value, "probabilities": answer.probabilities,
            "confidence_set": None if answer.confidence_set is None else list(answer.confidence_set),
            "interval": None if answer.interval is None else list(answer.interval),
            "contributions": answer.contributions, "unlike": answer.unlike}


def _embedded(result: Embedded, engine: Engine) -> Json:
    return {"width": engine.embedding_width, "aligned": engine.aligned,
            "rows": [{"modalities": list(used), "unreadable": list(unreadable), "vector": vector.tolist()}
                     for vector, used, unreadable in zip(result.vectors, result.used, result.unreadable, strict=True)]}


def _explained(result: Explained) -> Json:
    return {"answers": [{**row_json(row), "attribution": None if one is None else {
        "target": one.target, "class": one.class_, "unit": one.unit, "value": one.value, "baseline": one.baseline,
        "tokens": {name: {"total": tokens.total, "values": tokens.values.tolist(),
                          "span": None if tokens.span is None else tokens.span.tolist(), "cell": tokens.cell.tolist()}
                   for name, tokens in one.tokens.items()}}}
        for row, one in zip(result.answers, result.attributions, strict=True)]}


def _made(result: Made) -> Json:
    texts = all(isinstance(one, str) for one in result.made)
    return {"made": result.to, "type": "text" if texts else "image/png", "modalities": list(result.used),
            "unreadable": list(result.unreadable),
            "results": result.made if texts else [_png(one) for one in result.made]}


def _found(result: Found, engine: Engine) -> Json:
    files = {name for name, column in columns_of(engine.schema).items() if is_file(column["holds"])}
    return {"modalities": list(result.used), "unreadable": list(result.unreadable),
            "hits": [{"id": hit.id, "score": float(hit.score), "modality": hit.modality, "row": {
                name: file_name(value) if name in files else value for name, value in hit.row.items()}}
                for hit in result.hits]}


def file_name(value: Any) -> Any:
    """A file's name without its folders, which are the server's own affair."""
    if isinstance(value, list):
        return [file_name(one) for one in value]
    return PurePath(value).name if isinstance(value, str) else value


def _png(picture: Any) -> str:
    """A picture of Pillow as base64."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def encoded(values: Any) -> bytes:
    """JSON that every reader understands: numbers that are not finite are null, dates and bytes are texts."""
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError):
        text = json.dumps(_plain(values), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _plain(values: Any) -> Any:
    if isinstance(values, dict):
        return {str(key): _plain(value) for key, value in values.items()}
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return [_plain(value) for value in values]
    if isinstance(values, float):
        return values if isfinite(values) else None
    return values if isinstance(values, str | int | None) else str(values)[:1000]
