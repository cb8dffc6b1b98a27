"""Zero-shot: rows sorted into classes that training never saw, from the classes' names alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sensorium.answers import Answer
from sensorium.data.infer import target_is_missing
from sensorium.data.notation import category_key, category_text
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.data.table import Table
from sensorium.errors import AlignmentError, DataError, unknown_name
from sensorium.evaluation.embedder import Embedder, known, metrics_json, require_aligned, subset_of
from sensorium.evaluation.prompts import (
    PLACE,
    SCALE,
    class_embeddings,
    prompt_embeddings,
    text_modality,
    zero_shot_probabilities,
)
from sensorium.metrics.bootstrap import Estimate, Floats, estimate, replicate_weights
from sensorium.metrics.classification import accuracy, balanced_accuracy

UNKNOWN = -1
METRICS = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}


@dataclass(frozen=True)
class ZeroShotScore:
    """How well rows are sorted into classes by the names of these.

    Args:
        labels: the classes to choose from.
        templates: of the prompts.
        text: the modality that read the prompts.
        modalities: what was read of the rows.
        rows: rows scored.
        unlabelled: rows without a label, not scored.
        absent: labelled rows in which none of the modalities is readable, not scored.
        strangers: scored rows whose true class is not one of the labels; always wrong.
        unit: what the intervals resample.
        metrics: accuracy and balanced_accuracy.
        chance: the same of answers drawn evenly among the labels.
        majority: the same of always answering the most frequent class, which zero-shot cannot know.
        frequent: that class.
        confusion: (true class, answered class) rows; rows of strangers are not in it.
    """

    labels: tuple[str, ...]
    templates: tuple[str, ...]
    text: str
    modalities: tuple[str, ...]
    rows: int
    unlabelled: int
    absent: int
    strangers: int
    unit: Literal["rows", "groups"]
    metrics: dict[str, Estimate]
    chance: dict[str, float]
    majority: dict[str, float]
    frequent: str
    confusion: npt.NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        return {**plain, "metrics": metrics_json(self.metrics), "confusion": self.confusion.tolist()}


def zero_shot(
    model: Embedder, rows: Samples | Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | str | Path,
    labels: Sequence[str], *, text: str | None = None, templates: str | Sequence[str] = (PLACE,),
    modalities: str | Collection[str] | None = None, scale: float | None = None, root: str | Path = ".",
) -> list[Answer]:
    """The most similar label of each row, with probabilities. No label need ever have been seen in training.

    Args:
        model: whose embeddings of different modalities are in one space.
        rows: a decoded table, data from `sensorium.read`, the path of a table, or rows as dictionaries.
        labels: the classes to choose from, two at least, each once.
        text: the modality that reads the prompts; may be None where the model has one text modality only.
        templates: texts with exactly one {} each, where the label goes.
        modalities: what to read of the rows, as much of it as each has; None: all but the text modality.
        scale: 1 / temperature of the probabilities; None: the one learned in training, where there is one.
        root: the folder that paths in dictionaries start from.

    Returns:
        One answer a row; equal probabilities and no modalities where nothing is readable.

    Raises:
        AlignmentError: the model is not aligned or reads no text, or labels or templates are wrong.
        DataError: nothing is readable in any row.

    Example: zero_shot(model, "birds.csv", ["wren", "robin"], templates="a photo of a {}")[0].value
    """
    reader, subset = _sides(model, text, modalities)
    classes = class_embeddings(lambda prompts: prompt_embeddings(model, prompts, reader), labels, templates)
    samples = rows if isinstance(rows, Samples) else as_samples(rows, model.schema, root=root)
    probabilities = zero_shot_probabilities(
        model.embeddings(samples, np.arange(len(samples)), [frozenset(subset)], complete=False)[frozenset(subset)],
        classes, scale=(model.similarity_scale or SCALE) if scale is None else scale)
    there = ~np.isnan(probabilities).any(axis=1)
    if not there.any():
        raise DataError(f"nothing to read: none of {len(samples)} rows has {_any_of(subset)}")
    probabilities[~there] = 1 / len(labels)
    broken = _unreadable(samples, subset)
    places = [(model.schema.names.index(name), name) for name in subset]
    return [Answer(labels[int(own.argmax())], dict(zip(labels, own.tolist(), strict=True)),
                   tuple(name for place, name in places if samples.presence[row, place]),
                   unreadable=tuple(broken.get(row, ()))) for row, own in enumerate(probabilities)]


def zero_shot_scores(
    model: Embedder, samples: Samples, truth: Sequence[str | None], *, labels: Sequence[str] | None = None,
    text: str | None = None, templates: str | Sequence[str] = (PLACE,),
    modalities: str | Collection[str] | None = None, seed: int = 0,
) -> ZeroShotScore:
    """Score zero-shot answers on rows whose class is known.

    Args:
        model: whose embeddings of different modalities are in one space.
        samples: a decoded table.
        truth: (row,) the class of every row of the table, see `column_labels`; rows with None are not read.
        labels: the classes to choose from; None: all that the rows have, in alphabetical order.
        text, templates, modalities: as for `zero_shot`.
        seed: of the bootstrap over rows, or over groups where the table has them.

    Raises:
        AlignmentError: the model is not aligned or reads no text, or there are fewer than two classes.
        DataError: `truth` has another length than the table, or no row with a class can be read.

    Example: zero_shot_scores(model, samples, column_labels(table, "species")).metrics["accuracy"].value
    """
    reader, subset = _sides(model, text, modalities)
    if len(truth) != len(samples):
        raise DataError(f"expected a class or None for each of {len(samples)} rows, found {len(truth)}")
    rows = np.array([row for row, one in enumerate(truth) if one is not None], dtype=np.int64)
    own = [one for one in truth if one is not None]
    names = sorted(set(own)) if labels is None else list(labels)
    classes = class_embeddings(lambda prompts: prompt_embeddings(model, prompts, reader), names, templates)
    vectors = model.embeddings(samples, rows, [frozenset(subset)], complete=False)[frozenset(subset)]
    kept = known(vectors)
    if not kept.any():
        raise DataError(f"nothing to score: of {len(samples)} rows {len(rows)} have a class, and none of these has "
                        f"{_any_of(subset)}")
    numbers = {category_key(name): number for number, name in enumerate(names)}
    true = np.array([numbers.get(category_key(one), UNKNOWN) for one in own], dtype=np.int64)[kept]
    probabilities = zero_shot_probabilities(vectors[kept], classes)
    groups = None if samples.groups is None else samples.groups[rows[kept]]
    resampling = replicate_weights(int(kept.sum()), groups, seed=seed)
    counts = np.bincount(true[true >= 0], minlength=len(names))
    return ZeroShotScore(
        tuple(names), (templates,) if isinstance(templates, str) else tuple(templates), reader, subset,
        int(kept.sum()), len(samples) - len(rows), int((~kept).sum()), int((true < 0).sum()), resampling.unit,
        {name: estimate(metric, true, probabilities, resampling) for name, metric in METRICS.items()},
        dict.fromkeys(METRICS, 1 / len(names)), _constant(true, int(counts.argmax()), len(names)),
        names[int(counts.argmax())], _confusion(true, probabilities))


def column_labels(table: Table, column: str) -> list[str | None]:
    """The classes in a column of a table, None where a cell is blank; spellings of one class become one.

    Raises:
        DataError: the table lacks the column.
    """
    if column not in table.frame.columns:
        raise DataError(f"{table.source}: {unknown_name('column', column, table.frame.columns)}")
    spelled: dict[str, str] = {}
    values = table.frame[column].to_list()
    return [None if target_is_missing(value) else spelled.setdefault(category_key(value), category_text(value))
            for value in values]


def zero_shot_lines(score: ZeroShotScore) -> list[str]:
    """A Markdown table for the terminal, with what was left out under it."""
    from sensorium.evaluation.scores import METRIC_WORDS
    from sensorium.evaluation.words import aligned

    title = f"zero-shot, {len(score.labels)} classes by {score.text}"
    table = [[title, "rows", *(METRIC_WORDS[name] for name in METRICS)]]
    spread = [f"{one.value:.3f} ({one.low:.3f}–{one.high:.3f})" for one in score.metrics.values()]
    table += [[" + ".join(score.modalities), f"{score.rows:,}", *spread]]
    table += [[word, "", *(f"{value:.3f}" for value in values.values())]
              for word, values in (("by chance", score.chance), (f"always {score.frequent!r}", score.majority))]
    left = [f"{count:,} rows {why}" for count, why in (
        (score.unlabelled, "have no class and are left out"),
        (score.absent, f"have no {' or '.join(score.modalities)} and are left out"),
        (score.strangers, "are of a class that is not among the labels and count as wrong")) if count]
    return aligned(table) + left


def _sides(model: Embedder, text: str | None, modalities: str | Collection[str] | None) -> tuple[str, tuple[str, ...]]:
    """The modality that reads prompts, and the modalities that are read of rows."""
    require_aligned(model, "zero-shot")
    reader = text_modality(model.schema, text)
    others = [name for name in model.schema.names if name != reader]
    if modalities is None and not others:
        raise AlignmentError(f"zero-shot needs a modality besides {reader!r}, which reads the prompts; the model has "
                             f"{len(model.schema.names)}")
    return reader, subset_of(model.schema, others if modalities is None else modalities)


def _constant(truth: npt.NDArray[np.int64], answer: int, num_classes: int) -> dict[str, float]:
    """The metrics of always giving one answer."""
    same = np.tile(np.eye(num_classes)[answer], (len(truth), 1))
    return {name: float(np.asarray(metric(truth, same))) for name, metric in METRICS.items()}


def _confusion(truth: npt.NDArray[np.int64], probabilities: Floats) -> npt.NDArray[np.int64]:
    """(true class, answered class) rows."""
    counts = np.zeros((probabilities.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (truth[truth >= 0], probabilities.argmax(axis=1)[truth >= 0]), 1)
    return counts


def _unreadable(samples: Samples, subset: Sequence[str]) -> dict[int, list[str]]:
    """Row → its cells of these modalities that cannot be read, in words."""
    broken: dict[int, list[str]] = {}
    for name in subset:
        for cell in samples.cells[name].unreadable:
            broken.setdefault(cell.row - 1, []).append(f"{cell.column}: {cell.reason}")
    return broken


def _any_of(subset: Sequence[str]) -> str:
    return f"a readable {' or '.join(subset)}"


__all__ = ["ZeroShotScore", "class_embeddings", "column_labels", "zero_shot", "zero_shot_lines",
           "zero_shot_probabilities", "zero_shot_scores"]
