"""Columns that say nothing or are written unevenly, and values far from the others."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.checks.findings import Example, Finding, counted
from sensorium.data.checks.joined import Joined
from sensorium.data.kinds.table import TableColumn, TableKind
from sensorium.data.notation import category_key, is_missing, spellings

FAR, LEAST_ROWS, FEW = 8.0, 20, 0.01
CODES = frozenset({-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0})
ID_NAME = re.compile(r"(?i)(^|[_\W])(ids?|uid|uuid|guid|key)$|[a-z](Id|ID)$")
NEARLY_ALL = 0.95
NEW = 0.1
NAMED = 6


def find_column_faults(joined: Joined) -> list[Finding]:
    """Constant columns, ids that repeat, one category in several spellings, categories seen once, numbers far out."""
    frame = joined.sides[0].table.frame
    schema = joined.schema
    found = _constant(joined) + _repeated_ids(joined)
    for modality in schema.modalities:
        if isinstance(modality.kind, TableKind):
            for column in modality.kind.columns:
                values = frame[column.name].to_list()
                if column.type == "category":
                    found += _spelled_unevenly(joined, column.name, values) + _seen_once(joined, column, values)
                    found += _new_categories(joined, column.name)
                else:
                    found += _far_out(joined, column)
    for target in schema.targets:
        if target.task == "classify":
            found += _spelled_unevenly(joined, target.name, frame[target.name].to_list())
        else:
            found += _far_out(joined, TableColumn(name=target.name, type="number", notation=target.notation))
    return found


def _constant(joined: Joined) -> list[Finding]:
    """Columns with one value, or none, in every row."""
    found = []
    for name in joined.sides[0].table.frame.columns:
        values = joined.sides[0].table.frame[name].to_list()
        if any(isinstance(value, list | dict | np.ndarray) for value in values[:100]):
            continue
        distinct = {str(value).strip() for value in values if not is_missing(value)}
        if len(distinct) <= 1 and len(values) > 1:
            word = f"the same in every row ({next(iter(distinct))[:40]!r})" if distinct else "blank in every row"
            found.append(Finding("note", "constant", f"{name} is {word}.", f"Nothing can be learned from it; it is "
                                 f"ignored (--ignore {name} says so).", len(values)))
    return found


def _repeated_ids(joined: Joined) -> list[Finding]:
    """Columns named like an id whose values are all different but for some."""
    found = []
    for name in joined.sides[0].table.frame.columns:
        if not ID_NAME.search(name) or name == joined.schema.group:
            continue
        rows: dict[str, list[int]] = defaultdict(list)
        for row, value in enumerate(joined.sides[0].table.frame[name].to_list()):
            if not is_missing(value):
                rows[str(value).strip()].append(row)
        twice = {value: places for value, places in rows.items() if len(places) > 1}
        if twice and len(rows) >= NEARLY_ALL * sum(map(len, rows.values())):
            places = sorted(row for some in twice.values() for row in some)
            found.append(Finding("warning", "ids", f"{name}: {counted(len(twice), 'id')} "
                                 f"({', '.join(map(repr, list(twice)[:NAMED]))}) in more than one row.",
                                 f"Look whether these are the same case; --group {name} keeps them together.",
                                 len(places), joined.places(places)))
    return found


def spelling_key(value: str) -> str:
    """What spellings of one category have in common: letters and digits, whatever the case, spaces and dashes."""
    folded = unicodedata.normalize("NFKC", value).casefold()
    return re.sub(r"[\s_\-./]+", " ", folded).strip()


def _spelled_unevenly(joined: Joined, name: str, values: Sequence[Any]) -> list[Finding]:
    counts = spellings([value for value in values if not is_missing(value)])
    by_key: dict[str, list[str]] = defaultdict(list)
    for text in counts:
        by_key[spelling_key(text)].append(text)
    uneven = {key: sorted(texts, key=lambda text: -counts[text]) for key, texts in by_key.items() if len(texts) > 1}
    if not uneven:
        return []
    rare = {text for texts in uneven.values() for text in texts[1:]}
    rows = [row for row, value in enumerate(values) if not is_missing(value) and str(value).strip() in rare]
    shown = "; ".join(" / ".join(map(repr, texts)) for texts in list(uneven.values())[:NAMED])
    return [Finding("warning", "spelling", f"{name}: {counted(len(uneven), 'category', 'categories')} written in "
                    f"several ways: {shown}.", "Write each in one way; they are read as different ones.", len(rows),
                    joined.places(rows))]


def _new_categories(joined: Joined, name: str) -> list[Finding]:
    """Categories that a later part has and the first has not, where a tenth of the later part's rows have them."""
    values = [None if is_missing(value) else category_key(value) for value in joined.column(name)]
    parts = joined.parts.tolist()
    known = {value for value, part in zip(values, parts, strict=True) if part == 0}
    found = []
    for later in range(1, len(joined.part_names)):
        new = [row for row, (value, part) in enumerate(zip(values, parts, strict=True))
               if part == later and value is not None and value not in known]
        number = int((joined.parts == later).sum())
        if len(new) >= NEW * number:
            words = list(dict.fromkeys(str(values[row]) for row in new))
            found.append(Finding("warning", "unseen", f"{name}: {len(new) / number:.0%} of the rows of "
                                 f"{joined.part_names[later]} have a category that {joined.part_names[0]} lacks "
                                 f"({', '.join(map(repr, words[:NAMED]))}{' …' if len(words) > NAMED else ''}).",
                                 f"They count as missing; if {name} names cases, leave it out (--ignore {name}) or "
                                 f"group by it.", len(new), joined.places(new)))
    return found


