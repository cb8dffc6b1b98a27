"""The leak guard: an input from which the target can be read on its own is refused."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.kinds import TableKind, TextKind
from sensorium.data.kinds.table import TableColumn
from sensorium.data.samples import read_labels
from sensorium.data.schema import Schema
from sensorium.data.table import Table
from sensorium.errors import BadCell, LeakError
from sensorium.keyed import Draws

READABLE = 0.99
MAJORITY = 0.80
COPIED = 0.9999
LOOKED_AT = 2000
MIN_ROWS = 40
_UNSPACED = r"\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
WORD = rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]"  # characters where words are not spaced


@dataclass(frozen=True)
class Leak:
    """A column that gives a target away; score is the held-out accuracy, or r² for numbers."""

    column: str
    target: str
    score: float


def find_leaks(table: Table, schema: Schema, *, seed: int = 0) -> list[Leak]:
    """The input columns from which a target can be read above 99 % where the majority is below 80 %.

    Each text or table column on its own is given to a shallow model fitted on one half of at most 2,000 rows and
    scored on the other. Pictures and sounds are not looked into: reading a target from them is what a model is for.
    """
    found = []
    for target in schema.targets:
        labels = read_labels(table, target)
        rows = np.flatnonzero(labels.mask)
        rows = rows[Draws(seed, 0, rows).order("leak")][:LOOKED_AT]
        if len(rows) < MIN_ROWS:
            continue
        truth = labels.values[rows]
        if target.task == "classify" and np.bincount(truth.astype(np.int64)).max() / len(rows) >= MAJORITY:
            continue
        for modality in schema.modalities:
            if not isinstance(modality.kind, TextKind | TableKind) or modality.part:
                continue
            for column in modality.columns:
                values = table.frame[column][rows.astype(np.uint32)].to_list()
                score = _score(modality.kind, column, values, truth, target.task == "classify")
                if score > (READABLE if target.task == "classify" else COPIED):
                    found.append(Leak(column, target.name, score))
    return found


def refuse_leaks(leaks: list[Leak]) -> None:
    """Raise LeakError naming the columns and the option that leaves them out."""
    if not leaks:
        return
    first = leaks[0]
    columns = list(dict.fromkeys(leak.column for leak in leaks))
    listed = "; ".join(f"{leak.target!r} can be read from {leak.column!r} alone ({leak.score:.1%} on held-out rows)"
                       for leak in leaks[:5])
    remedy = " ".join(f"--ignore {column}" for column in columns)
    raise LeakError(f"an input gives the target away: {listed}; leave it out with {remedy}, or keep "
                    f"{'it' if len(columns) == 1 else 'them'} with --allow-leak if {first.column!r} will be known "
                    f"when predicting")


def _score(
    kind: TextKind | TableKind, column: str, values: list[Any],
    truth: npt.NDArray[Any], classify: bool,
) -> float:
    """Held-out accuracy (or r²) of the target from one column, where it has a value; 0 where most rows have none."""
    if isinstance(kind, TextKind):
        known = np.array([v is not None and bool(str(v).strip()) for v in values])
        if not classify or not _enough(known):
            return 0.0
        return _text_score([str(v) for v, there in zip(values, known.tolist(), strict=True) if there], truth[known])
    definition = next(c for c in kind.columns if c.name == column).measure(values)
    numbers = np.array([_parsed(definition, v) for v in values], dtype=np.float64)
    known = np.isfinite(numbers)
    if not _enough(known):
        return 0.0
    numbers, truth = numbers[known], truth[known]
    if not classify:
        if definition.type == "category" or numbers.std() == 0 or truth.std() == 0:
            return 0.0
        return float(np.corrcoef(numbers, truth.astype(float))[0, 1] ** 2)
    from sklearn.tree import DecisionTreeClassifier

    half = len(numbers) // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # many classes: not a matter for a person at a terminal
        tree = DecisionTreeClassifier(random_state=0).fit(numbers[:half, None], truth[:half])
    return _accuracy(tree.predict(numbers[half:, None]), truth, half)


def _enough(known: npt.NDArray[np.bool_]) -> bool:
    return bool(known.mean() >= 0.5 and known.sum() >= MIN_ROWS)


def _text_score(texts: list[str], truth: npt.NDArray[Any]) -> float:
    """Held-out accuracy of a linear model on which words (and single characters) a text holds."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import RidgeClassifier

    half = len(texts) // 2
    if len(np.unique(truth[:half])) < 2:
        return 0.0
    words = CountVectorizer(token_pattern=WORD, binary=True, max_features=5000)
    seen = words.fit_transform(texts[:half])
    model = RidgeClassifier(alpha=0.1).fit(seen, truth[:half])
    return _accuracy(model.predict(words.transform(texts[half:])), truth, half)


def _accuracy(predicted: npt.NDArray[Any], truth: npt.NDArray[Any], half: int) -> float:
    """On the second half, in its rows of classes that the first half has."""
    known = np.isin(truth[half:], truth[:half])
    return float((predicted == truth[half:])[known].mean()) if known.any() else 0.0


def _parsed(column: TableColumn, value: Any) -> float:
    try:
        return column.parse(value)
    except BadCell:
        return float("nan")


