"""Cells that can be read but look wrong: silence, one colour, a constant signal, far too short or long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.cells import Cells
from sensorium.data.checks.findings import Example, Finding, counted
from sensorium.data.checks.joined import Joined
from sensorium.data.kinds.base import Array, Kind

AT_ONCE = 256
FAINT, CLIPPED, CLIPPED_SHARE = 1e-3, 0.999, 0.05
PLAIN_RANGE, PLAIN_SPREAD = 4, 1.0
FAR, TIMES, AT_LEAST = 6.0, 8.0, 20
WRONG_LETTERS = ("\ufffd", "Ã©", "Ã¨", "Ã¼", "Ã¶", "Ã¤", "â€", "Â°", "ï»¿")
SHOWN = 6


def _picture(array: npt.NDArray[np.uint8], _: Kind) -> str | None:
    if int(array.max()) - int(array.min()) <= PLAIN_RANGE or float(array.std(axis=(0, 1)).max()) < PLAIN_SPREAD:
        return "of one colour"
    return None


def _sound(array: npt.NDArray[np.float32], _: Kind) -> str | None:
    size = np.abs(array)
    peak = float(size.max())
    if peak < FAINT:
        return "silent"
    if peak >= 0.98 and float((size >= CLIPPED * peak).mean()) > CLIPPED_SHARE:
        return "clipped (recorded too loud)"
    return None


def _text(array: str, _: Kind) -> str | None:
    if any(sign in array for sign in WRONG_LETTERS):
        return "with letters of a wrong encoding"
    if not any(letter.isalnum() for letter in array):
        return "without a letter or digit"
    return None


def _clip(array: Any, _: Kind) -> str | None:
    frames = array.frames
    if int(frames.max()) - int(frames.min()) <= PLAIN_RANGE:
        return "of one colour throughout"
    if len(frames) > 1 and np.array_equal(frames.min(axis=0), frames.max(axis=0)):
        return "standing still (every frame is the same)"
    return None


def _recording(array: Any, kind: Any) -> str | None:
    values = array.values
    there = np.isfinite(values)
    if not there.any():
        return "without a reading"
    low = np.where(there, values, np.inf).min(axis=0)
    high = np.where(there, values, -np.inf).max(axis=0)
    flat = there.any(axis=0) & (high - low <= 1e-9 * np.maximum(1.0, np.abs(high)))
    if len(values) > 1 and flat.all():
        return "constant"
    if len(values) > 1 and flat.any():
        return f"constant in {', '.join(np.array(kind.channels)[flat].tolist())}"
    return "mostly gaps" if float(there.any(axis=1).mean()) < 0.1 else None


def _cloud(array: npt.NDArray[Any], _: Kind) -> str | None:
    return "without a point" if len(array) == 0 else None


FAULTS: dict[str, Callable[[Any, Any], str | None]] = {
    "image": _picture, "audio": _sound, "text": _text, "video": _clip, "series": _recording, "points": _cloud,
}
NOUNS = {"image": ("picture", "pictures"), "audio": ("sound", "sounds"), "text": ("text", "texts"),
         "video": ("clip", "clips"), "series": ("recording", "recordings"), "points": ("cloud", "clouds"),
         "table": ("row", "rows")}
MEASURED_IN = {"audio": "samples", "text": "characters", "video": "frames", "series": "steps", "points": "points"}


def find_suspicious(joined: Joined) -> list[Finding]:
    """Faults that a cell shows on its own, and lengths far from the other cells'."""
    found = []
    for modality in joined.schema.modalities:
        if modality.kind.name in FAULTS:
            cells = joined.sides[0].samples.cells[modality.name]
            found += _faults(joined, modality.name, cells)
            if modality.kind.name in MEASURED_IN:
                found += _lengths(joined, modality.name, cells)
    return found


def rows_with(cells: Cells, wanted: npt.NDArray[np.int64]) -> list[int]:
    """The rows that have one of these cells."""
    return np.flatnonzero(np.isin(cells.cells_of_row, wanted).any(axis=1)).tolist() if len(wanted) else []


def _faults(joined: Joined, name: str, cells: Cells) -> list[Finding]:
    kind = cells.kind
    reasons: dict[str, list[int]] = defaultdict(list)
    for start in range(0, len(cells.arrays), AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, len(cells.arrays)))
        for number, array in zip(numbers, cells.arrays.get(numbers), strict=True):
            reason = FAULTS[kind.name](array, kind)
            if reason is not None:
                reasons[reason].append(number)
    found = []
    for reason, numbers_of in reasons.items():
        rows = rows_with(cells, np.array(numbers_of))
        found.append(Finding(
            "note" if kind.name == "points" else "warning", "suspicious",
            f"{name}: {counted(len(numbers_of), *NOUNS[kind.name])} {reason}.",
            "Look at them; blank the cells if nothing was recorded, so that they count as missing.",
            len(rows), joined.places(rows),
            tuple(Example(f"row {row + 1}: {reason}", name, joined.places([row])) for row in rows[:SHOWN])))
    return found


def _lengths(joined: Joined, name: str, cells: Cells) -> list[Finding]:
    """Cells eight times shorter or longer than the median, and far out on a logarithmic scale."""
    kind = cells.kind
    lengths = _sizes(cells)
    if len(lengths) < AT_LEAST:
        return []
    logs = np.log(np.maximum(lengths, 1.0))
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), 0.1)
    far = np.abs(logs - middle) > max(FAR * spread, float(np.log(TIMES)))
    found = []
    for word, which in (("short", far & (logs < middle)), ("long", far & (logs > middle))):
        numbers = np.flatnonzero(which)
        if len(numbers) == 0 or len(numbers) > 0.05 * len(lengths):
            continue
        rows = rows_with(cells, numbers)
        extreme = lengths[numbers].min() if word == "short" else lengths[numbers].max()
        found.append(Finding(
            "warning" if word == "short" else "note", "suspicious",
            f"{name}: {counted(len(numbers), *NOUNS[kind.name])} far too {word}: "
            f"{_measured(kind, float(extreme))} where the median is {_measured(kind, float(np.median(lengths)))}.",
            "Look at them: a cut recording, an empty form, several records in one?", len(rows), joined.places(rows),
            tuple(Example(f"row {row + 1}: {word}", name, joined.places([row])) for row in rows[:SHOWN])))
    return found


def _sizes(cells: Cells) -> npt.NDArray[np.float64]:
    """(cell,) positions; of texts, characters, which no kind cuts."""
    if cells.kind.name != "text":
        return cells.lengths.astype(np.float64)
    return np.array([len(text) for text in cells.arrays.get(range(len(cells.arrays)))], dtype=np.float64)


def _measured(kind: Kind, length: float) -> str:
    """A length in words."""
    if kind.name in ("audio", "video", "series"):
        rate: Array = getattr(kind, "rate", None)
        if rate:
            return f"{length / float(rate):.3g} s"
    return f"{length:,.0f} {MEASURED_IN[kind.name]}"
