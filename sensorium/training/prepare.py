"""Before training: check, split, measure and decode a table, and say what was found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from sensorium.data.cells import cell_numbers
from sensorium.data.decoding.workers import default_workers
from sensorium.data.kinds import TableKind, TextKind
from sensorium.data.leak import find_leaks, refuse_leaks
from sensorium.data.read import Data, default_memory
from sensorium.data.samples import Samples, decoded, group_numbers, measured, read_labels, split_words
from sensorium.data.schema import Schema
from sensorium.data.split import Splits, split_rows
from sensorium.encoders.choice import adapted
from sensorium.errors import DataError, RecipeError, unknown_name
from sensorium.generation.words import Words
from sensorium.model import Model
from sensorium.objectives.making import asked_by, made_modalities, suited
from sensorium.recipe import Recipe, TransferOptions
from sensorium.training.apart import Apart
from sensorium.training.console import Console
from sensorium.training.freezing import frozen_parts
from sensorium.training.initialise import with_settings
from sensorium.training.subsets import missing_shares
from sensorium.training.teaching import Answered, matched, teacher_answers
from sensorium.training.transfer import Sources, Transfer

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """Data made ready for training.

    Args:
        samples: the decoded table.
        splits: its labelled rows.
        unlabelled: rows without any target, for the objectives that can use them.
        num_unreadable: labelled rows in which nothing is readable.
        transfer: what fresh models are given from other runs.
    """

    samples: Samples
    splits: Splits
    unlabelled: Rows
    num_unreadable: int
    transfer: Transfer = field(default_factory=lambda: Transfer(TransferOptions()))

    @property
    def taught(self) -> frozenset[str]:
        """Targets whose labels are a teacher's answers."""
        return self.transfer.taught

    @property
    def learning(self) -> Samples:
        """The samples to learn from: a teacher's answers are no labels there, objective distil learns them."""
        if not self.taught:
            return self.samples
        labels = {name: replace(one, mask=np.zeros_like(one.mask)) if name in self.taught else one
                  for name, one in self.samples.labels.items()}
        return replace(self.samples, labels=labels)


def prepare(
    data: Data, recipe: Recipe, *, console: Console, allow_leak: bool, strict: bool, unlabelled: bool = False,
    sources: Sources | None = None, apart: Apart | None = None,
) -> Prepared:
    """Check, split, measure and decode.

    Args:
        data: the table.
        recipe: with the data's own options.
        console: where to speak.
        allow_leak, strict: as of `fit`.
        unlabelled: whether an objective learns from rows without a label; where no target is given, from all of them.
        sources: the runs that something is taken over from.
        apart: rows to hold out, and more, where this is one training of several.
    """
    table, schema = data.table, data.schema
    sources = Sources() if sources is None else sources
    apart = Apart() if apart is None else apart
    usable = apart.usable(len(table))
    taught = frozenset(target.name for target in data.taught)
    if not schema.targets and not unlabelled:
        raise DataError(f"no target given: name a column to predict (one of {', '.join(table.frame.columns)}), or an "
                        f"objective that needs none (contrast, correlate, caption, paint)")
    if not allow_leak:
        refuse_leaks(find_leaks(table, _without(schema, taught), seed=recipe.training.seed))
    labelled = np.full(len(table), not schema.targets)
    frozen_parts(schema.names, recipe.transfer.freeze)
    answers = {} if sources.teacher is None else _answers(sources.teacher, data, recipe, console)
    for target in schema.targets:
        labelled |= answers[target.name].known if target.name in taught else read_labels(table, target).mask
    shared = [cell_numbers(table, m) for m in schema.modalities if not isinstance(m.kind, TextKind | TableKind)]
    missing_shares(recipe.training, schema.names)
    for name in recipe.training.noise:
        if name not in schema.names:
            raise RecipeError(f"training.noise: {unknown_name('modality', name, list(schema.names))}")
    schema = adapted(schema, recipe.model.encoders)
    splits = split_rows(np.flatnonzero(labelled & usable), groups=group_numbers(table, schema), shared=shared,
                        named=split_words(table, schema),
                        seed=recipe.training.seed if apart.split_seed is None else apart.split_seed)
    made = made_modalities(schema, recipe.objectives)
    schema = _measured(data, suited(schema, recipe.objectives, recipe.data.settings), splits.train, taught)
    if sources.origin is not None:
        schema = with_settings(schema, recipe, sources.origin)
    options = recipe.training
    workers = default_workers() if options.workers is None else options.workers
    memory = default_memory() if options.memory_gb is None else options.memory_gb * 2**30
    samples = _decoded(data, schema, workers, memory, console, apart.decoded)
    samples = replace(samples, labels={**samples.labels, **{name: answers[name].labels() for name in taught}})
    if strict:
        samples.refuse_unreadable()
    _refuse_useless(samples, schema)
    samples = _with_words(samples, made, recipe, splits.train, sources.origin)
    readable = np.asarray(samples.presence.any(axis=1))
    kept = Splits(train=splits.train[readable[splits.train]], validation=splits.validation[readable[splits.validation]],
                  calibration=splits.calibration[readable[splits.calibration]], test=splits.test, note=splits.note)
    if len(kept.train) == 0:
        raise DataError("no training row has anything readable in it")
    alone = int((samples.presence[kept.train].sum(axis=1) < 2).sum())
    if recipe.objectives.names and not schema.targets and alone == len(kept.train):
        raise DataError(f"nothing to learn: not one of {alone} training rows has two modalities, and without a target "
                        f"objective {' and '.join(recipe.objectives.names)} learns from such rows only")
    prepared = Prepared(samples, kept, np.flatnonzero(~labelled & readable & usable),
                        int((labelled & ~readable & usable).sum()),
                        Transfer(recipe.transfer, sources.origin, answers, taught))
    _say_data(prepared, console, aligned=bool(recipe.objectives.aligners))
    asking = asked_by(schema, recipe.objectives)
    silent = int((~samples.presence[:, [schema.names.index(name) for name in asking]].any(axis=1)).sum())
    if asking and silent:
        console.say(f"{silent} of {len(samples)} rows have no {' or '.join(asking)}, which asks: they are not answered")
    if len(schema.names) == 1 and (options.ogm_ge > 0 or options.expect):
        console.say(f"{schema.names[0]} is the only modality: {'expect' if options.expect else 'ogm_ge'} changes "
                    f"nothing")
    return prepared


