"""`sensorium train --folds K` and `--seeds N`: the trainings beside the one that is kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.errors import RecipeError

if TYPE_CHECKING:
    from sensorium.data.read import Data
    from sensorium.evaluation.repeats import CrossValidated, OverSeeds
    from sensorium.model import Model
    from sensorium.recipe import Recipe
    from sensorium.training.apart import Apart
    from sensorium.training.console import Console
    from sensorium.training.prepare import Prepared

OUT_OF_FOLD, SCORES = "out_of_fold.csv", "cross_validation.json"


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    Args:
        folds: folds to cross-validate over; None: not asked for.
        seeds: seeds to train from; None: not asked for.
        folds_only: whether to leave out the model of all rows.
    """

    folds: int | None = None
    seeds: int | None = None
    folds_only: bool = False

    def __bool__(self) -> bool:
        return self.folds is not None or self.seeds is not None

    def check(self, *, resume: bool) -> None:
        """Raise RecipeError for options that do not go together."""
        if self.folds_only and self.folds is None:
            raise RecipeError("--folds-only belongs to --folds K")
        if self.folds is not None and self.seeds is not None:
            raise RecipeError("--folds and --seeds are two questions: ask one at a time")
        if self.folds is not None and self.folds < 2:
            raise RecipeError(f"--folds {self.folds}: expected at least 2")
        if self and resume:
            raise RecipeError(f"--resume goes on with one training, not with --{'folds' if self.folds else 'seeds'}")

    def clear(self, folder: Path, *, overwrite: bool) -> None:
        """Remove what an earlier --folds-only left in the folder, where it may be replaced."""
        left = {path.name for path in folder.iterdir()} if overwrite and folder.is_dir() else set()
        if left and left <= {OUT_OF_FOLD, SCORES}:
            for name in left:
                (folder / name).unlink()


class Beside:
    """The trainings beside the one that is kept: run first, told of the last one, written with it.

    A time budget (--minutes) is for all of them together.
    """

    def __init__(self, asked: Asked, data: Data, recipe: Recipe, console: Console) -> None:
        self._asked, self._data, self._console = asked, data, console
        count = (asked.folds or 0) + (0 if asked.folds_only else 1) if asked.folds else asked.seeds or 1
        minutes = recipe.training.minutes
        self.recipe = recipe if minutes is None else recipe.changed("training", minutes=minutes / count)
        self._folds: CrossValidated | None = None
        self._seeds: OverSeeds | None = None

    def run(self, *, allow_leak: bool, strict: bool) -> None:
        """Train and score all but the last."""
        from sensorium.evaluation.repeats import OverSeeds, cross_validate

        if self._asked.folds is not None:
            self._folds = cross_validate(self._data, self.recipe, self._asked.folds, console=self._console,
                                         allow_leak=allow_leak, strict=strict, more=int(not self._asked.folds_only))
            for line in self.lines():
                self._console.say(line)
        elif self._asked.seeds is not None:
            self._seeds = OverSeeds(self._data, self.recipe, self._asked.seeds, console=self._console)
            self._seeds.run_others(allow_leak=allow_leak, strict=strict)

    @property
    def apart(self) -> Apart:
        """For the last training: what is decoded already."""
        from sensorium.training.apart import Apart

        return Apart(decoded=self._folds.decoded if self._folds is not None else
                     None if self._seeds is None else self._seeds.decoded)

    def add(self, model: Model, prepared: Prepared) -> None:
        """The last training has chosen its model."""
        if self._seeds is not None:
            self._seeds.add(model, prepared)

    def note(self, model: Model) -> None:
        """Put what was found into the model's facts, for its card and its report."""
        found = self._folds.repeated if self._folds else self._seeds.repeated() if self._seeds else None
        if found is not None:
            model.facts["repeated"] = found.facts(self.lines())

    def lines(self) -> list[str]:
        """What a person reads."""
        from sensorium.evaluation.repeats_words import repeated_lines

        found = self._folds.repeated if self._folds else self._seeds.repeated() if self._seeds else None
        return [] if found is None else repeated_lines(found)

    def write(self, folder: Path) -> list[Path]:
        """Write what the folds answered, and without a model the scores too. Returns the files."""
        if self._folds is None:
            return []
        from sensorium.evaluation.repeats import out_of_fold_rows

        folder.mkdir(parents=True, exist_ok=True)
        frame = self._data.table.frame
        copied = {name: frame[name].to_list() for name in _id_columns(frame.columns, self._folds)}
        with (folder / OUT_OF_FOLD).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(out_of_fold_rows(self._folds, copied))
        if not self._asked.folds_only:
            return [folder / OUT_OF_FOLD]
        (folder / SCORES).write_text(json.dumps(self.facts(), indent=1), encoding="utf-8")
        return [folder / OUT_OF_FOLD, folder / SCORES]

    def facts(self) -> dict[str, Any]:
        """What the folds found, as plain values."""
        assert self._folds is not None
        return self._folds.repeated.facts(self.lines())


def _id_columns(names: Sequence[str], found: CrossValidated) -> list[str]:
    taken = {"row", "fold", *(target.name for target in found.targets)}
    return [name for name in names if name.lower() == "id" and name not in taken]
