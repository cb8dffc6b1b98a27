"""What a comparison holds against each other: models with the rows as they read them, two and one target at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import predictions
from sensorium.data.notation import category_key
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.errors import DataError
from sensorium.evaluation.scores import Names
from sensorium.evaluation.subset_list import subsets_to_score
from sensorium.features import with_stored_features
from sensorium.metrics.bootstrap import Resampling, replicate_weights
from sensorium.model import Model

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
TIMED_ROWS, TIMED_PASSES = 256, 3


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


class Contender:
    """A model with the decoded table, and its answers for the subsets it is asked about."""

    def __init__(self, name: str, model: Model, data: Data) -> None:
        self.name, self.model = name, model
        decoded = as_samples(data, model.schema)
        self.cost = Cost(model.num_parameters(), model.facts.get("seconds"), _milliseconds(model, decoded))
        self.samples: Samples = with_stored_features(model, decoded)
        self.wanted: list[frozenset[str]] = []
        self.found: dict[str, Floats] = {}
        self.by_subset: dict[str, dict[frozenset[str], Floats]] = {}

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
    """Milliseconds a row, from decoded cells: the quickest of three passes over at most 256 rows."""
    everything = [frozenset(model.schema.names)]
    rows = np.arange(min(len(samples), TIMED_ROWS))
    passes = []
    for _ in range(TIMED_PASSES):
        started = time.perf_counter()
        model.outputs(samples, rows, everything, complete=False)
        passes.append(time.perf_counter() - started)
    return round(1000.0 * min(passes) / len(rows), 4)


def common_targets(name_a: str, a: Model, name_b: str, b: Model) -> list[Target]:
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


def shared_subsets(a: Contender, b: Contender) -> list[frozenset[str]]:
    """The subsets that both have, by size."""
    common = tuple(name for name in a.model.schema.names if name in b.model.schema.names)
    patterns = [frozenset(name for name in common if a.has((name,))[row] and b.has((name,))[row])
                for row in _distinct_rows(a, b, common)]
    return [frozenset(one) for one in subsets_to_score(common, patterns)] if common else []


def _distinct_rows(a: Contender, b: Contender, common: Names) -> list[int]:
    """A row of every pattern of common modalities."""
    there = np.stack([a.has((name,)) & b.has((name,)) for name in common], axis=1) if common else np.zeros((0, 0))
    return np.unique(there, axis=0, return_index=True)[1].tolist() if there.size else []


@dataclass
class Pair:
    """Two models and one target: the first one's classes, and the rows both have labels for."""

    a: Contender
    b: Contender
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
