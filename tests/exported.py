"""Small models as they are after training, without the training, for the tests of export and runtime."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from worlds import QUICK, write_small_world

from sensorium.data.read import read
from sensorium.data.samples import Samples, decoded, measured
from sensorium.exporting.parity import compared_subsets
from sensorium.fusion.base import Fusion
from sensorium.metrics.conformal import Conformal, PatternThreshold
from sensorium.metrics.familiarity import fit_familiarity
from sensorium.model import Model
from sensorium.recipe import Recipe

TARGETS = ("kind", "size")


def small_samples(folder: Path, *, rows: int = 24, only: Collection[str] | None = None) -> Samples:
    """The small world, decoded; `only` some of its modalities."""
    data = read(write_small_world(folder, rows), targets=TARGETS, only=None if only is None else tuple(only))
    schema = measured(data.table, data.schema, np.arange(len(data)))
    return decoded(data.table, schema, workers=0, memory_bytes=1e9)


def small_model(samples: Samples, *, fusion: str | Fusion = "concat", recipe: Recipe = QUICK) -> Model:
    """Random weights; temperatures, thresholds and what is familiar are set as calibration would."""
    named = fusion if isinstance(fusion, str) else "attention"
    model = Model(samples.schema, recipe.changed("model", fusion=named), fusion=None if named == fusion else fusion)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    names = samples.schema.names
    model.temperatures = {"kind": 0.7, "size": 1.0}
    for task, target, threshold in (("classify", "kind", 0.62), ("regress", "size", 0.8)):
        patterns = (PatternThreshold(tuple(n for n in names if n in some), threshold, 50, False)
                    for some in compared_subsets(names))
        model.conformal[target] = Conformal(task, 0.1, names, tuple(patterns))  # type: ignore[arg-type]
    everything = frozenset(names)
    random = np.random.default_rng(0)
    near = {everything: random.normal(size=(60, model.recipe.model.width))}
    model.familiar = fit_familiarity(near, {everything: random.normal(size=(40, model.recipe.model.width))}, names)
    assert model.familiar is not None
    return model.eval()
