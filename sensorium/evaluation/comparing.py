"""Trained models held against each other on the same rows: paired differences of every score, and what each costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import predictions
from sensorium.data.notation import category_key
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.data.table import read_table
from sensorium.errors import DataError
from sensorium.evaluation.embedder import metrics_json
from sensorium.evaluation.evaluate import training_note
from sensorium.evaluation.gain import FEWEST
from sensorium.evaluation.scores import HIGHER_IS_BETTER, METRIC_WORDS, Names, metrics_of, primary_metric
from sensorium.evaluation.subset_list import subsets_to_score
from sensorium.features import with_stored_features
from sensorium.metrics.bootstrap import Estimate, Resampling, paired_difference, replicate_weights
from sensorium.metrics.paired import Agreement, agreement
from sensorium.model import Model
from sensorium.recipe import DataOptions

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
TIMED_ROWS = 256


@dataclass(frozen=True)
class Cost:
    """What a model costs.

    Args:
        parameters: trained numbers.
        training_seconds: of its training, on the machine that trained it; None where it does not say.
        milliseconds: to predict one row from decoded cells, measured here in batches of 256.
    """

    parameters: int
    training_seconds: float | None
    milliseconds: float


@dataclass(frozen=True)
class Compared:
    """One model of the comparison: its name, what it reads, what it predicts, what it costs."""

    name: str
    modalities: Names
    targets: Names
    cost: Cost


@dataclass(frozen=True)
class Difference:
    """Two models' scores of one target, on rows that both have labels for.

    Args:
        first, second: the models' names.
        target: the target.
        modalities: the subset both read, in the first one's order; empty: whatever each has ("as found").
        rows: rows compared: those that have all of the subset in both.
        unit: what the intervals resample: rows or groups.
        scores: metric → the first one's value, the second one's.
        metrics: metric → second − first with its paired interval.
    """

    first: str
    second: str
    target: str
    modalities: Names
    rows: int
    unit: str
    scores: dict[str, tuple[float, float]]
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Verdict:
    """What the difference of two models as found amounts to.

    Args:
        first, second: the models' names.
        target: the target.
        metric: what decides.
        better: the better one's name; None where they cannot be told apart.
        agreement: where the two are right alone and together; None for numbers.
        sentence: the finding in words.
    """

    first: str
    second: str
    target: str
    metric: str
    better: str | None
    agreement: Agreement | None
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Args:
        rows: rows of the table.
        models: in the order given.
        differences: for every pair and common target as found and for every subset that both have.
        verdicts: for every pair and common target.
        notes: what to be careful with, a line each.
    """

    rows: int
    models: list[Compared]
    differences: list[Difference]
    verdicts: list[Verdict]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `sensorium compare --json` prints them."""
        return {
            "rows": self.rows,
            "models": [asdict(one) for one in self.models],
            "differences": [{**vars(one), "modalities": list(one.modalities),
                             "scores": {name: [_plain(value) for value in both] for name, both in one.scores.items()},
                             "metrics": metrics_json(one.metrics)} for one in self.differences],
            "verdicts": [asdict(one) for one in self.verdicts],
            "notes": self.notes,
        }


def compare(
    models: Mapping[str, Model | str | Path] | Sequence[Model | str | Path], data: Data | str | Path, *,
    seed: int = 0, allow_outside: bool = False,
) -> Comparison:
    """Paired differences of every metric between trained models, on the rows of one table.

    Each model decodes the table by its own schema, so they may read other modalities, in other ways. Modalities,
    targets and classes are matched by name. Every pair is compared, as found and on every subset that both have.

    Args:
        models: two or more trained models or their folders, by name, or in a list (folders are named for themselves).
        data: a table with the targets' columns that none of them was trained on.
        seed: of the bootstrap, which resamples groups where there are 10 or more, else rows.
        allow_outside: read also media files outside the table's folder.

    Raises:
        DataError: fewer than two models, no common target, labels that differ, or no row with a label.

    Example: sensorium.compare(["runs/a", "runs/b"], "test.csv").verdicts[0].sentence
    """
    loaded = _loaded(models)
    if len(loaded) < 2:
        raise DataError(f"compare needs two models or more, found {len(loaded)}: name another model folder")
    data = data if isinstance(data, Data) else Data(read_table(data, allow_outside=allow_outside), DataOptions())
    for (name_a, a), (name_b, b) in combinations(loaded.items(), 2):
        _common_targets(name_a, a, name_b, b)
    contenders = [_Contender(name, model, data) for name, model in loaded.items()]
    groups = next((one.samples.groups for one in contenders if one.samples.groups is not None), None)
    found = Comparison(len(data), [one.described() for one in contenders], [], [], _notes(contenders, data))
    pairs = list(combinations(contenders, 2))
    for a, b in pairs:
        a.wanted.extend(_subsets(a, b))
        b.wanted.extend(_subsets(a, b))
    for one in contenders:
        one.answer()
    for a, b in pairs:
        for target in _common_targets(a.name, a.model, b.name, b.model):
            _compare_pair(found, _Pair(a, b, target, groups, seed))
    if not found.differences:
        raise DataError(f"nothing to compare: no row of {data.table.source!r} has a label of "
                        f"{', '.join(repr(target.name) for target in contenders[0].model.schema.targets)}")
    if len(pairs) > 1:
        found.notes.append(f"{len(pairs)} pairs are compared: of 20 intervals between equals, one misses 0 by "
                           f"chance")
    return found


def _loaded(models: Mapping[str, Model | str | Path] | Sequence[Model | str | Path]) -> dict[str, Model]:
    """Models by name: folders are named for themselves, by their whole path where two have one name."""
    if isinstance(models, Mapping):
        return {name: one if isinstance(one, Model) else Model.load(one) for name, one in models.items()}
    ends = [f"model {place}" if isinstance(one, Model) else Path(one).name or str(one)
            for place, one in enumerate(models, start=1)]
    names = [str(one) if ends.count(end) > 1 and not isinstance(one, Model) else end
             for one, end in zip(models, ends, strict=True)]
    names = [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, start=1)]
    return {name: one if isinstance(one, Model) else Model.load(one) for name, one in zip(names, models, strict=True)}


class _Contender:
    """A model with the decoded table, and its answers for the subsets it is asked about."""

    def __init__(self, name: str, model: Model, data: Data) -> None:
        self.name, self.model = name, model
        decoded = as_samples(data, model.schema)
        self.cost = Cost(model.num_parameters(), model.facts.get("seconds"), _milliseconds(model, decoded))
        self.samples: Samples = with_stored_features(model, decoded)
        self.wanted: list[frozenset[str]] = []
        self.found: dict[str, Floats] = {}
        self.by_subset: dict[str, dict[frozenset[str], Floats]] = {}

    def described(self) -> Compared:
        schema = self.model.schema
        return Compared(self.name, schema.names, tuple(target.name for target in schema.targets), self.cost)

    def answer(self) -> None:
        """Predict every target as found and from every wanted subset."""
        schema, rows = self.model.schema, np.arange(len(self.samples))
        everything = frozenset(schema.names)
        found = self.model.outputs(self.samples, rows, [everything], complete=False)
        raw = self.model.outputs(self.samples, rows, list(dict.fromkeys(self.wanted)))
        for target in schema.targets:
            def predicted(values: Floats, target: Target = target) -> Floats:
                return predictions(target, values, temperature=self.model.temperatures[target.name],
                                   balance=self.model.recipe.training.balance)

            self.found[target.name] = predicted(found[target.name][everything])
            self.by_subset[target.name] = {one: predicted(values) for one, values in raw[target.name].items()}

    def has(self, subset: Names) -> Bools:
        """(row,) whether a row has all of a subset."""
        columns = [self.model.schema.names.index(name) for name in subset]
        return np.asarray(self.samples.presence[:, columns].all(axis=1))


def _milliseconds(model: Model, samples: Samples) -> float:
    """Milliseconds a row, from decoded cells; a few rows first, so that nothing is done for the first time."""
    everything = [frozenset(model.schema.names)]
    rows = np.arange(min(len(samples), TIMED_ROWS))
    model.outputs(samples, rows[:8], everything, complete=False)
    started = time.perf_counter()
    model.outputs(samples, rows, everything, complete=False)
    return round(1000.0 * (time.perf_counter() - started) / len(rows), 4)


def _common_targets(name_a: str, a: Model, name_b: str, b: Model) -> list[Target]:
    """The first one's targets that the second one has too, of the same task and classes."""
    theirs = {target.name: target for target in b.schema.targets}
    common = [target for target in a.schema.targets if target.name in theirs]
    if not common:
        raise DataError(f"{name_a} and {name_b} have no target in common: {name_a} predicts {_listed(a)}, {name_b} "
                        f"{_listed(b)}")
    for target in common:
        other = theirs[target.name]
        if target.task != other.task:
            raise DataError(f"target {target.name!r}: {name_a} is trained to {target.task} it, {name_b} to "
                            f"{other.task} it; they cannot be compared")
        mine, others = ({category_key(label): label for label in one.classes} for one in (target, other))
        only = [f"only {name} knows {', '.join(map(repr, known[:5]))}{' …' if len(known) > 5 else ''}"
                for name, known in ((name_a, [mine[key] for key in mine.keys() - others.keys()]),
                                    (name_b, [others[key] for key in others.keys() - mine.keys()])) if known]
        if only:
            raise DataError(f"target {target.name!r}: the two have different classes: {'; '.join(only)}; train both on "
                            f"tables with the same labels")
    return common


