"""The model: encoders + fusion + objectives, defined for every non-empty subset of modalities."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor, nn

from sensorium.answers import Answer, make_answers
from sensorium.data.batch import Batch, Packed, make_batch, prefetch
from sensorium.data.kinds import TIMED
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.encoders.base import Encoder, StagedEncoder, Tokens
from sensorium.encoders.choice import make_encoder
from sensorium.errors import DataError, RecipeError, unknown_name
from sensorium.fusion import FUSIONS
from sensorium.fusion.base import Fused, Fusion
from sensorium.keyed import Draws
from sensorium.objectives import Classify, Encoded, Loss, Objective, Predictor, Regress, View
from sensorium.recipe import Recipe

Subset = frozenset[str]
INFERENCE_BATCH = 256


class Model(nn.Module):
    """One model over all modalities: any subset in, any answer out.

    Args:
        schema: with measured kinds and targets.
        recipe: what the model is made of; its seed initialises the weights.
        fusion: a fusion object instead of the recipe's name.
        objectives: objectives besides those that predict the targets.
        saved: a model folder whose weights will be loaded: pretrained encoders are described there, and not looked for
            where they came from.

    Attributes:
        temperatures: target → the temperature its logits are divided by (1 until calibrated).
        history: what training left: one dictionary an epoch.
        facts: what training found out and the report repeats (splits, steps, seconds …), plain values.
    """

    def __init__(
        self, schema: Schema, recipe: Recipe, *, fusion: Fusion | None = None, objectives: Sequence[Objective] = (),
        saved: Path | None = None,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.recipe = recipe
        options, training = recipe.model, recipe.training
        for name in options.encoders:
            if name not in schema.names:
                raise RecipeError(f"model.encoders: {unknown_name('modality', name, list(schema.names))}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(Draws(training.seed, 0, np.zeros(1, dtype=np.int64)).integers("init", high=2**31)[0]))
            self.encoders = nn.ModuleList(self._encoder(modality.name, saved) for modality in schema.modalities)
            timed = frozenset(modality.name for modality in schema.modalities if modality.kind.name in TIMED)
            self.fusion = FUSIONS[options.fusion](
                schema.names, options.width, timed if len(timed) > 1 else frozenset()) if fusion is None else fusion
            predictors: list[Predictor] = []
            for target in schema.targets:
                if target.task == "classify":
                    predictors.append(Classify(target, options.width, label_smoothing=training.label_smoothing,
                                               balance=training.balance))
                else:
                    predictors.append(Regress(target, options.width))
            self.predictors = nn.ModuleList(predictors)
        self.extras = nn.ModuleList(objectives)
        self.fusion_given = fusion is not None
        self.temperatures = {target.name: 1.0 for target in schema.targets}
        self.history: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}

    def _encoder(self, name: str, saved: Path | None) -> Encoder:
        kind = self.schema.modality(name).kind
        options = self.recipe.model.encoders.get(name)
        folder = None if saved is None else saved / encoder_folder(self.schema.names.index(name))
        try:
            return make_encoder(kind, self.recipe.model.width, options, saved=folder)
        except RecipeError as error:
            raise RecipeError(f"model.encoders.{name}: {error}") from error

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def num_parameters(self) -> int:
        """Trained numbers in the model."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    # --- training and the steps of every use -----------------------------------------------------------------------

    def forward(self, batch: Batch, *presences: Tensor) -> Loss:
        """The joint loss Σ_k λ_k L_k of a batch, and its parts: the only entry for training.

        Args:
            batch: rows with targets.
            presences: (batch, modality) this step's sampled subsets, one or more of each row: the losses are their
                means, and rows are encoded once. What the rows have where none is given.
        """
        encoded = self.encode(batch)
        drawn = presences or (encoded.presence,)
        total = torch.zeros((), device=encoded.presence.device)
        parts: dict[str, Tensor] = {}
        for presence in drawn:
            view = self.view(encoded, presence)
            for objective in [*self.objectives(), *self.other_objectives()]:
                loss = objective(view.restricted(objective.hidden, objective.needs), batch)
                total = total + objective.weight * loss.total / len(drawn)
                parts |= {name: parts.get(name, 0.0) + part / len(drawn) for name, part in loss.parts.items()}
        return Loss(total, parts)

    def objectives(self) -> list[Predictor]:
        """The objectives that predict targets, in the schema's order."""
        return [module for module in self.predictors if isinstance(module, Predictor)]

    def other_objectives(self) -> list[Objective]:
        """The objectives that were given as objects."""
        return [module for module in self.extras if isinstance(module, Objective)]

    @property
    def learns_unlabelled(self) -> bool:
        """Whether rows without any target are of use in training."""
        return any(objective.learns_unlabelled for objective in self.other_objectives())

    def encode(self, batch: Batch) -> Encoded:
        """Run each encoder on the distinct cells of its present rows, and place the tokens in the batch's rows."""
        tokens = {}
        for name, encoder in zip(self.schema.names, self.encoders, strict=True):
            packed = batch.inputs.get(name)
            tokens[name] = (self._nothing(encoder, len(batch), batch.presence.device) if packed is None
                            else _placed(_encoded(encoder, packed), packed, len(batch)))
        return Encoded(tokens, batch.presence)

    def learning_rates(self) -> dict[str, float]:
        """Parameter-name prefix → factor of the learning rate, of all encoders."""
        return {f"encoders.{place}.{prefix}": factor for place, encoder in enumerate(self.encoders)
                if isinstance(encoder, Encoder) for prefix, factor in encoder.learning_rates().items()}

    def _nothing(self, encoder: nn.Module, num_rows: int, device: torch.device) -> Tokens:
        """Masked tokens for a modality that no row has: the encoder is not called, its gradients are zeros."""
        attached = sum((0.0 * parameter.sum() for parameter in encoder.parameters() if parameter.requires_grad),
                       torch.zeros((), device=device))
        values = torch.zeros(num_rows, 1, self.recipe.model.width, device=device) + attached
        return Tokens(values, torch.zeros(num_rows, 1, dtype=torch.bool, device=device))

    def view(self, encoded: Encoded, presence: Tensor | None = None) -> View:
        """What objectives look at: the encoded batch and the subsets of this step."""
        return View(encoded, encoded.presence if presence is None else presence & encoded.presence, self._fuse,
                    names=self.schema.names)

    def _fuse(self, encoded: Encoded, presence: Tensor) -> Fused:
        fused: Fused = self.fusion(encoded.tokens, presence)
        return fused

    def fuse(self, encoded: Encoded, modalities: Collection[str] | None = None) -> tuple[Fused | None, Tensor]:
        """Fuse some modalities (all where None) of the rows that have any of them; the rows' positions beside."""
        presence = encoded.presence & self._columns(modalities).to(encoded.presence.device)
        return self.view(encoded).fuse(presence)

    def _columns(self, modalities: Collection[str] | None) -> Tensor:
        if modalities is None:
            return torch.ones(len(self.schema.names), dtype=torch.bool)
        for name in modalities:
            if name not in self.schema.names:
                raise RecipeError(str(unknown_name("modality", name, list(self.schema.names))))
        return torch.tensor([name in modalities for name in self.schema.names])

    # --- use --------------------------------------------------------------------------------------------------------

    def outputs(
        self, samples: Samples, rows: npt.NDArray[np.int64], subsets: Sequence[Subset], *, complete: bool = True,
        batch_size: int = INFERENCE_BATCH, progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, dict[Subset, npt.NDArray[np.float64]]]:
        """Raw outputs of every target for several subsets; each row is encoded once, subsets cost only fusion.

        Args:
            samples: a decoded table.
            rows: (row,) row numbers.
            subsets: sets of modality names.
            complete: score a subset only in rows that have all of it; else with whatever of it a row has.
            batch_size: rows encoded together.
            progress: called with (rows done, rows in all).

        Returns:
            target → subset → (row, output) logits or standardised numbers; NaN for rows that are not scored.
        """
        predictors = self.objectives()
        sizes = {target.name: max(1, len(target.classes)) for target in self.schema.targets}
        results = {p.name: {subset: np.full((len(rows), sizes[p.name]), np.nan) for subset in subsets}
                   for p in predictors}
        self.eval()
        with torch.inference_mode():
            for start in range(0, len(rows), batch_size):
                prefetch(samples, rows[start + batch_size : start + 2 * batch_size])
                encoded = self.encode(make_batch(samples, rows[start : start + batch_size]).to(self.device))
                view = self.view(encoded)
                for subset in subsets:
                    presence = self._subset_of(encoded.presence, subset, complete)
                    for predictor in predictors:
                        fused, kept = view.restricted(predictor.hidden, predictor.needs).fuse(presence)
                        if fused is not None:
                            values = predictor.outputs(fused).double().cpu().numpy()
                            results[predictor.name][subset][start + kept.cpu().numpy()] = values
                if progress is not None:
                    progress(min(len(rows), start + batch_size), len(rows))
        return results

    def _subset_of(self, presence: Tensor, subset: Subset, complete: bool) -> Tensor:
        columns = self._columns(subset).to(presence.device)
        if not complete:
            return presence & columns
        return columns & (presence | ~columns).all(dim=1, keepdim=True)

    def predict(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | str | Path, *,
        modalities: Collection[str] | None = None, explain: bool = False, root: str | Path = ".",
    ) -> Any:
        """Predict every target from whatever is there.

        Args:
            rows: one row as a dictionary (media as paths, bytes, PIL pictures, arrays or (waveform, rate)), several of
                them, data from `sensorium.read`, or the path of a table.
            modalities: use only these; all that are there where None.
            explain: add each modality's contribution (exact Shapley values).
            root: the folder that paths in dictionaries start from.

        Returns:
            For one dictionary target → Answer; else one such dictionary a row.

        Example: model.predict({"photo": "a.jpg", "note": "dry cough"})["diagnosis"].value
        """
        if isinstance(rows, Mapping):
            self._refuse_strangers(rows)
        samples = as_samples(rows, self.schema, root=root)
        answers = self.answers(samples, modalities=modalities, explain=explain)
        return answers[0] if isinstance(rows, Mapping) else answers

    def _refuse_strangers(self, row: Mapping[str, Any]) -> None:
        """Raise for a row of which not one name is a column that the model reads."""
        columns = [column for modality in self.schema.modalities for column in modality.columns]
        if row and not any(name in columns for name in row):
            raise DataError(f"nothing to predict from: {unknown_name('column', next(iter(row)), columns)}")

    def answers(
        self, samples: Samples, *, rows: npt.NDArray[np.int64] | None = None,
        modalities: Collection[str] | None = None, explain: bool = False,
    ) -> list[dict[str, Answer]]:
        """One dictionary target → Answer for every row (or those given by number) of a decoded table."""
        allowed = self._columns(modalities).numpy()
        usable = frozenset(name for name, kept in zip(self.schema.names, allowed, strict=True) if kept)
        chosen = np.arange(len(samples)) if rows is None else rows

        def outputs(subsets: Sequence[Subset]) -> dict[str, dict[Subset, npt.NDArray[np.float64]]]:
            found = self.outputs(samples, chosen, list({subset & usable for subset in subsets}), complete=False)
            return {target: {subset: values[subset & usable] for subset in subsets} for target, values in found.items()}

        broken: dict[int, list[str]] = {}
        for cell in samples.unreadable:
            broken.setdefault(cell.row - 1, []).append(f"{cell.column}: {cell.reason}")
        unreadable = {place: tuple(broken[row]) for place, row in enumerate(chosen.tolist()) if row in broken}
        return make_answers(outputs, self.schema, samples.presence[chosen] & allowed, temperatures=self.temperatures,
                            balance=self.recipe.training.balance, explain=explain, unreadable=unreadable)

    def embed(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | str | Path, *,
        modalities: Collection[str] | None = None, root: str | Path = ".",
    ) -> npt.NDArray[np.float32]:
        """(row, width) the fused vectors of whatever is there; NaN for rows in which nothing is readable."""
        samples = as_samples(rows, self.schema, root=root)
        vectors = np.full((len(samples), self.recipe.model.width), np.nan, dtype=np.float32)
        self.eval()
        with torch.inference_mode():
            for start in range(0, len(samples), INFERENCE_BATCH):
                chosen = np.arange(start, min(len(samples), start + INFERENCE_BATCH))
                fused, kept = self.fuse(self.encode(make_batch(samples, chosen).to(self.device)), modalities)
                if fused is not None:
                    vectors[start + kept.cpu().numpy()] = fused.vector.float().cpu().numpy()
        return vectors

    def save(self, folder: str | Path, *, report: str | None = None, overwrite: bool = False) -> Path:
        """Write the model folder; it appears whole or not at all."""
        from sensorium.folder import save_model

        return save_model(self, folder, report=report, overwrite=overwrite)

    @classmethod
    def load(
        cls, folder: str | Path, *, fusion: Fusion | None = None, objectives: Sequence[Objective] = (),
    ) -> Model:
        """Read a model folder. Executes no code from it; what was given as an object is given again."""
        from sensorium.folder import load_model

        return load_model(folder, fusion=fusion, objectives=objectives)


