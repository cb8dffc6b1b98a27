"""Shallow baselines on plain feature matrices: what a deep fusion has to beat.

Three methods: the training distribution of the target (or its mean), a linear model, and boosted trees. Each sees the
blocks of a feature set side by side, is tuned on held-out training rows and fitted again on all of them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sensorium.errors import DataError
from sensorium.evaluation.columns import Features, boosting_columns, linear_columns
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import MIN_GROUPS, Floats
from sensorium.metrics.calibration import apply_temperature, fit_temperature
from sensorium.metrics.classification import PROBABILITY_FLOOR, log_loss

Matrix = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Task = Literal["classify", "regress"]

MAX_ROWS = 5_000
HELD_OUT = 0.2
FEWEST_GROUPS, MOST_FOLDS = 3, 4
INVERSE_PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 10.0)
RIDGES = (1e4, 1e3, 1e2, 10.0, 1.0, 0.1)
TOLERANCE = 1e-3
MOST_WORSE = 2  # one step up the path can fail to help only because the fit before had hardly moved
MAX_TREES, MAX_ROUNDS, PATIENCE = 500, 200, 5


@dataclass(frozen=True)
class BaselineResult:
    """One baseline's predictions for the test rows.

    Args:
        method: "prior", "linear" or "boosting".
        features: the feature set's name as the caller gave it; "" for the prior.
        prediction: (row, class_) float64 probabilities, or (row,) float64 values in the target's units.
        setting: what tuning chose, in words.
        num_train_rows: rows fitted on.
        num_warnings: warnings that the fit raised and that were suppressed (convergence, mostly).
        seconds: wall-clock time of preparation, tuning and fit.
    """

    method: Literal["prior", "linear", "boosting"]
    features: str
    prediction: Floats
    setting: str
    num_train_rows: int
    num_warnings: int
    seconds: float


@dataclass(frozen=True)
class _Problem:
    """Matrices with a target; `folds` are (row,) bool, the training rows held out in each round of tuning."""

    train: Matrix
    truth: npt.NDArray[Any]
    folds: list[Bools]
    test: Matrix
    num_classes: int
    seed: int


def run_baselines(
    train: Mapping[str, Features],
    test: Mapping[str, Features],
    task: Task,
    *,
    num_classes: int | None = None,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
) -> list[BaselineResult]:
    """The prior once, then a linear model and boosted trees for each feature set.

    linear: multinomial logistic regression with a temperature (ridge for values) on standardised columns; a missing
    value is the training mean, and 0/1 columns say what was missing. boosting: HistGradientBoosting, which reads NaN;
    a block of more than 48 columns becomes its first 48 principal components. Both are tuned on a fifth of the rows,
    of the groups where there are 10 or more; with 3 … 9 groups, where one of them is a noisy judge, the linear model
    is tuned by leaving each out in turn (in at most 4 folds).

    Args:
        train, test: feature set's name → features; same names, blocks and widths in both.
        task: "classify" or "regress".
        num_classes: columns of the probabilities; None = the largest training class number + 1.
        seed: the run's seed.
        max_rows: training rows used at most, sampled by a draw keyed by their number.

    Raises:
        DataError: train and test disagree, or no training row has a label.
    """
    results: list[BaselineResult] = []
    for name, features in train.items():
        given = _same_columns(name, features, test)
        labelled = features.rows(features.truth >= 0 if task == "classify" else np.isfinite(features.truth))
        if len(labelled) == 0:
            raise DataError("baselines need training rows with a label, found none")
        classes = 0
        if task == "classify":
            classes = num_classes if num_classes is not None else int(labelled.truth.max()) + 1
        if not results:
            prior = _prior(labelled.truth, classes, len(given))
            results.append(BaselineResult("prior", "", prior, "training distribution" if classes else "training mean",
                                          len(labelled), 0, 0.0))
        order = Draws(seed, 0, np.arange(len(labelled))).order("baselines/sample")
        kept = labelled.rows(np.sort(order[:max_rows]))
        results.append(_run("linear", name, kept, given, classes, seed))
        results.append(_run("boosting", name, kept, given, classes, seed))
    return results


def _run(
    method: Literal["linear", "boosting"], name: str, train: Features, test: Features, num_classes: int, seed: int
) -> BaselineResult:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    start = time.perf_counter()
    # One thread: where other work keeps the cores busy, OpenMP's waiting threads made this 15 times slower.
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        if method == "linear":
            columns, test_columns = linear_columns(train, test, max(1, num_classes), seed)
            folds, fit = _folds(train, seed, MOST_FOLDS), _logistic if num_classes else _ridge
        else:
            columns, test_columns = boosting_columns(train, test, seed)
            folds, fit = _folds(train, seed, 1), _boosted_classes if num_classes else _boosted_values
        if columns.shape[1] == 0 or len(test) == 0 or len(np.unique(train.truth)) < 2:
            prediction, setting = _prior(train.truth, num_classes, len(test)), "nothing to learn from: the prior"
        else:
            prediction, setting = fit(_Problem(columns, train.truth, folds, test_columns, num_classes, seed))
    return BaselineResult(method, name, prediction, setting, len(train), len(caught), time.perf_counter() - start)


def _prior(truth: npt.NDArray[Any], num_classes: int, num_rows: int) -> Floats:
    """The training distribution, or the training mean, for every row."""
    if num_classes == 0:
        return np.full(num_rows, float(np.mean(truth, dtype=np.float64)))
    shares = np.bincount(truth.astype(np.int64), minlength=num_classes) / len(truth)
    return np.tile(shares, (num_rows, 1))


def _logistic(problem: _Problem) -> tuple[Floats, str]:
    """Logistic regression: C grows, each fit starting from the last, until the held-out log-loss rises twice.

    A strong penalty predicts well but too timidly, so that the log-loss alone would choose too weak a one: it is
    compared, and the answer given, at the temperature that suits the held-out rows.
    """
    from sklearn.linear_model import LogisticRegression

    truth = problem.truth
    folds = [held for held in problem.folds if len(np.unique(truth[~held])) > 1]
    models = [LogisticRegression(tol=TOLERANCE, max_iter=200, warm_start=True) for _ in folds]
    chosen, temperature, lowest, worse = 1.0, 1.0, np.inf, 0
    for strength in INVERSE_PENALTIES if folds else ():
        guesses = [
            _all_classes(model.set_params(C=strength).fit(problem.train[~held], truth[~held]), problem.train[held],
                         problem.num_classes)
            for model, held in zip(models, folds, strict=True)
        ]
        logits, labels = _logarithm(np.concatenate(guesses)), np.concatenate([truth[held] for held in folds])
        suited = fit_temperature(logits, labels)
        loss = float(log_loss(labels, apply_temperature(logits, suited)))
        if loss < lowest:
            chosen, temperature, lowest, worse = strength, suited, loss, 0
            continue
        worse += 1
        if worse == MOST_WORSE:
            break
    final = LogisticRegression(C=chosen, tol=TOLERANCE, max_iter=200).fit(problem.train, truth)
    logits = _logarithm(_all_classes(final, problem.test, problem.num_classes))
    return apply_temperature(logits, temperature), f"C = {chosen:g}, temperature = {temperature:.2f}"


def _ridge(problem: _Problem) -> tuple[Floats, str]:
    """Ridge regression of the standardised target; the penalty with the lowest held-out squared error."""
    from sklearn.linear_model import Ridge

    centre, scale = float(problem.truth.mean()), float(problem.truth.std())
    target = (problem.truth - centre) / scale
    chosen, lowest = 1.0, np.inf
    for penalty in RIDGES if problem.folds else ():
        loss = 0.0
        for held in problem.folds:
            model = Ridge(alpha=penalty).fit(problem.train[~held], target[~held])
            loss += float(((model.predict(problem.train[held]) - target[held]) ** 2).sum())
        if loss >= lowest:
            break
        chosen, lowest = penalty, loss
    final = Ridge(alpha=chosen).fit(problem.train, target)
    return np.asarray(final.predict(problem.test), dtype=np.float64) * scale + centre, f"penalty = {chosen:g}"


def _boosted_classes(problem: _Problem) -> tuple[Floats, str]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    trees_a_round = 1 if problem.num_classes == 2 else problem.num_classes
    most = max(1, min(MAX_ROUNDS, MAX_TREES // trees_a_round))
    model, setting = _boosted(HistGradientBoostingClassifier, problem, most)
    return _all_classes(model, problem.test, problem.num_classes), setting


def _boosted_values(problem: _Problem) -> tuple[Floats, str]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model, setting = _boosted(HistGradientBoostingRegressor, problem, MAX_ROUNDS)
    return np.asarray(model.predict(problem.test), dtype=np.float64), setting


def _boosted(estimator: Any, problem: _Problem, most: int) -> tuple[Any, str]:
    """Trees fitted on all rows, as many rounds as served the held-out rows best; fewer rounds take larger steps."""
    settings = {"learning_rate": float(np.clip(6.0 / most, 0.1, 0.5)), "max_leaf_nodes": 15,
                "random_state": problem.seed}
    rounds = min(most, 30)
    if problem.folds:
        held, fitted = problem.folds[0], ~problem.folds[0]
        if problem.num_classes:
            held = held & np.isin(problem.truth, problem.truth[fitted])
        if held.any() and len(np.unique(problem.truth[fitted])) > 1:
            tuned = estimator(max_iter=most, early_stopping=True, n_iter_no_change=PATIENCE, **settings)
            tuned.fit(problem.train[fitted], problem.truth[fitted],
                      X_val=problem.train[held], y_val=problem.truth[held])
            rounds = max(1, int(np.argmax(tuned.validation_score_)))
    model = estimator(max_iter=rounds, early_stopping=False, **settings).fit(problem.train, problem.truth)
    return model, f"{rounds} rounds"


def _all_classes(model: Any, columns: Matrix, num_classes: int) -> Floats:
    """(row, class_) probabilities with 0 for classes that the fit did not see; rows sum to 1 in float64."""
    seen = np.asarray(model.predict_proba(columns), dtype=np.float64)
    probabilities = np.zeros((len(columns), num_classes))
    probabilities[:, model.classes_.astype(np.int64)] = seen / seen.sum(axis=1, keepdims=True)
    return probabilities


def _logarithm(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, PROBABILITY_FLOOR))


def _folds(features: Features, seed: int, most: int) -> list[Bools]:
    """(row,) bools, the rows held out in each round of tuning; none below 10 rows.

    10 groups or more: a fifth of them, once. 3 … 9 groups and `most` > 1: each once, in up to `most` folds. Otherwise
    a fifth of the rows, once.
    """
    if len(features) < 10:
        return []
    unit: npt.NDArray[Any] = np.arange(len(features))
    names = unit
    if features.groups is not None:
        found, member = np.unique(features.groups, return_inverse=True)
        if len(found) >= (MIN_GROUPS if most == 1 else FEWEST_GROUPS):
            names, unit = np.arange(len(found)), member
    order = Draws(seed, 0, names).order("baselines/hold out")
    if len(names) < MIN_GROUPS:
        return [np.isin(unit, order[fold::most]) for fold in range(min(most, len(names)))]
    return [np.isin(unit, order[: round(HELD_OUT * len(names))])]


def _same_columns(name: str, features: Features, test: Mapping[str, Features]) -> Features:
    """The test features of that name, if their blocks fit."""
    if name not in test:
        raise DataError(f"feature set {name!r} has training rows but no test rows")
    expected = {block: values.shape[1] for block, values in features.blocks.items()}
    found = {block: values.shape[1] for block, values in test[name].blocks.items()}
    if expected != found:
        raise DataError(f"feature set {name!r}: train and test differ in blocks or widths: {expected!r} and {found!r}")
    return test[name]
