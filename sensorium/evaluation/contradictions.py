"""Rows whose modalities contradict each other, or together contradict their label.

Each modality alone says something about the target. What it says is tempered first: its temperature, and the weight w
of the mixture w · p + (1 − w) · π with the prior π, are together those that make the labels most probable, so a
modality that is sure and often wrong loses its voice, while a few wrong labels cannot make it look unsure. Two
modalities a and b then contradict each other by

    −log₂ Σ_c q_a(c) q_b(c) / π(c)   bits,

how much more probable what they say is if they were put together at random than if they belong together, were they
independent given the class: 2 bits are four to one. (The Jensen-Shannon divergence would also rank sure beside unsure
high, which is no contradiction.) For numbers it is how far two predictions lie apart beside the usual errors of both.

Labels are suspected as by confident learning (Northcutt et al. 2021): another class is at least as probable as it is on
average in the rows that carry its label; and besides, ten times as probable as the label at the temperature that suits
these rows, with no modality that takes the label's side. Whether a row is a rare exception or a mistake, a person has
to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import log2
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.answers import prior_of
from sensorium.data.schema import Target
from sensorium.evaluation.scored import Scored
from sensorium.keyed import Draws
from sensorium.metrics.calibration import apply_temperature

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
BITS = 2.0
LISTED_BITS = 1.0
LABEL_BITS = log2(10)
TEMPERATURES = tuple(float(value) for value in np.geomspace(0.1, 10.0, 41))
SPREADS = 4.0
FEWEST = 20
MOST_LISTED = 100
FLOOR = 1e-12


@dataclass(frozen=True)
class OddRow:
    """A row that contradicts itself.

    Args:
        row: its number in the table, from 0.
        strength: bits, or usual errors for numbers.
        between: the two modalities that contradict each other; empty where the label is suspected.
        says: modality → what it says alone: the class and its probability, or the number and None.
        label: the row's label in words; "" where it has none.
        rather: what the model says instead of a suspected label; "" otherwise.
        sides_with: of the two modalities the one that says what the label says; "" where neither or both do.
    """

    row: int
    strength: float
    between: tuple[str, ...]
    says: dict[str, tuple[str, float | None]]
    label: str
    rather: str = ""
    sides_with: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; the row is numbered from 1."""
        return {"row": self.row + 1, "strength": float(f"{self.strength:.6g}"), "between": list(self.between),
                "says": {name: {"value": value, "probability": sure} for name, (value, sure) in self.says.items()},
                "label": self.label, "rather": self.rather, "sides_with": self.sides_with}


@dataclass(frozen=True)
class Contradictions:
    """What was found about one target.

    Args:
        target: the target.
        unit: bits, or "usual errors".
        limit: from where on a row is counted.
        rows: rows with two modalities or more, which were compared.
        pairs: the rows whose modalities contradict each other, the strongest first; of classes also those between one
            bit and the limit.
        num_pairs: how many reach the limit.
        power: the share that would be found of rows put together from two different labels; None for numbers.
        labels: the rows whose label is suspected, the strongest first.
        num_labels, labelled: how many there are, of how many labelled rows.
        labels_by_chance: how many there would be if all labels were right, with the probabilities at the temperature
            that suits these rows; too many rather than too few, since wrong labels raise it. None for numbers.
        trust: modality → weight of its voice, 0…1; empty for numbers.
        sentences: the findings in words: pairs, labels.
    """

    target: str
    unit: str
    limit: float
    rows: int
    pairs: tuple[OddRow, ...]
    num_pairs: int
    power: float | None
    labels: tuple[OddRow, ...]
    num_labels: int
    labelled: int
    labels_by_chance: float | None
    trust: dict[str, float]
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {name: value for name, value in vars(self).items() if name not in {"pairs", "labels", "sentences"}}
        return {**plain, "pairs": [one.to_json() for one in self.pairs],
                "labels": [one.to_json() for one in self.labels], "sentence": " ".join(self.sentences)}


def voice_weight(probabilities: Floats, truth: Ints, prior: Floats, *, rounds: int = 60) -> float:
    """The w in 0…1 for which Σ log(w p(y) + (1 − w) π(y)) is largest, by expectation and maximisation.

    Args:
        probabilities: (row, class_) of one modality.
        truth: (row,) class numbers, 0 or more.
        prior: (class_,) probabilities.

    Example:
        >>> sure_and_wrong = np.tile([0.99, 0.01], (40, 1))
        >>> voice_weight(sure_and_wrong, np.arange(40) % 2, np.array([0.5, 0.5])) < 0.1
        True
    """
    said, blank = probabilities[np.arange(len(truth)), truth], prior[truth]
    weight = 0.9
    for _ in range(rounds):
        weight = float(np.mean(weight * said / np.maximum(weight * said + (1 - weight) * blank, FLOOR)))
    return weight


