"""The schema: the ordered modalities with their kinds, and the targets. Order is fixed once, here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sensorium.data.kinds import AnyKind
from sensorium.data.notation import Notation
from sensorium.errors import DataError, unknown_name

Task = Literal["classify", "regress"]
Part = Literal["", "video", "audio", "text"]
Separator = Literal["", ";", "|", "json"]


class Modality(BaseModel):
    """What can be present or absent as a unit.

    Args:
        name: a column's name, or `table`, or the name of a group of columns.
        columns: the columns it reads: one for media and text, any number for a table.
        kind: the kind with its settings.
        part: of a column of video files: its pictures, its sound track or the subtitles beside it.
        separator: what stands between several cells in one (";", "|", or "json" for a list in brackets); "" where a
            string is one cell.
        reason: why it is taken for this kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    columns: tuple[str, ...]
    kind: AnyKind
    part: Part = ""
    separator: Separator = ""
    reason: str = ""


class Target(BaseModel):
    """What is to be predicted.

    Args:
        name: the target's column.
        task: classify (one of `classes`) or regress (a number).
        classes: the class labels in order; empty for regress.
        mean, std: of the training rows' numbers, measured before training; for regress.
        prior: the training rows' class frequencies, measured before training; for classify.
        notation: how a regressed target's numbers are written.
        weight: the weight of its objective in the joint loss.
        reason: why it is taken for this task.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    task: Task
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    prior: tuple[float, ...] = ()
    notation: Notation = Notation()
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    reason: str = ""


class Schema(BaseModel):
    """The ordered modalities, the targets, and what was left out and why.

    Args:
        modalities: in a fixed order, which is the order of every presence mask.
        targets: at least one for training.
        group: a column whose equal values belong together when rows are split (a speaker, a patient).
        split: a column that names each row's split.
        ignored: column → reason.
        words: text modality that is written → the words it is written in, as JSON, learned from training rows (kept in
            a file of its own in the model folder).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    modalities: tuple[Modality, ...] = ()
    targets: tuple[Target, ...] = ()
    group: str | None = None
    split: str | None = None
    ignored: dict[str, str] = {}
    words: dict[str, str] = Field(default={}, exclude=True, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities' names, in order."""
        return tuple(modality.name for modality in self.modalities)

    @property
    def columns(self) -> list[str]:
        """The columns that the modalities read, in their order; one that several read as often."""
        return [column for modality in self.modalities for column in modality.columns]

    def refuse_strangers(self, row: Mapping[str, Any]) -> None:
        """Raise DataError for a row of which not one name is a column that is read."""
        columns = self.columns
        if row and not any(name in columns for name in row):
            raise DataError(f"nothing to read: {unknown_name('column', str(next(iter(row))), columns)}")

    def modality(self, name: str) -> Modality:
        """The modality of this name. Raises KeyError."""
        for modality in self.modalities:
            if modality.name == name:
                return modality
        raise KeyError(name)

    def lines(self) -> list[str]:
        """What a person wants to read about the schema, a line each."""
        described = []
        for modality in self.modalities:
            columns = "" if modality.columns == (modality.name,) else f" ({', '.join(modality.columns)})"
            described.append(f"modality {modality.name}: {modality.kind.name}{columns} — {modality.reason}")
        for target in self.targets:
            what = f"one of {len(target.classes)} classes" if target.task == "classify" else "a number"
            described.append(f"target {target.name}: {target.task}, {what} — {target.reason}")
        if self.group is not None:
            described.append(f"group {self.group}: its rows stay together when rows are split")
        if self.split is not None:
            described.append(f"split {self.split}: names each row's split")
        described += [f"ignored {column}: {reason}" for column, reason in self.ignored.items()]
        return described
