"""Few-shot: how good a linear probe on frozen embeddings becomes with 1, 2, 4 … examples of each class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.data.samples import Samples
from sensorium.errors import AlignmentError, DataError
from sensorium.evaluation.embedder import Embedder, known, metrics_json, subset_of
from sensorium.evaluation.probe import linear_probe, nearest_mean
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import Estimate, Floats, Ints
from sensorium.metrics.classification import accuracy, balanced_accuracy

Labels = Sequence[str | int | None] | npt.NDArray[Any]
SHOTS = (1, 2, 4, 8, 16)
LEVEL = 0.95
METRICS = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}


@dataclass(frozen=True)
class FewShotScore:
    """What a number of examples of each class is enough for.

    Args:
        shots: examples of each class; fewer for a class that has fewer.
        draws: how often examples were drawn.
        train_rows: examples in one draw.
        test_rows: rows scored, the same in every draw.
        num_classes: classes that the probe chooses from.
        probe: accuracy and balanced accuracy of logistic regression: means over draws with Student's 95 % interval,
            which tells how they depend on the examples drawn, not on the test rows; NaN ends for a single draw.
        centroid: the same of the nearest class mean.
        probe_draws, centroid_draws: accuracy in each draw.
        inverse_penalties: the C that each draw's cross-validation chose.
        short: class → its number of examples, where these are fewer than `shots`.
    """

    shots: int
    draws: int
    train_rows: int
    test_rows: int
    num_classes: int
    probe: dict[str, Estimate]
    centroid: dict[str, Estimate]
    probe_draws: tuple[float, ...]
    centroid_draws: tuple[float, ...]
    inverse_penalties: tuple[float, ...]
    short: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}
        return {**plain, "probe": metrics_json(self.probe), "centroid": metrics_json(self.centroid)}


@dataclass(frozen=True)
class FewShot:
    """Scores for growing numbers of examples, and what was noticed, a line each.

    Args:
        scores: in the order of their shots.
        majority: the accuracy of always answering the test rows' most frequent class.
        majority_balanced: its balanced accuracy: 1 / the classes of the test rows.
        chance: the accuracy of answers drawn evenly among the training classes.
        notes: rows left out, classes with few examples, numbers of shots that no class has.
    """

    scores: list[FewShotScore]
    majority: float
    majority_balanced: float
    chance: float
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"scores": [score.to_json() for score in self.scores], "majority": self.majority,
                "majority_balanced": self.majority_balanced, "chance": self.chance,
                "notes": self.notes}


def few_shot(
    embeddings: npt.NDArray[Any], labels: Labels, test_embeddings: npt.NDArray[Any], test_labels: Labels, *,
    shots: Sequence[int] = SHOTS, seeds: int = 5, seed: int = 0,
) -> FewShot:
    """Fit a linear probe on some examples of each class, several times, and score it on the test rows.

    The probe is logistic regression whose C is chosen by cross-validation within the examples where a class has two;
    beside it stands the nearest class mean by cosine. The examples of 2 shots include those of 1, and so on, so that
    more shots never mean other examples. A test row of a class that training lacks is always wrong.

    Args:
        embeddings, test_embeddings: (row, width) of any length; rows with NaN are left out and counted.
        labels, test_labels: (row,) classes; rows with None or "" are left out and counted.
        shots: numbers of examples of each class; those larger than every class are left out and noted, but for the
            smallest where all are.
        seeds: draws of the examples.
        seed: draw d depends on (seed, d) and the rows' numbers alone.

    Raises:
        AlignmentError: shapes disagree, shots or seeds are below 1.
        DataError: fewer than two classes to train on, or no test row.

    Example:
        >>> random = np.random.default_rng(0)
        >>> classes = np.arange(80) % 2
        >>> rows = np.eye(8)[classes] + 0.1 * random.normal(size=(80, 8))
        >>> found = few_shot(rows[:40], classes[:40], rows[40:], classes[40:], shots=[1, 4])
        >>> [(one.shots, one.probe["accuracy"].value) for one in found.scores]
        [(1, 1.0), (4, 1.0)]
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if seeds < 1 or not shots or min(shots) < 1:
        raise AlignmentError(f"expected at least one number of shots and one draw, each 1 or more, found shots "
                             f"{list(shots)} and {seeds} draws")
    notes: list[str] = []
    train, names = _readable(embeddings, labels, "training", notes)
    test, test_names = _readable(test_embeddings, test_labels, "test", notes)
    if train.shape[1] != test.shape[1]:
        raise AlignmentError(f"expected training and test embeddings of one width, found {train.shape} and "
                             f"{test.shape}")
    classes = list(dict.fromkeys(sorted(names)))
    if len(classes) < 2:
        raise DataError(f"few-shot needs at least 2 classes to train on, found {len(classes)} in {len(train)} rows"
                        f"{f': all are {classes[0]!r}' if classes else ''}")
    if not len(test):
        raise DataError("few-shot needs test rows with a class and an embedding, found none")
    strangers = sorted(set(test_names) - set(classes))
    numbers = {name: number for number, name in enumerate([*classes, *strangers])}
    truth = np.array([numbers[name] for name in names])
    test_truth = np.array([numbers[name] for name in test_names])
    unknown = int((test_truth >= len(classes)).sum())
    if unknown:
        notes.append(f"{unknown:,} test rows are of a class without a training example and count as wrong")
    places = [_places(truth, len(classes), seed, draw) for draw in range(seeds)]
    usable = _usable(sorted(set(shots)), np.bincount(truth, minlength=len(classes)), classes, notes)
    with threadpool_limits(1):  # small fits gain nothing from threads, which wait for each other where cores are busy
        scores = [_score(number, places, (train, truth), (test, test_truth), classes) for number in usable]
    common = np.bincount(test_truth)
    chance = (len(test) - unknown) / len(test) / len(classes)
    return FewShot(scores, float(common.max() / len(test)), 1 / int((common > 0).sum()), chance, notes)


