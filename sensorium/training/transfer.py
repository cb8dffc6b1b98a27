"""What a run takes over from others: a teacher's answers, another run's weights, and what is held still meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorium.data.schema import Schema
from sensorium.errors import RecipeError
from sensorium.model import Model
from sensorium.objectives import Distil
from sensorium.recipe import Recipe, TransferOptions
from sensorium.training.freezing import frozen_parts
from sensorium.training.initialise import take, taken
from sensorium.training.teaching import Answered, load_run


@dataclass(frozen=True)
class Sources:
    """The models that a run takes something from, loaded.

    Args:
        teacher: whose answers are learned.
        origin: whose weights are begun with.
    """

    teacher: Model | None = None
    origin: Model | None = None

    @classmethod
    def of(cls, options: TransferOptions) -> Sources:
        """Load them. Raises ModelFolderError; RecipeError where training from scratch is all there is to compare."""
        if options.against_scratch and not options.used:
            raise RecipeError("transfer.against_scratch: nothing is taken over from another run, so there is nothing "
                              "to compare training from scratch with: name a teacher, an init, or what to freeze")
        teacher = None if options.teacher is None else load_run(options.teacher, "teacher")
        if options.init is None:
            return cls(teacher)
        return cls(teacher, teacher if options.init == options.teacher else load_run(options.init, "init"))


@dataclass(frozen=True)
class Transfer:
    """What fresh models of a run are given.

    Args:
        options: of the recipe.
        origin: the model whose weights are begun with.
        answers: target → what the teacher says about every row.
        taught: the targets that only the teacher knows.
    """

    options: TransferOptions
    origin: Model | None = None
    answers: Mapping[str, Answered] = field(default_factory=dict)
    taught: frozenset[str] = frozenset()

    def begin(self, model: Model) -> list[str]:
        """Give a fresh model the weights and the objective; returns what was taken over, in words.

        Raises:
            RecipeError: a part is to be held still that took nothing, or the teacher's targets are other ones.
        """
        lines: list[str] = []
        known: frozenset[str] = frozenset()
        if self.origin is not None:
            found = taken(self.origin, model)
            take(model, found)
            known, lines = found.parts, [f"{self.options.init}: {line}" for line in found.lines]
        self._refuse_random(model, known)
        if self.answers:
            targets = {target.name: target for target in model.schema.targets}
            lessons = {name: answered.lesson(targets[name], balanced=model.recipe.training.balance)
                       for name, answered in self.answers.items() if name in targets}
            model.extras.append(Distil(model.objectives(), lessons, {t.name: t.weight for t in targets.values()},
                                       temperature=self.options.temperature, weight=self.options.weight))
        return lines

    def _refuse_random(self, model: Model, known: frozenset[str]) -> None:
        """Raise where what is never trained has nothing learnt in it."""
        for name, epochs in frozen_parts(model.schema.names, self.options.freeze).items():
            if epochs is None and name not in known and name not in model.recipe.model.encoders:
                raise RecipeError(f"transfer.freeze: {name} would never be trained, and nothing of it was taken over "
                                  f"from another run ({self.options.init or 'no init is given'}): name fewer parts, "
                                  f"or epochs ({name}=5)")

    def facts(self, model: Model) -> dict[str, Any]:
        """Plain values for the model folder and the report, about a model that was begun with it."""
        options = self.options
        told: dict[str, Any] = {}
        if options.teacher is not None:
            told |= {"teacher": options.teacher, "temperature": options.temperature, "weight": options.weight,
                     "answered_rows": int(max((int(one.known.sum()) for one in self.answers.values()), default=0)),
                     "taught": sorted(self.taught)}
        if options.init is not None:
            lines = () if self.origin is None else taken(self.origin, model).lines
            told |= {"init": options.init, "taken": [f"{options.init}: {line}" for line in lines]}
        if options.freeze:
            told["freeze"] = dict(options.freeze)
        return told


def inherited(recipe: Recipe, schema: Schema, origin: Model | None) -> Recipe:
    """The recipe with the encoders that the other run had for modalities of the same name, where it names none itself.

    Args:
        recipe: of the run.
        schema: its modalities, not measured yet.
        origin: the other run's model.

    Raises:
        RecipeError: another width, or no modality in common.
    """
    if origin is None:
        return recipe
    names, path = origin.schema.names, recipe.transfer.init
    if origin.recipe.model.width != recipe.model.width:
        raise RecipeError(f"init {path!r} has width {origin.recipe.model.width}, here it is {recipe.model.width}: "
                          f"weights fit only between equal widths (--width {origin.recipe.model.width})")
    both = [name for name in schema.names if name in names
            and type(schema.modality(name).kind) is type(origin.schema.modality(name).kind)]
    if not both:
        raise RecipeError(f"init {path!r} has no modality in common with this table: it reads "
                          f"{_described(origin.schema)}, here are {_described(schema)}")
    encoders = {name: one.model_dump() for name, one in origin.recipe.model.encoders.items() if name in both}
    own = {name: one.model_dump() for name, one in recipe.model.encoders.items()}
    return recipe.changed("model", encoders={**encoders, **own})


def absolute(options: TransferOptions) -> TransferOptions:
    """With whole paths, so that the runs are found from another folder too."""
    found = {name: str(Path(path).resolve()) for name, path in (("teacher", options.teacher), ("init", options.init))
             if path is not None and Path(path).exists()}
    return options.model_copy(update=found)


def transfer_lines(told: Mapping[str, Any]) -> list[str]:
    """What a person reads about `facts["transfer"]`, a line each."""
    lines = []
    if "teacher" in told:
        lines.append(f"teacher {told['teacher']}: {told['answered_rows']:,} rows answered")
        if told["taught"]:
            lines.append(f"{', '.join(told['taught'])}: no labels in the table; scores here are agreement with the "
                         f"teacher, not truth")
    lines += told.get("taken", [])
    lines += [f"{part} not trained {'at all' if epochs is None else f'in the first {epochs} epochs'}"
              for part, epochs in told.get("freeze", {}).items()]
    for target, one in told.get("against_scratch", {}).items():
        low, high = one["difference"][1:]
        lines.append(f"{target}, {one['metric']} on {one['rows']:,} held-out rows: {one['transfer']:.3f} with what was "
                     f"taken over, {one['scratch']:.3f} from scratch: {one['difference'][0]:+.3f} ({low:+.3f} to "
                     f"{high:+.3f})")
    return lines


def _described(schema: Schema) -> str:
    return ", ".join(f"{modality.name} ({modality.kind.name})" for modality in schema.modalities)


__all__ = ["Sources", "Transfer", "absolute", "inherited", "transfer_lines"]
