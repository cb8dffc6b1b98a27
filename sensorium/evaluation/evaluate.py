"""Evaluate: every subset of modalities with intervals, whether fusion pays, and who contributes what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples, split_words
from sensorium.data.schema import Target
from sensorium.data.table import Table, read_table
from sensorium.errors import AlignmentError, DataError
from sensorium.evaluation.contributions import contributions_of
from sensorium.evaluation.embedder import estimate_json, metrics_json
from sensorium.evaluation.gain import Fusion, fusion_gain
from sensorium.evaluation.generated import Generated, comparison_of, generated_of
from sensorium.evaluation.groups import check_columns
from sensorium.evaluation.information import SECONDS, Information, decompose_pairs, pairs_to_decompose
from sensorium.evaluation.retrieval import RetrievalScore, retrieval
from sensorium.evaluation.robustness import Robustness, robustness_curves
from sensorium.evaluation.scored import Scored
from sensorium.evaluation.scores import Baseline, Score
from sensorium.evaluation.shallow import shallow_scores
from sensorium.evaluation.subset_list import subsets_to_score
from sensorium.evaluation.trust import Trust, trust_of
from sensorium.features import with_stored_features
from sensorium.metrics.bootstrap import Estimate
from sensorium.model import Model

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


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
        trust: coverage of confidence sets, scores by group, rows unlike the training data, contradictions.
        robustness: how the score falls as one modality is damaged or missing, for every target and modality.
        information: what pairs of modalities tell alike, alone and only together, for every target.
        generated: texts and pictures that the model makes.
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
    trust: Trust = field(default_factory=Trust)
    robustness: list[Robustness] = field(default_factory=list)
    information: list[Information] = field(default_factory=list)
    generated: Generated = field(default_factory=Generated)

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
            **self.trust.to_json(),
            "robustness": [one.to_json() for one in self.robustness],
            "information": [one.to_json() for one in self.information],
            "generated": self.generated.to_json(),
            "notes": self.notes,
            "unreadable": self.unreadable,
        }


def evaluate(
    model: Model | str | Path, data: Data | Samples | str | Path, *, rows: Rows | None = None, baselines: bool = False,
    train: Samples | None = None, train_rows: Rows | None = None, seed: int = 0, by: Sequence[str] = (),
    table: Table | None = None, calibrated: Rows | None = None, robustness: bool = True, information: bool = True,
    generated: bool = True, features: str | Path | None = None, judge: Model | str | Path | None = None,
    pictures: int | None = None,
) -> Evaluation:
    """Score a model on rows it has not seen: every subset of modalities, fusion against the best single one,
    contributions, retrieval where its modalities are aligned, what it makes, and on request shallow baselines.

    Args:
        model: a trained model, or its folder.
        data: a table (path, data or decoded) with the targets' columns.
        rows: (row,) score only these rows.
        baselines: compare with the training table, which must be where the recipe says, or be given: fit shallow
            models on it, and look there for what painted pictures might be copies of.
        train, train_rows: the decoded training table and its training rows, where they are at hand.
        seed: of the bootstrap.
        by: columns of the table to score groups of rows by; besides, by the schema's group column where that makes
            sense, and by what rows have.
        table: the table that decoded rows came from, for such columns.
        calibrated: rows that set the thresholds of confidence sets, which are not judged by them.
        robustness: damage each modality in turn, and let it be missing ever more often.
        information: decompose what pairs of modalities tell.
        generated: write and paint for the rows, where the model does.
        features: the folder of a pretrained picture encoder to compare pictures by; None: thumbnails.
        judge: a model that reads pictures or captions and what they are made from, in one space, to say whether they
            fit.
        pictures: how many rows to paint for; None: 500, or fewer where that takes long.

    Raises:
        DataError: no target's column is there, or no row can be scored.
        RecipeError: a column to group by is not there, or these cannot judge the model's pictures.

    Example: sensorium.evaluate(model, "test.csv").fusion[0].sentence
    """
    model = model if isinstance(model, Model) else Model.load(model)
    if isinstance(data, str | Path):
        data = Data(read_table(data), model.recipe.data)
    table = data.table if table is None and isinstance(data, Data) else table
    check_columns(by, table)
    comparison = comparison_of(model, features=features, judge=judge, rows=pictures)
    samples = with_stored_features(model, data if isinstance(data, Samples) else as_samples(data, model.schema))
    chosen = np.arange(len(samples)) if rows is None else rows
    there = [target for target in model.schema.targets if target.name in samples.labels]
    targets = [target for target in there if samples.labels[target.name].mask[chosen].any()]
    makes = generated and bool(model.generative())
    if there and not targets and not makes:
        raise DataError(f"nothing to score: target {there[0].name!r} has no label in the rows to score")
    if not targets and not model.aligned and not makes:
        raise DataError(f"nothing to score: the table has none of the targets "
                        f"({', '.join(t.name for t in model.schema.targets)}); sensorium predict needs no targets")
    names = model.schema.names
    everything = frozenset(names)
    subsets = subsets_to_score(names, _patterns(samples, chosen))
    pairs = pairs_to_decompose(names, samples.presence[chosen]) if information else []
    wanted = list(dict.fromkeys([frozenset(s) for s in [*subsets, *pairs]])) if targets else []
    found, vectors = model.outputs_and_vectors(samples, chosen, wanted, [everything], complete=False)
    scored = Scored(model, samples, chosen, seed)
    raw = {name: {subset: np.where(scored.has(tuple(subset))[:, None], values, np.nan)
                  for subset, values in by_subset.items()} for name, by_subset in found.items()}
    evaluation = Evaluation(len(chosen), [], [], [], {}, [], _notes(model, samples, targets), _unreadable(samples), {},
                            samples, chosen)
    for target in targets:
        probabilities = {s: scored.predicted(target, raw[target.name][frozenset(s)]) for s in subsets}
        evaluation.predicted[target.name] = scored.predicted(target, found[target.name][everything])
        labelled = scored.labelled(target)
        for subset in subsets:
            kept = labelled & scored.has(subset)
            if kept.any():
                evaluation.subsets.append(scored.score(target, subset, probabilities[subset], kept))
        evaluation.as_found.append(scored.score(target, (), evaluation.predicted[target.name], labelled))
        if len(names) > 1:
            evaluation.fusion.extend(fusion_gain(scored, target, probabilities, names))
        evaluation.contributions[target.name] = contributions_of(scored, target, raw[target.name], names)
        _add(evaluation.information, evaluation.notes, decompose_pairs(
            scored, target, raw[target.name], pairs, seconds=SECONDS / len(targets)))
    if targets and robustness:
        _add(evaluation.robustness, evaluation.notes, robustness_curves(model, samples, chosen, seed=seed))
    wanted_here = bool(model.schema.targets or model.painting() or (makes and comparison.judges_texts))
    train, train_rows = _training_rows(model, train, train_rows, wanted=wanted_here) if baselines else (None, None)
    if makes:
        made = generated_of(scored, comparison, table=table, train=train, train_rows=train_rows)
        evaluation.notes.extend(made.notes)
        evaluation = replace(evaluation, generated=made)
    _add_retrieval(evaluation, scored)
    evaluation = replace(evaluation, trust=trust_of(scored, raw, evaluation.predicted, vectors[everything], by=by,
                                                    table=table, calibrated=calibrated))
    if not isinstance(data, Samples) and rows is None:
        evaluation.notes[:0] = training_note(model, data)
    if baselines and targets:
        _add_baselines(evaluation, scored, train, train_rows)
    return evaluation


def _add(found: list[Any], notes: list[str], more: tuple[list[Any], list[str]]) -> None:
    """A section's results, and lines for what it left out."""
    found.extend(more[0])
    notes.extend(more[1])


