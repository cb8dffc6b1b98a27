"""Fit: from data to a trained, calibrated model."""

from __future__ import annotations

import copy
import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.read import Data, read
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.errors import AlignmentError, RecipeError, ResumeError, TrainingError
from sensorium.features import with_stored_features
from sensorium.fusion.base import Fusion
from sensorium.model import Model
from sensorium.objectives import Objective
from sensorium.recipe import Recipe, TransferOptions
from sensorium.training.align import closed_form
from sensorium.training.apart import Apart
from sensorium.training.calibration import calibrate
from sensorium.training.console import Console, Quiet, Terminal
from sensorium.training.contest import Trial, standing_lines, standings, trial_of
from sensorium.training.distributed import Device
from sensorium.training.familiar import learn_familiar
from sensorium.training.imputer_choice import add_imputer, imputation_lines, renew_imputer
from sensorium.training.loop import Progress, train
from sensorium.training.plan import Plan, make_plan
from sensorium.training.prepare import Prepared, prepare
from sensorium.training.schedule import IMPUTING, before_imputing, end_of, in_time, rows_to_learn, schedule
from sensorium.training.scratch import against_scratch, train_scratch
from sensorium.training.teaching import taught
from sensorium.training.transfer import Sources, absolute, inherited, transfer_lines
from sensorium.training.typical import typical_tokens
from sensorium.training.volume import turn_down

Rows = npt.NDArray[np.int64]
Made = tuple[Fusion | None, tuple[Objective, ...]]
REFIT_ROWS = 20_000
REMEDY = "lower --learning-rate, or look for numbers far out of scale in the table"


def fit(
    data: Data | str | Path, recipe: Recipe | str | Path | None = None, *, out: str | Path | None = None,
    resume: bool = False, allow_leak: bool = False, strict: bool = False, fusion: Fusion | None = None,
    objectives: Sequence[Objective] = (), console: Console | None = None, progress: bool = True,
    on_chosen: Callable[[Model, Prepared], None] | None = None, apart: Apart | None = None,
) -> Model:
    """Train a model on a table, end to end.

    The rows are split, the kinds measured and the cells decoded; the model is trained until the validation loss stops
    falling; where the table is small it is then trained once more on training and validation rows for the chosen
    number of steps; last its temperatures are fitted on the calibration rows, which nothing else has seen.

    Args:
        data: from `sensorium.read` with targets, or the path of a table, with the targets in the recipe.
        recipe: a recipe or the path of one; its `data` section is replaced by the data's own options.
        out: keep checkpoints in `<out>.training` so that a killed run can go on; the model itself is saved by
            `Model.save`.
        resume: go on from those checkpoints.
        allow_leak: train although an input gives the target away.
        strict: make the first unreadable cell an error.
        fusion: a fusion object instead of the recipe's name.
        objectives: objectives besides those that predict the targets; those that need no label also learn from the
            rows without any.
        console: where to speak; on standard error where None.
        progress: whether to speak at all.
        on_chosen: called with the model that validation chose, before the refit: the one to score on held-out rows.
        apart: rows to hold out of it, and more, where this is one training of several on the table.

    Returns:
        The model, in evaluation mode, on the CPU.

    Raises:
        DataError: the data cannot be used, or has a leak (LeakError).
        ResumeError: the checkpoints belong to another run.
        TrainingError: the loss stopped being a finite number before any epoch was good.

    Example: sensorium.fit(sensorium.read("train.csv", targets="label")).save("runs/label")
    """
    started = time.monotonic()
    device = Device()
    console = Quiet() if not (progress and device.is_main) else console if console is not None else Terminal()
    recipe = recipe if isinstance(recipe, Recipe) else Recipe() if recipe is None else Recipe.read(recipe)
    if not isinstance(data, Data):
        data = dataclasses.replace(read(data, allow_outside=recipe.data.allow_outside), options=recipe.data)
    data = dataclasses.replace(data, options=recipe.with_texts(data.options))
    recipe = recipe.model_copy(update={"transfer": absolute(recipe.transfer)})
    data = taught(data, recipe)
    sources = Sources.of(recipe.transfer)
    recipe = recipe.model_copy(update={"data": data.options, "source": _absolute(data.table.source)})
    recipe = inherited(recipe, data.schema, sources.origin)
    unlabelled = (bool(recipe.objectives.names) or sources.teacher is not None
                  or any(one.learns_unlabelled for one in objectives))
    prepared = prepare(data, recipe, console=console, allow_leak=allow_leak, strict=strict, unlabelled=unlabelled,
                       sources=sources, apart=apart)
    checkpoints = _checkpoints(out, recipe, resume, device)
    made = (fusion, tuple(objectives))
    refits = recipe.training.refit == "always" or (
        recipe.training.refit == "auto" and len(prepared.splits.train) <= REFIT_ROWS and not recipe.objectives.makers)
    try:
        prepared, model, chosen, plan, told = _contest(prepared, recipe, made, device, console, checkpoints,
                                                       refits=refits, started=started)
    except RecipeError:  # refused before the first step: there is nothing to resume
        if checkpoints is not None and not resume and device.is_main:
            shutil.rmtree(checkpoints, ignore_errors=True)
        raise
    splits = prepared.splits
    turned = turn_down(model, prepared.samples, splits.validation) if model.schema.targets else {}
    for name, volume in turned.items():
        console.say(f"{name} misleads on validation rows: it is turned down to {volume:g}")
    end = end_of(recipe, started)
    imputed = _impute(model, prepared, chosen, console, end, refits) if recipe.model.impute else None
    calibrate(model, prepared.samples, splits.calibration)
    learn_familiar(model, prepared.samples, splits.train, splits.calibration)
    model.typical = typical_tokens(model, prepared.samples, splits.train)
    _align(model, prepared.samples, splits.train, console)
    _note_facts(model, prepared, chosen, device)
    if recipe.transfer.used:
        model.facts["transfer"] = prepared.transfer.facts(model) | _compared(
            model, prepared, chosen, device, console, checkpoints, made, end)
    if told:
        model.facts["fusions"] = told
    if imputed is not None:
        model.facts["imputation"] = imputed
    if on_chosen is not None:
        on_chosen(model, prepared)
    interrupted = chosen.stopped == "interrupted"
    if refits and not interrupted and len(splits.validation) and in_time(chosen, end, console):
        again = _refit(model, prepared, chosen, plan, device, console, checkpoints, end, made)
        if again is not None:
            model = again
    elif interrupted:
        console.say("interrupted: the best model so far is kept" + (
            "" if out is None else "; the same command with --resume --overwrite goes on"))
    model.facts["seconds"] = round(time.monotonic() - started, 1)
    model.to("cpu").eval()
    if checkpoints is not None and device.is_main and not interrupted:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return model