def _listed(model: Model) -> str:
    return ", ".join(repr(target.name) for target in model.schema.targets) or "nothing"


def _subsets(a: _Contender, b: _Contender) -> list[frozenset[str]]:
    """The subsets that both have, by size."""
    common = tuple(name for name in a.model.schema.names if name in b.model.schema.names)
    patterns = [frozenset(name for name in common if a.has((name,))[row] and b.has((name,))[row])
                for row in _distinct_rows(a, b, common)]
    return [frozenset(one) for one in subsets_to_score(common, patterns)] if common else []


def _distinct_rows(a: _Contender, b: _Contender, common: Names) -> list[int]:
    """A row of every pattern of common modalities."""
    there = np.stack([a.has((name,)) & b.has((name,)) for name in common], axis=1) if common else np.zeros((0, 0))
    return np.unique(there, axis=0, return_index=True)[1].tolist() if there.size else []


def _notes(contenders: Sequence[_Contender], data: Data) -> list[str]:
    """What to be careful with."""
    notes = []
    for one in contenders:
        notes += [f"{one.name}: {note}" for note in (*training_note(one.model, data), *one.samples.notes)]
    for a, b in combinations(contenders, 2):
        for modality in a.model.schema.modalities:
            if modality.name in b.model.schema.names:
                theirs = b.model.schema.modality(modality.name)
                if modality.kind.name != theirs.kind.name or set(modality.columns) != set(theirs.columns):
                    notes.append(f"modality {modality.name!r} is not the same in both: {a.name} reads "
                                 f"{modality.kind.name} of {', '.join(modality.columns)}, {b.name} reads "
                                 f"{theirs.kind.name} of {', '.join(theirs.columns)}")
    return list(dict.fromkeys(notes))


