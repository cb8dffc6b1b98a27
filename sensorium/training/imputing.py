"""Training what imputes absent modalities, for a model that is finished."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.data.batch import Augmentation, TargetValues, make_batch, prefetch
from sensorium.data.samples import Samples
from sensorium.fusion.base import Fused
from sensorium.fusion.imputation import Imputer, fuse_imputed
from sensorium.keyed import Draws
from sensorium.model import INFERENCE_BATCH, Model
from sensorium.objectives import Encoded, Predictor
from sensorium.training.plan import learning_rate

Rows = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
SAMPLES, FEWEST_STEPS, CHECKS = 20_000, 150, 10
MOST_CHECKED = 1000


@dataclass(frozen=True)
class Trained:
    """An imputer, and the step at which held-out rows liked it best."""

    imputer: Imputer
    step: int


def train_imputer(
    model: Model, samples: Samples, rows: Rows, held_out: Rows, *, temperatures: Mapping[str, float],
    steps: int | None = None, deadline: float | None = None,
) -> Trained | None:
    """Train an imputer for a model that stays as it is.

    Each step hides a random non-empty proper subset of what its rows have, and imputes all of it or one modality of it.
    What comes of the imputed tokens is to be near what comes of the true ones, the fused vector (its squared distance
    over its squared length) and each target's output (Kullback–Leibler divergence, or half the squared difference),
    and to predict the labels, where there are some. The encoders run without gradient.

    Args:
        model: trained; nothing in it changes.
        samples: the decoded table.
        rows: training rows, with or without labels; those with one modality are left out.
        held_out: rows that choose the best step by the loss of their hidden patterns; none: the last step is kept.
        temperatures: target → what logits are divided by, so that a model that is too sure of its training rows
            teaches no certainty.
        steps: how many; by default as many as make 20,000 samples.
        deadline: a time.monotonic() by which to end.

    Returns:
        The imputer and its best step, or None where fewer than two rows have two modalities.
    """
    options = model.recipe.training
    rows = rows[samples.presence[rows].sum(axis=1) > 1]
    if len(rows) < 2:
        return None
    steps = max(FEWEST_STEPS, math.ceil(SAMPLES / options.batch_size)) if steps is None else steps
    model.eval()
    imputer = _fresh(model, samples, rows)
    optimizer = torch.optim.AdamW(imputer.parameters(), weight_decay=options.weight_decay, foreach=True)
    exam = _exam(model, samples, held_out)
    best, best_score, best_step = copy.deepcopy(imputer.state_dict()), math.inf, 0
    per_epoch = math.ceil(len(rows) / options.batch_size)
    order = rows
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        order = rows[Draws(options.seed, epoch, rows).order("impute/order")] if place == 0 else order
        batches = [order[options.batch_size * at : options.batch_size * (at + 1)] for at in (place, place + 1)]
        prefetch(samples, batches[1])
        _step(model, imputer, optimizer, samples, batches[0], epoch=epoch, temperatures=temperatures,
              lr=learning_rate((step + 1) / (steps + 1), options))
        late = deadline is not None and time.monotonic() > deadline
        if late or step + 1 == steps or (step + 1) % max(1, steps // CHECKS) == 0:
            score = _examined(model, imputer, exam, temperatures)
            if score < best_score or not exam:
                best, best_score, best_step = copy.deepcopy(imputer.state_dict()), score, step + 1
        if late:
            break
    imputer.load_state_dict(best)
    return Trained(imputer.requires_grad_(False).eval(), best_step)


def hide(presence: Bools, draws: Draws) -> tuple[Bools, Bools]:
    """What each row keeps, a random non-empty proper subset of what it has, and what of the rest is imputed.

    The size of the subset is uniform, then the subset is; all of the rest is imputed in half of the rows, one modality
    of it in the others.

    Args:
        presence: (batch, modality) at least two True a row.
        draws: keyed by the rows.

    Returns:
        Two (batch, modality) bool: kept, imputed.
    """
    count = presence.sum(axis=1)
    size = 1 + np.minimum(np.floor(draws.uniform("impute/size") * (count - 1)).astype(np.int64), count - 2)
    lot = np.where(presence, draws.uniform("impute/kept", presence.shape[1]), np.inf)
    rank = np.argsort(np.argsort(lot, axis=1, kind="stable"), axis=1, kind="stable")
    kept = presence & (rank < size[:, None])
    one = rank == size[:, None]
    every = (draws.uniform("impute/every") < 0.5)[:, None]
    return kept, np.asarray(presence & ~kept & (every | one))


def imputation_loss(
    model: Model, imputer: Imputer, encoded: Encoded, kept: Tensor, imputed: Tensor,
    targets: Mapping[str, TargetValues], temperatures: Mapping[str, float],
) -> Tensor:
    """How far what comes of imputed tokens is from what comes of the true ones, plus the loss of the labels."""
    with torch.no_grad():
        true: Fused = model.fusion(encoded.tokens, kept | imputed)
    guess = fuse_imputed(model.fusion, imputer, encoded.tokens, kept, imputed)
    length = true.vector.square().sum(dim=1).clamp(min=1e-6)
    total = ((guess.vector - true.vector).square().sum(dim=1) / length).mean()
    for target, predictor in zip(model.schema.targets, model.objectives(), strict=True):
        temperature = temperatures[target.name]
        with torch.no_grad():
            wanted = predictor.outputs(true).float() / temperature
        found = predictor.outputs(guess).float() / temperature
        if target.task == "classify":
            near = F.kl_div(found.log_softmax(dim=1), wanted.log_softmax(dim=1), log_target=True, reduction="batchmean")
        else:
            near = 0.5 * (found - wanted).square().sum(dim=1).mean()
        total = total + predictor.weight * (near + _label_loss(predictor, found, targets[target.name]))
    return total


def _label_loss(predictor: Predictor, outputs: Tensor, target: TargetValues) -> Tensor:
    """The mean over the labelled rows; 0 where there are none."""
    losses = torch.where(target.mask, predictor.losses(outputs, target.values), 0.0)
    return losses.sum() / target.mask.sum().clamp(min=1)


def _step(
    model: Model, imputer: Imputer, optimizer: torch.optim.Optimizer, samples: Samples, rows: Rows, *, epoch: int,
    temperatures: Mapping[str, float], lr: float,
) -> None:
    """One optimiser step of the imputer; the model receives no gradient."""
    options = model.recipe.training
    batch = make_batch(samples, rows, Augmentation(options.seed, epoch, options.noise)).to(model.device)
    kept, imputed = (torch.from_numpy(some).to(model.device)
                     for some in hide(samples.presence[rows], Draws(options.seed, epoch, rows)))
    with torch.no_grad():
        encoded = model.encode(batch)
    loss = imputation_loss(model, imputer, encoded, kept, imputed, batch.targets, temperatures)
    weights = list(imputer.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = gradient
    torch.nn.utils.clip_grad_norm_(weights, options.clip, foreach=True)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()


def _fresh(model: Model, samples: Samples, rows: Rows) -> Imputer:
    """An imputer drawn by the run's seed, its statistics measured on some of the rows."""
    seed = model.recipe.training.seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(Draws(seed, 0, np.zeros(1, dtype=np.int64)).integers("imputer", high=2**31)[0]))
        imputer = Imputer(model.schema.names, model.recipe.model.width, timed=model.fusion.timed)
    imputer.to(model.device)
    some = rows[Draws(seed, 0, rows).order("impute/measure")][:INFERENCE_BATCH]
    with torch.no_grad():
        encoded = model.encode(make_batch(samples, some).to(model.device))
    imputer.measure(encoded.tokens, encoded.presence)
    return imputer


