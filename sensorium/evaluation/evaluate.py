"""Evaluate: every subset of modalities with intervals, whether fusion pays, and who contributes what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import predictions, prior_of
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.errors import AlignmentError, DataError
from sensorium.evaluation.embedder import estimate_json, metrics_json
from sensorium.evaluation.retrieval import RetrievalScore, retrieval
from sensorium.evaluation.scores import (
    HIGHER_IS_BETTER,
    METRIC_WORDS,
    Baseline,
    Names,
    Score,
    metrics_of,
    primary_metric,
    score_metrics,
)
from sensorium.evaluation.shallow import shallow_scores
from sensorium.evaluation.subset_list import subsets_to_score
from sensorium.features import with_stored_features
from sensorium.metrics.bootstrap import (
    Estimate,
    Resampling,
    estimate,
    mean_value,
    paired_difference,
    replicate_weights,
)
from sensorium.metrics.contribution import shapley, shapley_by_permutations
from sensorium.model import Model

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
MAX_EXACT = 5
SAMPLED_ROWS = 300
# With fewer rows not even a unanimous sign test reaches 95 %, while a bootstrap of them may have no width.
FEWEST = 6


@dataclass(frozen=True)
class Fusion:
    """Whether all modalities together beat the best one of them, paired on the rows that have all.

    Args:
        target: the target.
        metric: what is compared.
        best_single: the modality that is best alone on these rows (a choice that favours it).
        fused, single: the two scores.
        difference: fused − single, positive where fusion is better whatever the metric's direction.
        rows: rows compared.
        unit: what the interval resamples.
        sentence: the finding in words.
    """

    target: str
    metric: str
    best_single: str
    fused: float
    single: float
    difference: Estimate
    rows: int
    unit: str
    sentence: str


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        rows: rows of the table.
        subsets: a score for every subset and target.
        as_found: a score for every target, each row with whatever it has.
        fusion: for every target with two modalities or more.
        contributions: target → modality → mean Shapley value: bits about the true class, or share of the variance.
        baselines: shallow models, empty where they were not asked for.
        retrieval: how well any subset finds any disjoint one, where the model's modalities are aligned.
        notes: fallbacks, unreadable cells and unseen labels, a line each.
        unreadable: the unreadable cells, in words.
        predicted: target → (row, output) probabilities or numbers with whatever each row has, for the report.
        samples: the decoded rows, for the report.
        chosen: (row,) the scored row numbers.
    """

    rows: int
    subsets: list[Score]
    as_found: list[Score]
    fusion: list[Fusion]
    contributions: dict[str, dict[str, Estimate]]
    baselines: list[Baseline]
    notes: list[str]
    unreadable: list[str]
    predicted: dict[str, Floats] = field(repr=False)
    samples: Samples = field(repr=False)
    chosen: Rows = field(repr=False)
    retrieval: list[RetrievalScore] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `sensorium evaluate --json` prints them."""
        return {
            "rows": self.rows,
            "subsets": [_score_json(score) for score in self.subsets],
            "as_found": [_score_json(score) for score in self.as_found],
            "fusion": [{**{k: v for k, v in vars(one).items() if k != "difference"},
                        "difference": estimate_json(one.difference)} for one in self.fusion],
            "contributions": {target: {name: estimate_json(value) for name, value in by_name.items()}
                              for target, by_name in self.contributions.items()},
            "baselines": [{"target": b.target, "method": b.method, "features": b.features, "rows": b.rows,
                           "setting": b.setting, "metrics": metrics_json(b.metrics)} for b in self.baselines],
            "retrieval": [score.to_json() for score in self.retrieval],
            "notes": self.notes,
            "unreadable": self.unreadable,
        }


def evaluate(
    model: Model | str | Path, data: Data | Samples | str | Path, *, rows: Rows | None = None, baselines: bool = False,
    train: Samples | None = None, train_rows: Rows | None = None, seed: int = 0,
) -> Evaluation:
    """Score a model on rows it has not seen: every subset of modalities, fusion against the best single one,
    contributions, retrieval where its modalities are aligned, and on request shallow baselines.

    Args:
        model: a trained model, or its folder.
        data: a table (path, data or decoded) with the targets' columns.
        rows: (row,) score only these rows.
        baselines: fit shallow models on the training table, which must be where the recipe says, or be given.
        train, train_rows: the decoded training table and its training rows, where they are at hand.
        seed: of the bootstrap.

    Raises:
        DataError: no target's column is there, or no row can be scored.

    Example: sensorium.evaluate(model, "test.csv").fusion[0].sentence
    """
    model = model if isinstance(model, Model) else Model.load(model)
    samples = with_stored_features(model, data if isinstance(data, Samples) else as_samples(data, model.schema))
    chosen = np.arange(len(samples)) if rows is None else rows
    targets = [target for target in model.schema.targets if target.name in samples.labels]
    if not targets and not model.aligned:
        raise DataError(f"nothing to score: the table has none of the targets "
                        f"({', '.join(t.name for t in model.schema.targets)}); sensorium predict needs no targets")
    names = model.schema.names
    everything = frozenset(names)
    subsets = subsets_to_score(names, _patterns(samples, chosen))
    wanted = list(dict.fromkeys([frozenset(s) for s in subsets])) if targets else []
    raw = model.outputs(samples, chosen, wanted) if targets else {}
    found = model.outputs(samples, chosen, [everything], complete=False) if targets else {}
    scored = _Scored(model, samples, chosen, seed)
    evaluation = Evaluation(len(chosen), [], [], [], {}, [], _notes(model, samples, targets), _unreadable(samples), {},
                            samples, chosen)
    for target in targets:
        probabilities = {s: scored.predicted(target, raw[target.name][frozenset(s)]) for s in subsets}
        evaluation.predicted[target.name] = scored.predicted(target, found[target.name][everything])
        labelled = scored.labelled(target)
        if not labelled.any():
            raise DataError(f"nothing to score: target {target.name!r} has no label in the rows to score")
        for subset in subsets:
            kept = labelled & scored.has(subset)
            if kept.any():
                evaluation.subsets.append(scored.score(target, subset, probabilities[subset], kept))
        evaluation.as_found.append(scored.score(target, (), evaluation.predicted[target.name], labelled))
        if len(names) > 1:
            evaluation.fusion.extend(_fusion(scored, target, probabilities, names))
        evaluation.contributions[target.name] = _contributions(scored, target, raw[target.name], names)
    _add_retrieval(evaluation, scored)
    if not isinstance(data, Samples) and rows is None:
        evaluation.notes[:0] = training_note(model, data)
    if baselines and targets:
        _add_baselines(evaluation, scored, train, train_rows)
    return evaluation


def training_note(model: Model, data: Data | str | Path) -> list[str]:
    """A line that says so, where the table is the one that the model was trained on."""
    source = data.table.source if isinstance(data, Data) else data
    if model.recipe.source is None or Path(source).resolve() != Path(model.recipe.source).resolve():
        return []
    return [f"{str(source)!r} is the table the model was trained on: these scores say nothing about new rows"]


class _Scored:
    """The rows to score, with what every score needs."""

    def __init__(self, model: Model, samples: Samples, rows: Rows, seed: int) -> None:
        self.model, self.samples, self.rows, self.seed = model, samples, rows, seed
        self.presence = samples.presence[rows]
        self.groups = None if samples.groups is None else samples.groups[rows]

    def predicted(self, target: Target, raw: Floats) -> Floats:
        return predictions(target, raw, temperature=self.model.temperatures[target.name],
                           balance=self.model.recipe.training.balance)

    def truth(self, target: Target) -> npt.NDArray[Any]:
        return self.samples.labels[target.name].values[self.rows]

    def labelled(self, target: Target) -> npt.NDArray[np.bool_]:
        return self.samples.labels[target.name].mask[self.rows]

    def has(self, subset: Names) -> npt.NDArray[np.bool_]:
        columns = [self.model.schema.names.index(name) for name in subset]
        return np.asarray(self.presence[:, columns].all(axis=1))

    def resampling(self, kept: npt.NDArray[np.bool_]) -> Resampling:
        return replicate_weights(int(kept.sum()), None if self.groups is None else self.groups[kept], seed=self.seed)

    def score(self, target: Target, subset: Names, predicted: Floats, kept: npt.NDArray[np.bool_]) -> Score:
        return Score(subset, target.name, int(kept.sum()),
                     score_metrics(target, self.truth(target)[kept], predicted[kept], self.resampling(kept)))


def _add_retrieval(evaluation: Evaluation, scored: _Scored) -> None:
    """How the modalities find each other, where they are aligned; an error where that is all there is to score and
    nothing can be."""
    names, presence = scored.model.schema.names, scored.presence
    if scored.model.aligned and len(names) > 1:
        try:
            evaluation.retrieval.extend(retrieval(scored.model, scored.samples, scored.rows, seed=scored.seed))
        except AlignmentError as error:  # no row has two modalities
            evaluation.notes.append(f"retrieval could not be scored: {error}")
    if not evaluation.predicted and not evaluation.retrieval:
        absent = [name for place, name in enumerate(names) if not presence[:, place].any()]
        why = f"{', '.join(absent)} is absent in all of them" if absent else "no row has two modalities"
        raise DataError(f"nothing to score in {len(presence)} rows: {why}, so that nothing can find anything")


def _add_baselines(
    evaluation: Evaluation, scored: _Scored, train: Samples | None, train_rows: Rows | None,
) -> None:
    """Shallow models, fitted on the training table: given, or where the recipe says."""
    model, source = scored.model, scored.model.recipe.source
    if train is None and (source is None or not Path(source).exists()):
        evaluation.notes.append(f"no shallow baselines: the training table {source!r} is not here")
        return
    if train is None:
        train = as_samples(str(source), model.schema, allow_outside=model.recipe.data.allow_outside)
    evaluation.baselines.extend(shallow_scores(model, with_stored_features(model, train), train_rows, scored.samples,
                                               scored.rows, seed=scored.seed))


def _patterns(samples: Samples, rows: Rows) -> list[frozenset[str]]:
    names = samples.schema.names
    distinct = np.unique(samples.presence[rows], axis=0)
    return [frozenset(name for name, there in zip(names, row, strict=True) if there) for row in distinct.tolist()]


def _fusion(scored: _Scored, target: Target, predicted: Mapping[Names, Floats], names: Names) -> list[Fusion]:
    """All modalities against the best single one, paired; empty where no labelled row has all."""
    kept = scored.labelled(target) & scored.has(names)
    if not kept.any():
        return []
    metric_name = primary_metric(target, balance=scored.model.recipe.training.balance)
    metric = metrics_of(target)[metric_name]
    sign = 1.0 if HIGHER_IS_BETTER[metric_name] else -1.0
    truth = scored.truth(target)[kept]
    shaped = {s: (p if target.task == "classify" else p[:, 0])[kept] for s, p in predicted.items()}
    values = {s: float(np.asarray(metric(truth, p, None))) for s, p in shaped.items() if len(s) == 1 or s == names}
    best = max((s for s in values if len(s) == 1), key=lambda s: sign * values[s])
    resampling = scored.resampling(kept)
    gap = paired_difference(metric, truth, shaped[names], shaped[best], resampling)
    signed = gap if sign > 0 else Estimate(-gap.value, -gap.high, -gap.low)
    return [Fusion(target.name, metric_name, best[0], values[names], values[best], signed, int(kept.sum()),
                   resampling.unit, _sentence(target, metric_name, best[0], values[names], values[best], signed,
                                              int(kept.sum()), resampling.unit))]


def _sentence(
    target: Target, metric: str, best: str, fused: float, single: float, gap: Estimate, rows: int, unit: str,
) -> str:
    points = HIGHER_IS_BETTER[metric] and metric != "r2"
    scale, word = (100.0, " points") if points else (1.0, "")
    shown = (f"{METRIC_WORDS[metric]} {fused:.3f} against {single:.3f}, a difference of "
             f"{scale * abs(gap.value):.3g}{word} (95 % interval {scale * gap.low:+.3g} to {scale * gap.high:+.3g}, "
             f"paired on {rows:,} row{'' if rows == 1 else 's'}{', resampled by group' if unit == 'groups' else ''})")
    if rows < FEWEST:
        return (f"{target.name}: too few rows have all modalities to say whether fusing them pays (the best single one "
                f"is {best}): {shown}.")
    if gap.low > 0:
        return f"{target.name}: all modalities together beat the best single one ({best}): {shown}."
    if gap.high < 0:
        return f"{target.name}: all modalities together are worse than {best} alone: {shown}."
    return f"{target.name}: all modalities together cannot be told apart from {best} alone: {shown}."


def _contributions(
    scored: _Scored, target: Target, raw: Mapping[frozenset[str], Floats], names: Names,
) -> dict[str, Estimate]:
    """Mean Shapley value of each modality over the labelled rows that have all of them."""
    truth = scored.truth(target)
    kept = scored.labelled(target) & scored.has(names)
    if target.task == "classify":
        kept &= truth >= 0
    if not kept.any():
        return {}
    if len(names) > MAX_EXACT:
        kept[np.flatnonzero(kept)[SAMPLED_ROWS:]] = False
    value = _value_function(scored, target, kept)
    if len(names) <= MAX_EXACT:
        worth = {frozenset(subset): value(outputs[kept]) for subset, outputs in raw.items()}
        worth[frozenset()] = value(None)
        shares = shapley(worth, names)
    else:
        def of_subset(subset: frozenset[str]) -> Floats:
            if not subset:
                return value(None)
            return value(scored.model.outputs(scored.samples, scored.rows[kept], [subset])[target.name][subset])

        shares = shapley_by_permutations(of_subset, names, num_pairs=8, seed=scored.seed).values
    resampling = scored.resampling(kept)
    return {name: estimate(mean_value, truth[kept], share, resampling) for name, share in shares.items()}


def _value_function(
    scored: _Scored, target: Target, kept: npt.NDArray[np.bool_],
) -> Callable[[Floats | None], Floats]:
    """Raw outputs (None: nothing present) → (row,) bits about the true class, or explained shares of the variance."""
    truth = scored.truth(target)[kept]
    prior = prior_of(target, balance=scored.model.recipe.training.balance)

    def value(raw: Floats | None) -> Floats:
        predicted = np.tile(prior, (len(truth), 1)) if raw is None else scored.predicted(target, raw)
        if target.task == "classify":
            return _floats(np.log2(np.maximum(predicted[np.arange(len(truth)), truth], 1e-15)))
        spread = float(np.var(truth)) or 1.0
        return _floats(-((predicted[:, 0] - truth) ** 2) / spread)

    return value


def _floats(values: npt.NDArray[Any]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _notes(model: Model, samples: Samples, targets: Sequence[Target]) -> list[str]:
    notes = list(samples.notes)
    for target in model.schema.targets:
        if target not in targets:
            notes.append(f"target {target.name!r} is not in the table and is not scored")
    for target in targets:
        for label, count in samples.labels[target.name].unseen.items():
            notes.append(f"target {target.name!r}: class {label!r} was not seen in training; its {count} rows count as "
                         f"wrong")
    nothing = int((~samples.presence.any(axis=1)).sum())
    if nothing:
        answered = "they are answered by the training distribution" if model.schema.targets else "they are left out"
        notes.append(f"rows with nothing readable: {nothing}; {answered}")
    if samples.unreadable:
        notes.append(f"{len(samples.unreadable)} cells cannot be read and count as missing")
    return notes


def _unreadable(samples: Samples) -> list[str]:
    return [str(cell) for cell in samples.unreadable]


def _score_json(score: Score) -> dict[str, Any]:
    return {"modalities": list(score.modalities), "target": score.target, "rows": score.rows,
            "metrics": metrics_json(score.metrics)}