def _answers(teacher: Model, data: Data, recipe: Recipe, console: Console) -> dict[str, Answered]:
    """What the teacher says, asked only if its targets are those of the data."""
    known = {target.name: target for target in teacher.schema.targets}
    for target in data.schema.targets:
        if target.name in known:
            matched(target, known[target.name])
    return teacher_answers(teacher, data, str(recipe.transfer.teacher), console)


def _without(schema: Schema, taught: frozenset[str]) -> Schema:
    """The schema without the targets that the table has no labels of."""
    return schema.model_copy(update={"targets": tuple(one for one in schema.targets if one.name not in taught)})


def _measured(data: Data, schema: Schema, rows: Rows, taught: frozenset[str]) -> Schema:
    """Kinds and targets measured on these rows; targets that are taught keep what the teacher measured."""
    found = measured(data.table, _without(schema, taught), rows)
    known = {one.name: one for one in found.targets}
    return found.model_copy(update={"targets": tuple(known.get(one.name, one) for one in schema.targets)})


def _with_words(
    samples: Samples, made: dict[str, str], recipe: Recipe, rows: Rows, origin: Model | None,
) -> Samples:
    """The samples whose schema has the words of what is written: those of the run to begin with, where it writes the
    same; else learned from these rows."""
    words = {} if origin is None else {name: own for name, own in origin.schema.words.items() if name in made.values()}
    for name, own in (("caption", recipe.objectives.caption), ("answer", recipe.objectives.answer)):
        if own is None or name not in made or made[name] in words:
            continue
        first = samples.cells[made[name]].cells_of_row[rows, 0]
        texts = samples.cells[made[name]].arrays.get(first[first >= 0].tolist())
        words[made[name]] = Words.learned(texts, vocabulary=own.vocabulary, max_tokens=own.max_tokens).to_json()
    return replace(samples, schema=samples.schema.model_copy(update={"words": words}))


def _decoded(
    data: Data, schema: Schema, workers: int, memory: float, console: Console, before: Samples | None,
) -> Samples:
    with console.bar("decoding") as bar:
        return decoded(data.table, schema, workers=workers, memory_bytes=memory, before=before,
                       progress=lambda name: lambda done, total: bar(done, total, name))


def _refuse_useless(samples: Samples, schema: Schema) -> None:
    """No modality may be without a single readable cell where that leaves nothing to learn from."""
    if samples.presence.any():
        return
    found = samples.unreadable
    first = f"; the first: {found[0]}" if found else ""
    raise DataError(f"no usable modality: not one cell of {', '.join(schema.names)} is readable ({len(found)} "
                    f"unreadable){first}")


def _say_data(prepared: Prepared, console: Console, *, aligned: bool) -> None:
    samples, splits = prepared.samples, prepared.splits
    console.say(f"rows: {len(splits.train)} training, {len(splits.validation)} validation, {len(splits.calibration)} "
                f"calibration, {len(splits.test)} test; {splits.note}")
    for note in samples.notes:
        console.say(note)
    for target in samples.schema.targets:
        if target.task == "classify" and target.name not in prepared.taught:
            labels = samples.labels[target.name]
            seen = set(labels.values[splits.train][labels.mask[splits.train]].tolist())
            lacking = [label for code, label in enumerate(target.classes) if code not in seen]
            if lacking:
                console.say(f"target {target.name!r}: no training row has the classes "
                            f"{', '.join(map(repr, lacking[:10]))}{' …' if len(lacking) > 10 else ''}: they cannot be "
                            f"learnt")
    if len(prepared.unlabelled):
        console.say(f"{len(prepared.unlabelled)} rows have no label: only objectives that need none learn from them")
    alone = int((samples.presence[splits.train].sum(axis=1) < 2).sum())
    if alone and aligned:
        console.say(f"{alone} of {len(splits.train)} training rows have one modality only: there is nothing to align "
                    f"in them")
    if prepared.num_unreadable:
        console.say(f"{prepared.num_unreadable} rows in which nothing is readable are left out")
    for place, name in enumerate(samples.schema.names):
        missing = int((~samples.presence[:, place]).sum())
        if missing:
            console.say(f"{name}: missing in {missing} of {len(samples)} rows "
                        f"({samples.cells[name].num_blank} blank)")
    for cell in samples.unreadable[:5]:
        console.say(f"unreadable: {cell}")
    if len(samples.unreadable) > 5:
        console.say(f"… and {len(samples.unreadable) - 5} more unreadable cells (sensorium inspect lists them)")
