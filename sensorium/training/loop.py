"""The training loop: every step written out, from rows to weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sensorium.data.batch import Augmentation, Step, make_batch, prefetch
from sensorium.data.samples import Samples
from sensorium.keyed import Draws
from sensorium.model import Model
from sensorium.objectives import Loss
from sensorium.recipe import TrainingOptions
from sensorium.training.buckets import bucketed, row_lengths
from sensorium.training.checkpoint import load_checkpoint, save_checkpoint
from sensorium.training.course_pictures import CoursePictures
from sensorium.training.distributed import Device
from sensorium.training.freezing import Freezing
from sensorium.training.modulation import encoder_place, everywhere, modulate
from sensorium.training.opponents import BETAS, Opponents
from sensorium.training.plan import Plan, learning_rate
from sensorium.training.subsets import sample_single, sample_subsets
from sensorium.training.together import put_together, shared_cells
from sensorium.training.validation import validate

Rows = npt.NDArray[np.int64]
Report = Callable[[int, int, str], None]
CHECKPOINT_SHARE = 0.05
REPORT_STEPS = 10


@dataclass
class Progress:
    """Where a training stands; all of it is in the checkpoint.

    Args:
        step: optimiser steps done.
        done: share of the schedule done, in 0…1.
        best_score: lowest validation loss so far.
        best_step: the step it was reached at.
        history: one dictionary an epoch.
        seconds: time spent in the loop.
        stopped: why the training ended; empty while it runs.
    """

    step: int = 0
    done: float = 0.0
    best_score: float = float("inf")
    best_step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = ""


def train(
    model: Model, samples: Samples, rows: Rows, validation: Rows, plan: Plan, *, device: Device, report: Report,
    checkpoint: Path | None = None, deadline: float | None = None, judged: Samples | None = None,
    say: Callable[[str], None] | None = None,
) -> Progress:
    """Train a model in place; it ends with the weights of the best validation, or the last ones without validation.

    Args:
        model: freshly made, or anything to continue from.
        samples: the decoded table.
        rows: the training rows.
        validation: rows that choose the best step; none: the last step is kept.
        plan: how many steps.
        device: where to compute, and how many processes share a step.
        report: called with (steps done, steps in all, text).
        checkpoint: a file to write to, and to continue from where it exists.
        deadline: a time.monotonic() by which to end; the schedule is changed to meet it. Such a run depends on the
            machine's speed, and only a run without one resumes bit for bit.
        judged: the same table with the labels that validation goes by; None: those of `samples`.
        say: called with what a person should know at once, in words.
    """
    options = model.recipe.training
    model.to(device.device)
    model.begin()
    freezing = Freezing(model, shared=device.shared)
    optimizer, opponents = make_optimizer(model, options), Opponents(model, options.learning_rate)
    progress, best = Progress(), None
    if checkpoint is not None and checkpoint.exists():
        best, facts = load_checkpoint(checkpoint, model, optimizer, opponents.optimizers)
        progress = Progress(**facts)
    wrapped = device.wrap(model)
    course = CoursePictures.of(model, samples if judged is None else judged, validation, checkpoint, say)
    losses: list[Loss] = []
    lengths, shared = row_lengths(samples), shared_cells(samples, rows)
    batches: list[Rows] = []
    written = [time.monotonic(), 0.0]
    started = time.monotonic() - progress.seconds
    rate = 1.0 / plan.num_steps
    try:
        while not progress.stopped:
            epoch, place = divmod(progress.step, plan.steps_per_epoch)
            if place == 0 or not batches:
                order = rows[Draws(options.seed, epoch, rows).order("order")]
                order = order if shared is None else put_together(order, shared)
                batches = bucketed(order, lengths, plan.steps_per_epoch, seed=options.seed, epoch=epoch)
            if place + 1 < len(batches):
                prefetch(samples, batches[place + 1])
            losses.append(train_step(wrapped, model, optimizer, samples, batches[place], epoch=epoch,
                                     lr=learning_rate(progress.done, options), device=device, freezing=freezing,
                                     opponents=opponents, step=progress.step))
            progress.step += 1
            progress.done = progress.step / plan.num_steps if deadline is None else min(1.0, progress.done + rate)
            progress.seconds = time.monotonic() - started
            finished = progress.done >= 1.0 - 1e-9 or (deadline is not None and time.monotonic() > deadline)
            if progress.step % REPORT_STEPS == 0 or finished:
                report(progress.step, round(progress.step / progress.done), _said(losses, len(rows), plan, progress))
            if place + 1 < plan.steps_per_epoch and not finished:
                continue
            best = _end_epoch(model, samples if judged is None else judged, validation, progress, losses, best, epoch)
            losses = []
            progress.stopped = _why_stop(progress, options, plan, finished)
            if course is not None and device.is_main and (
                    looked := course.look(epoch + 1, done=progress.done, last=bool(progress.stopped))) is not None:
                progress.history[-1]["pictures"] = looked
            if deadline is not None:
                rate = _rate_to_deadline(progress, deadline, plan)
            if checkpoint is not None and device.is_main and _due(written, bool(progress.stopped)):
                begun = time.monotonic()
                save_checkpoint(checkpoint, model, optimizer, best, asdict(progress), opponents.optimizers)
                written[:] = [time.monotonic(), time.monotonic() - begun]
    except KeyboardInterrupt:
        progress.stopped = "interrupted"
    freezing.release()
    if best is not None:
        model.load_state_dict(best)
    model.finish()
    if course is not None:
        model.course = course.sheet(len(progress.history))
    return progress


def train_step(
    wrapped: nn.Module, model: Model, optimizer: torch.optim.Optimizer, samples: Samples, rows: Rows, *, epoch: int,
    lr: float, device: Device, freezing: Freezing | None = None, opponents: Opponents | None = None, step: int = 0,
) -> Loss:
    """One optimiser step on some rows; returns the detached loss.

    Args:
        wrapped: the model as the device wraps it for several processes.
        model: the model itself.
        optimizer: over the model's parameters.
        samples: the decoded table.
        rows: the step's rows, of which this process takes its share.
        epoch: keys augmentation and subsets.
        lr: this step's learning rate.
        device: where to compute.
        freezing: what is not trained in this epoch.
        opponents: of adversarial objectives, which are trained first.
        step: steps taken before.
    """
    options = model.recipe.training
    mine = device.share(rows)
    lot = int(Draws(options.seed, epoch, rows[:1]).integers("step", high=2**31)[0])
    thin = model.recipe.objectives.paint is None  # a painter that misses words of what it paints learns to blur them
    augmentation = Augmentation(options.seed, epoch, options.noise, thin=thin)
    batch = make_batch(samples, mine, augmentation, Step(lot, samples.presence[rows]), unread=model.unread,
                       aims=model.aims).to(device.device)
    draws = Draws(options.seed, epoch, mine)
    drawn = sample_subsets(samples.presence[mine], draws, options, model.schema.names)
    watched = sample_single(samples.presence[mine], draws) if options.ogm_ge > 0 and not options.singles else None
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
    model.train()
    if freezing is not None:
        freezing.before(epoch)
    presences = [torch.from_numpy(presence).to(device.device) for presence in drawn]
    opposed = {} if opponents is None else opponents.step(batch, presences[0], step=step, lr=lr, device=device)
    with device.autocast():
        loss: Loss = wrapped(batch, *presences,
                             watched=None if watched is None else torch.from_numpy(watched).to(device.device))
    optimizer.zero_grad(set_to_none=True)
    device.backward(loss.total)
    if freezing is not None:
        freezing.after(epoch)
    assert loss.alone is not None
    if options.ogm_ge > 0:
        modulate(model, optimizer, loss.alone, Draws(options.seed, epoch, rows[:1]))
    painting = model.painting()
    painters = [] if painting is None else list(painting.painter.parameters())
    own = {id(parameter) for parameter in painters}
    nn.utils.clip_grad_norm_([one for one in model.parameters() if id(one) not in own], options.clip, foreach=True)
    nn.utils.clip_grad_norm_(painters, options.clip, foreach=True)
    optimizer.step()
    if painting is not None:
        painting.after_step(step)
    return Loss(loss.total.detach(), {name: part.detach() for name, part in loss.parts.items()} | opposed,
                alone=loss.alone)


def make_optimizer(model: Model, options: TrainingOptions) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices and kernels only, not on norms, biases and positions.

    Each group has a `factor` of the learning rate, below 1 for what is finetuned (`Encoder.learning_rates`); with
    gradient modulation also the place of the modality whose `encoder` it belongs to, else None.
    """
    factors = model.learning_rates()
    groups: dict[tuple[float, bool, int | None], list[nn.Parameter]] = {(1.0, True, None): [], (1.0, False, None): []}
    played: list[nn.Parameter] = []
    game = model.painting() if model.adversarial else None
    own = set() if game is None else {id(one) for one in game.painter.parameters()}
    for name, parameter in model.named_parameters():
        if id(parameter) in own:
            played.append(parameter)
        elif parameter.requires_grad:
            prefix = max((p for p in factors if name.startswith(p)), key=len, default=None)
            factor = 1.0 if prefix is None else factors[prefix]
            place = encoder_place(name) if options.ogm_ge > 0 else None
            groups.setdefault((factor, parameter.ndim >= 2, place), []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": options.weight_decay if decayed else 0.0, "factor": factor,
         "encoder": place} for (factor, decayed, place), parameters in groups.items() if parameters]
    if game is not None:
        described.append({"params": played, "weight_decay": 0.0, "factor": game.rate, "encoder": None, "betas": BETAS})
    return torch.optim.AdamW(described, lr=options.learning_rate, foreach=True)


