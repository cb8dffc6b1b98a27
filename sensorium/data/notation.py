"""How people write values: missing words, numbers with commas and units, dates in several orders, categories."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from sensorium.errors import BadCell

MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "null", "none", "nil", "?", "-", "--", "missing", "#n/a", "<na>",
                           "nat", "#div/0!", "#value!", "#ref!", "#null!", "#num!", "#name?"})
LONGEST_NUMBER = 60
EPOCH = datetime(1970, 1, 1)
MONTHS = {name: number for number, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1)}
_SPACES = re.compile(r"[\s\u00a0\u2009\u202f]")
_DIGITS = r"[+\-\u2212]?(?:\d[\d.,'\u00a0\u2009\u202f ]*|[.,]\d+)(?:[eE][+\-]?\d+)?"
_WITH_UNIT = re.compile(rf"^([+\-\u2212]?)\s*((?:[A-Z]{{1,3}})?[$€£¥₹₩₽])?\s*({_DIGITS})\s*"
                        r"([%‰°€£$¥₹]|[°µμ]?[A-Za-z]{1,6}(?:[/·*^]?[A-Za-z0-9²³]{1,4}){0,2}|[A-Z]{3})?$")
_THOUSANDS = {".": re.compile(r"^[+-]?[1-9]\d{0,2}(?:[,'\s]\d{3})+(?:\.\d*)?$"),
              ",": re.compile(r"^[+-]?[1-9]\d{0,2}(?:[.'\s]\d{3})+(?:,\d*)?$")}
_DECIMAL_COMMA = re.compile(r"^[+-]?\d*,\d+(?:[eE][+-]?\d+)?$")
_DAY = re.compile(r"^(\d{1,4})([-/. ])(\d{1,2})\2(\d{1,4})(?:[T ,]\s*(.+))?$")
_DAY_IN_WORDS = re.compile(r"^(?:(\d{1,2})[-/. ]+([A-Za-z]{3,9})|([A-Za-z]{3,9})\.?\s+(\d{1,2})(?:st|nd|rd|th)?)"
                           r"[-/., ]+(\d{4}|\d{2})(?:[T ,]\s*(.+))?$")
_CLOCK = re.compile(r"^(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?\s*([AaPp]\.?[Mm]\.?)?$")
_WHOLE = re.compile(r"^-?\d+\.0+$")


class Notation(BaseModel):
    """How a column writes its numbers and dates.

    Args:
        decimal: what stands before the fraction; the other sign groups thousands.
        unit: what stands before or behind every number ("kg", "$", "%"); numbers without it count as the same unit.
        day_first: whether 3/4/2020 is the third of April.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    decimal: Literal[".", ","] = "."
    unit: str = ""
    day_first: bool = True


PLAIN = Notation()


def number_notation(values: Sequence[Any]) -> Notation:
    """The notation in which most of the values are numbers."""
    units: Counter[str] = Counter()
    commas = dots = 0
    for value in values:
        if not isinstance(value, str) or len(value) > LONGEST_NUMBER:
            continue
        found = _WITH_UNIT.match(value.strip())
        if found is None or (found[2] and found[4]):
            continue
        units[found[2] or found[4] or ""] += 1
        number = found[3].strip().replace("\u2212", "-")
        if "," in number and not _THOUSANDS["."].match(number):
            commas += bool(_DECIMAL_COMMA.match(number) or _THOUSANDS[","].match(number))
        elif "." in number and not _THOUSANDS[","].match(number):
            dots += 1
    unit = max((u for u in units if u), key=lambda u: units[u], default="")
    if units[unit] < 0.5 * sum(units.values()):
        unit = ""
    return Notation(decimal="," if commas > dots else ".", unit=unit)


def date_notation(values: Sequence[Any]) -> tuple[Notation, str]:
    """Whether the day or the month stands first, and how sure that is."""
    day = month = other = 0
    for value in values:
        found = _DAY.match(value.strip()) if isinstance(value, str) else None
        if found is None or len(found[1]) > 2:
            other += 1
            continue
        first, second = int(found[1]), int(found[3])
        day += first > 12
        month += second > 12
    if other == len(values):
        return PLAIN, "dates"
    if month > day:
        return Notation(day_first=False), "dates, the month before the day"
    return PLAIN, "dates, the day before the month" if day else "dates, read with the day before the month"


def is_missing(value: Any) -> bool:
    """Whether a table cell counts as missing: None, NaN, NaT, blank, or a word such as NA."""
    if value is None:
        return True
    if isinstance(value, str):
        return value.strip().lower() in MISSING_WORDS
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return type(value).__name__ in ("NAType", "NaTType")