def tempered_voice(raw: Floats, truth: Ints, prior: Floats) -> tuple[float, float]:
    """The temperature and the weight of one modality that make the labels most probable together, from logits (row,
    class_): on a grid of temperatures from 0.1 to 10, with `voice_weight` for each."""
    best = (-np.inf, 1.0, 0.0)
    for temperature in TEMPERATURES:
        probabilities = apply_temperature(raw, temperature)
        weight = voice_weight(probabilities, truth, prior, rounds=20)
        said = weight * probabilities[np.arange(len(truth)), truth] + (1 - weight) * prior[truth]
        best = max(best, (float(np.log(np.maximum(said, FLOOR)).mean()), temperature, weight))
    return best[1], best[2]


def bits_apart(a: Floats, b: Floats, prior: Floats) -> Floats:
    """(row,) −log₂ Σ_c a(c) b(c) / π(c): evidence in bits that two modalities do not belong together; negative where
    they agree.

    Example:
        >>> sure, unsure = np.array([[0.99, 0.01]]), np.array([[0.5, 0.5]])
        >>> even = np.array([0.5, 0.5])
        >>> round(float(bits_apart(sure, sure[:, ::-1], even)[0]), 2), abs(float(bits_apart(sure, unsure, even)[0]))
        (4.66, 0.0)
    """
    return np.asarray(-np.log2(np.maximum((a * b / np.maximum(prior, FLOOR)).sum(axis=1), FLOOR)))


def contradictions_of(
    scored: Scored, target: Target, raw: Mapping[frozenset[str], Floats], predicted: Floats,
) -> Contradictions | None:
    """Compare what each modality says alone, and with the label.

    Args:
        scored: the rows.
        target: the target.
        raw: subset → (row, output) raw outputs, NaN in rows that lack some of it; single modalities are read.
        predicted: (row, output) the calibrated answer as found.

    Returns:
        None where fewer than 20 rows are labelled.
    """
    kept = scored.labelled(target)
    if target.task == "classify":
        kept = kept & (scored.truth(target) >= 0)
    if kept.sum() < FEWEST:
        return None
    names = [name for name in scored.model.schema.names if frozenset({name}) in raw]
    alone = {name: raw[frozenset({name})] for name in names}
    judge = _Classes if target.task == "classify" else _Numbers
    return judge(scored, target, alone, predicted, kept).found()