@dataclass
class _Pair:
    """Two models and one target: the first one's classes, and the rows both have labels for."""

    a: _Contender
    b: _Contender
    target: Target
    groups: npt.NDArray[np.int64] | None
    seed: int
    drawn: dict[bytes, Resampling] = field(default_factory=dict)

    def labelled(self) -> tuple[npt.NDArray[Any], Bools]:
        """(row,) truth in the first one's coding, and where both have read the same label."""
        name = self.target.name
        mine, theirs = self.a.samples.labels[name], self.b.samples.labels[name]
        values = theirs.values
        if self.target.task == "classify":
            values = np.concatenate([self._places(), [-1]])[theirs.values.astype(np.int64)]
        return mine.values, mine.mask & theirs.mask & np.isclose(mine.values, values)

    def _places(self) -> npt.NDArray[np.int64]:
        """(class of the second,) its number in the first."""
        codes = {category_key(label): code for code, label in enumerate(self.target.classes)}
        other = next(one for one in self.b.model.schema.targets if one.name == self.target.name)
        return np.array([codes[category_key(label)] for label in other.classes], dtype=np.int64)

    def predicted(self, subset: Names) -> tuple[Floats, Floats]:
        """Both ones' predictions, in the first one's order of classes; (row,) for numbers."""
        name = self.target.name
        mine = self.a.by_subset[name][frozenset(subset)] if subset else self.a.found[name]
        theirs = self.b.by_subset[name][frozenset(subset)] if subset else self.b.found[name]
        if self.target.task == "classify":
            return mine, theirs[:, np.argsort(self._places())]
        return mine[:, 0], theirs[:, 0]

    def resampling(self, kept: Bools) -> Resampling:
        """The same weights for the same rows."""
        key = kept.tobytes()
        if key not in self.drawn:
            self.drawn[key] = replicate_weights(int(kept.sum()), None if self.groups is None else self.groups[kept],
                                                seed=self.seed)
        return self.drawn[key]


