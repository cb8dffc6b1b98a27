"""What answers: a model by torch, or an exported one by onnxruntime, behind one contract."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from sensorium.answers import Answer
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import DataError, RecipeError

if TYPE_CHECKING:
    from sensorium.evaluation.attribution import Attribution
    from sensorium.model import Model

Names = frozenset[str]
VERSIONED = ("model.safetensors", "recipe.yaml", "schema.json", "metrics.json")


@dataclass(frozen=True)
class Identity:
    """Which model answers.

    Args:
        id: the name of its folder.
        version: twelve digits of a digest of what is in it: other weights or settings have another version.
    """

    id: str
    version: str


class Engine(Protocol):
    """A trained model as a server uses it: rows are decoded already.

    One thread predicts and embeds; at the same time another may do the rest.

    `abilities` are some of predict, explain, embed, generate and ask; what is not among them is not called.
    """

    @property
    def schema(self) -> Schema:
        """The modalities and targets, measured."""

    @property
    def identity(self) -> Identity:
        """Which model it is."""

    @property
    def abilities(self) -> Names:
        """What it can do."""

    @property
    def asking(self) -> Names:
        """The modalities that ask, of which one must be there for an answer."""

    @property
    def made(self) -> tuple[str, ...]:
        """The modalities that it makes."""

    @property
    def aligned(self) -> bool:
        """Whether embeddings of different modalities can be compared."""

    @property
    def embedding_width(self) -> int:
        """Numbers of an embedding."""

    def predict(
        self, samples: Samples, *, modalities: Collection[str] | None = None, explain: bool = False,
    ) -> list[dict[str, Answer]]:
        """Target → Answer for every row."""

    def embed(self, samples: Samples, *, modalities: Collection[str] | None = None) -> npt.NDArray[np.float32]:
        """(row, width) unit-length vectors."""

    def attribute(
        self, samples: Samples, *, target: str | None = None, class_: str | None = None,
        modalities: Collection[str] | None = None,
    ) -> list[Attribution | None]:
        """How much each token of every row moved its answer."""

    def generate(
        self, samples: Samples, to: str | None, *, n: int = 1, seed: int = 0, guidance: float | None = None,
        beams: int = 4, modalities: Collection[str] | None = None,
    ) -> list[list[Any]]:
        """Pictures (PIL) or texts of every row."""

    def ask(
        self, samples: Samples, *, target: str | None = None, explain: bool = False,
        modalities: Collection[str] | None = None,
    ) -> Answer:
        """The answer to the question that stands in the one row."""

    def place_question(self, question: str | bytes, given: Mapping[str, Any]) -> dict[str, Any]:
        """The row with the question, a text or a sound file's bytes, in the column that asks."""

    def refuse_cut(self, row: Mapping[str, Any], *, to: str | None) -> None:
        """Raise DataError for a text longer than what is read of it when `to` is made."""