def parse_number(value: Any, notation: Notation = PLAIN) -> float:
    """A finite number. Raises BadCell."""
    try:
        number = float(_plain(value, notation) if isinstance(value, str) else value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise BadCell(f"not a number: {_short(value)}") from error
    if isinstance(value, bytes) or not math.isfinite(number):
        raise BadCell(f"not a {'' if isinstance(value, bytes) else 'finite '}number: {_short(value)}")
    return number


def _plain(value: str, notation: Notation) -> str:
    """The number as Python writes it, where the notation says how."""
    text = value.strip().replace("\u2212", "-")
    if notation.unit and notation.unit in text:
        sign, text = (text[0], text[1:].lstrip()) if text[0] in "+-" else ("", text)
        text = (sign + text.removeprefix(notation.unit).removesuffix(notation.unit).strip()).replace("--", "?")
    if _THOUSANDS[notation.decimal].match(text):
        text = _SPACES.sub("", text.replace("," if notation.decimal == "." else ".", "").replace("'", ""))
        return text.replace(",", ".")
    if notation.decimal == "," and _DECIMAL_COMMA.match(text):
        return text.replace(",", ".")
    return text.replace("_", "?")  # Python reads 1_000 as a number; people do not


def parse_date(value: Any, notation: Notation = PLAIN) -> float:
    """Days since 1970-01-01 (UTC where a zone is given); of a time of day, its share of the day. Raises BadCell."""
    try:
        moment = _moment(value.strip(), notation) if isinstance(value, str) else value
        if isinstance(moment, datetime):
            if moment.tzinfo is not None:
                moment = moment.astimezone(UTC).replace(tzinfo=None)
            return (moment - EPOCH).total_seconds() / 86400.0
        if isinstance(moment, date):
            return float((moment - EPOCH.date()).days)
        if isinstance(moment, time):
            return (moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6) / 86400.0
        if isinstance(moment, timedelta):
            return moment.total_seconds() / 86400.0
    except (ValueError, ArithmeticError) as error:
        raise BadCell(f"not a date: {_short(value)}") from error
    raise BadCell(f"not a date: {_short(value)}")


def _moment(text: str, notation: Notation) -> datetime | time:
    """A date or time in one of the usual notations. Raises ValueError."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    if clock := _CLOCK.match(text):
        return _clock(clock)
    if found := _DAY.match(text):
        first, middle, last = int(found[1]), int(found[3]), int(found[4])
        if len(found[1]) == 4:
            year, month, day = first, middle, last
        else:
            day, month = (first, middle) if notation.day_first else (middle, first)
            year = _year(last, len(found[4]))
        rest = found[5]
    elif words := _DAY_IN_WORDS.match(text):
        month = MONTHS.get((words[2] or words[3])[:3].lower(), 0)
        day, year, rest = int(words[1] or words[4]), _year(int(words[5]), len(words[5])), words[6]
    else:
        raise ValueError("not a date")
    if rest is None:
        return datetime(year, month, day)
    if (clock := _CLOCK.match(rest.strip())) is None:
        raise ValueError("not a time")
    return datetime.combine(date(year, month, day), _clock(clock))


def _clock(found: re.Match[str]) -> time:
    hour, half = int(found[1]), (found[4] or "").lower()[:1]
    if half:
        if not 1 <= hour <= 12:
            raise ValueError("not an hour of half a day")
        hour = hour % 12 + (12 if half == "p" else 0)
    seconds = float(found[3] or 0.0)
    return time(hour, int(found[2]), int(seconds), round((seconds % 1) * 1e6) % 1_000_000)


def _year(number: int, digits: int) -> int:
    if digits not in (2, 4):
        raise ValueError("not a year")
    return number if digits == 4 else number + (2000 if number < 69 else 1900)


def category_text(value: Any) -> str:
    """A category's name: integral numbers without a fraction, booleans in lower case."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace").strip()
    return str(value).strip()


def category_key(value: Any) -> str:
    """What makes two spellings one category: True = TRUE = true, yes = Yes, 1 = 1.0, é = é. Case counts otherwise."""
    text = unicodedata.normalize("NFC", category_text(value))
    if text.lower() in ("true", "false", "yes", "no"):
        return text.lower()
    return text.split(".")[0] if _WHOLE.match(text) else text


def spellings(values: Sequence[Any]) -> Counter[str]:
    """Categories (each in its most frequent spelling) and how often they occur."""
    by_key: dict[str, Counter[str]] = {}
    for text, count in Counter(map(category_text, values)).items():
        by_key.setdefault(category_key(text), Counter())[text] += count
    return Counter({min(texts, key=lambda t: (-texts[t], t)): sum(texts.values()) for texts in by_key.values()})


def _short(value: Any) -> str:
    return repr(str(value)[:40]) if not isinstance(value, bytes) else "bytes"
