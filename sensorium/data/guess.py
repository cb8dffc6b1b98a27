"""What a column is: its role, the reason, and how its values are written; a file path never becomes text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.data.decoding.paths import TableFolder
from sensorium.data.kinds import AudioKind, ImageKind, TableColumn, VideoKind
from sensorium.data.notation import (
    PLAIN,
    Notation,
    date_notation,
    is_missing,
    number_notation,
    parse_date,
    parse_number,
)
from sensorium.data.schema import Part, Separator
from sensorium.data.sources import json_items, subtitle_files
from sensorium.data.table import MEDIA_SUFFIXES, MEDIA_WORDS, NUMBER_SUFFIXES, UNREAD_SUFFIXES, column_of_values
from sensorium.errors import BadCell

if TYPE_CHECKING:
    import polars as pl

SAMPLE = 1000
MEANT = 0.95
MANY_WORDS = 50
LONGEST_PATH = 1000
LOOKED_INTO = 8
LISTED = 0.01
MULTIPLE = frozenset({"text", "image", "audio", "video", "series", "points"})
_ID_NAME = re.compile(r"(?i:(^|[_\W])(ids?|uid|uuid|guid|idx|index|key|row|hash|md5|no|nr)$)|[a-z](Id|ID)$")
_INDEX_NAME = re.compile(r"^(unnamed[:_ ]*\d+|index_*|level_\d+|__index_level_\d+__)$", re.IGNORECASE)
_SPACELESS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_PATH = re.compile(r"^(\w+://\S+|([A-Za-z]:)?[\\/].*[^\\/].*|\.{1,2}[\\/].+|[^\s]*[\\/][^\s]*|.*[\\/].*\.[A-Za-z]\w{0,4}"
                   r"|[^\s.]\S*( \S+){0,3}\.[A-Za-z][A-Za-z0-9]{1,4})$")
_CHOICE = re.compile(r"^[^\W\d_]{1,20}/[^\W\d_]{1,20}$")


@dataclass(frozen=True)
class Guess:
    """What a column seems to be and how its values are written; role None = not an input.

    Args:
        role: a kind of media, text, number, category or date; None = not an input.
        reason: why.
        notation: how numbers and dates are written.
        separator: what stands between several cells in one.
        parts: what of a column of videos is there to be read: pictures, sound tracks, subtitles.
    """

    role: str | None
    reason: str
    notation: Notation = PLAIN
    separator: Separator = ""
    parts: tuple[Part, ...] = ()


def guess_column(column: pl.Series, folder: TableFolder) -> Guess:
    """What a column seems to be and why, from its values; a file path never becomes text."""
    import polars as pl

    values = sample_values(column)
    if not values:
        return Guess(None, "every cell is missing")
    if any(isinstance(v, bytes) for v in values):
        return _guess_bytes(values)
    if column.dtype == pl.Object:
        return _guess_objects(values, folder)
    if column.dtype.is_nested():
        return _guess_nested(column, folder)
    if column.drop_nulls().n_unique() <= 1:
        return Guess(None, f"every cell is the same ({str(values[0])[:40]!r})")
    if column.dtype == pl.Boolean:
        return Guess("category", "true or false")
    if column.dtype.is_temporal():
        return Guess("date", {pl.Time: "times of day", pl.Duration: "durations, in days"}.get(
            type(column.dtype), "dates"))
    if column.dtype.is_numeric():
        return _guess_numbers(column, PLAIN)
    return _guess_listed(column, values, folder) or _guess_strings(column, values, folder)


def _guess_nested(column: pl.Series, folder: TableFolder) -> Guess:
    """Lists of cells are what their items are; lists of numbers are series."""
    import polars as pl

    dtype = column.dtype
    if not isinstance(dtype, pl.List | pl.Array):
        return Guess(None, f"cells are structures ({dtype}), which are not read")
    inner = dtype.inner
    while isinstance(inner, pl.List | pl.Array):
        inner = inner.inner
    if inner is not None and inner.is_numeric():
        return Guess("series", "lists of numbers")
    return _guess_items(column.explode().to_list(), folder)


def _guess_items(items: list[Any], folder: TableFolder) -> Guess:
    """What the items of lists are, taken together; lists of numbers are series."""
    if items and all(isinstance(item, int | float) for item in items[:SAMPLE]):
        return Guess("series", "lists of numbers")
    guess = guess_column(column_of_values("", items), folder)
    if guess.role not in MULTIPLE:
        return Guess(None, f"lists of which the items are no media and no text ({guess.reason})")
    return replace(guess, reason=f"lists; {guess.reason}")


def _guess_listed(column: pl.Series, values: list[str], folder: TableFolder) -> Guess | None:
    """Several media files named in one cell, separated by ; or | or as a JSON list."""
    forms: list[tuple[Separator, Callable[[str], list[Any]]]] = [
        ("json", json_items), (";", lambda v: v.split(";")), ("|", lambda v: v.split("|"))]
    for separator, items in forms:
        sign = "[" if separator == "json" else separator
        if np.mean([sign in value for value in values]) < (MEANT if separator == "json" else LISTED):
            continue
        some = [items(value) for value in values]
        parts = [part for one in some for part in one if isinstance(part, str) and part.strip()]
        guess = guess_paths(parts, folder) if parts else None
        if guess is not None and guess.role is not None:
            return replace(guess, separator=separator, reason=f"lists of files; {guess.reason}")
    return None


def sample_values(column: pl.Series) -> list[Any]:
    """At most SAMPLE values, evenly spaced, without missing ones."""
    kept = column.drop_nulls()
    step = max(1, len(kept) // (4 * SAMPLE))
    return [v for v in kept.gather_every(step).to_list() if not is_missing(v)][: 4 * SAMPLE]


def _guess_bytes(values: Sequence[Any]) -> Guess:
    some = values[:LOOKED_INTO]
    for kind in (ImageKind(), VideoKind(), AudioKind()):
        measured = kind.measure(some)
        for value in some:
            try:
                measured.decode(value)
            except BadCell:
                continue
            said = f"bytes that hold {MEDIA_WORDS[kind.name]}"
            return _guess_video(some, None, said) if kind.name == "video" else Guess(kind.name, said)
    return Guess(None, "bytes that are neither pictures nor sounds nor videos")


def _guess_objects(values: Sequence[Any], folder: TableFolder) -> Guess:
    first = values[0]
    if isinstance(first, tuple) and len(first) == 2:
        return Guess("audio", "(waveform, rate) pairs")
    if isinstance(first, list):
        return _guess_items([item for value in values if isinstance(value, list) for item in value], folder)
    if isinstance(first, np.ndarray) and first.dtype != np.uint8 and first.ndim in (1, 2):
        return Guess("series", "arrays of numbers")
    if isinstance(first, np.ndarray) and first.ndim == 4:
        return Guess("video", "videos in memory", parts=("video",))
    if isinstance(first, np.ndarray) or type(first).__module__.startswith("PIL."):
        return Guess("image", "pictures in memory")
    if isinstance(first, Path):
        return guess_paths([str(v) for v in values], folder) or Guess(None, "paths of unknown files")
    return Guess(None, f"cells of type {type(first).__name__}, which are not read")


def _guess_numbers(column: pl.Series, notation: Notation) -> Guess:
    parsed = parsed_numbers(column, notation)
    numbers = parsed[np.isfinite(parsed)]
    distinct = len(np.unique(numbers))
    whole = bool(np.all(np.mod(numbers, 1) == 0))
    if whole and distinct == len(numbers) >= 10 and not notation.unit:
        consecutive = float(numbers.max()) - float(numbers.min()) == len(numbers) - 1
        if consecutive or _ID_NAME.search(column.name) or _INDEX_NAME.match(column.name):
            return Guess(None, "an id: whole numbers, all different")
    written = [f"with the unit {notation.unit!r}"] if notation.unit else []
    written += ["with a decimal comma"] if notation.decimal == "," else []
    return Guess("number", f"numbers ({distinct} different{', ' if written else ''}{' and '.join(written)})", notation)


def parsed_numbers(column: pl.Series, notation: Notation = PLAIN) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(row,) the column as numbers, NaN where it has none."""
    return TableColumn(name=column.name, type="number", notation=notation).parse_all(column).numbers