def _said(losses: list[Loss], num_rows: int, plan: Plan, progress: Progress) -> str:
    samples = progress.step * num_rows / plan.steps_per_epoch
    return f"loss {float(losses[-1].total):.3f}, {samples / max(1e-9, progress.seconds):.0f} samples/s"


def _end_epoch(
    model: Model, samples: Samples, validation: Rows, progress: Progress, losses: list[Loss],
    best: dict[str, Tensor] | None, epoch: int,
) -> dict[str, Tensor] | None:
    """Validate, write the epoch down, keep the weights where they are the best so far."""
    entry: dict[str, Any] = {"epoch": epoch + 1, "step": progress.step,
                             "training_loss": float(torch.stack([loss.total for loss in losses]).mean()),
                             "seconds": round(progress.seconds, 2)}
    told = everywhere(torch.stack([loss.alone for loss in losses if loss.alone is not None]).sum(dim=0))
    if len(told) > 1 and told[:, 1].any():
        entry["alone"] = {name: score / count for name, (score, count) in zip(model.schema.names, told.tolist(),
                                                                              strict=True) if count}
    if model.weighting is not None:
        entry["weights"] = model.weighting.weights()
    if len(validation):
        result = validate(model, samples, validation)
        entry |= {"validation_loss": result.loss, "scores": result.scores}
        if model.painting() is not None:  # no loss says how good pictures are: the last step is kept
            progress.best_score, progress.best_step = result.loss, progress.step
        elif result.loss < progress.best_score:
            progress.best_score, progress.best_step = result.loss, progress.step
            best = {name: value.detach().clone() for name, value in model.state_dict().items()}
    else:
        progress.best_step = progress.step
    progress.history.append(entry)
    return best


def _why_stop(progress: Progress, options: TrainingOptions, plan: Plan, finished: bool) -> str:
    patience = options.patience * plan.steps_per_epoch
    if patience and np.isfinite(progress.best_score) and progress.step - progress.best_step >= patience:
        return f"no better validation loss for {options.patience} epochs"
    return "finished" if finished else ""


def _rate_to_deadline(progress: Progress, deadline: float, plan: Plan) -> float:
    """Schedule per step such that it ends at the deadline, at the speed seen so far; no slower than an exact plan."""
    left = max(0.0, deadline - time.monotonic())
    steps_left = max(1.0, left * progress.step / max(1e-9, progress.seconds))
    rate = (1.0 - progress.done) / steps_left
    return rate if plan.stretches else max(rate, 1.0 / plan.num_steps)


def _due(written: list[float], last: bool) -> bool:
    """Whether a checkpoint is due: always at the end, else when writing takes no more than a twentieth of the time."""
    return last or written[1] < CHECKPOINT_SHARE * (time.monotonic() - written[0])
