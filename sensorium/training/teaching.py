"""A teacher: another model, that answers every row of the student's table once, before training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sensorium.data.decoding.workers import default_workers
from sensorium.data.notation import category_key
from sensorium.data.read import Data, default_memory
from sensorium.data.samples import Labels, decoded, read_labels
from sensorium.data.schema import Target
from sensorium.data.sources import is_blank
from sensorium.errors import DataError, ModelFolderError, RecipeError
from sensorium.features import with_stored_features
from sensorium.folder import load_schema
from sensorium.model import Model
from sensorium.objectives import Lesson
from sensorium.recipe import Recipe
from sensorium.training.console import Console

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Answered:
    """What a teacher says about one target in every row of a table.

    Args:
        target: the teacher's.
        values: (row, class_) logits divided by the temperature that its held-out rows gave, or (row, 1) numbers in
            original units; NaN in rows in which it can read nothing.
        balanced: whether its logits leave out how frequent the classes are (recipe's `balance`).
    """

    target: Target
    values: Floats
    balanced: bool

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(row,) where it answers."""
        return np.asarray(np.isfinite(self.values).all(axis=1))

    def labels(self) -> Labels:
        """Its answers as labels: the most probable class, or the number."""
        known = self.known
        if self.target.task == "regress":
            return Labels(np.where(known, self.values[:, 0], 0.0), known, {}, ())
        return Labels(np.where(known, np.nan_to_num(self.values).argmax(axis=1), -1).astype(np.int64), known, {}, ())

    def lesson(self, student: Target, *, balanced: bool) -> Lesson:
        """What a student with this target learns of it.

        Args:
            student: the student's target of the same name.
            balanced: whether the student's logits leave out how frequent the classes are.

        Raises:
            RecipeError: the tasks differ, or fewer than two classes are known to both.
        """
        both = matched(student, self.target)
        known = self.known
        columns = np.array([own for own, _ in both], dtype=np.int64)
        values = ((self.values - student.mean) / student.std if student.task == "regress" else
                  (self.values + self._prior(balanced))[:, [other for _, other in both]])
        return Lesson(torch.from_numpy(np.where(known[:, None], values, 0.0)).float(), torch.from_numpy(known),
                      torch.from_numpy(columns))

    def _prior(self, balanced: bool) -> Floats:
        """(class_,) what is added to the logits so that they count frequencies as the student's do."""
        if balanced == self.balanced or not self.target.prior:
            return np.zeros(max(1, len(self.target.classes)))
        return np.asarray((1.0 if self.balanced else -1.0) * np.log(np.array(self.target.prior)))


def matched(student: Target, teacher: Target) -> list[tuple[int, int]]:
    """The outputs of two targets that mean the same: classes by name, or the one number.

    Raises:
        RecipeError: the tasks differ, or fewer than two classes are known to both.
    """
    if student.task != teacher.task:
        raise RecipeError(f"the teacher's target {student.name!r} is to {teacher.task}, here it is to {student.task}: "
                          f"give it the same task (--task {student.name}={teacher.task})")
    if student.task == "regress":
        return [(0, 0)]
    theirs = {category_key(label): place for place, label in enumerate(teacher.classes)}
    both = [(place, theirs[category_key(label)]) for place, label in enumerate(student.classes)
            if category_key(label) in theirs]
    if len(both) < 2:
        raise RecipeError(f"the teacher's classes of {student.name!r} ({', '.join(teacher.classes[:10])}) and those "
                          f"here ({', '.join(student.classes[:10])}) have {len(both)} in common: two are needed")
    return both


def taught(data: Data, recipe: Recipe) -> Data:
    """The data with the targets that only its teacher knows; as it is without a teacher.

    Where no target is named, the targets are the teacher's. One that has no label in any row in which the asked-for
    modalities have a cell is taken from the teacher, with its classes.

    Args:
        data: the table with its options.
        recipe: names the teacher.

    Raises:
        ModelFolderError: the teacher is no model folder.
        RecipeError: it predicts nothing, or a named target is known to neither.
    """
    if recipe.transfer.teacher is None or data.taught:
        return data
    known = {target.name: target for target in load_schema(recipe.transfer.teacher).targets}
    if not known:
        raise RecipeError(f"the teacher {recipe.transfer.teacher!r} predicts nothing: it was trained without a target")
    options = data.options
    wanted = options.targets or tuple(known)
    if not any(name in known for name in wanted):
        raise RecipeError(f"the teacher {recipe.transfer.teacher!r} answers about {', '.join(known)}, and the targets "
                          f"are {', '.join(wanted)}")
    columns = data.table.frame.columns
    there = _has_cells(dataclasses.replace(data, taught=tuple(known[name] for name in wanted if name in known)))
    lacking = []
    for name in wanted:
        if name in known and not (name in columns and (read_labels(data.table, known[name]).mask & there).any()):
            lacking.append(known[name].model_copy(update={
                "weight": options.weights.get(name, 1.0), "reason": "no labels here: taken from the teacher"}))
    return dataclasses.replace(data, options=options.model_copy(update={"targets": wanted}), taught=tuple(lacking))


def _has_cells(data: Data) -> npt.NDArray[np.bool_]:
    """(row,) whether any of the schema's modalities has a cell that is not blank."""
    there = np.zeros(len(data.table), dtype=bool)
    for column in {column for modality in data.schema.modalities for column in modality.columns}:
        there |= np.array([not is_blank(value) for value in data.table.frame[column].to_list()], dtype=bool)
    return there


def teacher_answers(teacher: Model, data: Data, path: str, console: Console) -> dict[str, Answered]:
    """target → what the teacher says about every row, reading all of its modalities that the row has.

    Args:
        teacher: loaded; it may read other columns than the student.
        data: the student's table.
        path: the teacher's folder, for messages.
        console: where to speak.

    Raises:
        DataError: it can read nothing in any row.
    """
    with console.bar("decoding for the teacher") as bar:
        samples = decoded(data.table, teacher.schema, workers=default_workers(), memory_bytes=default_memory(),
                          progress=lambda name: lambda done, total: bar(done, total, name))
    samples = with_stored_features(teacher, samples)
    names = teacher.schema.names
    if not samples.presence.any():
        raise DataError(f"the teacher {path!r} can read nothing in this table: it reads "
                        f"{', '.join(f'{m.name} ({m.kind.name})' for m in teacher.schema.modalities)}, and no cell of "
                        f"these is readable here")
    everything = frozenset(names)
    with console.bar("the teacher answers") as bar:
        raw = teacher.outputs(samples, np.arange(len(samples)), [everything], complete=False,
                              progress=lambda done, total: bar(done, total, ""))
    found = {}
    for target in teacher.schema.targets:
        values = raw[target.name][everything]
        values = (values * target.std + target.mean if target.task == "regress"
                  else values / teacher.temperatures[target.name])
        found[target.name] = Answered(target, values, teacher.recipe.training.balance)
    read = [name for place, name in enumerate(names) if samples.presence[:, place].any()]
    console.say(f"teacher {path}: reads {', '.join(read)}; answers {int(samples.presence.any(axis=1).sum())} of "
                f"{len(samples)} rows about {', '.join(found)}")
    return found


def load_run(path: str, what: str) -> Model:
    """The model of a run. Raises ModelFolderError saying what it was wanted for: teacher, or init."""
    if not Path(path).is_dir():
        raise ModelFolderError(f"{what}: no model folder at {path!r}")
    try:
        return Model.load(path)
    except ModelFolderError as error:
        raise ModelFolderError(f"{what}: {error}") from error