def _absolute(source: str) -> str:
    """The table's whole path, so that it is found from another folder too; other sources as they are."""
    return str(Path(source).resolve()) if Path(source).exists() else source


def _stored(model: Model, samples: Samples, console: Console, device: Device) -> Samples:
    """The samples with the features of frozen encoders; the main process computes them first, the others read them."""
    with console.bar("frozen encoders") as bar:
        def report(name: str) -> Callable[[int, int], None]:
            return lambda done, total: bar(done, total, name)

        if not device.is_main:
            device.wait()
        found = with_stored_features(model, samples, report=report, device=device.device,
                                     but=[name for name, worst in model.recipe.training.noise.items() if worst > 0])
        if device.is_main:
            device.wait()
    for name, cells in found.cells.items():
        if cells.stored is not None:
            console.say(f"{name}: its encoder is frozen, the features of {len(cells.arrays)} cells are stored")
    return found


def _checkpoints(out: str | Path | None, recipe: Recipe, resume: bool, device: Device) -> Path | None:
    """The folder of checkpoints, fresh or to go on from."""
    if out is None:
        if resume:
            raise ResumeError("nothing to resume: no output folder is given")
        return None
    folder = Path(f"{str(out).rstrip('/')}.training")
    described = folder / "recipe.yaml"
    if resume:
        if not described.exists():
            raise ResumeError(f"nothing to resume: {str(folder)!r} has no checkpoints")
        if described.read_text(encoding="utf-8") != recipe.to_yaml():
            raise ResumeError(f"the checkpoints in {str(folder)!r} belong to another recipe (compare {described}); use "
                              f"the same options, or start again without --resume")
        return folder
    if device.is_main:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        described.write_text(recipe.to_yaml(), encoding="utf-8")
    device.wait()
    return folder


