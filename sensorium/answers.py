"""From raw outputs to answers a person can use: labels, probabilities, numbers, contributions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from sensorium.data.schema import Schema, Target
from sensorium.metrics.calibration import apply_temperature
from sensorium.metrics.conformal import Conformal
from sensorium.metrics.contribution import shapley, shapley_by_permutations

Floats = npt.NDArray[np.float64]
Names = frozenset[str]
Outputs = Callable[[Sequence[Names]], Mapping[str, Mapping[Names, Floats]]]
MAX_EXACT = 5


@dataclass(frozen=True)
class Answer:
    """The prediction of one target for one row.

    Args:
        value: the class label, or the number in original units.
        probabilities: class → probability, for classes; None for numbers.
        modalities: what the prediction read; empty: nothing was readable, and this is the training distribution.
        contributions: modality → what it added: bits for the answered class over its prior, or units of the number
            over the training mean. None unless asked for.
        unreadable: cells of the row that could not be read and count as missing, with the reason.
        confidence_set: the classes that hold the true one as often as was calibrated (nine rows in ten, unless the
            recipe says otherwise), the most probable first; empty where nothing is likely enough. None where there
            were too few rows to calibrate it, or where nothing was read.
        interval: the same for numbers: its two ends.
        unlike: whether the row is unlike the training data, as one in a hundred rows like them is; None where the model
            cannot tell for what this row has.
    """

    value: str | float
    probabilities: dict[str, float] | None
    modalities: tuple[str, ...]
    contributions: dict[str, float] | None = None
    unreadable: tuple[str, ...] = ()
    confidence_set: tuple[str, ...] | None = None
    interval: tuple[float, float] | None = None
    unlike: bool | None = None

    @property
    def decided(self) -> bool:
        """Whether the confidence set is the answered class alone; for numbers, and without a set, True."""
        return self.confidence_set is None or self.confidence_set == (self.value,)

    @property
    def probability(self) -> float | None:
        """The answered class's probability."""
        return None if self.probabilities is None else self.probabilities[str(self.value)]


def prior_of(target: Target, *, balance: bool) -> Floats:
    """(class,) the training frequencies (equal where classes are balanced), or (1,) the training mean."""
    if target.task == "regress":
        return np.array([target.mean])
    if balance or not target.prior:
        return np.full(len(target.classes), 1.0 / len(target.classes))
    return np.array(target.prior)


def predictions(target: Target, outputs: Floats, *, temperature: float, balance: bool) -> Floats:
    """(row, class_) probabilities or (row, 1) numbers in original units; the prior where the outputs are NaN."""
    prior = prior_of(target, balance=balance)
    known = np.isfinite(outputs).all(axis=1)
    result = np.tile(prior, (len(outputs), 1))
    if target.task == "classify":
        result[known] = apply_temperature(outputs[known], temperature) if known.any() else outputs[known]
    else:
        result[known] = outputs[known] * target.std + target.mean
    return result


def make_answers(
    outputs: Outputs, schema: Schema, presence: npt.NDArray[np.bool_], *, temperatures: Mapping[str, float],
    balance: bool, explain: bool = False, unreadable: Mapping[int, tuple[str, ...]] | None = None,
    conformal: Mapping[str, Conformal] | None = None, asks: Names = frozenset(),
) -> list[dict[str, Answer]]:
    """Answers for every row.

    Args:
        outputs: for some sets of modalities, target → set → (row, output), NaN where a row has none of the set.
        schema: the model's.
        presence: (row, modality) what may be read of each row.
        temperatures: target → temperature.
        balance: whether the model was trained with balanced classes.
        explain: whether to add contributions.
        unreadable: row → its cells that could not be read, in words.
        conformal: target → what its confidence sets were calibrated to.
        asks: modalities of which one must be there; nothing is answered in other rows.
    """
    presence = presence & (presence[:, [name in asks for name in schema.names]].any(axis=1, keepdims=True) | (not asks))
    everything = frozenset(schema.names)
    raw = outputs([everything])
    answers: list[dict[str, Answer]] = [{} for _ in range(len(presence))]
    used = [tuple(name for name, there in zip(schema.names, row, strict=True) if there) for row in presence.tolist()]
    predicted = {target.name: predictions(target, raw[target.name][everything], balance=balance,
                                          temperature=temperatures[target.name]) for target in schema.targets}
    shares = _contributions(outputs, schema, predicted, temperatures, balance, presence, asks) if explain else {}
    for target in schema.targets:
        for row, values in enumerate(predicted[target.name]):
            broken = (unreadable or {}).get(row, ())
            contributions = ({name: float(shares[target.name][name][row]) for name in used[row]} if explain else None)
            if target.task == "classify":
                probabilities = dict(zip(target.classes, map(float, values), strict=True))
                answers[row][target.name] = Answer(target.classes[int(values.argmax())], probabilities, used[row],
                                                   contributions, broken)
            else:
                answers[row][target.name] = Answer(float(values[0]), None, used[row], contributions, broken)
        _add_confidence(answers, target, predicted[target.name], presence, (conformal or {}).get(target.name))
    return answers