class ModelEngine:
    """A `sensorium.Model`.

    Args:
        model: trained.
        identity: which one.
    """

    def __init__(self, model: Model, identity: Identity) -> None:
        self.model = model.eval()
        self.identity = identity
        self.schema: Schema = model.schema
        self.asking: Names = model.asking
        self.made: tuple[str, ...] = tuple(maker.to_name for maker in model.generative()
                                           if not (model.asking and maker.name == "answer"))

    @cached_property
    def abilities(self) -> Names:
        """What it can do: everything but what it was not trained for."""
        return frozenset({"embed", *(("predict", "explain") if self.schema.targets else ()),
                          *(("generate",) if self.made else ()), *(("ask",) if self.asking else ())})

    @property
    def aligned(self) -> bool:
        """Whether embeddings of different modalities can be compared."""
        return self.model.aligned

    @property
    def embedding_width(self) -> int:
        """Numbers of an embedding."""
        return self.model.embedding_width

    def predict(
        self, samples: Samples, *, modalities: Collection[str] | None = None, explain: bool = False,
    ) -> list[dict[str, Answer]]:
        """Target → Answer for every row."""
        return self.model.answers(samples, modalities=modalities, explain=explain)

    def embed(self, samples: Samples, *, modalities: Collection[str] | None = None) -> npt.NDArray[np.float32]:
        """(row, width) unit-length vectors."""
        subset = frozenset(self.schema.names if modalities is None else modalities)
        return self.model.embeddings(samples, np.arange(len(samples)), [subset], complete=False)[subset]

    def attribute(
        self, samples: Samples, *, target: str | None = None, class_: str | None = None,
        modalities: Collection[str] | None = None,
    ) -> list[Attribution | None]:
        """How much each token of every row moved its answer."""
        from sensorium.evaluation.attribution import attribute

        found: list[Attribution | None] = attribute(self.model, samples, target=target, class_=class_,
                                                    modalities=modalities)
        return found

    def generate(
        self, samples: Samples, to: str | None, *, n: int = 1, seed: int = 0, guidance: float | None = None,
        beams: int = 4, modalities: Collection[str] | None = None,
    ) -> list[list[Any]]:
        """Pictures (PIL) or texts of every row."""
        from sensorium.made import generate

        return generate(self.model, to, samples, n=n, seed=seed, guidance=guidance, beams=beams, modalities=modalities)

    def ask(
        self, samples: Samples, *, target: str | None = None, explain: bool = False,
        modalities: Collection[str] | None = None,
    ) -> Answer:
        """The answer to the question that stands in the one row."""
        from sensorium.asked import answer_question

        return answer_question(self.model, samples, target=target, explain=explain, modalities=modalities)

    def place_question(self, question: str | bytes, given: Mapping[str, Any]) -> dict[str, Any]:
        """The row with the question, a text or a sound file's bytes, in the column that asks."""
        from sensorium.asked import question_row
        from sensorium.made import refuse_cut

        asking = [modality for modality in self.schema.modalities if modality.name in self.asking]
        if isinstance(question, str) and asking and all(one.kind.name != "text" for one in asking):
            raise DataError(f"this model is asked in sound ({asking[0].name}): send the sound, not a text")
        row = question_row(self.model, question, given)
        refuse_cut(self.model, row)
        return row

    def refuse_cut(self, row: Mapping[str, Any], *, to: str | None) -> None:
        """Raise DataError for a text longer than what is read of it when `to` is made."""
        from sensorium.made import maker_of, refuse_cut

        refuse_cut(self.model, row, but=maker_of(self.model, to).to_name)


def open_engine(folder: str | Path, *, onnx: bool = False, threads: int = 1) -> Engine:
    """The model in a folder, ready to answer.

    Args:
        folder: a model folder; or, with `onnx`, an exported one.
        onnx: read it by onnxruntime, without torch.
        threads: that onnxruntime computes with; torch's are set by `torch.set_num_threads`.

    Raises:
        SensoriumError: it is no such folder.
    """
    if onnx:
        from sensorium.serving.runtime_engine import RuntimeEngine

        return RuntimeEngine.load(folder, threads=threads)
    from sensorium.model import Model

    return ModelEngine(Model.load(folder), identity_of(folder))


def identity_of(folder: str | Path) -> Identity:
    """The name of a model folder and a digest of its weights and settings."""
    path = Path(folder)
    digest = hashlib.sha256()
    for name in VERSIONED:
        file = path / name
        digest.update(file.read_bytes() if file.is_file() else b"")
    return Identity(path.resolve().name, digest.hexdigest()[:12])


def refuse_unknown(modalities: Sequence[str] | None, schema: Schema) -> None:
    """Raise RecipeError for a modality that the model does not have, or for a choice of none."""
    from sensorium.errors import unknown_name

    for name in modalities or ():
        if name not in schema.names:
            raise unknown_name("modality", name, list(schema.names))
    if modalities is not None and not modalities:
        raise RecipeError(f"modalities: expected some of {', '.join(schema.names)}, or none named for all")
