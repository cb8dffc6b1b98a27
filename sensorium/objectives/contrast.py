"""Contrast: what modalities say about one row resembles each other more than what they say about other rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.alignment.contrastive import info_nce, siglip
from sensorium.alignment.temperature import Temperature
from sensorium.data.batch import Batch
from sensorium.data.schema import Schema
from sensorium.errors import RecipeError, unknown_name
from sensorium.fusion.base import Fused
from sensorium.objectives.agreement import agreement
from sensorium.objectives.base import Aligner, Judgement, Loss, View
from sensorium.objectives.pairs import Pair, drawn_pair, single_pairs
from sensorium.objectives.same import same_keys
from sensorium.recipe import ContrastOptions

SIGLIP_TEMPERATURE, SIGLIP_BIAS = 0.1, -10.0


class Contrast(Aligner):
    """One shared head on the fused vector of any subset, unit length, and a contrastive loss between disjoint subsets.

    In mode `subsets` each step contrasts one random subset with a disjoint one, so that any subset finds any other;
    `pairs` contrasts every two modalities, `anchor` one with each other one (Girdhar et al. 2023, "ImageBind"). With
    two modalities all three are CLIP (Radford et al. 2021). Rows that lack a part of either side are left out. Rows
    that share a text, a file or (unless `same_label`) a class are no negatives of each other.

    Args:
        schema: its modalities, and its targets for the classes.
        width: of the fused vector.
        options: see `sensorium.recipe.ContrastOptions`.
        batch_size: rows of a step.

    Raises:
        RecipeError: one modality only, batches of one row, or an unknown anchor.
    """

    score_word = "recall at 1"

    def __init__(self, schema: Schema, width: int, options: ContrastOptions, *, batch_size: int) -> None:
        super().__init__("contrast", options.weight)
        if batch_size < 2:
            raise RecipeError(f"objective contrast: batches of {batch_size} row have nothing to tell it from; raise "
                              f"--batch-size (the more rows, the more it learns)")
        if len(schema.names) < 2:
            raise RecipeError(f"objective contrast: two modalities at least are contrasted, here is only "
                              f"{schema.names[0]}")
        if options.anchor is not None and options.anchor not in schema.names:
            raise RecipeError(f"objective contrast: anchor: "
                              f"{unknown_name('modality', options.anchor, list(schema.names))}")
        self.options = options
        self.anchor = schema.names.index(options.anchor) if options.anchor is not None else next(
            (place for place, modality in enumerate(schema.modalities) if modality.kind.name == "text"), 0)
        self.labels = () if options.same_label else tuple(t.name for t in schema.targets if t.task == "classify")
        self.width = options.width or width
        self.head = nn.Linear(width, self.width, bias=False)
        self.scale = Temperature(options.temperature) if options.loss == "infonce" else Temperature(
            SIGLIP_TEMPERATURE, bias=SIGLIP_BIAS)

    def embed(self, fused: Fused) -> Float[Tensor, "batch width"]:
        """The unit-length embedding of a subset."""
        return F.normalize(self.head(fused.vector).float(), dim=1)

    def read(self, fused: Fused, name: str) -> Float[Tensor, "batch width"]:
        """The same: one head reads every subset."""
        return self.embed(fused)

    def forward(self, view: View, batch: Batch) -> Loss:
        """The mean loss of the step's pairs of subsets."""
        self.scale.clamp_()
        everyone = batch.presence.cpu().numpy() if batch.step is None else batch.step.presence
        pairs = self._pairs(everyone, 0 if batch.step is None else batch.step.lot)
        unknown = torch.full_like(batch.presence, -1, dtype=torch.int64)
        keys = same_keys(unknown if batch.identities is None else batch.identities, batch.targets, self.labels)
        losses = [self._loss(view, pair, keys) for pair in pairs]
        total = torch.stack(losses).mean() if losses else self._nothing(view)
        return Loss(total, {"contrast": total})

    def _pairs(self, presence: npt.NDArray[np.bool_], lot: int) -> list[Pair]:
        if self.options.mode == "subsets":
            pair = drawn_pair(presence, lot)
            return [] if pair is None else [pair]
        return single_pairs(presence, self.anchor if self.options.mode == "anchor" else None)

    def _loss(self, view: View, pair: Pair, keys: Int[Tensor, "batch key"]) -> Float[Tensor, ""]:
        """One pair of subsets, on the rows that have all of both."""
        there = view.encoded.presence[:, pair[0] + pair[1]].all(dim=1)
        sides = []
        for columns in pair:
            presence = torch.zeros_like(view.encoded.presence)
            presence[:, columns] = there[:, None]
            fused, _ = view.fuse(presence)
            sides.append(self._nothing(view) + keys.new_zeros((0, self.width), dtype=torch.float32) if fused is None
                         else self.embed(fused))
        rows = there.nonzero()[:, 0]
        if self.scale.bias is None:
            return info_nce(sides[0], sides[1], scale=self.scale(), keys=keys[rows], gather=True)
        return siglip(sides[0], sides[1], scale=self.scale(), bias=self.scale.bias, keys=keys[rows], gather=True)

    def _nothing(self, view: View) -> Float[Tensor, ""]:
        """A zero that reaches every weight: there is nothing to contrast in this step."""
        fused, rows = view.fuse()
        own = sum((0.0 * parameter.sum() for parameter in self.parameters()), rows.new_zeros(()).float())
        return own if fused is None else own + 0.0 * self.embed(fused).sum()

    def judge(self, readings: dict[str, npt.NDArray[np.float64]], keys: npt.NDArray[np.int64]) -> Judgement | None:
        """The mean InfoNCE of all pairs of modalities at the temperature that is best for each, and how often the right
        one of all held-out rows is found first (recall at 1)."""
        losses: list[float] = []
        scores: dict[str, float] = {}
        names = list(readings)
        for place, first in enumerate(names):
            for second in names[place + 1 :]:
                kept = ~np.isnan(readings[first]).any(axis=1) & ~np.isnan(readings[second]).any(axis=1)
                if kept.sum() < 2:
                    continue
                pair = agreement(readings[first][kept], readings[second][kept], keys[kept])
                losses.append(pair.loss)
                scores |= {f"{first} → {second}": pair.forth, f"{second} → {first}": pair.back}
        return Judgement(float(np.mean(losses)), scores) if losses else None