class _Classes:
    """Contradictions about a class."""

    def __init__(
        self, scored: Scored, target: Target, alone: Mapping[str, Floats], predicted: Floats, kept: Bools,
    ) -> None:
        self.scored, self.target, self.kept = scored, target, kept
        self.prior = prior_of(target, balance=scored.model.recipe.training.balance)
        self.truth = scored.truth(target).astype(np.int64)
        logits = np.log(np.maximum(predicted, FLOOR))
        self.predicted = apply_temperature(logits, tempered_voice(logits[kept], self.truth[kept], self.prior)[0])
        self.plain: dict[str, Floats] = {}
        self.tempered: dict[str, Floats] = {}
        self.trust: dict[str, float] = {}
        for name, values in alone.items():
            there = np.isfinite(values).all(axis=1)
            told = there & kept
            if told.sum() < FEWEST:
                continue
            plain = np.full(values.shape, np.nan)
            temperature, self.trust[name] = tempered_voice(values[told], self.truth[told], self.prior)
            plain[there] = apply_temperature(values[there], temperature)
            self.plain[name] = plain
            self.tempered[name] = self.trust[name] * plain + (1 - self.trust[name]) * self.prior

    def found(self) -> Contradictions:
        bits, pair, compared = self._apart()
        power = self._power()
        order = _strongest(bits, LISTED_BITS)
        count = int((bits[order] >= BITS).sum())
        pairs = [self._row(place, float(bits[place]), pair[place]) for place in order[:MOST_LISTED]]
        suspects, strength, expected = self._suspects()
        labels = [self._row(place, float(strength[place]), None) for place in suspects[:MOST_LISTED]]
        rows, labelled = int(compared.sum()), int(self.kept.sum())
        said = (_pairs_said(self.target.name, count, rows, power, "four to one and more"),
                _labels_said(self.target.name, len(suspects), labelled, expected, alone=len(self.plain) < 2))
        return Contradictions(self.target.name, "bits", BITS, rows, tuple(pairs), count, power,
                              tuple(labels), len(suspects), labelled, expected, self.trust,
                              tuple(one for one in said if one))

    def _apart(self) -> tuple[Floats, list[tuple[str, ...]], Bools]:
        """(row,) the bits of the two modalities furthest apart, which they are, and whether there were two."""
        bits = np.full(len(self.truth), np.nan)
        pair: list[tuple[str, ...]] = [()] * len(bits)
        for a, b in combinations(self.tempered, 2):
            found = bits_apart(self.tempered[a], self.tempered[b], self.prior)
            for place in np.flatnonzero(np.isfinite(found) & ~(bits >= found)).tolist():
                bits[place], pair[place] = found[place], (a, b)
        return bits, pair, np.isfinite(bits)

    def _power(self) -> float | None:
        """The share that would be found of wrong pairs: of the two modalities that most rows have, put together from
        rows with different labels."""
        both = {pair: np.flatnonzero(self.kept & np.isfinite(self.tempered[pair[0]][:, 0])
                                     & np.isfinite(self.tempered[pair[1]][:, 0]))
                for pair in combinations(self.tempered, 2)}
        if not both:
            return None
        pair = max(both, key=lambda one: len(both[one]))
        rows = both[pair][Draws(self.scored.seed, 0, both[pair]).order("contradictions")]
        mates = np.roll(rows, 1)
        differ = self.truth[rows] != self.truth[mates]
        if differ.sum() < FEWEST:
            return None
        apart = bits_apart(self.tempered[pair[0]][rows[differ]], self.tempered[pair[1]][mates[differ]], self.prior)
        return float((apart >= BITS).mean())

    def _suspects(self) -> tuple[list[int], Floats, float]:
        """Positions of rows with a suspected label, strongest first; (row,) bits; how many are expected by chance."""
        values, truth, kept = self.predicted, self.truth, self.kept
        usual = np.array([values[kept & (truth == code), code].mean() if (kept & (truth == code)).any() else np.inf
                          for code in range(values.shape[1])])
        answer = values.argmax(axis=1)
        each = np.arange(len(values))
        bits = np.log2(np.maximum(values[each, answer], FLOOR))[:, None] - np.log2(np.maximum(values, FLOOR))
        would = (values[each, answer] >= usual[answer])[:, None] & (bits >= LABEL_BITS) & kept[:, None]
        for tempered in self.tempered.values():  # no modality may take the label's side
            leaning = tempered / np.maximum(self.prior, FLOOR)
            would &= ~(leaning > leaning[each, answer][:, None] * (1 + 1e-9))
        found = np.asarray(would[each, np.maximum(truth, 0)])
        strength = bits[each, np.maximum(truth, 0)]
        order = np.flatnonzero(found)[np.argsort(-strength[found], kind="stable")]
        return order.tolist(), strength, float((values * would)[kept].sum())

    def _row(self, place: int, strength: float, pair: tuple[str, ...] | None) -> OddRow:
        classes = self.target.classes
        says: dict[str, tuple[str, float | None]] = {}
        for name, plain in self.plain.items():
            if np.isfinite(plain[place, 0]):
                code = int(plain[place].argmax())
                says[name] = classes[code], round(float(plain[place, code]), 4)
        label = classes[int(self.truth[place])] if self.kept[place] else ""
        if pair is None:
            return OddRow(int(self.scored.rows[place]), strength, (), says, label,
                          rather=classes[int(self.predicted[place].argmax())])
        siding = [name for name in pair if label and says[name][0] == label]
        return OddRow(int(self.scored.rows[place]), strength, pair, says, label,
                      sides_with=siding[0] if len(siding) == 1 else "")


