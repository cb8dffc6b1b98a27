"""An exported model as an engine: it predicts, with contributions, and embeds; onnxruntime reads it, torch is not
needed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import Answer
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import DataError
from sensorium.runtime import Runtime
from sensorium.serving.engine import Identity, Names

LACKS = "an exported model predicts and embeds: serve the model folder for everything else"


class RuntimeEngine:
    """A `sensorium.runtime.Runtime`.

    Args:
        runtime: of an exported folder.
        identity: which one.
    """

    def __init__(self, runtime: Runtime, identity: Identity) -> None:
        self.runtime = runtime
        self.identity = identity
        self.schema: Schema = runtime.schema
        self.asking: Names = runtime.asking
        self.made: tuple[str, ...] = ()
        self.aligned: bool = runtime.aligned
        self.embedding_width: int = runtime.embedding_width
        self.abilities: Names = frozenset({"embed", *(("predict",) if self.schema.targets else ())})

    @classmethod
    def load(cls, folder: str | Path, *, threads: int = 1) -> RuntimeEngine:
        """The engine of an exported folder. Raises SensoriumError where it is none."""
        runtime = Runtime.load(folder, threads=threads)
        name, _, version = runtime.identity.rpartition(":")
        return cls(runtime, Identity(name or Path(folder).resolve().name, version))

    def predict(
        self, samples: Samples, *, modalities: Collection[str] | None = None, explain: bool = False,
    ) -> list[dict[str, Answer]]:
        """Target → Answer for every row."""
        return self.runtime.answers(samples, modalities=modalities, explain=explain)

    def embed(self, samples: Samples, *, modalities: Collection[str] | None = None) -> npt.NDArray[np.float32]:
        """(row, width) unit-length vectors."""
        return self.runtime.embeddings(samples, modalities=modalities)

    def attribute(
        self, samples: Samples, *, target: str | None = None, class_: str | None = None,
        modalities: Collection[str] | None = None,
    ) -> list[Any]:
        """Not among its abilities."""
        raise DataError(LACKS)

    def generate(
        self, samples: Samples, to: str | None, *, n: int = 1, seed: int = 0, guidance: float | None = None,
        beams: int = 4, modalities: Collection[str] | None = None,
    ) -> list[list[Any]]:
        """Not among its abilities."""
        raise DataError(LACKS)

    def ask(
        self, samples: Samples, *, target: str | None = None, explain: bool = False,
        modalities: Collection[str] | None = None,
    ) -> Answer:
        """Not among its abilities."""
        raise DataError(LACKS)

    def place_question(self, question: str | bytes, given: Mapping[str, Any]) -> dict[str, Any]:
        """Not among its abilities."""
        raise DataError(LACKS)

    def refuse_cut(self, row: Mapping[str, Any], *, to: str | None) -> None:
        """Not among its abilities."""
        raise DataError(LACKS)
