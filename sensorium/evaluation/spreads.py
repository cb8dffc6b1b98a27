"""Scores of several trainings of one recipe: pooled over what each predicted, and how they spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import predictions
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.evaluation.embedder import metrics_json
from sensorium.evaluation.plots import number_words
from sensorium.evaluation.scores import METRIC_WORDS, Names, metrics_of, primary_metric, score_metrics
from sensorium.evaluation.subset_list import subsets_to_score
from sensorium.metrics.bootstrap import Estimate, replicate_weights
from sensorium.model import Model
from sensorium.recipe import Recipe

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Key = tuple[str, Names]


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
        one = next((one for one in self.spreads if one.target == target and not one.modalities), None)
        if one is None:
            return f"{target}: no scored row has a label."
        metric = self.primary[target]
        spread = f"{number_words(one.mean(metric))} ± {number_words(one.sd(metric))} (mean ± sd)"
        if not one.pooled:
            return (f"{target}: {METRIC_WORDS[metric]} {spread} over {self.count} seeds, as found, on the same "
                    f"{one.rows:,} rows.")
        pooled = one.pooled[metric]
        value = f"{pooled.value:.3f} ({pooled.low:.3f} to {pooled.high:.3f})"
        return (f"{target}: {METRIC_WORDS[metric]} {value} as found, {one.rows:,} rows each scored by the model "
                f"trained without its fold; {spread} over {self.count} folds.")

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


def primary_metrics(samples: Samples, recipe: Recipe) -> dict[str, str]:
    return {target.name: primary_metric(target, balance=recipe.training.balance) for target in samples.schema.targets}


def spreads_of(answered: Answered, samples: Samples, recipe: Recipe, round_of: Rows, count: int) -> list[Spread]:
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
            rounds = [values_on(target, labels.values, predicted, kept[round_of[kept] == one]) for one in range(count)]
            found.append(Spread(target.name, key[1], len(kept), pooled,
                                {metric: tuple(values[metric] for values in rounds) for metric in pooled}))
    return found


def values_on(target: Target, truth: npt.NDArray[Any], predicted: Floats, rows: Rows) -> dict[str, float]:
    """metric → its value on some rows; NaN without any."""
    shaped = predicted[rows] if target.task == "classify" else predicted[rows, 0]
    return {name: float(np.asarray(metric(truth[rows], shaped, None))) if len(rows) else float("nan")
            for name, metric in metrics_of(target).items()}


def score_words(model: Model, answered: Answered, samples: Samples, rows: Rows) -> str:
    """The scores of one training as found."""
    said = []
    for target in model.schema.targets:
        labels, name = samples.labels[target.name], primary_metric(target, balance=model.recipe.training.balance)
        kept = rows[labels.mask[rows]]
        if len(kept):
            value = values_on(target, labels.values, answered.found[target.name, ()], kept)[name]
            said.append(f"{target.name} {METRIC_WORDS[name]} {value:.3f} on {len(kept):,} rows")
    return ", ".join(said) or "no rows to score"
