"""The columns of a table of answers: their names, their types and where their values come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sensorium.errors import DataError, unknown_name

if TYPE_CHECKING:
    import polars as pl

    from sensorium.answers import Answer
    from sensorium.data.samples import Samples
    from sensorium.data.schema import Schema, Target

NOTHING_READ = "none (training distribution)"


@dataclass(frozen=True)
class AnswerRow:
    """What is known of one row.

    Args:
        number: the row's number in the table, from 1.
        answers: target → answer.
        copied: input column → its cell.
        unread: why cells were not read, in words; "" where all were.
    """

    number: int
    answers: Mapping[str, Answer]
    copied: Mapping[str, Any]
    unread: str


@dataclass(frozen=True)
class Column:
    """A column of answers.

    Args:
        name: its header.
        type: whole (number), number, text, flag, class (one of `classes`), words (a list of them), or copied (an
            input column as it is).
        of: a row → its value; None where there is none.
        classes: of a class.
        joint: what joins words where a cell is text.
        nothing: what stands there, where a cell is text, for an empty list of words.
    """

    name: str
    type: Literal["whole", "number", "text", "flag", "class", "words", "copied"]
    of: Callable[[AnswerRow], Any]
    classes: tuple[str, ...] = ()
    joint: str = "|"
    nothing: str = ""

    def text(self, row: AnswerRow) -> Any:
        """The value as a cell of a CSV file."""
        value = self.of(row)
        if value is None:
            return ""
        if self.type == "flag":
            return "yes" if value else ""
        return self.joint.join(value) or self.nothing if self.type == "words" else value


def answer_columns(
    schema: Schema, copied: Sequence[str], *, explain: bool, probabilities: bool, abstain: bool,
) -> list[Column]:
    """The columns, in order: the row's number, copied ones, each target's, what was read and what was not.

    Args:
        schema: of the model.
        copied: input columns to copy.
        explain: whether to add what each modality contributed.
        probabilities: whether to add every class's probability.
        abstain: whether to leave an answer out where its confidence set is not one class.
    """
    columns = [Column("row", "whole", lambda row: row.number)]
    columns += [Column(name, "copied", lambda row, name=name: row.copied[name])  # type: ignore[misc]
                for name in copied]
    for target in schema.targets:
        columns += _class_columns(target, probabilities=probabilities, abstain=abstain) if target.task == "classify" \
            else _number_columns(target, abstain=abstain)
        if explain:
            columns += [Column(f"{target.name}_from_{name}", "number", _contribution(target.name, name))
                        for name in schema.names]
    columns.append(Column("modalities", "words", _modalities, joint="+", nothing=NOTHING_READ))
    columns.append(Column("unlike", "flag", _unlike))
    columns.append(Column("unread", "text", lambda row: row.unread or None))
    names = [column.name for column in columns]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"two columns of the answers would be named {repeated[0]!r}: leave it out of --id"
                        if repeated[0] in copied else f"two columns of the answers would be named {repeated[0]!r}")
    return columns


def _class_columns(target: Target, *, probabilities: bool, abstain: bool) -> list[Column]:
    name = target.name

    def confidence_set(row: AnswerRow) -> tuple[str, ...] | None:
        return row.answers[name].confidence_set

    def probability_of(label: str) -> Callable[[AnswerRow], float]:
        return lambda row: round((row.answers[name].probabilities or {})[label], 6)

    columns = [Column(name, "class", _value(name, abstain=abstain), classes=target.classes),
               Column(f"{name}_probability", "number", lambda row: round(row.answers[name].probability or 0.0, 6)),
               Column(f"{name}_set", "words", confidence_set, nothing="nothing")]
    if probabilities:
        columns += [Column(f"{name}={label}", "number", probability_of(label)) for label in target.classes]
    return columns


def _number_columns(target: Target, *, abstain: bool) -> list[Column]:
    def end(place: int) -> Callable[[AnswerRow], float | None]:
        def value(row: AnswerRow) -> float | None:
            interval = row.answers[target.name].interval
            return None if interval is None else float(f"{interval[place]:.6g}")

        return value

    return [Column(target.name, "number", _value(target.name, abstain=abstain)),
            Column(f"{target.name}_low", "number", end(0)), Column(f"{target.name}_high", "number", end(1))]


def _value(name: str, *, abstain: bool) -> Callable[[AnswerRow], str | float | None]:
    def value(row: AnswerRow) -> str | float | None:
        answer = row.answers[name]
        return None if abstain and not answer.decided else answer.value

    return value


def _contribution(target: str, modality: str) -> Callable[[AnswerRow], float]:
    return lambda row: float(f"{(row.answers[target].contributions or {}).get(modality, 0.0):.6g}")


def _modalities(row: AnswerRow) -> tuple[str, ...]:
    return next(iter(row.answers.values())).modalities if row.answers else ()


def _unlike(row: AnswerRow) -> bool | None:
    return next(iter(row.answers.values())).unlike if row.answers else None


def columns_to_copy(asked: Sequence[str], available: Sequence[str], schema: Schema) -> tuple[str, ...]:
    """The input columns that identify a row: those asked for, else one named id.

    Raises:
        DataError: a column is not in the table.
    """
    for name in asked:
        if name not in available:
            raise DataError(f"--id: {unknown_name('column', name, list(available))}")
    taken = {"row", *(target.name for target in schema.targets)}
    return tuple(asked) or tuple(name for name in available if name.lower() == "id" and name not in taken)


def copied_cells(frame: pl.DataFrame, names: Sequence[str]) -> list[dict[str, Any]]:
    """Each row's cells of some columns."""
    return frame.select(names).to_dicts() if names else [{} for _ in range(frame.height)]


def unread_cells(samples: Samples, used: Sequence[str]) -> list[str]:
    """(row,) why cells of each row were not read: "photo: missing; sound: cannot be read (empty file)"; "" where all
    were.

    Args:
        samples: decoded rows.
        used: the modalities that were to be read. A column of a table modality is named for itself, unless the whole
            of the modality is missing.
    """
    import numpy as np

    from sensorium.data.kinds import TableKind

    found: list[list[str]] = [[] for _ in range(len(samples))]
    for place, modality in enumerate(samples.schema.modalities):
        if modality.name not in used:
            continue
        cells = samples.cells[modality.name]
        broken: dict[int, dict[str, str]] = {}
        for cell in cells.unreadable:
            broken.setdefault(cell.row - 1, {})[cell.column] = cell.reason
        gaps = np.flatnonzero(~samples.presence[:, place])
        partly: dict[int, list[str]] = {}
        if isinstance(modality.kind, TableKind):
            rows = np.flatnonzero(samples.presence[:, place])
            values = np.stack(cells.arrays.get(cells.cells_of_row[rows, 0].tolist())) if len(rows) else np.empty((0, 0))
            names = [column.name for column in modality.kind.columns]
            for row, column in zip(*np.nonzero(np.isnan(values)), strict=True):
                partly.setdefault(int(rows[row]), []).append(names[column])
        for row in sorted({*gaps.tolist(), *partly, *broken}):
            reasons = broken.get(row, {})
            missing = partly.get(row, []) if samples.presence[row, place] else [modality.name] if not reasons else []
            found[row] += [f"{name}: missing" for name in missing if name not in reasons]
            found[row] += [f"{name}: cannot be read ({reason})" for name, reason in reasons.items()]
    return ["; ".join(words) for words in found]
