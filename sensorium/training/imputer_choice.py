"""Which patterns of missing modalities are helped by imputing, as held-out rows say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.answers import predictions
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.fusion.base import Fused
from sensorium.fusion.imputation import Imputer, Pattern, fuse_imputed
from sensorium.keyed import Draws
from sensorium.metrics.calibration import fit_temperature
from sensorium.model import Model
from sensorium.objectives import Encoded, View
from sensorium.training.imputing import train_imputer
from sensorium.training.validation import losses_of

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Filling = tuple[Pattern, Pattern]
"""Present, imputed."""
NOTHING: Pattern = frozenset()
MAX_EVERY = 5
MOST_ROWS = 2000
FEWEST = 20
FEWEST_GROUPS = 10
SIGNIFICANT = 2.0


@dataclass(frozen=True)
class Verdict:
    """What held-out rows say about imputing in rows of one pattern.

    Args:
        present, imputed: modalities, in the schema's order.
        gain: mean fall of the joint loss of a row, on rows that did not choose what to impute.
        low, high: gain ± as many standard errors as are asked for.
        rows: how many they were.
        kept: whether low is above 0.
    """

    present: tuple[str, ...]
    imputed: tuple[str, ...]
    gain: float
    low: float
    high: float
    rows: int
    kept: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"present": list(self.present), "imputed": list(self.imputed), "gain": self.gain, "low": self.low,
                "high": self.high, "rows": self.rows, "kept": self.kept}


def add_imputer(
    model: Model, samples: Samples, rows: Rows, validation: Rows, *, deadline: float | None = None,
) -> dict[str, Any] | None:
    """Train an imputer and give it to the model for the patterns in which it helps; without any it is thrown away.

    One half of the validation rows stops its training and chooses what to impute in each pattern, the other half
    confirms: so neither the best of several checks nor the best of several choices can pass for a gain.

    Args:
        model: finished, but for its calibration; its `imputer` is set where something is kept.
        samples: the decoded table.
        rows: training rows, with or without labels.
        validation: held-out rows.
        deadline: a time.monotonic() by which training ends.

    Returns:
        Plain values for `model.facts`: the steps, the imputer's parameters and what was found about each pattern. None
        where there is nothing to learn or to choose by.
    """
    model.imputer = None
    if not model.schema.targets or len(model.schema.names) < 2:
        return None
    first, second = halves(samples, validation, seed=model.recipe.training.seed)
    if not len(second):
        return None
    temperatures = _temperatures(model, samples, validation)
    trained = train_imputer(model, samples, rows, first, temperatures=temperatures, deadline=deadline)
    if trained is None:
        return None
    verdicts = judge(model, trained.imputer, samples, first, second, temperatures,
                     patterns=patterns_of(samples.presence[np.concatenate([rows, validation])], model.schema.names))
    accepted = {frozenset(one.present): frozenset(one.imputed) for one in verdicts if one.kept}
    if accepted:
        trained.imputer.accept(accepted)
        model.imputer = trained.imputer
    return {"step": trained.step, "parameters": sum(p.numel() for p in trained.imputer.parameters()),
            "patterns": {" + ".join(one.present): one.to_json() for one in verdicts}}


def renew_imputer(
    model: Model, samples: Samples, rows: Rows, *, before: Model, step: int, deadline: float | None = None,
) -> None:
    """An imputer for a model that was trained again on more rows, for as many steps and the patterns chosen before.

    Args:
        model: trained again; its `imputer` is set.
        samples: the decoded table.
        rows: the rows it was trained on.
        before: the model that validation rows have judged.
        step: the best step of its imputer.
        deadline: a time.monotonic() by which to end.
    """
    if before.imputer is None:
        return
    trained = train_imputer(model, samples, rows, np.zeros(0, dtype=np.int64), steps=step, deadline=deadline,
                            temperatures=before.temperatures)
    if trained is not None:
        trained.imputer.accept(before.imputer.accepted)
        model.imputer = trained.imputer


def imputation_lines(facts: Mapping[str, Any] | None) -> list[str]:
    """What a person reads: a line for each pattern that is kept, or one that says why none is."""
    if facts is None:
        return ["nothing can be imputed: that needs a target, two modalities at least, and held-out rows to choose by"]
    lines = [f"with only {' and '.join(one['present'])}, {' and '.join(one['imputed'])} "
             f"{'is' if len(one['imputed']) == 1 else 'are'} imputed: the loss of {one['rows']} held-out rows falls by "
             f"{one['gain']:.4f} ({one['low']:.4f} to {one['high']:.4f})"
             for one in facts["patterns"].values() if one["kept"]]
    return lines or ["imputation is not kept: held-out rows confirm it for no pattern of missing modalities"]


def patterns_of(presence: npt.NDArray[np.bool_], names: tuple[str, ...]) -> list[Pattern]:
    """The patterns in which something is missing: those that rows have, and up to five modalities all there can be."""
    found = {frozenset(name for name, there in zip(names, row, strict=True) if there)
             for row in np.unique(presence, axis=0).tolist()}
    sizes = range(1, len(names)) if len(names) <= MAX_EVERY else (1, len(names) - 1)
    found |= {frozenset(some) for size in sizes for some in combinations(names, size)}
    return sorted(found - {NOTHING, frozenset(names)}, key=lambda some: (len(some), sorted(some)))


def halves(samples: Samples, rows: Rows, *, seed: int) -> tuple[Rows, Rows]:
    """Two random halves of some rows, at most 2,000 each; a group is in one of them where there are ten or more."""
    if not len(rows):
        return rows, rows
    units = _units(samples, rows)
    distinct = np.unique(units)
    first = distinct[Draws(seed, 0, distinct).order("impute/halves")][: len(distinct) // 2]
    order = np.argsort(Draws(seed, 0, rows).bits("impute/rows"), kind="stable")
    chosen = np.isin(units[order], first)
    return np.sort(rows[order][chosen][:MOST_ROWS]), np.sort(rows[order][~chosen][:MOST_ROWS])


def judge(
    model: Model, imputer: Imputer, samples: Samples, first: Rows, second: Rows, temperatures: Mapping[str, float], *,
    patterns: Sequence[Pattern],
) -> list[Verdict]:
    """Choose what to impute in each pattern on the first rows, and confirm it on the second ones.

    A pattern is tried on all rows that have its modalities, restricted to them. What may be imputed is everything it
    lacks, or one modality of it. A gain must show twice: at the temperatures given, and with each side at its own best
    one (so that being less sure does not pass for knowing more). It is kept where its mean exceeds two standard errors,
    more where several patterns are tried: the chance that any is kept for nothing stays that of one at two.
    """
    names = model.schema.names
    asked = [(present, frozenset(some)) for present in patterns
             for lacking in [[name for name in names if name not in present]]
             for some in ([lacking] if len(lacking) == 1 else [lacking, *([name] for name in lacking)])]
    tried = _gains(model, imputer, samples, first, asked, temperatures)
    chosen: list[Filling] = []
    for present in patterns:
        means = {filling: min(_mean(gain)[0] for gain in gains) for filling, gains in tried.items()
                 if filling[0] == present and len(gains[0]) >= FEWEST}
        if means and max(means.values()) > 0:
            chosen.append(max(means, key=lambda filling: means[filling]))
    confirmed = _gains(model, imputer, samples, second, chosen, temperatures)
    asked_errors = -NormalDist().inv_cdf(NormalDist().cdf(-SIGNIFICANT) / max(1, len(chosen)))
    verdicts = []
    for (present, imputed), gains in confirmed.items():
        if len(gains[0]) >= FEWEST:
            low, gain, error = min((mean - asked_errors * error, mean, error) for mean, error in map(_mean, gains))
            verdicts.append(Verdict(
                tuple(name for name in names if name in present), tuple(name for name in names if name in imputed),
                gain, low, gain + asked_errors * error, len(gains[0]), low > 1e-9))
    return verdicts


@dataclass(frozen=True)
class _Gains:
    """(row,) how much a row's loss falls, and the unit (a row or a group) that it belongs to."""

    values: Floats
    units: Rows

    def __len__(self) -> int:
        return len(self.values)


