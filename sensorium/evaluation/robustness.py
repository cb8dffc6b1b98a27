"""How the score falls as one modality gets worse, or is missing more often, while all others stay as they are.

Two curves a modality. Severity: its inputs are damaged by its kind's own `corrupt`, 0 (untouched) to 1 (destroyed).
Missing rate: this share of the rows loses it; a row that loses it at one rate loses it at every higher one. Both are
read on the same rows, at most 500 of them, chosen by keyed draws: those that have the modality and another one.

Every clean modality is encoded once; a damaged one once a severity, by its own encoder, beside the others' tokens.

The reference for effective robustness is late fusion of the model's own voices: the mean of the probabilities (or
numbers) that it reads from each modality alone. It tells what fusing tokens adds to, or takes from, robustness.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from sensorium.answers import predictions
from sensorium.data.batch import Packed, make_batch
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.evaluation.embedder import estimate_json
from sensorium.evaluation.plots import number_words
from sensorium.evaluation.scores import HIGHER_IS_BETTER, METRIC_WORDS, metrics_of, primary_metric
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import Estimate, Metric, Resampling, paired_difference, replicate_weights
from sensorium.metrics.paired import agreement
from sensorium.metrics.robustness import Curve, effective_robustness, score_curve
from sensorium.model import Model
from sensorium.objectives.base import Encoded

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Shown = tuple[str, ...]
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_ROWS, MOST_ROWS_LARGE, LARGE = 500, 200, 5_000_000
FEWEST = 20
BATCH = 64


@dataclass(frozen=True)
class Robustness:
    """What one target loses where one modality is damaged or missing.

    Args:
        target, metric, modality: what is scored, by what, and what gets worse.
        rows: rows read, all of which have the modality and, where the model has several, another one.
        unit: what the intervals resample.
        severity: the metric at growing damage.
        missing: the metric at growing shares of rows without the modality; at 1 none has it.
        against_absence: at each severity the score minus that without the modality, positive where the damaged
            modality still helps, whatever the metric's direction; paired, 95 % over all severities together.
        late_severity, late_missing: the same curves of late fusion of the model's own voices.
        harmful: severities at which the model would be better off ignoring the modality, beyond chance: the interval of
            `against_absence` is below 0 and, for classes, the exact McNemar test agrees.
        effective_severity, effective_missing: what the model keeps beyond what late fusion lets expect at the same
            clean score, positive is more robust, in units of the metric. None, as the two above, for one modality.
    """

    target: str
    metric: str
    modality: str
    rows: int
    unit: Literal["rows", "groups"]
    severity: Curve
    missing: Curve
    against_absence: tuple[Estimate, ...]
    harmful: tuple[float, ...]
    late_severity: Curve | None
    late_missing: Curve | None
    effective_severity: Estimate | None
    effective_missing: Estimate | None

    @property
    def clean(self) -> Estimate:
        """The score with nothing damaged."""
        return self.severity.scores[0]

    @property
    def without(self) -> Estimate:
        """The score without the modality."""
        return self.missing.scores[-1]

    @property
    def sentence(self) -> str:
        """The finding in words."""
        word, grid = METRIC_WORDS[self.metric], self.severity.severities
        middle = min(range(1, len(grid)), key=lambda place: abs(grid[place] - 0.5))
        said = (f"{self.target}: with {self.modality} damaged at severity {grid[middle]:g}, {word} "
                f"{_course(self.clean.value, self.severity.scores[middle].value)}; without {self.modality} it is "
                f"{number_words(self.without.value)}")
        if not self.harmful:
            return (f"{said}. Even destroyed (severity {grid[-1]:g}: {number_words(self.severity.scores[-1].value)}), "
                    f"{self.modality} does no harm that {self.rows:,} rows could tell.")
        worst = min((grid.index(one) for one in self.harmful), key=lambda place: self.against_absence[place].value)
        gap = self.against_absence[worst]
        worse, least, most = (f"{100 * one:.1f}" if _is_share(self.metric) else number_words(one)
                              for one in (-gap.value, -gap.high, -gap.low))
        listed = " and ".join(", ".join(f"{one:g}" for one in some) for some in (self.harmful[:-1], self.harmful[-1:])
                              if some)
        return (f"{said}. At severity {listed} the model would be better off ignoring it: at {grid[worst]:g}, {word} "
                f"is {number_words(self.severity.scores[worst].value)}, worse than without it by {worse}"
                f"{' points' if _is_share(self.metric) else ''} (95 % interval {least} to {most}, paired on "
                f"{self.rows:,} rows).")

    @property
    def late_sentence(self) -> str:
        """What fusing tokens does to robustness, in words; empty where nothing can be told."""
        said = []
        for what, one in (("damaged", self.effective_severity), ("missing", self.effective_missing)):
            if one is not None and (one.low > 0 or one.high < 0):
                lost = abs(one.value)
                amount = f"{100 * lost:.1f} points" if _is_share(self.metric) else number_words(lost)
                said.append(f"with {self.modality} {what} it loses {amount} {'less' if one.low > 0 else 'more'}")
        return (f"Against late fusion of its own voices, which averages what it reads from each modality alone: "
                f"{' and '.join(said)} than from the same clean score was to be expected, averaged over all amounts."
                if said else "")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        def curve(one: Curve | None) -> dict[str, Any] | None:
            return None if one is None else {"at": list(one.severities), "area": estimate_json(one.area),
                                             "scores": [estimate_json(score) for score in one.scores]}

        def number(one: Estimate | None) -> dict[str, Any] | None:
            return None if one is None else estimate_json(one)

        return {"target": self.target, "metric": self.metric, "modality": self.modality, "rows": self.rows,
                "unit": self.unit, "severity": curve(self.severity), "missing_rate": curve(self.missing),
                "against_absence": [estimate_json(one) for one in self.against_absence],
                "harmful": list(self.harmful),
                "late_fusion_severity": curve(self.late_severity), "late_fusion_missing_rate": curve(self.late_missing),
                "effective_robustness_severity": number(self.effective_severity),
                "effective_robustness_missing_rate": number(self.effective_missing), "sentence": self.sentence}


def robustness_curves(
    model: Model, samples: Samples, rows: Rows, *, severities: Sequence[float] = GRID, rates: Sequence[float] = GRID,
    most_rows: int | None = None, seed: int = 0,
) -> tuple[list[Robustness], list[str]]:
    """Both curves of every target and modality.

    Args:
        model: a trained model.
        samples: a decoded table with targets; modalities may hold stored features, whose cells are then encoded anew.
        rows: (row,) row numbers to choose from.
        severities: growing, from 0 to at most 1.
        rates: shares of rows, growing, from 0 to 1.
        most_rows: rows read; None = 500, or 200 where an encoder has more than 5 million weights.
        seed: of the choice of rows, the damage, the losses and the intervals.

    Returns:
        A result for every target and modality with 20 such rows or more, and a line for each of the others.
    """
    names = model.schema.names
    targets = [target for target in model.schema.targets
               if target.name in samples.labels and samples.labels[target.name].mask[rows].any()]
    labelled = np.any([samples.labels[target.name].mask[rows] for target in targets], axis=0)
    several = samples.presence[rows].sum(axis=1) >= min(2, len(names))
    chosen = _some(rows[labelled & several], most_rows or _affordable(model), seed)
    if not len(chosen):
        return [], ["robustness is left out: no labelled row has two modalities"]
    read = _read(model, samples, chosen, severities, seed)
    resampling = replicate_weights(len(chosen), None if samples.groups is None else samples.groups[chosen], seed=seed)
    found, notes = [], []
    for target in targets:
        labels = samples.labels[target.name]
        few: dict[int, list[str]] = {}
        for place, name in enumerate(names):
            kept = np.flatnonzero(labels.mask[chosen] & samples.presence[chosen, place])
            if len(kept) < FEWEST:
                few.setdefault(len(kept), []).append(name)
                continue
            voices = _Voices(model, target, read, samples.presence[chosen], kept)
            lost = Draws(seed, 0, chosen[kept]).uniform(f"missing/{name}")
            found.append(_curves(
                voices, name, labels.values[chosen[kept]], severities, [lost < rate for rate in rates], rates,
                Resampling(resampling.weights[:, kept], resampling.unit)))
        notes += [f"robustness of {target.name} to {', '.join(some)} is left out: {count} labelled rows have "
                  f"{'it' if len(some) == 1 else 'each'} beside another modality, {FEWEST} are needed"
                  for count, some in few.items()]
    return found, notes


def _affordable(model: Model) -> int:
    """Rows that are read: fewer where an encoder is large."""
    sizes = [sum(parameter.numel() for parameter in encoder.parameters()) for encoder in model.encoders]
    return MOST_ROWS_LARGE if max(sizes) > LARGE else MOST_ROWS


def _some(rows: Rows, most: int, seed: int) -> Rows:
    """At most so many of the rows, by keyed draws, in their order."""
    return np.sort(rows[np.argsort(Draws(seed, 0, rows).uniform("robustness/rows"), kind="stable")[:most]])


# ---- reading ----

def _read(
    model: Model, samples: Samples, rows: Rows, severities: Sequence[float], seed: int,
) -> dict[tuple[str, Shown], Floats]:
    """(target, what is shown) → (row, output) raw outputs; NaN in rows of which nothing is shown.

    What is shown: ("all",), ("without", name), ("alone", name); with a severity behind, that modality is damaged.
    """
    results: dict[tuple[str, Shown], Floats] = {}
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            for shown, encoded, hidden in _shown(model, samples, part, severities, seed):
                view = model.view(encoded)
                presence = encoded.presence & hidden
                for predictor in model.objectives():
                    own = view.restricted(predictor)
                    fused, kept = own.fuse(own.asked(presence))
                    if fused is None:
                        continue
                    values = predictor.outputs(fused).double().cpu().numpy()
                    outputs = results.setdefault((predictor.name, shown), np.full((len(rows), values.shape[1]), np.nan))
                    outputs[start + kept.cpu().numpy()] = values
    return results


def _shown(
    model: Model, samples: Samples, rows: Rows, severities: Sequence[float], seed: int,
) -> Iterator[tuple[Shown, Encoded, torch.Tensor]]:
    """What is shown of a batch, its tokens, and (modality,) which modalities may be read."""
    batch = make_batch(samples, rows)
    on_device = batch.to(model.device)
    clean = model.encode(on_device)
    names = model.schema.names
    one_hot = torch.eye(len(names), dtype=torch.bool, device=model.device)
    everything = torch.ones(len(names), dtype=torch.bool, device=model.device)
    yield ("all",), clean, everything
    for place, name in enumerate(names):
        yield ("without", name), clean, ~one_hot[place]
        yield ("alone", name), clean, one_hot[place]
        if name not in batch.inputs:
            continue
        for severity in severities:
            if severity > 0:
                hurt = model.encode_instead(clean, name, _damaged(
                    samples, rows, name, batch.inputs[name], severity, seed).to(model.device))
                yield ("all", name, f"{severity:g}"), hurt, everything
                yield ("alone", name, f"{severity:g}"), hurt, one_hot[place]


def _damaged(samples: Samples, rows: Rows, name: str, packed: Packed, severity: float, seed: int) -> Packed:
    """A batch's cells of one modality, damaged; stored features are left for the cells they were made of."""
    cells = samples.cells[name]
    numbers = cells.cells_of_row[rows]
    distinct = np.unique(numbers[numbers >= 0])
    inputs = cells.kind.collate(cells.arrays.get(distinct.tolist())) if packed.stored else packed.inputs
    hurt = cells.kind.corrupt(inputs, severity, Draws(seed, 0, cells.identities[distinct]))
    return replace(packed, inputs=hurt, stored=False)


