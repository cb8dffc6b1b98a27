"""From a table to a schema: what every column is, with the reason, and what the user overrode."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from pydantic import ValidationError

from sensorium.data.kinds import KINDS, AnyKind, AudioKind, ImageKind, TableColumn, TableKind
from sensorium.data.kinds.table import ColumnKind, category_text, is_missing, parse_date, parse_number
from sensorium.data.schema import Modality, Schema, Target, Task
from sensorium.data.table import MEDIA_SUFFIXES, UNREAD_SUFFIXES, Table
from sensorium.errors import BadCell, DataError, RecipeError, unknown_name
from sensorium.recipe import DataOptions

SAMPLE = 1000
SPLIT_WORDS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "dev": "validation",
               "validation": "validation", "calibration": "calibration", "test": "test"}
TABLE_NAME = "table"
ColumnRole = Literal["text", "image", "audio", "number", "category", "date"]
COLUMN_ROLES: tuple[str, ...] = ("text", "image", "audio", "number", "category", "date")
_ID_NAME = re.compile(r"(^|[_\W])(id|ids|uid|uuid|guid|idx|index|key|row|hash|md5|no|nr)$", re.IGNORECASE)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_PATH = re.compile(r"^(\w+://\S+|[^\s]*[\\/][^\s]*|[^\s]+\.[A-Za-z][A-Za-z0-9]{1,4})$")


@dataclass(frozen=True)
class Guess:
    """What a column seems to be; role None = not an input."""

    role: str | None
    reason: str


def infer_schema(table: Table, options: DataOptions) -> Schema:
    """The schema of a table: inferred, except where the options decide.

    Raises:
        DataError: a named column that is not there, a target that cannot be learnt, no usable modality.
    """
    _check_names(table, options)
    frame = table.frame
    split = _split_column(frame, options)
    apart = {*options.targets, *filter(None, (options.group, split))}
    guesses = {name: _guess_with_options(table, name, options) for name in frame.columns if name not in apart}
    modalities = _modalities(guesses, options)
    ignored = {name: guess.reason for name, guess in guesses.items() if guess.role is None}
    targets = tuple(_target(frame[name], options) for name in options.targets)
    if not modalities:
        why = "; ".join(f"{name}: {reason}" for name, reason in ignored.items()) or "there is no column besides targets"
        raise DataError(f"{table.source!r} has no usable modality ({why}); --kind COLUMN=KIND takes a column anyway")
    return Schema(modalities=modalities, targets=targets, group=options.group, split=split, ignored=ignored)


def _check_names(table: Table, options: DataOptions) -> None:
    columns = table.frame.columns
    named = [("target", options.targets), ("input", options.inputs or ()), ("ignored", options.ignore),
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
    for name in options.targets:
        if name in (options.inputs or ()):
            raise DataError(f"{name!r} cannot be both a target and an input")
        if name == options.group:
            raise DataError(f"{name!r} cannot be both a target and the group")


def _split_column(frame: pl.DataFrame, options: DataOptions) -> str | None:
    for name in frame.columns:
        chosen = name in options.targets or name in options.ignore or name in options.kinds
        if name.strip().lower() == "split" and not chosen and frame[name].dtype == pl.String:
            words = {str(v).strip().lower() for v in frame[name].unique().to_list() if v}
            if words and words <= set(SPLIT_WORDS):
                return name
    return None


def _guess_with_options(table: Table, name: str, options: DataOptions) -> Guess:
    if name in options.ignore:
        return Guess(None, "asked for")
    if name in options.kinds:
        return Guess(options.kinds[name], "asked for")
    if options.inputs is not None and name not in options.inputs:
        return Guess(None, "not among the inputs asked for")
    guess = guess_column(table.frame[name], table.root)
    grouped = any(name in members for members in options.modalities.values())
    asked = grouped or name in (options.inputs or ())
    if guess.role is None and asked:
        values = _sample(table.frame[name])
        if values and not isinstance(values[0], bytes) and not _looks_like_paths(values):
            role = "number" if _share(values, parse_number) >= 0.95 else "category"
            return Guess(role, f"asked for, though {guess.reason}")
    return guess


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
            modalities.append(Modality(name=column, columns=(column,), kind=_kind(guess.role, column, options),
                                       reason=guess.reason))
        else:
            name = grouped.get(column, TABLE_NAME)
            tables.setdefault(name, []).append(TableColumn(name=column, type=_column_kind(guess.role)))
            reasons.setdefault(name, []).append(f"{column}: {guess.role}, {guess.reason}")
    for name, columns in tables.items():
        modalities.append(Modality(name=name, columns=tuple(c.name for c in columns),
                                   kind=TableKind(columns=tuple(columns)), reason="; ".join(reasons[name])))
    names = [modality.name for modality in modalities]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"two modalities would be called {twice!r}; rename the column or the group")
    return tuple(modalities)


def _kind(role: str, name: str, options: DataOptions) -> AnyKind:
    """The kind with the settings that the recipe gives it."""
    try:
        return KINDS[role].model_validate(options.settings.get(name, {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(f"data.settings.{name}.{'.'.join(map(str, first['loc']))}: {first['msg']} "
                          f"(found {str(first['input'])[:60]!r})") from error


def _column_kind(role: str) -> ColumnKind:
    return "number" if role == "number" else "date" if role == "date" else "category"


def guess_column(column: pl.Series, root: Path) -> Guess:
    """What a column seems to be and why, from its values; a file path never becomes text."""
    values = _sample(column)
    if not values:
        return Guess(None, "every cell is missing")
    if any(isinstance(v, bytes) for v in values):
        return _guess_bytes(values)
    if column.dtype == pl.Object:
        return _guess_objects(values)
    if column.dtype.is_nested():
        return Guess(None, f"cells are lists or structures ({column.dtype}), which are not read")
    distinct = column.n_unique() if column.dtype != pl.Object else len(values)
    if column.drop_nulls().n_unique() <= 1:
        return Guess(None, f"every cell is the same ({str(values[0])[:40]!r})")
    if column.dtype == pl.Boolean:
        return Guess("category", "true or false")
    if column.dtype.is_temporal():
        return Guess("date", "dates")
    if column.dtype.is_numeric():
        return _guess_numbers(column.name, column.drop_nulls().to_numpy(), len(column))
    return _guess_strings(column, values, distinct, root)


def _sample(column: pl.Series) -> list[Any]:
    """At most SAMPLE values, evenly spaced, without missing ones."""
    kept = column.drop_nulls()
    step = max(1, len(kept) // (4 * SAMPLE))
    return [v for v in kept.gather_every(step).to_list() if not is_missing(v)][: 4 * SAMPLE]


def _guess_bytes(values: Sequence[Any]) -> Guess:
    for kind in (ImageKind(), AudioKind()):
        measured = kind.measure(values[:8])
        for value in values[:8]:
            try:
                measured.decode(value)
            except BadCell:
                continue
            return Guess(kind.name, f"bytes that hold {'pictures' if kind.name == 'image' else 'sound'}")
    return Guess(None, "bytes that are neither pictures nor sound")


def _guess_objects(values: Sequence[Any]) -> Guess:
    first = values[0]
    if isinstance(first, tuple):
        return Guess("audio", "(waveform, rate) pairs")
    if isinstance(first, np.ndarray) or type(first).__module__.startswith("PIL."):
        return Guess("image", "pictures in memory")
    if isinstance(first, Path):
        return _guess_paths([str(v) for v in values]) or Guess(None, "paths of unknown files")
    return Guess(None, f"cells of type {type(first).__name__}, which are not read")


def _guess_numbers(name: str, numbers: np.ndarray[Any, Any], rows: int) -> Guess:
    whole = bool(np.all(np.mod(numbers[np.isfinite(numbers.astype(float))], 1) == 0))
    distinct = len(np.unique(numbers))
    if whole and rows >= 10 and distinct == rows:
        consecutive = float(numbers.max()) - float(numbers.min()) == rows - 1
        if consecutive or _ID_NAME.search(name):
            return Guess(None, "an id: whole numbers, all different")
    return Guess("number", f"numbers ({distinct} different)")


def _guess_strings(column: pl.Series, values: list[str], distinct: int, root: Path) -> Guess:
    by_path = _guess_paths(values)
    if by_path is not None:
        return by_path
    if _share(values, parse_number) >= 0.95:
        numbers = np.array([_number_or_nan(v) for v in column.to_list() if not is_missing(v)])
        return _guess_numbers(column.name, numbers[np.isfinite(numbers)], len(column))
    if _share(values, parse_date) >= 0.95:
        return Guess("date", "ISO dates")
    if _looks_like_paths(values):
        return Guess(None, f"looks like paths or addresses of unknown files ({values[0][:40]!r}); a path is never text")
    words = float(np.mean([_num_words(v) for v in values]))
    share = distinct / max(1, len(column))
    if words >= 4 or (words >= 1.5 and share > 0.5):
        return Guess("text", f"sentences ({words:.1f} words on average)")
    if (distinct == len(column.drop_nulls()) and len(column) >= 10) or (share > 0.95 and len(column) >= 50):
        return Guess(None, "an id: single words, all different")
    return Guess("category", f"{distinct} different words")


def _guess_paths(values: Sequence[str]) -> Guess | None:
    """A media kind where most cells end like a media file; a refusal where they end like another file."""
    suffixes = [Path(v.strip()).suffix.lower() if len(v) < 4096 and "\n" not in v else "" for v in values]
    remote = float(np.mean([bool(re.match(r"^(https?|s3|gs|ftp)://", v)) for v in values]))
    if remote >= 0.5:
        return Guess(None, "addresses on the network, which are not fetched")
    for kind, endings in MEDIA_SUFFIXES.items():
        share = float(np.mean([s in endings for s in suffixes]))
        if share >= 0.5:
            return Guess(kind, f"{share:.0%} of the cells end like {'pictures' if kind == 'image' else 'sounds'}")
    for kind, endings in UNREAD_SUFFIXES.items():
        if float(np.mean([s in endings for s in suffixes])) >= 0.5:
            return Guess(None, f"{kind} files, which this version does not read")
    return None


def _looks_like_paths(values: Sequence[str]) -> bool:
    return float(np.mean([bool(_PATH.match(str(v).strip())) for v in values])) >= 0.9


def _num_words(value: str) -> float:
    return len(value.split()) + len(_CJK.findall(value))


def _share(values: Sequence[Any], parse: Any) -> float:
    return float(np.mean([not np.isnan(_number_or_nan(v, parse)) for v in values]))


def _number_or_nan(value: Any, parse: Any = parse_number) -> float:
    try:
        return float(parse(value))
    except BadCell:
        return float("nan")


def _target(column: pl.Series, options: DataOptions) -> Target:
    """The task of a target column: classify or regress, with the classes."""
    name = column.name
    values = [v for v in column.to_list() if not target_is_missing(v)]
    if not values:
        raise DataError(f"target {name!r} has no labels: every cell is blank")
    task, reason = _task(name, values, options)
    weight = options.weights.get(name, 1.0)
    if task == "regress":
        numbers = [_number_or_nan(v) for v in values]
        if not np.isfinite(numbers).any():
            raise DataError(f"target {name!r} cannot be regressed: no cell is a number, the first is "
                            f"{str(values[0])[:40]!r}; try --task {name}=classify")
        if len({n for n in numbers if np.isfinite(n)}) < 2:
            raise DataError(f"target {name!r} has the same number in every row: there is nothing to learn")
        return Target(name=name, task="regress", weight=weight, reason=reason)
    classes = sorted({category_text(v) for v in values}, key=_class_order)
    if len(classes) < 2:
        raise DataError(f"target {name!r} has one class only ({classes[0]!r}): there is nothing to learn")
    if len(classes) > max(50, len(values) // 2) and name not in options.tasks:
        raise DataError(f"target {name!r} has {len(classes)} different values in {len(values)} rows: too many to be "
                        f"classes; is it the right column? (--task {name}=classify insists)")
    return Target(name=name, task="classify", classes=tuple(classes), weight=weight, reason=reason)


def _task(name: str, values: Sequence[Any], options: DataOptions) -> tuple[Task, str]:
    if name in options.tasks:
        return ("classify" if options.tasks[name] == "classify" else "regress"), "asked for"
    numeric = not isinstance(values[0], bool) and _share(values[:: max(1, len(values) // SAMPLE)], parse_number) >= 0.95
    if not numeric:
        return "classify", "labels"
    numbers = np.array([_number_or_nan(v) for v in values])
    known = numbers[np.isfinite(numbers)]
    distinct = len(np.unique(known))
    if np.all(np.mod(known, 1) == 0) and distinct <= 20:
        return "classify", f"whole numbers with {distinct} different values"
    return "regress", f"numbers with {distinct} different values"


def target_is_missing(value: Any) -> bool:
    """Whether a label is missing: None, NaN or blank. The word NA can be a class."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return True
    return isinstance(value, str) and not value.strip()


def _class_order(label: str) -> tuple[int, float, str]:
    number = _number_or_nan(label)
    return (0, number, label) if np.isfinite(number) else (1, 0.0, label)