def _contest(
    prepared: Prepared, recipe: Recipe, made: Made, device: Device, console: Console, checkpoints: Path | None, *,
    refits: bool, started: float,
) -> tuple[Prepared, Model, Progress, Plan, list[dict[str, Any]]]:
    """Train with each fusion that the recipe compares (or its only one), and keep the best by validation.

    Returns:
        The rows with stored features, the best model, its progress and plan, and the standings (empty for one fusion).
    """
    names = recipe.model.compare if made[0] is None and recipe.model.compare else (recipe.model.fusion,)
    best: tuple[Model, Progress, Plan] | None = None
    trials: list[Trial] = []
    for place, name in enumerate(names):
        model = _made(prepared.samples.schema, recipe.changed("model", fusion=name), made)
        for line in prepared.transfer.begin(model):
            console.say(line)
        if place == 0:
            if len(names) > 1:
                _refuse_unjudged(model)
            prepared = dataclasses.replace(prepared, samples=_stored(model, prepared.samples, console, device))
        splits = prepared.splits
        plan, deadline = schedule(model, prepared, device, console, len(names) - place, refits, started)
        checkpoint = checkpoints and checkpoints / (
            "choose.safetensors" if len(names) == 1 else f"choose_{name}.safetensors")
        try:
            with console.bar("training" if len(names) == 1 else f"training {name}") as bar:
                progress = train(model, prepared.learning, rows_to_learn(model, prepared, splits.train),
                                 splits.validation, plan, device=device, report=bar, deadline=deadline,
                                 checkpoint=checkpoint, judged=prepared.samples, say=console.say)
            _refuse_diverged(progress, validated=len(splits.validation) > 0)
        except (AlignmentError, TrainingError) as error:  # the former: what is to be aligned is no longer finite
            diverged = error if isinstance(error, TrainingError) else TrainingError(
                f"the training diverged: {error}; {REMEDY}")
            if best is None and place + 1 == len(names):
                raise diverged from error
            console.say(f"{name}: {diverged}")
            continue
        console.say(f"{'training' if len(names) == 1 else name} ended after {progress.step} steps: {progress.stopped}; "
                    f"best at step {progress.best_step}")
        if len(names) > 1:
            trials.append(trial_of(model, progress, prepared.samples, splits.validation))
        if best is None or progress.best_score < best[1].best_score:
            best = model, progress, plan
        if progress.stopped == "interrupted":
            break
    assert best is not None
    groups = prepared.samples.groups
    told = standings(trials, None if groups is None else groups[prepared.splits.validation], seed=recipe.training.seed)
    for line in standing_lines(told):
        console.say(line)
    return prepared, *best, told


def _refuse_unjudged(model: Model) -> None:
    """Raise RecipeError where no validation loss could say which fusion is the best."""
    if not (model.schema.targets or model.aligning() or any(not one.adversarial for one in model.generative())):
        raise RecipeError("fusions are compared by their validation loss, and here nothing has one (that of a game, "
                          "paint.method=gan, says how even it is, not how good the pictures are): name one fusion, or "
                          "learn something beside it, as --objective contrast")


def _made(schema: Schema, recipe: Recipe, made: Made) -> Model:
    """A fresh model; objects that were given are copied, so that each model has its own."""
    fusion, objectives = copy.deepcopy(made)
    return Model(schema, recipe, fusion=fusion, objectives=objectives)


def _impute(
    model: Model, prepared: Prepared, chosen: Progress, console: Console, end: float | None, refits: bool,
) -> dict[str, Any] | None:
    """Give the model what imputes absent modalities, where it helps; what was found, for its facts."""
    if chosen.stopped == "interrupted":
        return None
    now, passes = time.monotonic(), IMPUTING + int(refits) * (1.0 + IMPUTING)
    deadline = None if end is None else now + max(0.0, end - now) * IMPUTING / passes
    try:
        found = add_imputer(model, prepared.samples, np.union1d(prepared.splits.train, prepared.unlabelled),
                            prepared.splits.validation, deadline=deadline)
    except KeyboardInterrupt:
        chosen.stopped = "interrupted"
        return None
    for line in imputation_lines(found):
        console.say(line)
    return found


