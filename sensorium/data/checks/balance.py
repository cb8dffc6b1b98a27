"""Classes: how many rows each has, whether some are too rare, whether the parts have the same ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensorium.data.checks.findings import Finding, counted
from sensorium.data.checks.joined import Joined
from sensorium.data.schema import Target

RARE, UNBALANCED = 10, 20.0
SHIFTED, SURE = 0.1, 5.0
NAMED = 6
UNSEEN = "(unseen)"


def class_counts(joined: Joined, target: Target) -> dict[str, list[int]]:
    """class → rows in each part; classes that the first table lacks count as UNSEEN."""
    counts = np.zeros((len(target.classes) + 1, len(joined.part_names)), dtype=np.int64)
    start = 0
    for side in joined.sides:
        labels = side.samples.labels.get(target.name)
        rows = len(side.samples)
        if labels is not None:
            codes = labels.values.astype(np.int64)[labels.mask]
            np.add.at(counts, (codes, joined.parts[start : start + rows][labels.mask]), 1)
        start += rows
    found = {word: counts[code].tolist() for code, word in enumerate(target.classes)}
    return {**found, UNSEEN: counts[-1].tolist()} if counts[-1].any() else found


def find_imbalance(joined: Joined) -> list[Finding]:
    """Rare classes, a majority that hides the others, rows without a label, parts with other classes or shares."""
    found = []
    for target in joined.schema.targets:
        labels = joined.sides[0].samples.labels[target.name]
        unlabelled = np.flatnonzero(~labels.mask).tolist()
        if unlabelled:
            found.append(Finding("note", "labels", f"{target.name}: {counted(len(unlabelled), 'row')} without a label.",
                                 "They teach this target nothing; rows without any label are left out.",
                                 len(unlabelled), joined.places(unlabelled)))
        if target.task == "classify":
            found += _rare(joined, target) + _between_parts(joined, target)
    return found


def _rare(joined: Joined, target: Target) -> list[Finding]:
    labels = joined.sides[0].samples.labels[target.name]
    counts = np.bincount(labels.values[labels.mask].astype(np.int64), minlength=len(target.classes))
    order = np.argsort(counts, kind="stable")
    rare = [code for code in order.tolist() if counts[code] < RARE]
    found = []
    if rare:
        named = ", ".join(f"{target.classes[code]} {counts[code]}" for code in rare[:NAMED])
        rows = np.flatnonzero(labels.mask & np.isin(labels.values, rare)).tolist()
        found.append(Finding("warning", "balance", f"{target.name}: {counted(len(rare), 'class', 'classes')} of "
                             f"{len(counts)} with fewer than {RARE} rows ({named}{' …' if len(rare) > NAMED else ''}).",
                             "Collect more, or merge them: a split may leave none to learn from or to test on.",
                             len(rows), joined.places(rows)))
    most, least = int(counts[order[-1]]), int(counts[order[0]])
    if most >= UNBALANCED * max(1, least):
        found.append(Finding("note", "balance", f"{target.name}: {target.classes[int(order[-1])]} has {most:,} rows "
                             f"({most / counts.sum():.0%}), {target.classes[int(order[0])]} {least:,}.",
                             "Judge by balanced accuracy; --balance trains for it.", most))
    return found


def _between_parts(joined: Joined, target: Target) -> list[Finding]:
    """Classes that a later part has and the first has not, and shares that differ beyond chance."""
    by_class = class_counts(joined, target)
    words = list(by_class)
    table = np.array(list(by_class.values()))
    found = []
    for later in range(1, len(joined.part_names)):
        names = joined.part_names[0], joined.part_names[later]
        first, second = table[:, 0], table[:, later]
        if first.sum() == 0 or second.sum() == 0:
            continue
        new = [word for word, a, b in zip(words, first.tolist(), second.tolist(), strict=True) if b and not a]
        if new:
            rows = int(second[[words.index(word) for word in new]].sum())
            labels = [side.samples.labels.get(target.name) for side in joined.sides]
            unseen = [word for one in labels if one is not None for word in one.unseen] if UNSEEN in new else []
            named = [word for word in new if word != UNSEEN] + list(dict.fromkeys(unseen))
            found.append(Finding("serious", "balance", f"{target.name}: {counted(rows, 'row')} of {names[1]} with "
                                 f"{counted(len(named), 'class', 'classes')} that {names[0]} lacks "
                                 f"({', '.join(map(repr, named[:NAMED]))}).",
                                 "A model cannot know them: these rows count as wrong.", rows))
        apart = 0.5 * float(np.abs(first / first.sum() - second / second.sum()).sum())
        if apart > SHIFTED and _beyond_chance(first, second):
            word = words[int(np.argmax(np.abs(first / first.sum() - second / second.sum())))]
            shares = [int(table[words.index(word), part]) / int(table[:, part].sum()) for part in (0, later)]
            found.append(Finding("warning", "balance", f"{target.name}: the classes of {names[1]} are shared out "
                                 f"otherwise than those of {names[0]}, most of all {word} ({shares[1]:.0%} for "
                                 f"{shares[0]:.0%}).", "Probabilities learned on one do not fit the other.",
                                 int(second.sum())))
    return found


def _beyond_chance(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> bool:
    """Whether χ² of the two rows of counts lies 5 of its deviations above its mean."""
    table = np.stack([first, second])[:, (first + second) > 0].astype(np.float64)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    free = table.shape[1] - 1
    return bool(free > 0 and ((table - expected) ** 2 / expected).sum() > free + SURE * (2 * free) ** 0.5)