def training_note(model: Model, data: Data | str | Path) -> list[str]:
    """A line that says so, where the table is the one that the model was trained on."""
    source = data.table.source if isinstance(data, Data) else data
    if model.recipe.source is None or Path(source).resolve() != Path(model.recipe.source).resolve():
        return []
    return [f"{str(source)!r} is the table the model was trained on: these scores say nothing about new rows"]


def _add_retrieval(evaluation: Evaluation, scored: Scored) -> None:
    """How the modalities find each other, where they are aligned; an error where that is all there is to score and
    nothing can be."""
    names, presence = scored.model.schema.names, scored.presence
    if scored.model.aligned and len(names) > 1:
        try:
            evaluation.retrieval.extend(retrieval(scored.model, scored.samples, scored.rows, seed=scored.seed))
        except AlignmentError as error:  # no row has two modalities
            evaluation.notes.append(f"retrieval could not be scored: {error}")
    if not evaluation.predicted and not evaluation.retrieval and not evaluation.generated:
        absent = [name for place, name in enumerate(names) if not presence[:, place].any()]
        why = f"{', '.join(absent)} is absent in all of them" if absent else "no row has two modalities"
        reasons = [*evaluation.generated.notes, *(
            [f"{why}, so that nothing can find anything"] if scored.model.aligned else [])]
        raise DataError(f"nothing to score in {len(presence)} rows: {'; '.join(reasons)}")


def _add_baselines(
    evaluation: Evaluation, scored: Scored, train: Samples | None, train_rows: Rows | None,
) -> None:
    """Shallow models, fitted on the training table: given, or where the recipe says."""
    model = scored.model
    if train is None:
        evaluation.notes.append(f"no shallow baselines: the training table {model.recipe.source!r} is not here")
        return
    evaluation.baselines.extend(shallow_scores(model, train, train_rows, scored.samples, scored.rows,
                                               seed=scored.seed))


def _training_rows(
    model: Model, train: Samples | None, train_rows: Rows | None, *, wanted: bool,
) -> tuple[Samples | None, Rows | None]:
    """The decoded training table, where it is wanted: given, or where the recipe says, but for rows that its split
    column calls test."""
    source = model.recipe.source
    if train is not None:
        return with_stored_features(model, train), train_rows
    if not wanted or source is None or not Path(source).exists():
        return None, None
    table = read_table(source, allow_outside=model.recipe.data.allow_outside)
    words = split_words(table, model.schema)
    return (with_stored_features(model, as_samples(Data(table, model.recipe.data), model.schema)),
            None if words is None else np.flatnonzero(words != "test"))


def _patterns(samples: Samples, rows: Rows) -> list[frozenset[str]]:
    names = samples.schema.names
    distinct = np.unique(samples.presence[rows], axis=0)
    return [frozenset(name for name, there in zip(names, row, strict=True) if there) for row in distinct.tolist()]


def _notes(model: Model, samples: Samples, targets: Sequence[Target]) -> list[str]:
    notes = list(samples.notes)
    for target in model.schema.targets:
        if target not in targets:
            why = "has no label in these rows" if target.name in samples.labels else "is not in the table"
            notes.append(f"target {target.name!r} {why} and is not scored")
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