def _add_confidence(
    answers: list[dict[str, Answer]], target: Target, predicted: Floats, presence: npt.NDArray[np.bool_],
    conformal: Conformal | None,
) -> None:
    """Put confidence sets and intervals into a target's answers."""
    if conformal is None or not len(answers):
        return
    there = presence.any(axis=1)
    reach = conformal.thresholds(presence)
    for row in np.flatnonzero(there & np.isfinite(reach)).tolist():
        answer = answers[row][target.name]
        if target.task == "regress":
            value = float(predicted[row, 0])
            answers[row][target.name] = replace(answer, interval=(value - float(reach[row]), value + float(reach[row])))
            continue
        chosen = conformal.sets(predicted[[row]], presence[[row]])[0]
        order = np.argsort(-predicted[row], kind="stable")
        answers[row][target.name] = replace(
            answer, confidence_set=tuple(target.classes[place] for place in order.tolist() if chosen[place]))


def with_unlike(answers: list[dict[str, Answer]], strangeness: Floats) -> list[dict[str, Answer]]:
    """The answers with whether their row is unlike the training data.

    Args:
        answers: one dictionary a row.
        strangeness: (row,) above 1 where it is; NaN where it is not known.
    """
    flags = [None if np.isnan(value) else value > 1 for value in strangeness.tolist()]
    return [{name: replace(answer, unlike=flag) for name, answer in row.items()}
            for row, flag in zip(answers, flags, strict=True)]


def _contributions(
    outputs: Outputs, schema: Schema, predicted: Mapping[str, Floats], temperatures: Mapping[str, float], balance: bool,
    presence: npt.NDArray[np.bool_], asks: Names,
) -> dict[str, dict[str, Floats]]:
    """target → modality → (row,) Shapley values; those of absent modalities are 0.

    Where a question is asked, nothing is answered without it: first those that ask share what the question alone tells,
    then the others share what they add to it.
    """
    scored: dict[str, dict[Names, Floats]] = {target.name: {} for target in schema.targets}
    columns = {name: place for place, name in enumerate(schema.names)}

    def score(subsets: Sequence[Names]) -> None:
        raw = outputs([subset for subset in subsets if subset])
        for target in schema.targets:
            answered = predicted[target.name].argmax(axis=1)
            nothing = np.full(predicted[target.name].shape, np.nan)
            for subset in subsets:
                shown = presence[:, [columns[name] for name in subset]].any(axis=1)
                told = np.where(np.expand_dims(shown, 1), raw[target.name][subset], nothing) if subset else nothing
                values = predictions(target, told, temperature=temperatures[target.name], balance=balance)
                chosen = values[np.arange(len(values)), answered]
                bits = target.task == "classify"
                scored[target.name][subset] = np.log2(np.maximum(chosen, 1e-15)) if bits else chosen

    def shared(name: str, players: tuple[str, ...], base: Names) -> dict[str, Floats]:
        def value(subset: Names) -> Floats:
            if subset | base not in scored[name]:
                score([subset | base])
            return scored[name][subset | base]

        if len(players) > MAX_EXACT:
            return shapley_by_permutations(value, players).values
        return shapley({subset: value(subset) for subset in every(players)}, players)

    def every(players: tuple[str, ...]) -> list[Names]:
        return [frozenset(s) for size in range(len(players) + 1) for s in combinations(players, size)]

    games = [(players, base) for players, base in (
        (tuple(name for name in schema.names if name in asks), frozenset()),
        (tuple(name for name in schema.names if name not in asks), asks)) if players]
    score(list({subset | base for players, base in games if len(players) <= MAX_EXACT for subset in every(players)}))
    return {target.name: {name: share for players, base in games
                          for name, share in shared(target.name, players, base).items()} for target in schema.targets}