def _guess_strings(column: pl.Series, values: list[str], folder: TableFolder) -> Guess:
    import polars as pl

    by_path = guess_paths(values, folder)
    if by_path is not None:
        return by_path
    plain = bool(np.isfinite(parsed_numbers(pl.Series("", values, dtype=pl.String))).mean() >= MEANT)
    notation = PLAIN if plain and not any("," in v for v in values) else number_notation(values)
    if (plain and notation == PLAIN) or share_parsed(values, parse_number, notation) >= MEANT:
        return _guess_numbers(column, notation)
    notation, reason = date_notation(values)
    if share_parsed(values, parse_date, notation) >= MEANT:
        return Guess("date", reason, notation)
    known = column.drop_nulls()
    distinct = known.n_unique()
    share = distinct / max(1, len(known))
    if looks_like_paths(values):
        if distinct <= 20 and share <= 0.2 and all(_CHOICE.match(v.strip()) for v in values):
            return Guess("category", f"{distinct} different words")
        return Guess(None, f"looks like paths or addresses of unknown files ({values[0][:40]!r}); a path is never text "
                           f"(--kind {column.name}=image, =audio or =video reads them)")
    words = float(np.mean([_num_words(v) for v in values]))
    if words >= 4 or (words >= 1.5 and share > 0.5):
        return Guess("text", f"sentences ({words:.1f} words on average)")
    if distinct == len(known) and len(column) >= 10:
        return Guess(None, "an id: single words, all different")
    if distinct > MANY_WORDS and share > 0.5:
        return Guess(None, f"single words, nearly all different ({distinct} in {len(known)} rows): more an id than a "
                           f"category (--kind {column.name}=category reads it anyway)")
    return Guess("category", f"{distinct} different words")


