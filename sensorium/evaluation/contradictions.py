"""Rows whose modalities contradict each other, or agree with each other and not with their label.

Each modality alone says something about the target. What it says is tempered first: its temperature, and the weight w
of the mixture w · p + (1 − w) · π with the prior π, are those that make the labels most probable, so a modality that is
sure and often wrong loses its voice. Two modalities a and b then contradict each other by

    −log₂ Σ_c q_a(c) q_b(c) / π(c)   bits,

how much more probable what they say is if they were put together at random than if they belong together, were they
independent given the class: 3.3 bits are ten to one. (The Jensen-Shannon divergence would also rank sure beside unsure
high, which is no contradiction.) For numbers it is how far two predictions lie apart, in usual distances.

Labels are suspected as by confident learning (Northcutt et al. 2021): another class is at least as probable as it is on
average in the rows that carry its label; and besides, ten times as probable as the label, with no modality that takes
the label's side. Whether a row is a rare exception or a mistake, a person has to see.
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
from sensorium.metrics.calibration import apply_temperature, fit_temperature

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
BITS = log2(10)
SPREADS = 4.0
FEWEST = 20
MOST_LISTED = 100
FLOOR = 1e-12


@dataclass(frozen=True)
class OddRow:
    """A row that contradicts itself.

    Args:
        row: its number in the table, from 0.
        strength: bits, or usual distances for numbers.
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
        unit: bits, or "usual distances".
        limit: from where on a row is counted.
        rows: rows with two modalities or more, which were compared.
        pairs: the rows whose modalities contradict each other, the strongest first.
        num_pairs: how many there are.
        pairs_by_chance: how many there would be if each row's second modality came from another row with its label:
            what is expected where nothing is wrong. None for numbers.
        power: the share that would be found of rows put together from two different labels; None for numbers.
        labels: the rows whose label is suspected, the strongest first.
        num_labels, labelled: how many there are, of how many labelled rows.
        labels_by_chance: how many there would be if all labels were right and probabilities exact; None for numbers.
        trust: modality → weight of its voice, 0…1; empty for numbers.
        sentences: the findings in words: pairs, labels.
    """

    target: str
    unit: str
    limit: float
    rows: int
    pairs: tuple[OddRow, ...]
    num_pairs: int
    pairs_by_chance: float | None
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
        self.predicted = predicted
        self.plain: dict[str, Floats] = {}
        self.tempered: dict[str, Floats] = {}
        self.trust: dict[str, float] = {}
        for name, values in alone.items():
            there = np.isfinite(values).all(axis=1)
            told = there & kept
            if told.sum() < FEWEST:
                continue
            plain = np.full(values.shape, np.nan)
            plain[there] = apply_temperature(values[there], fit_temperature(values[told], self.truth[told]))
            self.trust[name] = voice_weight(plain[told], self.truth[told], self.prior)
            self.plain[name] = plain
            self.tempered[name] = self.trust[name] * plain + (1 - self.trust[name]) * self.prior

    def found(self) -> Contradictions:
        bits, pair, compared = self._apart()
        chance, power = self._by_chance()
        order = _strongest(bits, BITS)
        pairs = [self._row(place, float(bits[place]), pair[place]) for place in order[:MOST_LISTED]]
        suspects, strength, expected = self._suspects()
        labels = [self._row(place, float(strength[place]), None) for place in suspects[:MOST_LISTED]]
        rows, labelled = int(compared.sum()), int(self.kept.sum())
        said = (_pairs_said(self.target.name, len(order), rows, chance, power, "ten to one and more"),
                _labels_said(self.target.name, len(suspects), labelled, expected, alone=len(self.plain) < 2))
        return Contradictions(self.target.name, "bits", BITS, rows, tuple(pairs), len(order), chance, power,
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

    def _by_chance(self) -> tuple[float | None, float | None]:
        """How many rows would be found if all were right, and the share that would be of wrong pairs: from pairs of
        different rows with equal labels, and with different ones, for the two modalities most rows have."""
        best: tuple[int, tuple[str, str]] | None = None
        for a, b in combinations(self.tempered, 2):
            rows = int((np.isfinite(self.tempered[a][:, 0]) & np.isfinite(self.tempered[b][:, 0]) & self.kept).sum())
            if best is None or rows > best[0]:
                best = rows, (a, b)
        if best is None or best[0] < FEWEST:
            return None, None
        a, b = best[1]
        rows = np.flatnonzero(np.isfinite(self.tempered[a][:, 0]) & np.isfinite(self.tempered[b][:, 0]) & self.kept)
        order = rows[Draws(self.scored.seed, 0, rows).order("contradictions")]
        same = order[np.argsort(self.truth[order], kind="stable")]
        counted = np.unique(self.truth[same], return_index=True, return_counts=True)
        beside = np.concatenate([np.roll(same[start : start + count], 1) for _, start, count in
                                 zip(*counted, strict=True)])
        mates = beside != same
        wrong = np.roll(order, 1)
        differ = self.truth[wrong] != self.truth[order]
        equal = bits_apart(self.tempered[a][same[mates]], self.tempered[b][beside[mates]], self.prior)
        apart = bits_apart(self.tempered[a][order[differ]], self.tempered[b][wrong[differ]], self.prior)
        return (float((equal >= BITS).mean() * len(rows)) if len(equal) else None,
                float((apart >= BITS).mean()) if len(apart) else None)

    def _suspects(self) -> tuple[list[int], Floats, float]:
        """Positions of rows with a suspected label, strongest first; (row,) bits; how many are expected by chance."""
        values, truth, kept = self.predicted, self.truth, self.kept
        usual = np.array([values[kept & (truth == code), code].mean() if (kept & (truth == code)).any() else np.inf
                          for code in range(values.shape[1])])
        answer = values.argmax(axis=1)
        each = np.arange(len(values))
        bits = np.log2(np.maximum(values[each, answer], FLOOR))[:, None] - np.log2(np.maximum(values, FLOOR))
        would = (values[each, answer] >= usual[answer])[:, None] & (bits >= BITS) & kept[:, None]
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
            gaps = _in_spreads(self.alone[a] - self.alone[b])
            for place in np.flatnonzero(np.isfinite(gaps) & ~(apart >= np.abs(gaps))).tolist():
                apart[place], pair[place] = abs(gaps[place]), (a, b)
        order = _strongest(apart, SPREADS)
        suspects, strength = self._suspects()
        pairs = [self._row(place, float(apart[place]), pair[place]) for place in order[:MOST_LISTED]]
        labels = [self._row(place, float(strength[place]), None) for place in suspects[:MOST_LISTED]]
        rows, labelled = int(np.isfinite(apart).sum()), int(self.kept.sum())
        said = (_pairs_said(self.target.name, len(order), rows, None, None, f"{SPREADS:g} usual distances and more"),
                _labels_said(self.target.name, len(suspects), labelled, None, alone=len(self.alone) < 2))
        return Contradictions(self.target.name, "usual distances", SPREADS, rows, tuple(pairs), len(order), None, None,
                              tuple(labels), len(suspects), labelled, None, {}, tuple(one for one in said if one))

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
    """Distance from the median in usual distances, a robust standard deviation: the larger of 1.4826 · the median
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
    return found[np.argsort(-values[found], kind="stable")].tolist()


def _pairs_said(target: str, count: int, rows: int, chance: float | None, power: float | None, limit: str) -> str:
    if not rows:
        return ""
    said = f"{target}: in {count:,} of {rows:,} rows two modalities contradict each other ({limit})"
    if chance is not None:
        said += (f"; {chance:.0f} would be expected where every pair belongs together, and of pairs from different "
                 f"classes {100 * (power or 0.0):.0f} % would be found so")
    return said + "."


def _labels_said(target: str, count: int, labelled: int, expected: float | None, *, alone: bool) -> str:
    whom = "the model disagrees" if alone else "the modalities agree with each other and not"
    said = f"{target}: in {count:,} of {labelled:,} labelled rows {whom} with the label"
    if expected is not None:
        said += f", where {expected:.0f} would be expected if every label were right and the probabilities exact"
    return said + "."
