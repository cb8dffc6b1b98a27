"""What training looks at between epochs: the validation loss that stops it, and each modality's own score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sensorium.answers import predictions
from sensorium.data.batch import make_batch, target_values
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import weighted_mean
from sensorium.metrics.calibration import fit_temperature
from sensorium.metrics.classification import accuracy, balanced_accuracy, log_losses
from sensorium.metrics.regression import r2
from sensorium.model import INFERENCE_BATCH, Model
from sensorium.objectives import Generative, View
from sensorium.objectives.same import same_keys
from sensorium.training.subsets import missing_shares, sample_expected

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Validation:
    """A validation.

    Args:
        loss: Σ_k weight_k · loss_k with whatever each row has, or would have in use (`expect`): log-loss at the best
            temperature (so that being too sure, which calibration mends, does not count), half the squared error of
            standardised numbers, or what an objective of alignment makes of them. NaN where an output is not finite: a
            model that has diverged is never the best one.
        scores: target → subset ("all" or a modality) → accuracy (balanced where asked for) or R²; objective of
            alignment → pair of modalities → recall at 1 or mean correlation; objective that writes → "all" → the share
            of next words that are right.
    """

    loss: float
    scores: dict[str, dict[str, float]]


def validate(model: Model, samples: Samples, rows: npt.NDArray[np.int64]) -> Validation:
    """Score some rows with all their modalities, and with each modality alone; where the recipe expects modalities to
    be missing in use, the loss is that of rows which lack as much."""
    total, scores = _agreement(model, samples, rows)
    made, made_scores = _made(model, samples, rows)
    total, scores = total + made, scores | made_scores
    if not model.schema.targets:
        return Validation(total, scores)
    everything = frozenset(model.schema.names)
    singles = [frozenset({name}) for name in model.schema.names] if len(model.schema.names) > 1 else []
    outputs = model.outputs(samples, rows, [everything, *singles], complete=False)
    options = model.recipe.training
    lacking, balance = missing_shares(options, model.schema.names), options.balance
    readable = model.shown(samples.presence[rows]).any(axis=1)
    expected = outputs
    if lacking is not None:
        shown = sample_expected(samples.presence[rows], Draws(options.seed, 0, rows), lacking)
        expected = model.outputs(samples, rows, [everything], complete=False, shown=shown)
    for target in model.schema.targets:
        labels = samples.labels[target.name]
        scores[target.name] = {}
        for subset in [everything, *singles]:
            raw = outputs[target.name][subset]
            finite = np.isfinite(raw).all(axis=1)
            if subset == everything and (readable & ~finite).any():  # not a row without inputs, but a broken answer
                total = float("nan")
            kept = finite & labels.mask[rows]
            if not kept.any():
                continue
            loss, score = _score(target, raw[kept], labels.values[rows][kept], balance)
            scores[target.name]["all" if subset == everything else next(iter(subset))] = score
            if subset == everything:
                if lacking is not None:
                    loss, _ = _score(target, expected[target.name][subset][kept], labels.values[rows][kept], balance)
                total += target.weight * loss
    return Validation(total, scores)


def _made(
    model: Model, samples: Samples, rows: npt.NDArray[np.int64],
) -> tuple[float, dict[str, dict[str, float]]]:
    """The weighted losses and the scores of the objectives that make a modality, from all that each row has."""
    total = 0.0
    scores: dict[str, dict[str, float]] = {}
    for maker in model.generative():
        losses, marks = judged(model, maker, samples, rows)
        if len(losses):
            total += maker.weight * float(losses.mean())
        if np.isfinite(marks).any():
            scores[maker.name] = {"all": float(np.nanmean(marks))}
    return total, scores


def judged(
    model: Model, maker: Generative, samples: Samples, rows: npt.NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """What held-out rows say about an objective that makes a modality.

    Args:
        model: with the objective.
        maker: the objective.
        samples: the decoded table.
        rows: (row,) row numbers.

    Returns:
        (judged,) losses and scores of the rows that have both sides; none where a loss says nothing.
    """
    losses, marks = [], []
    model.eval()
    with torch.inference_mode():
        for part in np.array_split(rows, max(1, -(-len(rows) // INFERENCE_BATCH))):
            batch = make_batch(samples, part, unread=model.unread, aims=[maker.to_name]).to(model.device)
            view = model.view(model.encode(batch), impute=False).restricted(maker)
            found = maker.aimed(view, batch, view.presence)
            if found is None or (told := maker.judge(*found)) is None:
                continue
            losses.append(told[0].double().cpu().numpy())
            marks.append(told[1].double().cpu().numpy())
    nothing = np.zeros(0)
    return np.concatenate([nothing, *losses]), np.concatenate([nothing, *marks])


def _agreement(
    model: Model, samples: Samples, rows: npt.NDArray[np.int64],
) -> tuple[float, dict[str, dict[str, float]]]:
    """The weighted losses and the scores of the objectives that align modalities."""
    total = 0.0
    scores: dict[str, dict[str, float]] = {}
    aligners = model.aligning()
    if not aligners:
        return total, scores

    def read(view: View) -> Iterator[tuple[tuple[str, str], Tensor, Tensor]]:
        for name in model.schema.names:
            fused, kept = view.alone(name)
            if fused is not None:
                for aligner in aligners:
                    yield (aligner.name, name), aligner.read(fused, name), kept

    sizes = {(aligner.name, name): aligner.width for aligner in aligners for name in model.schema.names}
    found = model.gathered(samples, rows, read, sizes)
    labels = [target.name for target in model.schema.targets if target.task == "classify"]
    keys = same_keys(torch.from_numpy(samples.identities(rows)), target_values(samples, rows), labels).numpy()
    for aligner in aligners:
        readings = {name: found[aligner.name, name] for name in model.schema.names}
        judged = aligner.judge(readings, keys)
        total += 0.0 if judged is None else aligner.weight * judged.loss
        scores[aligner.name] = {} if judged is None else judged.scores
        for place, name in enumerate(model.schema.names):
            if np.isnan(readings[name][samples.presence[rows, place]]).any():  # diverged, not absent
                total = float("nan")
    return total, scores


def best_predictions(
    target: Target, raw: Floats, truth: npt.NDArray[np.generic], *, balance: bool,
) -> Floats:
    """(row, class_) probabilities at the temperature that fits these rows best, or (row, 1) numbers."""
    temperature = fit_temperature(raw, truth.astype(np.int64)) if target.task == "classify" else 1.0
    return predictions(target, raw, temperature=temperature, balance=balance)


def losses_of(target: Target, predicted: Floats, truth: npt.NDArray[np.generic]) -> Floats:
    """(row,) log-losses, or half the squared errors of standardised numbers."""
    if target.task == "classify":
        return log_losses(truth.astype(np.int64), predicted)
    return np.asarray(0.5 * ((predicted[:, 0] - truth.astype(np.float64)) / target.std) ** 2)


def _score(
    target: Target, raw: Floats, truth: npt.NDArray[np.generic], balance: bool,
) -> tuple[float, float]:
    predicted = best_predictions(target, raw, truth, balance=balance)
    losses = losses_of(target, predicted, truth)
    if target.task == "regress":
        return float(np.mean(losses)), float(np.asarray(r2(truth.astype(np.float64), predicted[:, 0])))
    classes = truth.astype(np.int64)
    weights = _class_weights(classes, len(target.classes)) if balance else None
    return float(weighted_mean(losses, weights)[0]), float(
        np.asarray((balanced_accuracy if balance else accuracy)(classes, predicted)))


def _class_weights(truth: npt.NDArray[np.int64], num_classes: int) -> npt.NDArray[np.float64]:
    counts = np.bincount(truth, minlength=num_classes)
    return 1.0 / np.maximum(1, counts)[truth]