class _Voices:
    """What a model says about one target of some rows, when this or that is shown of them."""

    def __init__(
        self, model: Model, target: Target, read: dict[tuple[str, Shown], Floats], presence: npt.NDArray[np.bool_],
        kept: Rows,
    ) -> None:
        self.model, self.target, self._read, self._kept = model, target, read, kept
        self.presence, self.names = presence[kept], model.schema.names

    def said(self, *shown: str) -> Floats:
        """(row, class_) probabilities or (row,) numbers; the training distribution where nothing is shown."""
        raw = self._read.get((self.target.name, shown))
        if raw is None:
            raw = np.full((len(self.presence), max(1, len(self.target.classes))), np.nan)
        else:
            raw = raw[self._kept]
        found = predictions(self.target, raw, temperature=self.model.temperatures[self.target.name],
                            balance=self.model.recipe.training.balance)
        return found if self.target.task == "classify" else found[:, 0]

    def late(self, *, without: str = "", damaged: str = "", severity: str = "") -> Floats:
        """The mean of what is said about each modality alone, over those that a row has."""
        total, count = np.zeros(()), np.zeros(())
        for place, name in enumerate(self.names):
            if name != without:
                said = self.said("alone", name, severity) if name == damaged else self.said("alone", name)
                there = self.presence[:, place].reshape(-1, *[1] * (said.ndim - 1))
                total, count = total + np.where(there, said, 0.0), count + there
        return total / np.maximum(count, 1.0)