def _seen_once(joined: Joined, column: TableColumn, values: Sequence[Any]) -> list[Finding]:
    counts = Counter(str(value).strip() for value in values if not is_missing(value))
    once = [text for text, count in counts.items() if count == 1]
    if not once or len(counts) > len(values) / 4:
        return []
    rows = [row for row, value in enumerate(values) if not is_missing(value) and counts[str(value).strip()] == 1]
    return [Finding("note", "rare", f"{column.name}: {counted(len(once), 'category', 'categories')} of {len(counts)} "
                    f"seen once ({', '.join(map(repr, once[:NAMED]))}).",
                    "Nothing can be learned about them: merge them, or mend a misspelling.", len(rows),
                    joined.places(rows))]


def _far_out(joined: Joined, column: TableColumn) -> list[Finding]:
    """Numbers more than 8 robust deviations from the median, on a logarithmic scale too where all are positive."""
    numbers = column.parse_all(joined.sides[0].table.frame[column.name]).numbers
    known = np.isfinite(numbers)
    if int(known.sum()) < LEAST_ROWS:
        return []
    far = _robust_far(numbers, known)
    if float(numbers[known].min()) > 0:
        far &= _robust_far(np.log(np.where(known & (numbers > 0), numbers, 1.0)), known)
    rows = np.flatnonzero(far & known)
    if len(rows) == 0:
        return []
    values = Counter(numbers[rows].tolist())
    rows_of = rows.tolist()
    readable = column.model_copy(update={"mean": 0.0, "std": 1.0})
    shown = ", ".join(readable.readable(value) for value, _ in values.most_common(4))
    middle = readable.readable(float(np.median(numbers[known])))
    codes = [value for value, count in values.items() if value in CODES and count >= 3]
    if codes:
        return [Finding("warning", "outliers", f"{column.name}: {', '.join(f'{code:g}' for code in codes)} in "
                        f"{counted(sum(values[code] for code in codes), 'row')} looks like a code for missing (the "
                        f"median is {middle}).", "Blank these cells, so that they count as missing.", len(rows_of),
                        joined.places(rows_of))]
    if len(rows_of) > FEW * int(known.sum()) + 3:
        return []
    return [Finding("warning", "outliers", f"{column.name}: {counted(len(rows_of), 'value')} far from the others: "
                    f"{shown}{' …' if len(values) > 4 else ''} (the median is {middle}).",
                    "Look for a slipped decimal point, another unit or a typing error.", len(rows_of),
                    joined.places(rows_of),
                    tuple(Example(f"row {row + 1}: {column.name} {readable.readable(float(numbers[row]))}", "",
                                  joined.places([row])) for row in rows_of[:NAMED]))]


def _robust_far(numbers: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(row,) whether a number is more than 8 robust deviations from the median."""
    middle = float(np.median(numbers[known]))
    apart = np.abs(numbers - middle)
    spread = 1.4826 * float(np.median(apart[known]))
    if spread == 0:  # more than half of the numbers are equal: the others' spread
        others = apart[known & (apart > 0)]
        spread = float(np.median(others)) if len(others) else 1.0
    return np.asarray(known & (apart > FAR * spread), dtype=bool)
