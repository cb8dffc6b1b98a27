"""The runtime: an exported model that predicts and embeds as `sensorium.Model` does, without torch."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from sensorium.answers import Answer, make_answers, with_unlike
from sensorium.data.kinds import TextKind
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import DataError, ExportError, RecipeError, unknown_name
from sensorium.metrics.conformal import Conformal
from sensorium.metrics.familiarity import Familiarity
from sensorium.runtime.encoding import Encoded, encoded_rows
from sensorium.runtime.manifest import (
    EMBEDDING,
    FAMILIAR,
    FUSION,
    SCHEMA,
    Manifest,
    encoder_file,
    read_file,
    read_manifest,
    tokenizer_file,
)
from sensorium.runtime.rows import decoded_rows, given_rows
from sensorium.runtime.sessions import Session

Floats = npt.NDArray[np.float64]
Subset = frozenset[str]
ROWS_AT_ONCE = 256


class Runtime:
    """An exported model: any subset of modalities in, the same answers out as from `sensorium.Model`, to 1e-4.

    Made by `Runtime.load`.

    Args:
        manifest: what the folder says.
        schema: with measured kinds and targets.
        encoders: modality → its graph.
        fusion: tokens and presence → the fused vector, each target's raw output, and the embedding unless it has a
            graph of its own.
        embedding: tokens and presence → the embedding.
        familiar: where the fused vectors of training rows lie; None: it cannot tell what is unlike them.

    Attributes:
        identity: the model's name and a digest of the folder's files.
    """

    def __init__(
        self, manifest: Manifest, schema: Schema, encoders: Mapping[str, Session], fusion: Session,
        embedding: Session, familiar: Familiarity | None,
    ) -> None:
        self.manifest, self.schema, self.identity = manifest, schema, manifest.identity
        self.aligned, self.embedding_width = manifest.aligned, manifest.embedding_width
        self.asking = frozenset(manifest.asking)
        self.conformal = {name: Conformal.from_json(one) for name, one in manifest.conformal.items()}
        self.familiar = familiar
        self._encoders, self._fusion, self._embedding = dict(encoders), fusion, embedding

    @classmethod
    def load(cls, folder: str | Path, *, threads: int | None = None) -> Runtime:
        """Read a folder that `sensorium export` wrote. Executes no code from it.

        Args:
            folder: the exported folder.
            threads: that compute one call; None: what OMP_NUM_THREADS says, else as many as there are cores.

        Raises:
            ExportError: it is no exported folder, or is broken.
            SensoriumError: onnxruntime is not installed.
        """
        path = Path(folder)
        manifest = read_manifest(path)
        schema = _schema(path, manifest)

        def session(name: str) -> Session:
            return Session(read_file(path, name, manifest), name, threads=threads)

        encoders = {name: session(encoder_file(place)) for place, name in enumerate(schema.names)
                    if name in manifest.read}
        fusion = session(FUSION)
        embedding = session(EMBEDDING) if EMBEDDING in manifest.digests else fusion
        try:
            return cls(manifest, schema, encoders, fusion, embedding, _familiar(path, manifest, schema))
        except (ValueError, KeyError) as error:
            if isinstance(error, ExportError):
                raise
            raise ExportError(f"the exported folder {str(folder)!r} is broken: {str(error).splitlines()[0]}"
                              ) from error

    def predict(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | Path, *,
        modalities: Collection[str] | None = None, explain: bool = False, root: str | Path = ".",
    ) -> Any:
        """Predict every target from whatever is there, as `Model.predict`.

        Args:
            rows: one row as a dictionary (media as paths, bytes, PIL pictures, arrays or (waveform, rate)), several of
                them, or the path of a CSV, TSV or JSONL file.
            modalities: use only these; all that are there where None.
            explain: add each modality's contribution (Shapley values).
            root: the folder that paths in dictionaries start from.

        Returns:
            For one dictionary target → Answer; else one such dictionary a row.

        Example: Runtime.load("out").predict({"photo": "a.jpg", "note": "dry cough"})["diagnosis"].value
        """
        if not self.schema.targets:
            raise DataError("this model predicts no target: it was trained to embed (Runtime.embed)")
        if isinstance(rows, Mapping):
            self.schema.refuse_strangers(rows)
        found = given_rows(rows, root)
        answers: list[dict[str, Answer]] = []
        for start in range(0, len(found), ROWS_AT_ONCE):
            samples = decoded_rows(found.part(start, start + ROWS_AT_ONCE), self.schema)
            answers += self.answers(samples, modalities=modalities, explain=explain)
        return answers[0] if isinstance(rows, Mapping) else answers

    def embed(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | Path, *,
        modalities: str | Collection[str] | None = None, root: str | Path = ".",
    ) -> npt.NDArray[np.float32]:
        """(row, width) unit-length embeddings of whatever is there; NaN for rows in which nothing is readable.

        Those of different modalities can be compared where the model is `aligned`.
        """
        if isinstance(rows, Mapping):
            self.schema.refuse_strangers(rows)
        found = given_rows(rows, root)
        parts = [self.embeddings(decoded_rows(found.part(start, start + ROWS_AT_ONCE), self.schema),
                                 modalities=modalities) for start in range(0, len(found), ROWS_AT_ONCE)]
        return np.concatenate(parts)

    def answers(
        self, samples: Samples, *, modalities: Collection[str] | None = None, explain: bool = False,
        rows_at_once: int = ROWS_AT_ONCE,
    ) -> list[dict[str, Answer]]:
        """One dictionary target → Answer for every row of decoded rows (`sensorium.runtime.rows.decoded_rows`)."""
        allowed = self._columns_of(modalities)
        usable = frozenset(name for name, kept in zip(self.schema.names, allowed.tolist(), strict=True) if kept)
        present = samples.presence & allowed
        encoded = self._encoded(samples, rows_at_once)
        vectors: dict[Subset, Floats] = {}

        def outputs(subsets: Sequence[Subset]) -> dict[str, dict[Subset, Floats]]:
            found = self._outputs(encoded, len(samples), {subset & usable for subset in subsets}, vectors)
            return {target: {subset: values[subset & usable] for subset in subsets} for target, values in found.items()}

        broken: dict[int, list[str]] = {}
        for cell in samples.unreadable:
            broken.setdefault(cell.row - 1, []).append(f"{cell.column}: {cell.reason}")
        answers = make_answers(
            outputs, self.schema, present, temperatures=self.manifest.temperatures, balance=self.manifest.balance,
            explain=explain, unreadable={row: tuple(words) for row, words in broken.items()}, conformal=self.conformal,
            asks=self.asking)
        if self.familiar is None:
            return answers
        return with_unlike(answers, self.familiar.strangeness(vectors[usable], present))

    def embeddings(
        self, samples: Samples, *, modalities: str | Collection[str] | None = None,
    ) -> npt.NDArray[np.float32]:
        """(row, width) embeddings of decoded rows; see `embed`."""
        modalities = [modalities] if isinstance(modalities, str) else modalities
        if modalities is not None and not modalities:
            raise RecipeError(f"modalities: expected some of {', '.join(self.schema.names)}, or None for all; found "
                              f"none")
        allowed = self._columns_of(modalities)
        found = np.full((len(samples), self.embedding_width), np.nan, dtype=np.float32)
        for encoded in self._encoded(samples, ROWS_AT_ONCE):
            rows, given = encoded.given(encoded.presence & allowed)
            if len(rows):
                found[encoded.start + rows] = self._embedding(given)["embedding"]
        return found

    def outputs(
        self, samples: Samples, subsets: Collection[Subset],
    ) -> tuple[dict[str, dict[Subset, Floats]], dict[Subset, Floats]]:
        """Raw outputs, target → subset → (row, output), and fused vectors, subset → (row, width), of decoded rows.

        Each row is read with whatever of a subset it has; NaN where it has nothing of it.
        """
        vectors: dict[Subset, Floats] = {}
        return self._outputs(self._encoded(samples, ROWS_AT_ONCE), len(samples), subsets, vectors), vectors

    def _encoded(self, samples: Samples, rows_at_once: int) -> list[Encoded]:
        return [encoded_rows(samples, start, min(len(samples), start + rows_at_once), self._encoders, self.manifest)
                for start in range(0, len(samples), rows_at_once)]

    def _outputs(
        self, encoded: Sequence[Encoded], num_rows: int, subsets: Collection[Subset], vectors: dict[Subset, Floats],
    ) -> dict[str, dict[Subset, Floats]]:
        """target → subset → (row, output), NaN where a row has none of the subset; fused vectors on the way."""
        found: dict[str, dict[Subset, Floats]] = {target.name: {} for target in self.schema.targets}
        asking = np.array([name in self.asking for name in self.schema.names])
        for subset in subsets:
            columns = self._columns_of(subset)
            results = {target.name: np.full((num_rows, max(1, len(target.classes))), np.nan)
                       for target in self.schema.targets}
            vector = np.full((num_rows, self.manifest.width), np.nan)
            for part in encoded:
                presence = part.presence & columns
                rows, given = part.given(presence)
                if not len(rows):
                    continue
                graph = self._fusion(given)
                vector[part.start + rows] = graph["vector"]
                told = (presence[rows] & asking).any(axis=1) if self.asking else np.ones(len(rows), dtype=bool)
                for place, target in enumerate(self.schema.targets):
                    results[target.name][part.start + rows[told]] = graph[f"output_{place}"][told]
            vectors[subset] = vector
            for name, values in results.items():
                found[name][subset] = values
        return found

    def _columns_of(self, modalities: Collection[str] | None) -> npt.NDArray[np.bool_]:
        """(modality,) which are named (all where None). Raises RecipeError for an unknown one."""
        if isinstance(modalities, str):
            raise RecipeError(f"modalities: expected a list of names, found the text {modalities!r}")
        for name in modalities or ():
            if name not in self.schema.names:
                raise unknown_name("modality", name, list(self.schema.names))
        return np.array([modalities is None or name in modalities for name in self.schema.names])


def _schema(path: Path, manifest: Manifest) -> Schema:
    """The schema with its tokenizers."""
    try:
        schema = Schema.model_validate_json(read_file(path, SCHEMA, manifest))
    except ValidationError as error:
        raise ExportError(f"the exported folder {str(path)!r} is broken: {SCHEMA}: {str(error).splitlines()[0]}"
                          ) from error
    modalities = []
    for place, modality in enumerate(schema.modalities):
        if isinstance(modality.kind, TextKind):
            tokenizer = read_file(path, tokenizer_file(place), manifest).decode()
            modality = modality.model_copy(update={"kind": modality.kind.model_copy(update={"tokenizer": tokenizer})})
        modalities.append(modality)
    return schema.model_copy(update={"modalities": tuple(modalities)})


def _familiar(path: Path, manifest: Manifest, schema: Schema) -> Familiarity | None:
    if manifest.familiar is None:
        return None
    with np.load(io.BytesIO(read_file(path, FAMILIAR, manifest)), allow_pickle=False) as arrays:
        return Familiarity.restored(schema.names, manifest.familiar, dict(arrays))