class _Numbers:
    """Contradictions about a number."""

    def __init__(
        self, scored: Scored, target: Target, alone: Mapping[str, Floats], predicted: Floats, kept: Bools,
    ) -> None:
        self.scored, self.target, self.kept, self.predicted = scored, target, kept, predicted[:, 0]
        self.truth = scored.truth(target).astype(np.float64)
        self.alone = {name: scored.predicted(target, values)[:, 0] for name, values in alone.items()
                      if (np.isfinite(values).all(axis=1) & kept).sum() >= FEWEST}
        for name, values in self.alone.items():
            values[~np.isfinite(alone[name]).all(axis=1)] = np.nan

    def found(self) -> Contradictions:
        apart = np.full(len(self.truth), np.nan)
        pair: list[tuple[str, ...]] = [()] * len(apart)
        for a, b in combinations(self.alone, 2):
            gaps = self.alone[a] - self.alone[b]
            gaps = (gaps - np.nanmedian(gaps)) / float(np.hypot(self._error(a), self._error(b))) if (
                np.isfinite(gaps).any()) else gaps
            for place in np.flatnonzero(np.isfinite(gaps) & ~(apart >= np.abs(gaps))).tolist():
                apart[place], pair[place] = abs(gaps[place]), (a, b)
        order = _strongest(apart, SPREADS)
        suspects, strength = self._suspects()
        pairs = [self._row(place, float(apart[place]), pair[place]) for place in order[:MOST_LISTED]]
        labels = [self._row(place, float(strength[place]), None) for place in suspects[:MOST_LISTED]]
        rows, labelled = int(np.isfinite(apart).sum()), int(self.kept.sum())
        said = (_pairs_said(self.target.name, len(order), rows, None, f"{SPREADS:g} usual errors and more"),
                _labels_said(self.target.name, len(suspects), labelled, None, alone=len(self.alone) < 2))
        return Contradictions(self.target.name, "usual errors", SPREADS, rows, tuple(pairs), len(order), None,
                              tuple(labels), len(suspects), labelled, None, {}, tuple(one for one in said if one))

    def _error(self, name: str) -> float:
        """The root mean square of a modality's errors, without the twentieth that is largest."""
        errors = np.abs(self.truth - self.alone[name])[self.kept & np.isfinite(self.alone[name])]
        return float(np.sqrt(np.mean(np.sort(errors)[: max(1, round(0.95 * len(errors)))] ** 2))) or np.inf

    def _suspects(self) -> tuple[list[int], Floats]:
        """Rows in which every modality, and all together, are on one side of the label and far from it."""
        errors = [self.truth - values for values in (self.predicted, *self.alone.values())]
        spreads = np.stack([_in_spreads(np.where(self.kept, error, np.nan)) for error in errors])
        missing = np.isnan(spreads[1:])
        nearest = np.where(np.isnan(spreads), np.inf, np.abs(spreads)).min(axis=0)
        side = np.sign(spreads[0])
        agree = ((np.sign(spreads[1:]) == side) | missing).all(axis=0) & np.isfinite(spreads[0])
        strength = np.where(agree & self.kept & self.scored.presence.any(axis=1), nearest, np.nan)
        return _strongest(strength, SPREADS), strength

    def _row(self, place: int, strength: float, pair: tuple[str, ...] | None) -> OddRow:
        says: dict[str, tuple[str, float | None]] = {
            name: (f"{values[place]:.4g}", None) for name, values in self.alone.items() if np.isfinite(values[place])}
        label = f"{self.truth[place]:.4g}" if self.kept[place] else ""
        if pair is None:
            return OddRow(int(self.scored.rows[place]), strength, (), says, label,
                          rather=f"{self.predicted[place]:.4g}")
        gaps = [abs(self.alone[name][place] - self.truth[place]) for name in pair]
        siding = "" if not label or max(gaps) < 2 * min(gaps) else pair[int(np.argmin(gaps))]
        return OddRow(int(self.scored.rows[place]), strength, pair, says, label, sides_with=siding)


def _in_spreads(values: Floats) -> Floats:
    """Distance from the median in usual errors, a robust standard deviation: the larger of 1.4826 · the median
    distance and of the distance that one in ten exceeds / 1.645, so that a tenth of the rows cannot set it, and heavy
    tails do. NaN stays NaN."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(len(values), np.nan)
    middle = float(np.median(known))
    half, most = np.quantile(np.abs(known - middle), [0.5, 0.9])
    spread = max(1.4826 * float(half), float(most) / 1.645) or float(known.std()) or np.inf
    return np.asarray((values - middle) / spread)


def _strongest(values: Floats, limit: float) -> list[int]:
    """Positions of the values not below the limit, the largest first."""
    found = np.flatnonzero(np.nan_to_num(values, nan=-np.inf) >= limit)
    return [int(place) for place in found[np.argsort(-values[found], kind="stable")]]


def _pairs_said(target: str, count: int, rows: int, power: float | None, limit: str) -> str:
    if not rows:
        return ""
    said = f"{target}: in {count:,} of {rows:,} rows two modalities contradict each other ({limit})"
    if power is not None:
        said += f"; of pairs put together from different classes {100 * power:.0f} % would be found so"
    return said + "."


def _labels_said(target: str, count: int, labelled: int, expected: float | None, *, alone: bool) -> str:
    whom = "" if alone else ", and no modality takes the label's side"
    said = f"{target}: in {count:,} of {labelled:,} labelled rows the model is sure of something else{whom}"
    if expected is not None:
        said += f"; up to {expected:.0f} would be expected if every label were right"
    return said + "."
