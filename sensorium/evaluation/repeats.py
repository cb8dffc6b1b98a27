"""One recipe trained several times: on folds, so that every row is scored by a model that has not seen it, or from
several seeds, so that luck can be told from merit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import predictions
from sensorium.data.cells import cell_numbers
from sensorium.data.kinds import TableKind, TextKind
from sensorium.data.read import Data
from sensorium.data.samples import Samples, group_numbers, read_labels, split_words
from sensorium.data.schema import Target
from sensorium.data.split import fold_rows
from sensorium.errors import RecipeError
from sensorium.evaluation.embedder import metrics_json
from sensorium.evaluation.scores import METRIC_WORDS, Names, metrics_of, primary_metric, score_metrics
from sensorium.evaluation.subset_list import subsets_to_score
from sensorium.metrics.bootstrap import Estimate, replicate_weights
from sensorium.model import Model
from sensorium.recipe import Recipe
from sensorium.training.apart import Apart
from sensorium.training.console import Bar, Console
from sensorium.training.fit import fit
from sensorium.training.prepare import Prepared

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Key = tuple[str, Names]
OnFold = Callable[[Model, Samples, Rows, Rows], None]


@dataclass(frozen=True)
class Spread:
    """How one target scores from one subset, over several trainings.

    Args:
        target: the target.
        modalities: the subset; empty: whatever each row has ("as found").
        rows: labelled rows that have all of it.
        pooled: metric → score over all folds' rows together, with its interval; empty for seeds.
        rounds: metric → the score of each fold or seed; NaN where it is not defined there.
    """

    target: str
    modalities: Names
    rows: int
    pooled: dict[str, Estimate]
    rounds: dict[str, tuple[float, ...]]

    def mean(self, metric: str) -> float:
        """Of the rounds where it is defined."""
        known = np.array([value for value in self.rounds[metric] if np.isfinite(value)])
        return float(known.mean()) if len(known) else float("nan")

    def sd(self, metric: str) -> float:
        """Standard deviation over the rounds (n − 1); NaN for one."""
        known = np.array([value for value in self.rounds[metric] if np.isfinite(value)])
        return float(known.std(ddof=1)) if len(known) > 1 else float("nan")


@dataclass(frozen=True)
class Repeated:
    """What several trainings of one recipe found.

    Args:
        what: cross-validated or seeds.
        count: how many trainings.
        spreads: for every target as found, then for every subset.
        primary: target → the metric that sentences speak of.
        note: what was kept together, or which rows were scored.
        seconds: of each training.
    """

    what: str
    count: int
    spreads: list[Spread]
    primary: dict[str, str]
    note: str
    seconds: tuple[float, ...] = ()

    def sentence(self, target: str) -> str:
        """A target's score as found, in words."""
        one = next(spread for spread in self.spreads if spread.target == target and not spread.modalities)
        metric = self.primary[target]
        spread = f"{one.mean(metric):.3f} ± {one.sd(metric):.3f} (mean ± sd)"
        if not one.pooled:
            return (f"{target}: {METRIC_WORDS[metric]} {spread} over {self.count} seeds, as found, on the same "
                    f"{one.rows:,} rows.")
        pooled = one.pooled[metric]
        value = f"{pooled.value:.3f} ({pooled.low:.3f} to {pooled.high:.3f})"
        return (f"{target}: {METRIC_WORDS[metric]} {value} as found, {one.rows:,} rows each scored by the model trained "
                f"without its fold; {spread} over {self.count} folds.")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"what": self.what, "count": self.count, "note": self.note, "seconds": list(self.seconds),
                "scores": [{"target": one.target, "modalities": list(one.modalities), "rows": one.rows,
                            "pooled": metrics_json(one.pooled),
                            "rounds": {metric: [value if np.isfinite(value) else None for value in values]
                                       for metric, values in one.rounds.items()}} for one in self.spreads]}

    def facts(self, table: list[str]) -> dict[str, Any]:
        """What the model folder, its card and its report keep; `table` in words."""
        return {**self.to_json(), "sentence": " ".join(map(self.sentence, self.primary)), "table": table}


