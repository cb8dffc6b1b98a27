"""What an exported folder says about itself: `export.json` and the names of its files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sensorium.errors import ExportError

FORMAT = 1
MANIFEST, SCHEMA, FAMILIAR, CARD = "export.json", "schema.json", "familiar.npz", "README.md"
FUSION, EMBEDDING = "fusion.onnx", "embedding.onnx"


class Manifest(BaseModel):
    """Everything but the graphs, the schema and the arrays.

    Args:
        format: of the folder.
        id: the name of the model.
        version: of sensorium, which wrote it.
        opset: of the graphs.
        read: the modalities that are encoded; others count as absent.
        timed: the modalities whose spans the fusion reads.
        asking: the modalities of which one must be there for an answer.
        aligned: whether embeddings of different modalities can be compared.
        width: numbers of a token and of the fused vector.
        embedding_width: numbers of an embedding.
        balance: whether the model was trained with balanced classes.
        temperatures: target → what its logits are divided by.
        conformal: target → its thresholds.
        familiar: the patterns whose means are in `familiar.npz`; None: the model cannot tell what is unlike.
        digests: file → SHA-256 of what is in it.
        parity: how the graphs were compared with torch, and how far they were off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int
    id: str
    version: str
    opset: int
    read: tuple[str, ...]
    timed: tuple[str, ...]
    asking: tuple[str, ...] = ()
    aligned: bool
    width: int
    embedding_width: int
    balance: bool
    temperatures: dict[str, float]
    conformal: dict[str, dict[str, Any]]
    familiar: list[dict[str, Any]] | None
    digests: dict[str, str]
    parity: dict[str, Any]

    @property
    def identity(self) -> str:
        """The model's name and twelve digits of a digest of the files: other weights have another identity."""
        together = hashlib.sha256(json.dumps(self.digests, sort_keys=True).encode()).hexdigest()
        return f"{self.id}:{together[:12]}"


def encoder_file(place: int) -> str:
    """The graph of the encoder of the modality at this place."""
    return f"encoder_{place}.onnx"


def tokenizer_file(place: int) -> str:
    """The tokenizer of the text modality at this place."""
    return f"tokenizer_{place}.json"


def digest_of(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def is_exported(folder: str | Path) -> bool:
    """Whether a folder is one that `sensorium export` wrote."""
    return (Path(folder) / MANIFEST).is_file()


def read_manifest(folder: str | Path) -> Manifest:
    """Read `export.json`. Raises ExportError where there is none, or it is broken or of another format."""
    path = Path(folder)
    if not is_exported(path):
        hint = ": it is a model folder; `sensorium export` makes one" if (path / "model.safetensors").is_file() else ""
        raise ExportError(f"no exported model at {str(folder)!r}{hint}")
    try:
        plain = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            found = plain.get("format") if isinstance(plain, dict) else None
            raise ExportError(f"{str(folder)!r} has format {found!r}; this version reads {FORMAT}")
        return Manifest.model_validate(plain)
    except ExportError:
        raise
    except (OSError, ValueError, ValidationError) as error:
        raise ExportError(f"the exported folder {str(folder)!r} is broken: {str(error).splitlines()[0]}") from error


def read_file(folder: Path, name: str, manifest: Manifest) -> bytes:
    """One of the folder's files, if it is the one that was written. Raises ExportError."""
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise ExportError(f"the exported folder {str(folder)!r} is broken: {name}: {error.strerror}") from error
    if digest_of(content) != manifest.digests.get(name):
        raise ExportError(f"the exported folder {str(folder)!r} is broken: {name} is not the file that was written")
    return content