@dataclass(frozen=True)
class _Question:
    """A batch of held-out rows, encoded once, with what is hidden in them."""

    encoded: Encoded
    kept: Tensor
    imputed: Tensor
    targets: Mapping[str, TargetValues]


def _exam(model: Model, samples: Samples, rows: Rows) -> list[_Question]:
    """At most 1,000 held-out rows with a label and two modalities, and what is always hidden in them."""
    seed = model.recipe.training.seed
    labelled = np.any([samples.labels[target.name].mask[rows] for target in model.schema.targets], axis=0)
    rows = rows[labelled & (samples.presence[rows].sum(axis=1) > 1)]
    rows = rows[Draws(seed, 0, rows).order("impute/exam")][:MOST_CHECKED]
    questions = []
    for start in range(0, len(rows), INFERENCE_BATCH):
        some = rows[start : start + INFERENCE_BATCH]
        batch = make_batch(samples, some).to(model.device)
        kept, imputed = (torch.from_numpy(one).to(model.device)
                         for one in hide(samples.presence[some], Draws(seed, 0, some)))
        with torch.no_grad():
            questions.append(_Question(model.encode(batch), kept, imputed, batch.targets))
    return questions


@torch.no_grad()
def _examined(model: Model, imputer: Imputer, exam: list[_Question], temperatures: Mapping[str, float]) -> float:
    """The mean loss of the labels with imputed tokens; infinite where there is none, or it is no number."""
    sums = np.zeros(2)
    for question in exam:
        fused = fuse_imputed(model.fusion, imputer, question.encoded.tokens, question.kept, question.imputed)
        for predictor in model.objectives():
            target = question.targets[predictor.name]
            outputs = predictor.outputs(fused).float() / temperatures[predictor.name]
            count = int(target.mask.sum())
            sums += predictor.weight * float(_label_loss(predictor, outputs, target)) * count, count
    return float(sums[0] / sums[1]) if sums[1] and np.isfinite(sums[0]) else math.inf


__all__ = ["Trained", "hide", "imputation_loss", "train_imputer"]