def guess_paths(values: Sequence[str], folder: TableFolder | None = None) -> Guess | None:
    """A media kind where most cells end like a media file; a refusal where they end like another file.

    Args:
        values: cells of a column.
        folder: the table's folder, to look into some of the files; None: only the names are looked at.
    """
    suffixes = [Path(v.strip()).suffix.lower() if len(v) < LONGEST_PATH and "\n" not in v else "" for v in values]
    remote = float(np.mean([bool(re.match(r"^(https?|s3|gs|ftp)://", v)) for v in values]))
    if remote >= 0.5:
        return Guess(None, "addresses on the network, which are not fetched")
    for kind, endings in MEDIA_SUFFIXES.items():
        share = float(np.mean([s in endings for s in suffixes]))
        if share >= 0.5:
            said = f"{share:.0%} of the cells end like {MEDIA_WORDS[kind]}"
            return _guess_video(values, folder, said) if kind == "video" and folder is not None else Guess(kind, said)
    if float(np.mean([s in NUMBER_SUFFIXES for s in suffixes])) >= 0.5:
        return _guess_number_files(values, folder)
    for kind, endings in UNREAD_SUFFIXES.items():
        if float(np.mean([s in endings for s in suffixes])) >= 0.5:
            return Guess(None, f"{kind} files, which this version does not read")
    return None


def _guess_video(values: Sequence[str | bytes], folder: TableFolder | None, said: str) -> Guess:
    """Pictures, and the sound tracks and subtitles that some of the first files have."""
    from sensorium.data.decoding.media import has_sound

    some = [value if isinstance(value, bytes) else str(file) for value in values[:LOOKED_INTO]
            if isinstance(value, bytes) or (file := _file(value, folder)) is not None]
    sound = any(has_sound(cell) for cell in some)
    text = any(isinstance(cell, str) and subtitle_files(Path(cell)) for cell in some)
    parts: tuple[Part, ...] = ("video", *(("audio",) if sound else ()), *(("text",) if text else ()))
    have = [word for word, there in (("sound", sound), ("subtitles", text)) if there]
    return Guess("video", f"{said}, with {' and '.join(have)}" if have else said, parts=parts)


def _guess_number_files(values: Sequence[str], folder: TableFolder | None) -> Guess | None:
    """A series or points, by what most of the first files of numbers hold."""
    from sensorium.data.numeric.numbers import numbers_kind

    if folder is None:
        return Guess(None, "files of numbers")
    found = [kind for value in values[:LOOKED_INTO] if (file := _file(value, folder)) is not None
             and (kind := numbers_kind(file)) is not None]
    if not found:
        return Guess(None, "files of numbers of which none can be read as a series or as points; --kind COLUMN=series "
                           "or =points takes them anyway")
    kind, count = Counter(found).most_common(1)[0]
    what = "channels over time" if kind == "series" else "points with coordinates"
    return Guess(kind, f"files of numbers: {what} in {count} of the {len(found)} looked into")


def _file(value: str, folder: TableFolder | None) -> Path | None:
    """The file that a cell names, where there is one that may be read."""
    if folder is None:
        return None
    try:
        file = Path(folder.located(value))
    except BadCell:
        return None
    return file if file.is_file() else None


def looks_like_paths(values: Sequence[str]) -> bool:
    return float(np.mean([len(str(v)) < LONGEST_PATH and bool(_PATH.match(str(v).strip())) for v in values])) >= 0.9


def _num_words(value: str) -> float:
    """Words between spaces; two letters count as one where words are not spaced (Chinese, Japanese, Thai …)."""
    unspaced = len(_SPACELESS.findall(value))
    return len(_SPACELESS.sub(" ", value).split()) + unspaced / 2


def share_parsed(values: Sequence[Any], parse: Any, notation: Notation = PLAIN) -> float:
    return float(np.mean([not np.isnan(number_or_nan(v, notation, parse)) for v in values]))


def number_or_nan(value: Any, notation: Notation = PLAIN, parse: Any = parse_number) -> float:
    try:
        return float(parse(value, notation))
    except BadCell:
        return float("nan")
