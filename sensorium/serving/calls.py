"""What can be asked of a server: one dataclass a verb, and what it answers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import Answer
from sensorium.data.samples import Samples

Row = Mapping[str, Any]
"""Column → a text, a number, a file's bytes (or, from the server's own code, its path), or a list of those; None is
nothing there."""
Used = tuple[str, ...]


@dataclass(frozen=True)
class Predict:
    """Predict every target of some rows, or of rows that are decoded already."""

    rows: Sequence[Row] | Samples
    modalities: tuple[str, ...] | None = None
    explain: bool = False

    @property
    def key(self) -> Hashable:
        """What may be read together."""
        return "predict", self.modalities, self.explain


@dataclass(frozen=True)
class Embed:
    """Where some rows are in the shared space."""

    rows: Sequence[Row]
    modalities: tuple[str, ...] | None = None

    @property
    def key(self) -> Hashable:
        """What may be read together."""
        return "embed", self.modalities


@dataclass(frozen=True)
class Explain:
    """Predict some rows, with contributions, and with how much each token moved the answer."""

    rows: Sequence[Row]
    target: str | None = None
    class_: str | None = None
    modalities: tuple[str, ...] | None = None
    key: Hashable = None


@dataclass(frozen=True)
class Search:
    """What in the index is nearest to a sample."""

    given: Row
    k: int = 10
    where: str | None = None
    to: str | None = None
    modalities: tuple[str, ...] | None = None
    key: Hashable = None

    @property
    def rows(self) -> Sequence[Row]:
        """The one row."""
        return [self.given]


@dataclass(frozen=True)
class Generate:
    """Make pictures or texts of a sample."""

    given: Row
    to: str | None = None
    n: int = 1
    seed: int = 0
    guidance: float | None = None
    beams: int = 4
    modalities: tuple[str, ...] | None = None
    key: Hashable = None

    @property
    def rows(self) -> Sequence[Row]:
        """The one row."""
        return [self.given]


@dataclass(frozen=True)
class Ask:
    """Answer a question, a text or a sound file's bytes, about a sample."""

    question: str | bytes
    given: Row
    target: str | None = None
    explain: bool = True
    modalities: tuple[str, ...] | None = None
    key: Hashable = None

    @property
    def rows(self) -> Sequence[Row]:
        """The one row, without the question."""
        return [self.given]


Call = Predict | Embed | Explain | Search | Generate | Ask


def verb_of(call: Call) -> str:
    """The verb, as it is written in a path."""
    return type(call).__name__.lower()


@dataclass(frozen=True)
class Embedded:
    """Embeddings.

    Args:
        vectors: (row, width) of unit length.
        used: what was read of each row.
        unreadable: cells of each row that could not be read, with the reason.
    """

    vectors: npt.NDArray[np.float32]
    used: tuple[Used, ...]
    unreadable: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Explained:
    """Why rows were answered as they were.

    Args:
        answers: target → Answer of each row, with contributions.
        attributions: of each row, of the target asked for.
        samples: the decoded rows, to draw attributions on.
    """

    answers: list[dict[str, Answer]]
    attributions: list[Any]
    samples: Any


@dataclass(frozen=True)
class Found:
    """Results of a search: `hits`, the best first, what was read of the query, and its cells that could not be read."""

    hits: list[Any]
    used: Used
    unreadable: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """What was made: of the modality `to`, pictures (PIL) or texts; what was read, and what could not be."""

    to: str
    made: list[Any]
    used: Used
    unreadable: tuple[str, ...]
