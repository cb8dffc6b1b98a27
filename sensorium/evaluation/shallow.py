"""Shallow baselines beside a model: the same rows, plain features or the model's own pooled tokens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from sensorium.data.batch import make_batch
from sensorium.data.kinds import TableKind
from sensorium.data.samples import Samples
from sensorium.data.schema import Target
from sensorium.evaluation.baselines import run_baselines
from sensorium.evaluation.columns import Features
from sensorium.evaluation.scores import Baseline, score_metrics
from sensorium.fusion.base import pooled
from sensorium.keyed import Draws
from sensorium.metrics.bootstrap import replicate_weights
from sensorium.model import INFERENCE_BATCH, Model

Rows = npt.NDArray[np.int64]
Blocks = dict[str, npt.NDArray[np.float32]]
MOST_ROWS = 5000
METHOD_WORDS = {"prior": "training distribution", "linear": "linear model", "boosting": "gradient boosting"}


def shallow_scores(
    model: Model, train: Samples, train_rows: Rows | None, test: Samples, test_rows: Rows, *, seed: int,
) -> list[Baseline]:
    """Fit shallow models on the training table and score them on the rows that the model is scored on.

    Args:
        model: whose schema and tokens are used.
        train: the decoded training table.
        train_rows: its rows to fit on; None: all labelled ones (at most 5,000 are used).
        test: the decoded table to score.
        test_rows: its rows to score.
        seed: of the draw of training rows and of the bootstrap.
    """
    results = []
    for target in model.schema.targets:
        if target.name not in test.labels or target.name not in train.labels:
            continue
        if not test.labels[target.name].mask[test_rows].any():
            continue
        rows = _training_rows(train, target, train_rows, seed)
        if len(rows) == 0:
            continue
        fit_on = feature_sets(model, train, rows, target)
        score_on = {name: _same_blocks(features, fit_on[name])
                    for name, features in feature_sets(model, test, test_rows, target).items()}
        fitted = run_baselines(fit_on, score_on, target.task, num_classes=len(target.classes) or None, seed=seed)
        labels = test.labels[target.name]
        kept = labels.mask[test_rows]
        groups = None if test.groups is None else test.groups[test_rows][kept]
        resampling = replicate_weights(int(kept.sum()), groups, seed=seed)
        for one in fitted:
            predicted = one.prediction if target.task == "classify" else one.prediction[:, None]
            if target.task == "classify" and model.recipe.training.balance:
                predicted = balanced(predicted, np.array(target.prior))
            metrics = score_metrics(target, labels.values[test_rows][kept], predicted[kept], resampling)
            results.append(Baseline(target.name, METHOD_WORDS[one.method], one.features, int(kept.sum()), metrics,
                                    one.setting))
    return results


def balanced(probabilities: npt.NDArray[np.float64], prior: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(row, class_) probabilities if all classes were equally frequent: divided by the prior, normalised again.

    What logit adjustment does to the model, so that a balanced model is compared with balanced baselines.
    """
    evidence = probabilities / prior
    return np.asarray(evidence / evidence.sum(axis=1, keepdims=True))


def _same_blocks(features: Features, like: Features) -> Features:
    """The blocks of `like`; one that no row has is all NaN."""
    blocks = {name: features.blocks.get(name, np.full((len(features), block.shape[1]), np.nan, dtype=np.float32))
              for name, block in like.blocks.items()}
    return Features(blocks, features.truth, features.groups)


def _training_rows(train: Samples, target: Target, rows: Rows | None, seed: int) -> Rows:
    """At most 5,000 labelled rows with something readable in them."""
    usable = train.labels[target.name].mask & train.presence.any(axis=1)
    if target.task == "classify":
        usable &= train.labels[target.name].values >= 0
    chosen = np.flatnonzero(usable) if rows is None else rows[usable[rows]]
    return np.sort(chosen[Draws(seed, 0, chosen).order("baselines")][:MOST_ROWS])


def feature_sets(model: Model, samples: Samples, rows: Rows, target: Target) -> dict[str, Features]:
    """What shallow models read: the table alone, plain features of everything, the model's pooled tokens."""
    labels = samples.labels[target.name]
    groups = None if samples.groups is None else samples.groups[rows]
    plain = plain_features(samples, rows)
    tables = {name: block for name, block in plain.items()
              if isinstance(samples.schema.modality(name).kind, TableKind)}
    if all(isinstance(modality.kind, TableKind) for modality in samples.schema.modalities):
        sets = {"table": tables}
    else:
        sets = {"plain features": plain, "pooled tokens": token_features(model, samples, rows)}
        if any(isinstance(modality.kind, TableKind) for modality in samples.schema.modalities):
            sets = {"table": tables, **sets}
    return {name: Features(blocks, labels.values[rows], groups) for name, blocks in sets.items()}


def plain_features(samples: Samples, rows: Rows) -> Blocks:
    """modality → (row, feature) its kind's plain description; NaN where a row lacks it."""
    blocks: Blocks = {}
    for name in samples.schema.names:
        cells = samples.cells[name]
        wanted = cells.cells_of_row[rows]
        distinct, which = np.unique(wanted[wanted >= 0], return_inverse=True)
        if len(distinct) == 0:
            continue
        described = np.stack([cells.kind.describe(array) for array in cells.arrays.get(distinct.tolist())])
        several = np.full((*wanted.shape, described.shape[1]), np.nan, dtype=np.float32)
        several[wanted >= 0] = described[which]
        blocks[name] = several[:, 0] if wanted.shape[1] == 1 else _mean_known(several)
    return blocks


def _mean_known(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(row, slot, feature) → (row, feature) the mean of what is there; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    mean = np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.asarray(np.where(count > 0, mean, np.nan), dtype=np.float32)


def token_features(model: Model, samples: Samples, rows: Rows) -> Blocks:
    """modality → (row, width) the mean of the encoder's tokens; NaN where a row lacks it."""
    width = model.recipe.model.width
    blocks = {name: np.full((len(rows), width), np.nan, dtype=np.float32) for name in samples.schema.names}
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(rows), INFERENCE_BATCH):
            encoded = model.encode(make_batch(samples, rows[start : start + INFERENCE_BATCH]).to(model.device))
            for column, name in enumerate(samples.schema.names):
                present = encoded.presence[:, column]
                if bool(present.any()):
                    means = pooled(encoded.tokens[name], present).float().cpu().numpy()
                    there = present.cpu().numpy()
                    blocks[name][start : start + len(there)][there] = means[there]
    return blocks
