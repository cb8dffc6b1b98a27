"""Trained models held against each other on the same rows: paired differences of every score, and what each costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.read import Data
from sensorium.data.table import read_table
from sensorium.errors import DataError
from sensorium.evaluation.contenders import Contender, Cost, Pair, common_targets, shared_subsets
from sensorium.evaluation.embedder import metrics_json
from sensorium.evaluation.evaluate import training_note
from sensorium.evaluation.gain import FEWEST
from sensorium.evaluation.scores import HIGHER_IS_BETTER, METRIC_WORDS, Names, metrics_of, primary_metric
from sensorium.metrics.bootstrap import Estimate, paired_difference
from sensorium.metrics.paired import Agreement, agreement
from sensorium.model import Model
from sensorium.recipe import DataOptions

Floats = npt.NDArray[np.float64]


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
    for (name, model), (other_name, other) in combinations(loaded.items(), 2):
        common_targets(name, model, other_name, other)
    contenders = [Contender(name, model, data) for name, model in loaded.items()]
    groups = next((one.samples.groups for one in contenders if one.samples.groups is not None), None)
    found = Comparison(len(data), [_described(one) for one in contenders], [], [], _notes(contenders, data))
    pairs = list(combinations(contenders, 2))
    for a, b in pairs:
        a.wanted.extend(shared_subsets(a, b))
        b.wanted.extend(shared_subsets(a, b))
    for one in contenders:
        one.answer()
    for a, b in pairs:
        for target in common_targets(a.name, a.model, b.name, b.model):
            _compare_pair(found, Pair(a, b, target, groups, seed))
    if not found.differences:
        raise DataError(f"nothing to compare: no row of {data.table.source!r} has a label of "
                        f"{', '.join(repr(target.name) for target in contenders[0].model.schema.targets)}")
    if len(pairs) > 1:
        found.notes.append(f"{len(pairs)} pairs are compared: of 20 intervals between equals, one misses 0 by "
                           f"chance")
    return found


def _described(one: Contender) -> Compared:
    schema = one.model.schema
    return Compared(one.name, schema.names, tuple(target.name for target in schema.targets), one.cost)


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


def _notes(contenders: Sequence[Contender], data: Data) -> list[str]:
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


def _compare_pair(found: Comparison, pair: Pair) -> None:
    """Add a pair's differences and its verdict; nothing where no row has a label."""
    a, b, name = pair.a, pair.b, pair.target.name
    if name not in a.samples.labels or name not in b.samples.labels:
        found.notes.append(f"target {name!r} is not in the table and is not compared")
        return
    truth, labelled = pair.labelled()
    subsets: list[Names] = [(), *(tuple(n for n in a.model.schema.names if n in one) for one in shared_subsets(a, b))]
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


def _verdict(pair: Pair, found: Difference, truth: npt.NDArray[Any], mine: Floats, theirs: Floats) -> Verdict:
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