def _mean(gains: _Gains) -> tuple[float, float]:
    """The mean and its standard error, of sums over units: rows of one group are not independent."""
    mean = float(gains.values.mean())
    sums = np.bincount(np.unique(gains.units, return_inverse=True)[1], weights=gains.values - mean)
    return mean, float(np.sqrt(np.square(sums).sum() * len(sums) / max(1, len(sums) - 1)) / len(gains))


def _units(samples: Samples, rows: Rows) -> Rows:
    """What is drawn: groups where there are ten or more, else rows."""
    groups = None if samples.groups is None else samples.groups[rows]
    return rows if groups is None or len(np.unique(groups)) < FEWEST_GROUPS else groups.astype(np.int64)


def _gains(
    model: Model, imputer: Imputer, samples: Samples, rows: Rows, asked: Sequence[Filling],
    temperatures: Mapping[str, float],
) -> dict[Filling, tuple[_Gains, _Gains]]:
    """How much imputing lowers each row's loss: at the temperatures given, and with each side at its own best one."""
    plain = [(present, NOTHING) for present in dict.fromkeys(present for present, _ in asked)]
    outputs = _outputs(model, imputer, samples, rows, [*plain, *asked])
    units = _units(samples, rows)
    losses = {filling: (_row_losses(model, samples, rows, own, temperatures), _row_losses(model, samples, rows, own))
              for filling, own in outputs.items()}
    found = {}
    for present, imputed in asked:
        gains = [before - after for before, after in
                 zip(losses[present, NOTHING], losses[present, imputed], strict=True)]
        found[present, imputed] = tuple(_Gains(gain[np.isfinite(gain)], units[np.isfinite(gain)]) for gain in gains)
    return {filling: (common, own) for filling, (common, own) in found.items()}


