"""From a table to a schema: what every column is, with the reason, and what the user overrode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from sensorium.data.guess import (
    MEANT,
    MULTIPLE,
    SAMPLE,
    Guess,
    guess_column,
    guess_paths,
    looks_like_paths,
    number_or_nan,
    parsed_numbers,
    sample_values,
    share_parsed,
)
from sensorium.data.kinds import KINDS, AnyKind, TableColumn
from sensorium.data.kinds.table import ColumnKind
from sensorium.data.notation import (
    PLAIN,
    Notation,
    date_notation,
    is_missing,
    number_notation,
    parse_number,
    spellings,
)
from sensorium.data.schema import Modality, Schema, Target, Task
from sensorium.data.table import SPLIT_WORDS, Table
from sensorium.errors import DataError, RecipeError, unknown_name
from sensorium.recipe import DataOptions

if TYPE_CHECKING:
    import polars as pl

TABLE_NAME = "table"
COLUMN_ROLES: tuple[str, ...] = ("text", "image", "audio", "video", "series", "points", "number", "category", "date")


def infer_schema(table: Table, options: DataOptions, taught: tuple[Target, ...] = ()) -> Schema:
    """The schema of a table: inferred, except where the options decide.

    Args:
        table: the cells.
        options: what the user decided.
        taught: targets that are not read from the table: a teacher answers them.

    Raises:
        DataError: a named column that is not there, a target that cannot be learnt, no usable modality.
    """
    answered = {target.name: target for target in taught}
    check_names(table, options, tuple(answered))
    frame = table.frame
    split = _split_column(frame, options)
    apart = {*options.targets, *answered, *filter(None, (options.group, split))}
    guesses = {name: _guess_with_options(table, name, options) for name in frame.columns if name not in apart}
    modalities = _modalities(guesses, options)
    ignored = {name: guess.reason for name, guess in guesses.items() if guess.role is None}
    modalities = _only(modalities, ignored, options)
    targets = tuple(answered[name] if name in answered else _target(frame[name], options)
                    for name in dict.fromkeys([*options.targets, *answered]))
    if not modalities:
        why = "; ".join(f"{name}: {reason}" for name, reason in ignored.items()) or "there is no column besides targets"
        raise DataError(f"{table.source!r} has no usable modality ({why}); --kind COLUMN=KIND takes a column anyway")
    return Schema(modalities=modalities, targets=targets, group=options.group, split=split, ignored=ignored)


def _only(modalities: tuple[Modality, ...], ignored: dict[str, str], options: DataOptions) -> tuple[Modality, ...]:
    """The modalities asked for by name; the others are put down as ignored."""
    if options.only is None:
        return modalities
    names = [modality.name for modality in modalities]
    for name in options.only:
        if name not in names:
            raise RecipeError(f"data.only: {unknown_name('modality', name, names)}")
    ignored |= {column: "not among the modalities asked for" for modality in modalities
                if modality.name not in options.only for column in ([modality.name] if modality.part else
                                                                    modality.columns)}
    return tuple(modality for modality in modalities if modality.name in options.only)


def check_names(table: Table, options: DataOptions, taught: tuple[str, ...] = ()) -> None:
    """Raise where the options name a column, kind or task that is not there, or contradict each other; targets that are
    taught need no column."""
    columns = table.frame.columns
    own = tuple(name for name in options.targets if name not in taught)
    named = [("target", own), ("input", options.inputs or ()), ("ignored", options.ignore),
             ("--kind", tuple(options.kinds)), ("group", tuple(filter(None, [options.group]))),
             ("--task", tuple(options.tasks))]
    named += [("--modality " + name, members) for name, members in options.modalities.items()]
    for what, names in named:
        for name in names:
            if name not in columns:
                raise DataError(f"{table.source!r} has no such column: {unknown_name(what, name, columns)}")
    for column, role in options.kinds.items():
        if role not in COLUMN_ROLES:
            raise DataError(f"--kind {column}={role}: {unknown_name('kind', role, list(COLUMN_ROLES))}")
    for column, task in options.tasks.items():
        if task not in ("classify", "regress"):
            raise DataError(f"--task {column}={task}: {unknown_name('task', task, ['classify', 'regress'])}")
        if column not in options.targets:
            raise DataError(f"--task {column}={task}: {column!r} is not a target; add --target {column}")
    for name, weight in options.weights.items():
        if name not in (*options.targets, *taught):
            raise DataError(f"--weight {name}: {unknown_name('target', name, list(options.targets))}")
        if not 0.0 < weight < float("inf"):
            raise DataError(f"--weight {name}={weight:g}: expected a number above 0")
    _check_conflicts(options)


def _check_conflicts(options: DataOptions) -> None:
    """Raise where a column is asked to be two things at once."""
    members = [column for columns in options.modalities.values() for column in columns]
    roles = [("a target", options.targets), ("an input", options.inputs or ()), ("ignored", options.ignore),
             ("the group", tuple(filter(None, [options.group]))), ("part of a modality", tuple(members))]
    allowed = {("an input", "part of a modality"), ("ignored", "the group")}
    for place, (what, names) in enumerate(roles):
        for name in names:
            if names.count(name) > 1:
                raise DataError(f"{name!r} is named twice as {what}")
            for other, others in roles[place + 1 :]:
                if name in others and (what, other) not in allowed:
                    raise DataError(f"{name!r} cannot be both {what} and {other}")
    for name in options.kinds:
        if name in (*options.targets, *options.ignore, options.group):
            raise DataError(f"--kind {name}={options.kinds[name]}: {name!r} is a target, ignored or the group, and is "
                            f"not read as an input")


def _split_column(frame: pl.DataFrame, options: DataOptions) -> str | None:
    import polars as pl

    for name in frame.columns:
        chosen = name in options.targets or name in options.ignore or name in options.kinds
        if name.strip().lower() == "split" and not chosen and frame[name].dtype == pl.String:
            words = {str(v).strip().lower() for v in frame[name].unique().to_list() if v}
            if words and words <= set(SPLIT_WORDS):
                return name
    return None


def _guess_with_options(table: Table, name: str, options: DataOptions) -> Guess:
    column = table.frame[name]
    if name in options.ignore:
        return Guess(None, "asked for")
    if name in options.kinds:
        return _asked_for(column, options.kinds[name], table)
    if options.inputs is not None and name not in options.inputs:
        return Guess(None, "not among the inputs asked for")
    guess = guess_column(column, table.folder)
    grouped = any(name in members for members in options.modalities.values())
    if guess.role is None and (grouped or name in (options.inputs or ())):
        values = sample_values(column)
        plain = bool(values) and all(isinstance(v, str | int | float | bool) for v in values)
        if plain and not looks_like_paths(values) and guess_paths(values) is None:
            notation = number_notation(values)
            role = "number" if share_parsed(values, parse_number, notation) >= MEANT else "category"
            return Guess(role, f"asked for, though {guess.reason}", notation if role == "number" else PLAIN)
        raise DataError(f"{name!r} cannot be an input: {guess.reason}; --kind {name}=KIND reads it anyway")
    return guess


def _asked_for(column: pl.Series, role: str, table: Table) -> Guess:
    """The kind that the user named, with the notation or the separator that the cells show."""
    if role in MULTIPLE:
        seen = guess_column(column, table.folder)
        return Guess(role, "asked for", separator=seen.separator if seen.role in MULTIPLE - {"text"} else "")
    return Guess(role, "asked for", _notation(role, sample_values(column)))


def _notation(role: str, values: Sequence[Any]) -> Notation:
    return number_notation(values) if role == "number" else date_notation(values)[0] if role == "date" else PLAIN


def _modalities(guesses: Mapping[str, Guess], options: DataOptions) -> tuple[Modality, ...]:
    grouped = {column: name for name, members in options.modalities.items() for column in members}
    modalities: list[Modality] = []
    tables: dict[str, list[TableColumn]] = {}
    reasons: dict[str, list[str]] = {}
    for column, guess in guesses.items():
        if guess.role is None:
            continue
        if guess.role in KINDS:
            if column in grouped:
                raise DataError(f"--modality {grouped[column]}: {column!r} is {guess.role}, and only number, category "
                                f"and date columns can be grouped")
            modalities += _media(column, guess, options)
        else:
            name = grouped.get(column, TABLE_NAME)
            tables.setdefault(name, []).append(
                TableColumn(name=column, type=_column_kind(guess.role), notation=guess.notation))
            reasons.setdefault(name, []).append(f"{column}: {guess.role}, {guess.reason}")
    for name, columns in tables.items():
        kind = _kind("table", name, options)
        kind = kind.model_copy(update={"columns": tuple(columns)})
        modalities.append(Modality(name=name, columns=tuple(c.name for c in columns), kind=kind,
                                   reason="; ".join(reasons[name])))
    names = [modality.name for modality in modalities]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two modalities would be called {twice!r}; rename the column or the group")
    for name in options.settings:
        if name not in names:
            raise RecipeError(f"data.settings: {unknown_name('modality', name, names)}")
    return tuple(modalities)


def _media(column: str, guess: Guess, options: DataOptions) -> list[Modality]:
    """A column of text or media as a modality; one of videos as its pictures, sound tracks and subtitles."""
    assert guess.role is not None
    if len(guess.parts) < 2:
        return [Modality(name=column, columns=(column,), kind=_kind(guess.role, column, options),
                         separator=guess.separator, reason=guess.reason)]
    return [Modality(name=f"{column}.{part}", columns=(column,), kind=_kind(part, f"{column}.{part}", options),
                     part=part, separator=guess.separator, reason=guess.reason) for part in guess.parts]


def _kind(role: str, name: str, options: DataOptions) -> AnyKind:
    """The kind with the settings that the recipe gives it."""
    try:
        return KINDS[role].model_validate(options.settings.get(name, {}))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            settings = [field for field in KINDS[role].model_fields if field != "kind"]
            raise RecipeError(f"data.settings.{name}: "
                              f"{unknown_name(f'setting of {role}', str(first['loc'][0]), settings)}") from error
        raise RecipeError(f"data.settings.{name}.{'.'.join(map(str, first['loc']))}: {first['msg']} "
                          f"(found {str(first['input'])[:60]!r})") from error


def _column_kind(role: str) -> ColumnKind:
    return "number" if role == "number" else "date" if role == "date" else "category"


def _target(column: pl.Series, options: DataOptions) -> Target:
    """The task of a target column: classify or regress, with the classes."""
    name = column.name
    values = [v for v in column.to_list() if not target_is_missing(v)]
    if not values:
        raise DataError(f"target {name!r} has no labels: every cell is blank")
    if column.dtype.is_nested() or any(isinstance(v, list | dict | tuple | bytes | np.ndarray) for v in values[:100]):
        raise DataError(f"target {name!r} cannot be learnt: its cells are lists, structures or bytes, and one word or "
                        f"number a row is expected")
    notation = number_notation(values[:: max(1, len(values) // SAMPLE)])
    task, reason = _task(column, values, notation, options)
    weight = options.weights.get(name, 1.0)
    if task == "regress":
        numbers = parsed_numbers(column, notation)
        if not np.isfinite(numbers).any():
            raise DataError(f"target {name!r} cannot be regressed: no cell is a number, the first is "
                            f"{str(values[0])[:40]!r}; try --task {name}=classify")
        if len(np.unique(numbers[np.isfinite(numbers)])) < 2:
            raise DataError(f"target {name!r} has the same number in every row: there is nothing to learn")
        return Target(name=name, task="regress", weight=weight, reason=reason, notation=notation)
    if reason.startswith("whole numbers"):  # beside numbers, NA is no class but a missing label
        values = [v for v in values if not is_missing(v)]
    classes = sorted(spellings(values), key=_class_order)
    if len(classes) < 2:
        raise DataError(f"target {name!r} has one class only ({classes[0]!r}): there is nothing to learn")
    if len(classes) > max(20, len(values) // 2) and name not in options.tasks:
        raise DataError(f"target {name!r} has {len(classes)} different values in {len(values)} rows: too many to be "
                        f"classes; is it the right column? (--task {name}=classify insists)")
    return Target(name=name, task="classify", classes=tuple(classes), weight=weight, reason=reason)


def _task(column: pl.Series, values: Sequence[Any], notation: Notation, options: DataOptions) -> tuple[Task, str]:
    if column.name in options.tasks:
        return ("classify" if options.tasks[column.name] == "classify" else "regress"), "asked for"
    some = [v for v in values[:: max(1, len(values) // SAMPLE)] if not is_missing(v)]
    if not some or isinstance(some[0], bool) or share_parsed(some, parse_number, notation) < MEANT:
        return "classify", "labels"
    parsed = parsed_numbers(column, notation)
    known = parsed[np.isfinite(parsed)]
    distinct = len(np.unique(known))
    if np.all(np.mod(known, 1) == 0) and distinct <= 20:
        return "classify", f"whole numbers with {distinct} different values"
    return "regress", f"numbers with {distinct} different values"


def target_is_missing(value: Any) -> bool:
    """Whether a label is missing: None, NaN or blank. The word NA can be a class."""
    return not value.strip() if isinstance(value, str) else is_missing(value)


def _class_order(label: str) -> tuple[int, float, str]:
    number = number_or_nan(label)
    return (0, number, label) if np.isfinite(number) else (1, 0.0, label)