# ---- scoring ----

def _curves(
    voices: _Voices, name: str, truth: npt.NDArray[Any], severities: Sequence[float],
    lost: Sequence[npt.NDArray[np.bool_]], rates: Sequence[float], resampling: Resampling,
) -> Robustness:
    """Both curves of one modality, for the model and for late fusion of its voices."""
    metric_name = primary_metric(voices.target, balance=voices.model.recipe.training.balance)
    metric = metrics_of(voices.target)[metric_name]
    clean, without = voices.said("all"), voices.said("without", name)
    marks = ["" if severity == 0 else f"{severity:g}" for severity in severities]
    damaged = [voices.said("all", name, mark) if mark else clean for mark in marks]
    missing = [_mixed(clean, without, one) for one in lost]
    error = 0.05 / max(1, len(severities) - 1)
    against = [_signed(paired_difference(metric, truth, one, without, resampling, level=1 - error), metric_name)
               for one in damaged]
    harmful = tuple(severity for severity, one, gap in zip(severities, damaged, against, strict=True)
                    if severity > 0 and gap.high < 0 and _tells(voices.target, truth, one, without, error))
    late: list[list[Floats]] | None = None
    if len(voices.names) > 1:
        apart, rest = voices.late(), voices.late(without=name)
        late = [[voices.late(damaged=name, severity=mark) if mark else apart for mark in marks],
                [_mixed(apart, rest, one) for one in lost]]

    def curve(said: Sequence[Floats], grid: Sequence[float]) -> Curve:
        return score_curve(metric, truth, said, grid, resampling)

    def effective(said: Sequence[Floats], reference: Sequence[Floats], grid: Sequence[float]) -> Estimate:
        return _effective(metric, metric_name, truth, said, reference, grid, resampling)

    return Robustness(
        voices.target.name, metric_name, name, len(truth), resampling.unit, curve(damaged, severities),
        curve(missing, rates), tuple(against), harmful, None if late is None else curve(late[0], severities),
        None if late is None else curve(late[1], rates),
        None if late is None else effective(damaged, late[0], severities),
        None if late is None else effective(missing, late[1], rates))


