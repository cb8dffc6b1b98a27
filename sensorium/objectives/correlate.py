"""Correlate: what modalities say about one row correlates as much as it can (deep CCA)."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.alignment.deep_cca import cca_loss, eckart_young_loss
from sensorium.alignment.gather import exchanged, gathered, num_processes
from sensorium.data.batch import Batch
from sensorium.data.schema import Schema
from sensorium.errors import AlignmentError, RecipeError
from sensorium.fusion.base import Fused
from sensorium.objectives.base import Aligner, Judgement, Loss, View
from sensorium.recipe import CorrelateOptions

ROWS_A_COMPONENT = 10
HELD_OUT_RIDGE = 1e-2
FEWEST_ROWS = 8


class Correlate(Aligner):
    """A linear head for each modality, and deep CCA's loss between every two of them, divided by the components.

    Each modality alone is fused and projected; a pair's loss is computed on the rows that have both. The projections
    are determined up to a linear map; a closed-form alignment after training makes one space of them.

    Args:
        schema: its modalities.
        width: of the fused vector.
        options: see `sensorium.recipe.CorrelateOptions`.
        batch_size: rows of a step.

    Raises:
        RecipeError: one modality only, or the batches are too small for the loss.
    """

    score_word = "correlation"

    def __init__(self, schema: Schema, width: int, options: CorrelateOptions, *, batch_size: int) -> None:
        super().__init__("correlate", options.weight)
        if len(schema.names) < 2:
            raise RecipeError(f"objective correlate: two modalities at least are correlated, here is only "
                              f"{schema.names[0]}")
        if options.components > width:
            raise RecipeError(f"objective correlate: {options.components} components of a vector of width {width}: ask "
                              f"for {width} at most")
        self.options = options
        enough = batch_size >= ROWS_A_COMPONENT * options.components
        self.loss = ("cca" if enough else "eckart_young") if options.loss == "auto" else options.loss
        if self.loss == "cca" and batch_size <= options.components:
            raise RecipeError(f"objective correlate: batches of {batch_size} rows cannot correlate "
                              f"{options.components} components: more rows than components are needed; raise "
                              f"--batch-size, ask for fewer components, or use loss eckart_young")
        self.names = schema.names
        self.width = options.components
        self.heads = nn.ModuleList(nn.Linear(width, options.components, bias=False) for _ in schema.names)

    def read(self, fused: Fused, name: str) -> Float[Tensor, "batch component"]:
        """What one modality alone says, projected by its own head."""
        projected: Tensor = self.heads[self.names.index(name)](fused.vector)
        return projected.float()

    def forward(self, view: View, batch: Batch) -> Loss:
        """The mean loss of all pairs of modalities."""
        presence = view.encoded.presence
        values = [self._said(view, place) for place in range(len(self.names))]
        losses = []
        for first, second in combinations(range(len(self.names)), 2):
            both = presence[:, first] & presence[:, second]
            views = [_everyones(values[place][both]) for place in (first, second)]
            if len(views[0]) > (self.options.components if self.loss == "cca" else 1):
                losses.append(self._loss(views))
        total = torch.stack(losses).mean() if losses else torch.stack([0.0 * value.sum() for value in values]).sum()
        return Loss(total, {"correlate": total})

    def _said(self, view: View, place: int) -> Float[Tensor, "batch component"]:
        """What a modality says about the rows of the batch; 0 in rows without it."""
        fused, rows = view.alone(self.names[place])
        head = self.heads[place]
        count, device = len(view.encoded.presence), rows.device
        if fused is None:
            nothing = sum((0.0 * parameter.sum() for parameter in head.parameters()), torch.zeros((), device=device))
            return torch.zeros(count, self.width, device=device) + nothing
        said = self.read(fused, self.names[place])
        return said.new_zeros(count, self.width).index_copy(0, rows, said)

    def _loss(self, views: list[Tensor]) -> Float[Tensor, ""]:
        loss = cca_loss(views, ridge=self.options.ridge) if self.loss == "cca" else eckart_young_loss(views)
        return loss.float() / self.options.components

    def judge(self, readings: dict[str, npt.NDArray[np.float64]], keys: npt.NDArray[np.int64]) -> Judgement | None:
        """Minus the mean correlation of held-out components: every two modalities are aligned in closed form on one
        half of the rows and scored on the other, and the other way round."""
        scores = {}
        for first, second in combinations(readings, 2):
            kept = ~np.isnan(readings[first]).any(axis=1) & ~np.isnan(readings[second]).any(axis=1)
            if kept.sum() >= FEWEST_ROWS:
                scores[f"{first} ↔ {second}"] = _halves(readings[first][kept], readings[second][kept])
        return Judgement(-float(np.mean(list(scores.values()))), scores) if scores else None


def _everyones(values: Float[Tensor, "row component"]) -> Float[Tensor, "batch component"]:
    """The rows of all processes; each computes the same loss of them."""
    if num_processes() == 1:
        return values
    return gathered(values, [count for (count,) in exchanged([len(values)], values.device)])


def _halves(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """The mean held-out correlation of the aligned components, over both halves."""
    from sensorium.alignment.cca import CCA

    scores = []
    for start in (0, 1):
        ridge = tuple(HELD_OUT_RIDGE * float(view.var(axis=0).mean()) for view in (first, second))
        try:
            fitted = CCA(ridge=ridge).fit(first[start::2], second[start::2])
        except AlignmentError:  # what one of them says is the same for every row
            return 0.0
        scores.append(fitted.score(first[1 - start :: 2], second[1 - start :: 2]) / first.shape[1])
    return float(np.mean(scores))
