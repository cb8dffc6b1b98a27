"""What an index consists of: the one file whose replacement makes every change visible at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from sensorium.errors import DataError
from sensorium.retrieval.durable import replace_file

MANIFEST = "manifest.json"
PARTS = "embedding"
FORMAT = 1
WHOLE = ""
"""The space of whole rows: all that a row has together."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Place(_Facts):
    """Where a folder is: from the index (so that both can be moved together), else absolutely."""

    relative: str
    absolute: str

    @classmethod
    def of(cls, folder: Path, index: Path) -> Place:
        """The place of a folder seen from an index."""
        import os

        whole = folder.resolve()
        return cls(relative=os.path.relpath(whole, index.resolve()), absolute=str(whole))

    def found(self, index: Path) -> Path:
        """The folder, beside the index where it is there, else where it was."""
        near = (index.resolve() / self.relative).resolve()
        return near if near.is_dir() else Path(self.absolute)


class ModelFacts(_Facts):
    """The model whose embeddings are indexed.

    Args:
        identity: of `model_identity`.
        folder: its folder; None where it had none.
        aligned: whether vectors of different modalities can be compared.
    """

    identity: str
    folder: Place | None
    aligned: bool


class Indexed(_Facts):
    """A modality of the model as it is indexed: its columns, and how a cell lists several."""

    name: str
    kind: str
    columns: tuple[str, ...]
    separator: str = ""


class SegmentFacts(_Facts):
    """Rows that were added together, in a folder that is never changed.

    Args:
        name: the folder.
        num_rows: rows.
        root: where the paths in its cells start from.
        allow_outside: whether they may lead out of it.
        vectors: space → vectors.
        source: what was read.
    """

    name: str
    num_rows: int
    root: Place
    allow_outside: bool
    vectors: dict[str, int]
    source: str


class StructureFacts(_Facts):
    """A search structure over the first vectors of a space.

    Args:
        name: the file.
        kind: hnsw, ivf or ivfpq.
        size: how many vectors of the space it holds, from the first.
        effort: efSearch or nprobe, the least that reached the wanted recall.
        candidates: how many times as many vectors as wanted are scored again; 0 where its scores are exact.
        recall: the share of the exact 10 nearest that it found, over `queries` rows of the index.
        queries: those it was measured on.
        seconds: that building took.
    """

    name: str
    kind: str
    size: int
    effort: int
    candidates: int
    recall: float
    queries: int
    seconds: float


class Manifest(_Facts):
    """One state of an index.

    Args:
        format: of the folder.
        generation: counts the changes.
        model: None where the vectors are of no model of this library.
        modalities: of the model, in its order.
        spaces: what can be ranked: modalities, and "" for whole rows.
        width: numbers of a vector.
        half: whether vectors are stored as float16.
        id_column: the column of ids; None: rows are numbered.
        next_number: the next row's number.
        columns: column → what it holds: whole, number, flag, date, time, text or texts.
        structure: auto, flat, hnsw, ivf or ivfpq: what was asked for.
        wanted: the recall that structures are tuned to.
        segments: in the order in which they were added.
        deleted: the file of deleted positions; None: none.
        num_deleted: rows that are deleted.
        structures: space → its structure; a space without one is searched exactly.
        notes: what was left out or changed, a line each.
    """

    format: int = FORMAT
    generation: int = 0
    model: ModelFacts | None
    modalities: tuple[Indexed, ...]
    spaces: tuple[str, ...]
    width: int
    half: bool = False
    id_column: str | None = None
    next_number: int = 1
    columns: dict[str, str] = {}
    structure: str = "auto"
    wanted: float
    segments: tuple[SegmentFacts, ...] = ()
    deleted: str | None = None
    num_deleted: int = 0
    structures: dict[str, StructureFacts] = {}
    notes: tuple[str, ...] = ()

    @property
    def num_positions(self) -> int:
        """Rows ever added since the last rewriting, deleted ones too."""
        return sum(segment.num_rows for segment in self.segments)

    @property
    def files(self) -> set[str]:
        """Names in the folder that this state needs, besides its own."""
        names = {segment.name for segment in self.segments} | {one.name for one in self.structures.values()}
        return names if self.deleted is None else names | {self.deleted}


def has_manifest(folder: Path) -> bool:
    """Whether a folder holds an index."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The state of an index. Raises DataError where there is none, or none that this version reads."""
    if not has_manifest(folder):
        if not folder.is_dir():
            raise DataError(f"no index at {str(folder)!r}")
        if (folder / PARTS).is_dir():
            raise DataError(f"the index {str(folder)!r} is not made yet: the same sensorium index goes on where it "
                            f"stopped")
        raise DataError(f"{str(folder)!r} is not an index: it has no {MANIFEST}")
    try:
        text = (folder / MANIFEST).read_bytes()
        manifest = Manifest.model_validate_json(text)
    except (OSError, ValidationError) as error:
        raise DataError(f"the index {str(folder)!r} is broken: its {MANIFEST} cannot be read") from error
    if manifest.format != FORMAT:
        raise DataError(f"the index {str(folder)!r} has format {manifest.format}; this version reads {FORMAT}")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a state the one that is read from now on."""
    replace_file(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