def _refit(
    model: Model, prepared: Prepared, chosen: Progress, plan: Plan, device: Device, console: Console,
    checkpoints: Path | None, deadline: float | None, made: Made,
) -> Model | None:
    """A fresh model trained on training and validation rows for the chosen number of steps; None if interrupted."""
    splits = prepared.splits
    rows = rows_to_learn(model, prepared, np.sort(np.concatenate([splits.train, splits.validation])))
    again = _made(model.schema, model.recipe, made)
    prepared.transfer.begin(again)
    steps = make_plan(len(rows), model.recipe.training).steps_per_epoch
    with console.bar("refit on training and validation rows") as bar:
        progress = train(again, prepared.learning, rows, np.zeros(0, dtype=np.int64),
                         Plan(max(1, chosen.best_step), steps), device=device, report=bar,
                         checkpoint=checkpoints and checkpoints / "refit.safetensors",
                         deadline=deadline if model.imputer is None else before_imputing(deadline))
    if progress.stopped == "interrupted":
        console.say("interrupted: the model before the refit is kept")
        return None
    _refuse_diverged(progress, validated=False)
    again.fusion.volume.copy_(model.fusion.volume)
    again.history, again.facts, again.course = model.history, model.facts, model.course
    again.facts["refit"] = {"rows": len(rows), "steps": progress.step}
    if model.imputer is not None:
        renew_imputer(again, prepared.samples, np.union1d(rows, prepared.unlabelled), before=model,
                      step=model.facts["imputation"]["step"], deadline=deadline)
    calibrate(again, prepared.samples, splits.calibration)
    learn_familiar(again, prepared.samples, rows, splits.calibration)
    again.typical = typical_tokens(again, prepared.samples, rows)
    _align(again, prepared.samples, rows, console)
    return again


def _refuse_diverged(progress: Progress, *, validated: bool) -> None:
    """Raise where no epoch ended with a finite loss: the weights are no model."""
    if not progress.history:
        return
    loss = progress.best_score if validated else progress.history[-1]["training_loss"]
    if not np.isfinite(loss):
        raise TrainingError(f"the training diverged: no epoch of {len(progress.history)} ended with a finite loss; "
                            f"{REMEDY}")


def _align(model: Model, samples: Samples, rows: Rows, console: Console) -> None:
    """One space for what objective correlate has made of each modality; where the model is trained to contrast, its
    embeddings are in one space already."""
    if model.recipe.objectives.correlate is None or model.aligned:
        return
    try:
        model.alignment = closed_form(model, samples, rows)
    except AlignmentError as error:
        console.say(f"the modalities are not put into one space: {error}")


def _compared(
    model: Model, prepared: Prepared, chosen: Progress, device: Device, console: Console, checkpoints: Path | None,
    made: Made, deadline: float | None,
) -> dict[str, Any]:
    """Where it is asked for: what was taken over from other runs against training from scratch, for the facts."""
    if not model.recipe.transfer.against_scratch or chosen.stopped == "interrupted":
        return {}
    scratch = _made(model.schema, model.recipe.model_copy(update={"transfer": TransferOptions()}), made)
    found = {}
    if train_scratch(scratch, prepared, rows_to_learn(scratch, prepared, prepared.splits.train), device=device,
                     console=console, checkpoint=checkpoints and checkpoints / "scratch.safetensors",
                     deadline=deadline):
        found = {"against_scratch": against_scratch(model, scratch, prepared)}
    for line in transfer_lines(found):
        console.say(line)
    return found


def _note_facts(model: Model, prepared: Prepared, chosen: Progress, device: Device) -> None:
    splits = prepared.splits
    model.history = chosen.history
    model.facts = {
        "rows": {"training": len(splits.train), "validation": len(splits.validation),
                 "calibration": len(splits.calibration), "test": len(splits.test),
                 "unlabelled": len(prepared.unlabelled), "unreadable": prepared.num_unreadable},
        "split": splits.note, "steps": chosen.step, "best_step": chosen.best_step, "stopped": chosen.stopped,
        "parameters": model.num_parameters(), "device": str(device.device), "precision": device.precision,
        "volumes": {name: float(v) for name, v in zip(model.schema.names, model.fusion.volume, strict=True)},
        "unreadable_cells": len(prepared.samples.unreadable),
    }


__all__ = ["Prepared", "fit", "prepare"]