def _compare_pair(found: Comparison, pair: _Pair) -> None:
    """Add a pair's differences and its verdict; nothing where no row has a label."""
    a, b, name = pair.a, pair.b, pair.target.name
    if name not in a.samples.labels or name not in b.samples.labels:
        found.notes.append(f"target {name!r} is not in the table and is not compared")
        return
    truth, labelled = pair.labelled()
    subsets: list[Names] = [(), *(tuple(n for n in a.model.schema.names if n in one) for one in _subsets(a, b))]
    for subset in subsets:
        kept = labelled & a.has(subset) & b.has(subset)
        if not kept.any():
            continue
        mine, theirs = (values[kept] for values in pair.predicted(subset))
        resampling = pair.resampling(kept)
        metrics = metrics_of(pair.target)
        scores = {metric: (float(np.asarray(score(truth[kept], mine, None))),
                           float(np.asarray(score(truth[kept], theirs, None)))) for metric, score in metrics.items()}
        gaps = {metric: paired_difference(score, truth[kept], theirs, mine, resampling)
                for metric, score in metrics.items()}
        found.differences.append(Difference(a.name, b.name, name, subset, int(kept.sum()), resampling.unit, scores,
                                            gaps))
        if not subset:
            found.verdicts.append(_verdict(pair, found.differences[-1], truth[kept], mine, theirs))


def _verdict(pair: _Pair, found: Difference, truth: npt.NDArray[Any], mine: Floats, theirs: Floats) -> Verdict:
    """Which of the two is better as found, in words."""
    balance = any(one.model.recipe.training.balance for one in (pair.a, pair.b))
    metric = primary_metric(pair.target, balance=balance)
    gap = found.metrics[metric]
    higher = HIGHER_IS_BETTER[metric]
    better = None
    if found.rows >= FEWEST and (gap.low > 0 or gap.high < 0):
        better = found.second if (gap.low > 0) == higher else found.first
    together = None
    if pair.target.task == "classify":
        answers = mine.argmax(axis=1), theirs.argmax(axis=1)
        together = agreement(answers[0] == truth, answers[1] == truth, answers[0] == answers[1])
    same = bool(np.array_equal(mine, theirs))
    return Verdict(found.first, found.second, found.target, metric, better, together,
                   _sentence(found, metric, better, together, same=same))


def _sentence(found: Difference, metric: str, better: str | None, together: Agreement | None, *, same: bool) -> str:
    first, second = found.first, found.second
    rows = f"{found.rows:,} row{'' if found.rows == 1 else 's'}"
    if same:
        return f"{found.target}: {first} and {second} give the same answers in all of {rows}."
    share = HIGHER_IS_BETTER[metric] and metric != "r2"
    scale, unit = (100.0, " points") if share else (1.0, "")
    towards = second if better is None else better
    turn = 1.0 if (towards == second) == HIGHER_IS_BETTER[metric] else -1.0
    gap = found.metrics[metric]
    ends = sorted((scale * turn * gap.low, scale * turn * gap.high))
    values = found.scores[metric] if towards == first else found.scores[metric][::-1]
    proof = (f"{METRIC_WORDS[metric]} {values[0]:.3f} against {values[1]:.3f}; 95 % interval {ends[0]:+.3g} to "
             f"{ends[1]:+.3g}, paired on {rows}{', resampled by group' if found.unit == 'groups' else ''}")
    amount = f"{abs(scale * gap.value):.3g}{unit}"
    if better is not None:
        other = first if better == second else second
        said = f"{found.target}: {better} is better than {other} by {amount} ({proof})."
    elif found.rows < FEWEST:
        said = f"{found.target}: too few rows to tell {first} and {second} apart ({proof})."
    else:
        ahead = f"{second} is {'ahead' if turn * gap.value > 0 else 'behind'} by {amount}"
        said = (f"{found.target}: {first} and {second} cannot be told apart: "
                f"{ahead if gap.value else 'they are level'} ({proof}).")
    if together is None:
        return said
    return (f"{said} They answer alike in {together.alike:,} of {rows}; {second} alone is right in "
            f"{together.only_b:,}, {first} alone in {together.only_a:,} (exact McNemar p = {together.p:.2g}).")


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