def _tells(
    target: Target, truth: npt.NDArray[Any], damaged: Floats, without: Floats, error: float,
) -> bool:
    """Whether so few rows may be believed: a bootstrap of rows that differ in a handful of places is too narrow."""
    if target.task != "classify":
        return True
    first, second = damaged.argmax(axis=1), without.argmax(axis=1)
    return agreement(first == truth, second == truth, first == second).p <= error


def _effective(
    metric: Metric, name: str, truth: npt.NDArray[Any], said: Sequence[Floats], reference: Sequence[Floats],
    grid: Sequence[float], resampling: Resampling,
) -> Estimate:
    found = effective_robustness(metric, truth, said, [reference], grid, resampling,
                                 scale="logit" if _is_share(name) else "log")
    return _signed(found, name)


def _mixed(clean: Floats, without: Floats, lost: npt.NDArray[np.bool_]) -> Floats:
    """What is said about rows of which some have lost a modality."""
    return np.where(lost if clean.ndim == 1 else lost[:, None], without, clean)


def _signed(value: Estimate, metric: str) -> Estimate:
    """A difference of scores, positive where it is for the better."""
    return value if HIGHER_IS_BETTER[metric] else Estimate(-value.value, -value.high, -value.low)


def _is_share(metric: str) -> bool:
    return HIGHER_IS_BETTER[metric]


def _course(clean: float, now: float) -> str:
    before, after = number_words(clean), number_words(now)
    if before == after:
        return f"stays at {before}"
    return f"{'falls' if now < clean else 'rises'} from {before} to {after}"