def _outputs(
    model: Model, imputer: Imputer, samples: Samples, rows: Rows, asked: Sequence[Filling],
) -> dict[Filling, dict[str, Floats]]:
    """Raw outputs of every target of the rows that have a pattern's modalities, restricted to them."""
    names, targets = model.schema.names, model.schema.targets

    def filled(view: View, present: Pattern, imputed: Pattern) -> View:
        columns, wanted = (torch.tensor([name in some for name in names], device=model.device)
                           for some in (present, imputed))

        def fuse(encoded: Encoded, presence: Tensor) -> Fused:
            return fuse_imputed(model.fusion, imputer, encoded.tokens, presence, wanted.expand_as(presence))

        return View(view.encoded, columns & (view.presence | ~columns).all(dim=1, keepdim=True), fuse, names=names)

    def read(view: View) -> Iterator[tuple[tuple[str, Filling], Tensor, Tensor]]:
        for filling in asked:
            own = filled(view, *filling)
            for predictor in model.objectives():
                fused, kept = own.restricted(predictor).fuse()
                if fused is not None:
                    yield (predictor.name, filling), predictor.outputs(fused), kept

    sizes = {(target.name, filling): max(1, len(target.classes)) for target in targets for filling in asked}
    found = model.gathered(samples, rows, read, sizes)
    return {filling: {target.name: found[target.name, filling] for target in targets} for filling in asked}


def _row_losses(
    model: Model, samples: Samples, rows: Rows, outputs: Mapping[str, Floats],
    temperatures: Mapping[str, float] | None = None,
) -> Floats:
    """(row,) the weighted losses of all targets, at each target's best temperature unless some are given; NaN without.

    With `balance` a row counts as much as its class is rare.
    """
    total, known = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    balance = model.recipe.training.balance
    for target in model.schema.targets:
        raw, labels = outputs[target.name], samples.labels[target.name]
        known_class = labels.values[rows] >= 0 if target.task == "classify" else True
        kept = np.flatnonzero(np.isfinite(raw).all(axis=1) & labels.mask[rows] & known_class)
        if not len(kept):
            continue
        truth = labels.values[rows[kept]]
        temperature = _best_temperature(target, raw[kept], truth) if temperatures is None else temperatures[target.name]
        losses = losses_of(target, predictions(target, raw[kept], temperature=temperature, balance=balance), truth)
        total[kept] += target.weight * losses * (_rarity(target, truth) if balance else 1.0)
        known[kept] = True
    return np.where(known, total, np.nan)


def _rarity(target: Target, truth: npt.NDArray[np.generic]) -> Floats | float:
    """(row,) weights of mean 1 under which all classes count alike."""
    if target.task == "regress":
        return 1.0
    counts = np.bincount(truth.astype(np.int64), minlength=len(target.classes))
    return np.asarray(len(truth) / np.count_nonzero(counts) / np.maximum(1, counts)[truth.astype(np.int64)])


def _best_temperature(target: Target, raw: Floats, truth: npt.NDArray[np.generic]) -> float:
    return fit_temperature(raw, truth.astype(np.int64)) if target.task == "classify" else 1.0


def _temperatures(model: Model, samples: Samples, rows: Rows) -> dict[str, float]:
    """Target → its best temperature on rows as they are found: what calibration will come to."""
    everything = frozenset(model.schema.names)
    outputs = model.outputs(samples, rows, [everything], complete=False)
    found = {}
    for target in model.schema.targets:
        raw, labels = outputs[target.name][everything], samples.labels[target.name]
        kept = np.isfinite(raw).all(axis=1) & labels.mask[rows]
        found[target.name] = _best_temperature(target, raw[kept], labels.values[rows][kept]) if kept.any() else 1.0
    return found


__all__ = ["Verdict", "add_imputer", "imputation_lines", "judge", "renew_imputer"]