@dataclass
class Answered:
    """Predictions gathered from several trainings.

    Args:
        num_rows: of the table.
        found: (target, subset) → (row, output) probabilities or numbers; NaN in rows that lack part of the subset, and
            where nothing was predicted.
    """

    num_rows: int
    found: dict[Key, Floats] = field(default_factory=dict)

    def add(self, model: Model, samples: Samples, rows: Rows) -> None:
        """A model's predictions for some rows: as found and from every subset."""
        names = model.schema.names
        distinct = np.unique(samples.presence[rows], axis=0).tolist()
        patterns = [frozenset(name for name, there in zip(names, row, strict=True) if there) for row in distinct]
        subsets = subsets_to_score(names, patterns)
        everything = frozenset(names)
        raw = model.outputs(samples, rows, [frozenset(one) for one in subsets])
        found = model.outputs(samples, rows, [everything], complete=False)
        for target in model.schema.targets:
            self._put(model, target, (), found[target.name][everything], rows, fill=True)
            for subset in subsets:
                self._put(model, target, subset, raw[target.name][frozenset(subset)], rows, fill=False)

    def _put(self, model: Model, target: Target, subset: Names, raw: Floats, rows: Rows, *, fill: bool) -> None:
        """Keep predictions; rows without any output get the training distribution where `fill`."""
        predicted = predictions(target, raw, temperature=model.temperatures[target.name],
                                balance=model.recipe.training.balance)
        if not fill:
            predicted[~np.isfinite(raw).all(axis=1)] = np.nan
        whole = self.found.setdefault((target.name, subset), np.full((self.num_rows, predicted.shape[1]), np.nan))
        whole[rows] = predicted


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
    rounds = _Rounds(console, [f"fold {fold + 1} of {num_folds}" for fold in range(count)], more)
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
        rounds.tell(_round_words(model, answered, samples, test))
    samples = kept[-1].samples
    done = np.where(fold_of < count, fold_of, -1)
    repeated = Repeated("cross-validated", count, _spreads(answered, samples, recipe, done, count),
                        _primary(samples, recipe), note, tuple(rounds.seconds))
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
        self._rounds = _Rounds(console, [f"seed {seed}" for seed in self._others], 1)
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
            self._rounds.tell(_round_words(model, self._answered[-1], self.decoded, self._rows))

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
        each = [_spreads(one, samples, self._recipe, inside, 1) for one in [self._answered[-1], *self._answered[:-1]]]
        spreads = [Spread(same[0].target, same[0].modalities, same[0].rows, {},
                          {metric: tuple(one.rounds[metric][0] for one in same) for metric in same[0].rounds})
                   for same in zip(*each, strict=True)]
        return Repeated("seeds", self._count, spreads, _primary(samples, self._recipe),
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


def _primary(samples: Samples, recipe: Recipe) -> dict[str, str]:
    return {target.name: primary_metric(target, balance=recipe.training.balance) for target in samples.schema.targets}


def _spreads(answered: Answered, samples: Samples, recipe: Recipe, round_of: Rows, count: int) -> list[Spread]:
    """Scores pooled over the rounds' rows, and each round's own."""
    found = []
    for target in samples.schema.targets:
        labels = samples.labels[target.name]
        keys = [key for key in answered.found if key[0] == target.name]
        for key in sorted(keys, key=lambda key: (len(key[1]), [samples.schema.names.index(name) for name in key[1]])):
            predicted = answered.found[key]
            kept = np.flatnonzero(labels.mask & (round_of >= 0) & np.isfinite(predicted).all(axis=1))
            if not len(kept):
                continue
            groups = None if samples.groups is None else samples.groups[kept]
            drawn = replicate_weights(len(kept), groups, seed=recipe.training.seed)
            pooled = score_metrics(target, labels.values[kept], predicted[kept], drawn)
            rounds = [_values(target, labels.values, predicted, kept[round_of[kept] == one]) for one in range(count)]
            found.append(Spread(target.name, key[1], len(kept), pooled,
                                {metric: tuple(values[metric] for values in rounds) for metric in pooled}))
    return found


def _values(target: Target, truth: npt.NDArray[Any], predicted: Floats, rows: Rows) -> dict[str, float]:
    """metric → its value on some rows; NaN without any."""
    shaped = predicted[rows] if target.task == "classify" else predicted[rows, 0]
    return {name: float(np.asarray(metric(truth[rows], shaped, None))) if len(rows) else float("nan")
            for name, metric in metrics_of(target).items()}


def _round_words(model: Model, answered: Answered, samples: Samples, rows: Rows) -> str:
    """The scores of one training as found."""
    said = []
    for target in model.schema.targets:
        labels, name = samples.labels[target.name], primary_metric(target, balance=model.recipe.training.balance)
        kept = rows[labels.mask[rows]]
        if len(kept):
            value = _values(target, labels.values, answered.found[target.name, ()], kept)[name]
            said.append(f"{target.name} {METRIC_WORDS[name]} {value:.3f} on {len(kept):,} rows")
    return ", ".join(said) or "no rows to score"


class _Rounds:
    """Speaks for several trainings: the first one's lines, then a line each with the time left."""

    def __init__(self, console: Console, names: list[str], more: int) -> None:
        self._console, self._names, self._more = console, names, more
        self.seconds: list[float] = []

    @contextmanager
    def next(self) -> Iterator[Console]:
        """The console of the next training."""
        place = len(self.seconds)
        started = time.monotonic()
        yield _RoundConsole(self._console, self._names[place], len(self._names) + self._more, quiet=place > 0)
        self.seconds.append(round(time.monotonic() - started, 1))

    def tell(self, words: str) -> None:
        """How the training ended, and about how long the others will take."""
        place = len(self.seconds)
        left = (len(self._names) - place + self._more) * float(np.mean(self.seconds)) / 60.0
        ahead = f"; about {left:.1f} minutes more" if left else ""
        self._console.say(f"{self._names[place - 1]}: {words}; {self.seconds[-1]:.0f} s{ahead}")


class _RoundConsole(Console):
    """The console of one training of several."""

    def __init__(self, console: Console, name: str, total: int, *, quiet: bool) -> None:
        self._console, self._name, self._total, self._quiet = console, name, total, quiet
        self._expected = quiet

    def say(self, line: str) -> None:
        """A line of the first training; the others say the same."""
        if not self._quiet:
            self._console.say(line)

    def expect(self, minutes: float) -> None:
        """How long all trainings may take, once."""
        if not self._expected:
            self._console.say(f"{self._total} trainings in all: about {self._total * minutes:.1f} minutes at most")
        self._expected = True

    @contextmanager
    def bar(self, what: str) -> Iterator[Bar]:
        """A progress bar that says which training it is."""
        with self._console.bar(f"{self._name}, {what}") as bar:
            yield bar


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
