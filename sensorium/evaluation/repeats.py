"""One recipe trained several times: on folds, so that every row is scored by a model that has not seen it, or from
several seeds, so that luck can be told from merit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.cells import cell_numbers
from sensorium.data.kinds import TableKind, TextKind
from sensorium.data.read import Data
from sensorium.data.samples import Samples, group_numbers, read_labels, split_words
from sensorium.data.schema import Target
from sensorium.data.split import fold_rows
from sensorium.errors import RecipeError
from sensorium.evaluation.rounds import Rounds
from sensorium.evaluation.spreads import Answered, Repeated, Spread, primary_metrics, score_words, spreads_of
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.apart import Apart
from sensorium.training.console import Console
from sensorium.training.fit import fit
from sensorium.training.prepare import Prepared

Rows = npt.NDArray[np.int64]
OnFold = Callable[[Model, Samples, Rows, Rows], None]


@dataclass(frozen=True)
class CrossValidated:
    """A recipe's folds.

    Args:
        repeated: the scores.
        answered: every row's predictions by the model trained without its fold.
        truths: target → (row,) class numbers or values.
        labelled: target → (row,) whether the row has a label.
        fold_of: (row,) its fold; −1: in no fold (no label, or a test row of the split column).
        targets: of the schema.
        decoded: the decoded table, for another training.
    """

    repeated: Repeated
    answered: Answered
    truths: dict[str, npt.NDArray[Any]]
    labelled: dict[str, npt.NDArray[np.bool_]]
    fold_of: Rows
    targets: tuple[Target, ...]
    decoded: Samples


def folds_of(data: Data, num_folds: int, seed: int) -> tuple[Rows, str]:
    """(row,) each row's fold, and what stays together; −1 for rows without a label and for test rows of a split
    column, which stay out of all folds."""
    table, schema = data.table, data.schema
    labelled = np.zeros(len(table), dtype=bool)
    for target in schema.targets:
        labelled |= read_labels(table, target).mask
    words = split_words(table, schema)
    if words is not None:
        labelled &= words != "test"
    usable = np.flatnonzero(labelled)
    shared = [cell_numbers(table, one) for one in schema.modalities if not isinstance(one.kind, TextKind | TableKind)]
    dealt, note = fold_rows(usable, groups=group_numbers(table, schema), shared=shared, num_folds=num_folds, seed=seed)
    fold_of = np.full(len(table), -1, dtype=np.int64)
    fold_of[usable] = dealt
    return fold_of, note


def cross_validate(
    data: Data, recipe: Recipe, num_folds: int, *, console: Console, allow_leak: bool = False, strict: bool = False,
    more: int = 0, fold_of: Rows | None = None, only: int | None = None, on_fold: OnFold | None = None,
) -> CrossValidated:
    """Train once a fold, on the other folds' rows, and score each row by the model that has not seen it.

    Args:
        data: a table with targets.
        recipe: of every training.
        num_folds: how many folds.
        console: where to speak.
        allow_leak, strict: as of `fit`.
        more: how many trainings follow, for the estimate of the time.
        fold_of: (row,) the folds, −1 for none; `folds_of` where None.
        only: train the first so many folds only; the other rows are not scored.
        on_fold: called with each model, the decoded table, the rows it was trained without and with.

    Raises:
        RecipeError: there is no target, or the table has no labels of one.
        DataError: fewer groups than folds, or as of `fit`.
        KeyboardInterrupt: a training was interrupted.
    """
    _require_labels(data, "--folds")
    fold_of, note = folds_of(data, num_folds, recipe.training.seed) if fold_of is None else (fold_of, "folds as given")
    count = num_folds if only is None else only
    rounds = Rounds(console, [f"fold {fold + 1} of {num_folds}" for fold in range(count)], more)
    answered = Answered(len(data))
    kept: list[Prepared] = []
    for fold in range(count):
        test = np.flatnonzero(fold_of == fold)
        apart = Apart(held_out=test, decoded=kept[-1].samples if kept else None)
        with rounds.next() as quiet:
            model = fit(data, recipe, console=quiet, allow_leak=allow_leak or fold > 0, strict=strict,
                        on_chosen=lambda _, prepared: kept.append(prepared), apart=apart)
            _stop_if_interrupted(model)
            samples = kept[-1].samples
            del kept[:-1]
            answered.add(model, samples, test)
            if on_fold is not None:
                on_fold(model, samples, test, np.flatnonzero(fold_of != fold))
        rounds.tell(score_words(model, answered, samples, test))
    samples = kept[-1].samples
    done = np.where(fold_of < count, fold_of, -1)
    repeated = Repeated("cross-validated", count, spreads_of(answered, samples, recipe, done, count),
                        primary_metrics(samples, recipe), note, tuple(rounds.seconds))
    return CrossValidated(repeated, answered, {name: one.values for name, one in samples.labels.items()},
                          {name: one.mask for name, one in samples.labels.items()}, done, samples.schema.targets,
                          samples)


class OverSeeds:
    """One recipe from several seeds on one split: the others first, then the first one, which is the model to keep.

    The first is kept, not the best: what the seeds' spread says holds for it, and its held-out scores are not the
    luckiest of several. All are scored as validation chose them, before a refit, on the same held-out rows.
    """

    def __init__(self, data: Data, recipe: Recipe, count: int, *, console: Console) -> None:
        _require_labels(data, "--seeds")
        if count < 2:
            raise RecipeError(f"--seeds {count}: expected at least 2")
        self._data, self._recipe, self._count = data, recipe, count
        first = recipe.training.seed
        self._others = list(range(first + 1, first + count))
        self._rounds = Rounds(console, [f"seed {seed}" for seed in self._others], 1)
        self._answered: list[Answered] = []
        self.decoded: Samples | None = None
        self._rows: Rows = np.zeros(0, dtype=np.int64)

    def run_others(self, *, allow_leak: bool, strict: bool) -> None:
        """Train and score from all seeds but the first; without a refit, which would not be scored."""
        for place, seed in enumerate(self._others):
            apart = Apart(split_seed=self._recipe.training.seed, decoded=self.decoded)
            with self._rounds.next() as quiet:
                model = fit(self._data, self._recipe.changed("training", seed=seed, refit="never"), console=quiet,
                            allow_leak=allow_leak or place > 0, strict=strict, on_chosen=self.add, apart=apart)
                _stop_if_interrupted(model)
            assert self.decoded is not None
            self._rounds.tell(score_words(model, self._answered[-1], self.decoded, self._rows))

    def add(self, model: Model, prepared: Prepared) -> None:
        """Score the model that validation chose on the held-out rows."""
        splits = prepared.splits
        self._rows = splits.test if len(splits.test) else np.sort(
            np.concatenate([splits.validation, splits.calibration]))
        self.decoded = prepared.samples
        self._answered.append(Answered(len(prepared.samples)))
        if len(self._rows):
            self._answered[-1].add(model, prepared.samples, self._rows)

    def repeated(self) -> Repeated | None:
        """What was found; None where there are no held-out rows. The last one added is the first seed."""
        if self.decoded is None or not len(self._rows):
            return None
        samples, inside = self.decoded, np.full(len(self.decoded), -1, dtype=np.int64)
        inside[self._rows] = 0
        each = [spreads_of(one, samples, self._recipe, inside, 1) for one in [self._answered[-1], *self._answered[:-1]]]
        spreads = [Spread(same[0].target, same[0].modalities, same[0].rows, {},
                          {metric: tuple(one.rounds[metric][0] for one in same) for metric in same[0].rounds})
                   for same in zip(*each, strict=True)]
        return Repeated("seeds", self._count, spreads, primary_metrics(samples, self._recipe),
                        f"{len(self._rows):,} held-out rows of one split; seed {self._recipe.training.seed} is kept",
                        tuple(self._rounds.seconds))


def _require_labels(data: Data, option: str) -> None:
    if not data.schema.targets:
        raise RecipeError(f"{option} scores how well a target is predicted: name one, --target COLUMN")
    if data.taught:
        raise RecipeError(f"{option} scores predictions by labels, and the table has none of {data.taught[0].name!r}")


def _stop_if_interrupted(model: Model) -> None:
    if model.facts.get("stopped") == "interrupted":
        raise KeyboardInterrupt


def out_of_fold_rows(found: CrossValidated, copied: Mapping[str, list[Any]]) -> Iterator[list[Any]]:
    """A header and a line for every row in a fold: its number, its fold, the copied columns, and for every target the
    answer of the model trained without the row, its label, and every class's probability."""
    header = ["row", "fold", *copied]
    for target in found.targets:
        header += [target.name, f"{target.name}_true"]
        header += [f"{target.name}_probability", *(f"{target.name}={label}" for label in target.classes)] \
            if target.task == "classify" else []
    yield header
    for row in np.flatnonzero(found.fold_of >= 0).tolist():
        line: list[Any] = [row + 1, int(found.fold_of[row]) + 1, *(column[row] for column in copied.values())]
        for target in found.targets:
            predicted = found.answered.found[target.name, ()][row]
            known, truth = bool(found.labelled[target.name][row]), found.truths[target.name][row]
            if target.task == "classify":
                label = "" if not known else target.classes[int(truth)] if truth >= 0 else "(an unseen class)"
                line += [target.classes[int(predicted.argmax())], label, round(float(predicted.max()), 6),
                         *(round(float(p), 6) for p in predicted)]
            else:
                line += [float(predicted[0]), float(truth) if known else ""]
        yield line
