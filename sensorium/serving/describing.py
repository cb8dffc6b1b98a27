"""What a server can be asked, for programs: modalities, columns, targets, abilities, limits."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sensorium.data.kinds import TableKind
from sensorium.data.schema import Schema
from sensorium.serving.given import FILES, NUMBERS
from sensorium.serving.service import Service

MOST_CATEGORIES = 1000


def described(service: Service) -> dict[str, Any]:
    """The body of `/schema`."""
    engine = service.engine
    return {
        "model": asdict(engine.identity),
        "abilities": sorted(service.abilities),
        "modalities": [{"name": one.name, "kind": one.kind.name, "columns": list(one.columns)}
                       for one in service.schema.modalities],
        "columns": columns_of(service.schema),
        "targets": [{"name": target.name, "task": target.task, "classes": list(target.classes)}
                    for target in service.schema.targets],
        "asks": sorted(engine.asking), "makes": list(engine.made),
        "embedding": {"width": engine.embedding_width, "aligned": engine.aligned},
        "limits": asdict(service.limits),
    }


def columns_of(schema: Schema) -> dict[str, dict[str, Any]]:
    """column → what it holds (image, audio, video, series, points, text, number, category, date), its categories."""
    found: dict[str, dict[str, Any]] = {}
    for modality in schema.modalities:
        kind = modality.kind
        if isinstance(kind, TableKind):
            for column in kind.columns:
                found[column.name] = {"holds": column.type, "modality": modality.name}
                if column.type == "category":
                    found[column.name]["categories"] = list(column.categories[:MOST_CATEGORIES])
            continue
        for name in modality.columns:
            holds = "video" if modality.part else kind.name
            if name not in found or holds == "video":
                found[name] = {"holds": holds, "modality": modality.name}
    return found


def is_file(holds: str) -> bool:
    """Whether a column of this sort holds files."""
    return holds in FILES | NUMBERS