def few_shot_scores(
    model: Embedder, train: tuple[Samples, Labels], test: tuple[Samples, Labels], *,
    modalities: str | Collection[str] | None = None, shots: Sequence[int] = SHOTS, seeds: int = 5, seed: int = 0,
) -> FewShot:
    """Few-shot on a model's embeddings of two tables; each labelled row is embedded once.

    Args:
        model: whose embeddings are probed; it need not be aligned.
        train, test: a decoded table, and the class of each of its rows, None where it has none: see
            `sensorium.evaluation.zero_shot.column_labels`.
        modalities: what to read of the rows, as much of it as each has; None: all.
        shots, seeds, seed: as for `few_shot`.

    Raises:
        AlignmentError, DataError: as `few_shot`, or there are not as many classes as rows.

    Example: few_shot_scores(model, (samples, classes), (test_samples, test_classes)).scores[-1].probe["accuracy"]
    """
    subset = frozenset(subset_of(model.schema, model.schema.names if modalities is None else modalities))
    sides: list[tuple[npt.NDArray[np.float32], list[str | int | None]]] = []
    for samples, labels in (train, test):
        if len(labels) != len(samples):
            raise DataError(f"expected a class or None for each of {len(samples)} rows, found {len(labels)}")
        rows = np.array([row for row, label in enumerate(labels) if not _blank(label)], dtype=np.int64)
        sides.append((model.embeddings(samples, rows, [subset], complete=False)[subset],
                      [labels[row] for row in rows.tolist()]))
    return few_shot(*sides[0], *sides[1], shots=shots, seeds=seeds, seed=seed)


def few_shot_lines(found: FewShot) -> list[str]:
    """A Markdown table for the terminal, with the notes under it."""
    from sensorium.evaluation.words import aligned

    table = [["few-shot, examples of each class", "rows", "linear probe", "nearest mean", "probe, balanced accuracy"]]
    for one in found.scores:
        shown = [_spread(value) for value in (one.probe["accuracy"], one.centroid["accuracy"],
                                              one.probe["balanced_accuracy"])]
        table.append([f"{one.shots:,}", f"{one.train_rows:,}", *shown])
    majority = f"{found.majority:.3f}"
    table.append(["the most frequent class", "", majority, majority, f"{found.majority_balanced:.3f}"])
    return aligned(table) + found.notes