def encoder_folder(place: int) -> str:
    """Where a model folder describes the pretrained encoder of the modality at this place."""
    return f"encoder_{place}"


def _encoded(encoder: nn.Module, packed: Packed) -> Tokens:
    """The cells' tokens; stored features are projected only."""
    if packed.stored:
        assert isinstance(encoder, StagedEncoder)
        return encoder.project(Tokens(packed.inputs.values, _known(packed.inputs.mask), packed.inputs.span))
    encoded: Tokens = encoder(packed.inputs)
    return encoded


def _known(mask: Tensor | None) -> Tensor:
    assert mask is not None
    return mask


def _placed(tokens: Tokens, packed: Packed, num_rows: int) -> Tokens:
    """Cells' tokens in the batch's rows: repeated where rows share a cell, side by side where a row has several,
    masked where a row has none."""
    count = len(packed.rows)
    values, mask, span = tokens.values, tokens.mask, tokens.span
    if packed.cells.shape[1] > 1:
        there = packed.cells >= 0
        cells = packed.cells.clamp(min=0)
        values, span = _side_by_side(values[cells]), None if span is None else _side_by_side(span[cells])
        mask = _side_by_side(mask[cells] & there[:, :, None])
    elif count != len(mask) or bool((packed.cells[:, 0] != torch.arange(count, device=packed.cells.device)).any()):
        cells = packed.cells[:, 0]
        values, mask, span = values[cells], mask[cells], None if span is None else span[cells]
    if count == num_rows:
        return Tokens(values, mask, span)
    return Tokens(_scattered(values, packed.rows, num_rows), _scattered(mask, packed.rows, num_rows),
                  None if span is None else _scattered(span, packed.rows, num_rows))


def _side_by_side(values: Tensor) -> Tensor:
    """(row, slot, token, …) → (row, slot · token, …)."""
    return rearrange(values, "row slot token ... -> row (slot token) ...")


def _scattered(values: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    return values.new_zeros((num_rows, *values.shape[1:])).index_copy(0, rows, values)


__all__ = ["Answer", "Model", "Subset"]