def _score(
    shots: int, places: list[Ints], train: tuple[Floats, Ints], test: tuple[Floats, Ints], classes: list[str],
) -> FewShotScore:
    """One number of shots, over all draws."""
    results: dict[str, list[Floats]] = {"probe": [], "centroid": []}
    penalties = []
    rows = 0
    for place in places:
        chosen = np.flatnonzero(place < shots)
        rows = len(chosen)
        examples, truth = train[0][chosen], train[1][chosen]
        penalty, probabilities = linear_probe(examples, truth, place[chosen], test[0], len(classes))
        penalties.append(penalty)
        results["probe"].append(probabilities)
        results["centroid"].append(nearest_mean(examples, truth, test[0], len(classes)))
    more = max(0, int(test[1].max()) + 1 - len(classes))  # classes of test rows alone: never answered, each its own
    results = {way: [np.pad(one, ((0, 0), (0, more))) for one in found] for way, found in results.items()}
    values = {way: {name: np.array([float(np.asarray(metric(test[1], one))) for one in found])
                    for name, metric in METRICS.items()} for way, found in results.items()}
    means = {way: {name: _mean(one) for name, one in of.items()} for way, of in values.items()}
    counts = np.bincount(train[1], minlength=len(classes))
    short = {name: int(count) for name, count in zip(classes, counts, strict=True) if count < shots}
    return FewShotScore(shots, len(places), rows, len(test[0]), len(classes), means["probe"], means["centroid"],
                        tuple(values["probe"]["accuracy"].tolist()), tuple(values["centroid"]["accuracy"].tolist()),
                        tuple(penalties), short)


def _places(truth: Ints, num_classes: int, seed: int, draw: int) -> Ints:
    """(row,) each row's place in the random order of its class, from 0."""
    order = Draws(seed, draw, np.arange(len(truth))).order("few-shot")
    places = np.empty(len(truth), dtype=np.int64)
    for number in range(num_classes):
        own = order[truth[order] == number]
        places[own] = np.arange(len(own))
    return places


def _usable(shots: list[int], counts: Ints, classes: list[str], notes: list[str]) -> list[int]:
    """The numbers of shots that differ from each other in what they train on; the rest is noted."""
    most = int(counts.max())
    kept = [number for number in shots if number <= most] or shots[:1]
    left = [number for number in shots if number not in kept]
    if left:
        notes.append(f"no class has more than {most:,} examples: {', '.join(f'{number:,}' for number in left)} shots "
                     f"are left out")
    for number in kept:
        few = [f"{name} {count}" for name, count in zip(classes, counts.tolist(), strict=True) if count < number]
        if few:
            more = f" and {len(few) - 5} more" if len(few) > 5 else ""
            notes.append(f"{number:,} shots: {len(few)} of {len(classes)} classes have fewer examples "
                         f"({', '.join(few[:5])}{more}) and give all")
    return kept


def _readable(
    embeddings: npt.NDArray[Any], labels: Labels, name: str, notes: list[str],
) -> tuple[Floats, list[str]]:
    """(row, width) float64 embeddings and the classes of the rows that have both."""
    if embeddings.ndim != 2 or len(labels) != len(embeddings):
        raise AlignmentError(f"{name} rows: expected (row, width) embeddings and a class for each, found shape "
                             f"{embeddings.shape} and {len(labels)} classes")
    if np.isinf(embeddings).any():
        row = int(np.isinf(embeddings).any(axis=1).argmax())
        raise AlignmentError(f"{name} rows: the embedding of row {row} is not finite")
    labelled = np.array([not _blank(label) for label in labels], dtype=bool)
    there = known(np.asarray(embeddings, dtype=np.float32))
    for missing, what in ((int((~labelled).sum()), "class"), (int((labelled & ~there).sum()), "embedding")):
        if missing:
            notes.append(f"{missing:,} {name} rows have no {what} and are left out")
    kept = np.flatnonzero(labelled & there)
    return np.asarray(embeddings[kept], dtype=np.float64), [str(labels[row]) for row in kept.tolist()]


def _blank(label: Any) -> bool:
    return label is None or (isinstance(label, str) and not label.strip())


def _mean(values: Floats) -> Estimate:
    """The mean over draws with Student's interval, within 0…1."""
    from scipy.stats import t

    if len(values) < 2:
        return Estimate(float(values.mean()), float("nan"), float("nan"))
    half = t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    centre = float(values.mean())
    return Estimate(centre, max(0.0, centre - float(half)), min(1.0, centre + float(half)))


def _spread(value: Estimate) -> str:
    return f"{value.value:.3f}" + ("" if np.isnan(value.low) else f" ({value.low:.3f}–{value.high:.3f})")
