"""The model: encoders + fusion + objectives, defined for every non-empty subset of modalities."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.alignment.linear import LinearAlignment
from sensorium.answers import Answer, make_answers, with_unlike
from sensorium.data.batch import Batch, Packed, make_batch, prefetch
from sensorium.data.kinds import TIMED
from sensorium.data.read import Data, as_samples
from sensorium.data.samples import Samples
from sensorium.data.schema import Schema
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.choice import make_encoder
from sensorium.errors import DataError, RecipeError, unknown_name
from sensorium.fusion import FUSIONS
from sensorium.fusion.base import Fused, Fusion
from sensorium.fusion.imputation import Imputer, fuse_imputed
from sensorium.keyed import Draws
from sensorium.metrics.conformal import Conformal
from sensorium.metrics.familiarity import Familiarity
from sensorium.objectives import (
    ALIGNERS,
    Aligner,
    Classify,
    Contrast,
    Correlate,
    Encoded,
    Loss,
    Objective,
    Predictor,
    Regress,
    View,
)
from sensorium.objectives.weighting import UncertaintyWeighting
from sensorium.placing import encoded_cells, placed
from sensorium.recipe import Recipe

Subset = frozenset[str]
K = TypeVar("K", bound=Hashable)
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
        conformal: target → the thresholds of its confidence sets, where there were enough rows to calibrate them.
        familiar: where the fused vectors of training rows lie, where there were enough rows to say what is unlike them.
        alignment: what maps each modality into one space, where they were aligned in closed form (`sensorium.align`).
        typical: modality → (place + 1, width) the typical token at each place of a cell and, last, of all: where
            attribution starts from. Empty until trained.
        imputer: what imputes absent modalities in use, where held-out rows said that it helps.
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
            self.aligners = nn.ModuleList(
                ALIGNERS[name](schema, options.width, getattr(recipe.objectives, name), batch_size=training.batch_size)
                for name in recipe.objectives.names)
        self.extras = nn.ModuleList(objectives)
        self.weighting: UncertaintyWeighting | None = None
        if training.weighting == "uncertainty":
            self.weighting = UncertaintyWeighting(
                [one.name for one in [*self.objectives(), *self.aligning(), *self.other_objectives()]])
        self.alignment: LinearAlignment | None = None
        self.imputer: Imputer | None = None
        self.fusion_given = fusion is not None
        self.temperatures = {target.name: 1.0 for target in schema.targets}
        self.conformal: dict[str, Conformal] = {}
        self.familiar: Familiarity | None = None
        self.typical: dict[str, Tensor] = {}
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

    def forward(self, batch: Batch, *presences: Tensor, watched: Tensor | None = None) -> Loss:
        """The joint loss Σ_k λ_k L_k of a batch, and its parts: the only entry for training.

        Args:
            batch: rows with targets.
            presences: (batch, modality) this step's sampled subsets, one or more of each row: the losses are their
                means, and rows are encoded once. What the rows have where none is given.
            watched: (batch, modality) subsets of one modality that are scored besides, without gradient, and not
                counted.
        """
        encoded = self.encode(batch)
        drawn = presences or (encoded.presence,)
        total = torch.zeros((), device=encoded.presence.device)
        parts: dict[str, Tensor] = {}
        alone = total.new_zeros(len(self.schema.names), 2)
        for presence in drawn:
            view = self.view(encoded, presence, impute=False)
            for objective in [*self.objectives(), *self.other_objectives()]:
                loss = objective(view.restricted(objective.hidden, objective.needs), batch)
                total = total + self._weighed(objective, loss.total) / len(drawn)
                parts |= {name: parts.get(name, 0.0) + part / len(drawn) for name, part in loss.parts.items()}
                if isinstance(objective, Predictor):
                    alone = alone + _told_alone(loss, view.presence)
        view = self.view(encoded, impute=False)
        for aligner in self.aligning():
            loss = aligner(view.restricted(aligner.hidden, aligner.needs), batch)
            total = total + self._weighed(aligner, loss.total)
            parts |= loss.parts
        if watched is not None:
            with torch.no_grad():
                view = self.view(encoded, watched, impute=False)
                for predictor in self.objectives():
                    loss = predictor(view.restricted(predictor.hidden, predictor.needs), batch)
                    alone = alone + _told_alone(loss, view.presence)
        return Loss(total, parts, alone=alone)

    def _weighed(self, objective: Objective, loss: Tensor) -> Tensor:
        """λ_k L_k."""
        if self.weighting is None or objective.training_only:
            return objective.weight * loss
        learned: Tensor = self.weighting(objective.name, loss)
        return objective.weight * learned

    def objectives(self) -> list[Predictor]:
        """The objectives that predict targets, in the schema's order."""
        return [module for module in self.predictors if isinstance(module, Predictor)]

    def aligning(self) -> list[Aligner]:
        """The recipe's objectives that put modalities into one space."""
        return [module for module in self.aligners if isinstance(module, Aligner)]

    @property
    def contrast(self) -> Contrast | None:
        """The objective of that name, where the recipe has it."""
        return next((one for one in self.aligning() if isinstance(one, Contrast)), None)

    @property
    def correlate(self) -> Correlate | None:
        """The objective of that name, where the recipe has it."""
        return next((one for one in self.aligning() if isinstance(one, Correlate)), None)

    def other_objectives(self) -> list[Objective]:
        """The objectives that were given as objects."""
        return [module for module in self.extras if isinstance(module, Objective)]

    @property
    def learns_unlabelled(self) -> bool:
        """Whether rows without any target are of use in training."""
        return any(objective.learns_unlabelled for objective in [*self.aligning(), *self.other_objectives()])

    def encode(self, batch: Batch) -> Encoded:
        """Run each encoder on the distinct cells of its present rows, and place the tokens in the batch's rows."""
        tokens = {}
        for name, encoder in zip(self.schema.names, self.encoders, strict=True):
            packed = batch.inputs.get(name)
            tokens[name] = (self._nothing(encoder, len(batch), batch.presence.device) if packed is None
                            else placed(encoded_cells(encoder, packed), packed, len(batch)))
        return Encoded(tokens, batch.presence)

    def encode_instead(self, encoded: Encoded, name: str, packed: Packed) -> Encoded:
        """An encoded batch with one modality read from other inputs: only its encoder runs, other tokens are kept."""
        encoder = self.encoders[self.schema.names.index(name)]
        tokens = placed(encoded_cells(encoder, packed), packed, len(encoded.presence))
        return Encoded({**encoded.tokens, name: tokens}, encoded.presence)

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

    def view(self, encoded: Encoded, presence: Tensor | None = None, *, impute: bool = True) -> View:
        """What objectives look at: the encoded batch and the subsets of this step.

        Args:
            encoded: a batch after the encoders.
            presence: (batch, modality) subsets of what the rows have; None: all they have.
            impute: whether fusing may impute what is absent, where the model has an imputer. Training never does, nor
                do embeddings, which are compared between subsets.
        """
        return View(encoded, encoded.presence if presence is None else presence & encoded.presence,
                    self._fuse_imputed if impute else self._fuse, names=self.schema.names)

    def _fuse(self, encoded: Encoded, presence: Tensor) -> Fused:
        fused: Fused = self.fusion(encoded.tokens, presence)
        return fused

    def _fuse_imputed(self, encoded: Encoded, presence: Tensor) -> Fused:
        """Fuse, with what held-out rows say is better imputed than left out in rows of their pattern."""
        wanted = None if self.imputer is None else self.imputer.wanted(presence)
        if self.imputer is None or wanted is None or not bool(wanted.any()):
            return self._fuse(encoded, presence)
        return fuse_imputed(self.fusion, self.imputer, encoded.tokens, presence, wanted)

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
        shown: npt.NDArray[np.bool_] | None = None, batch_size: int = INFERENCE_BATCH,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, dict[Subset, npt.NDArray[np.float64]]]:
        """Raw outputs of every target for several subsets; each row is encoded once, subsets cost only fusion.

        Args:
            samples: a decoded table.
            rows: (row,) row numbers.
            subsets: sets of modality names.
            complete: score a subset only in rows that have all of it; else with whatever of it a row has.
            shown: (row, modality) what may be read of these rows; None: all they have.
            batch_size: rows encoded together.
            progress: called with (rows done, rows in all).

        Returns:
            target → subset → (row, output) logits or standardised numbers; NaN for rows that are not scored.
        """
        return self.outputs_and_vectors(samples, rows, subsets, (), complete=complete, shown=shown,
                                        batch_size=batch_size, progress=progress)[0]

    def fused_vectors(
        self, samples: Samples, rows: npt.NDArray[np.int64], subsets: Sequence[Subset], *, complete: bool = True,
    ) -> dict[Subset, npt.NDArray[np.float64]]:
        """subset → (row, width) what fusing it gives, on which every head is linear; NaN as in `outputs`."""
        return self.outputs_and_vectors(samples, rows, (), subsets, complete=complete)[1]

    def outputs_and_vectors(
        self, samples: Samples, rows: npt.NDArray[np.int64], subsets: Sequence[Subset], vectors_of: Sequence[Subset], *,
        complete: bool = True, shown: npt.NDArray[np.bool_] | None = None, batch_size: int = INFERENCE_BATCH,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[dict[str, dict[Subset, npt.NDArray[np.float64]]], dict[Subset, npt.NDArray[np.float64]]]:
        """`outputs` of some subsets and `fused_vectors` of some, with each row encoded once."""
        def read(view: View) -> Iterator[tuple[tuple[str, Subset] | Subset, Tensor, Tensor]]:
            for subset in vectors_of:
                whole, there = view.fuse(self._subset_of(view.presence, subset, complete))
                if whole is not None:
                    yield subset, whole.vector, there
            for subset in subsets:
                presence = self._subset_of(view.presence, subset, complete)
                for predictor in self.objectives():
                    fused, kept = view.restricted(predictor.hidden, predictor.needs).fuse(presence)
                    if fused is not None:
                        yield (predictor.name, subset), predictor.outputs(fused), kept

        sizes: dict[tuple[str, Subset] | Subset, int] = dict.fromkeys(vectors_of, self.recipe.model.width)
        sizes |= {(target.name, subset): max(1, len(target.classes))
                  for target in self.schema.targets for subset in subsets}
        found = self.gathered(samples, rows, read, sizes, shown=shown, batch_size=batch_size, progress=progress)
        return ({target.name: {subset: found[target.name, subset] for subset in subsets}
                 for target in self.schema.targets}, {subset: found[subset] for subset in vectors_of})

    def gathered(
        self, samples: Samples, rows: npt.NDArray[np.int64],
        read: Callable[[View], Iterable[tuple[K, Tensor, Tensor]]], sizes: Mapping[K, int], *,
        shown: npt.NDArray[np.bool_] | None = None, batch_size: int = INFERENCE_BATCH,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[K, npt.NDArray[np.float64]]:
        """What is read off the view of every batch, put together.

        Args:
            samples: a decoded table.
            rows: (row,) row numbers.
            read: a batch's view → (key, (kept, number) values, (kept,) positions in the batch) …
            sizes: key → numbers a row.
            shown: (row, modality) what may be read of these rows; None: all they have.
            batch_size: rows encoded together.
            progress: called with (rows done, rows in all).

        Returns:
            key → (row, number); NaN in rows about which nothing was read.
        """
        results = {key: np.full((len(rows), size), np.nan) for key, size in sizes.items()}
        self.eval()
        with torch.inference_mode():
            for start in range(0, len(rows), batch_size):
                prefetch(samples, rows[start + batch_size : start + 2 * batch_size])
                encoded = self.encode(make_batch(samples, rows[start : start + batch_size]).to(self.device))
                some = None if shown is None else torch.from_numpy(shown[start : start + batch_size]).to(self.device)
                for key, values, kept in read(self.view(encoded, some)):
                    results[key][start + kept.cpu().numpy()] = values.double().cpu().numpy()
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
        if not self.schema.targets:
            raise DataError("this model predicts nothing: it was trained without a target, to embed (Model.embed)")
        if isinstance(rows, Mapping):
            self._refuse_strangers(rows)
        samples = as_samples(rows, self.schema, root=root)
        answers = self.answers(samples, modalities=modalities, explain=explain)
        return answers[0] if isinstance(rows, Mapping) else answers

    def _refuse_strangers(self, row: Mapping[str, Any]) -> None:
        """Raise for a row of which not one name is a column that the model reads."""
        columns = [column for modality in self.schema.modalities for column in modality.columns]
        if row and not any(name in columns for name in row):
            raise DataError(f"nothing to read: {unknown_name('column', next(iter(row)), columns)}")

    def answers(
        self, samples: Samples, *, rows: npt.NDArray[np.int64] | None = None,
        modalities: Collection[str] | None = None, explain: bool = False,
    ) -> list[dict[str, Answer]]:
        """One dictionary target → Answer for every row (or those given by number) of a decoded table."""
        allowed = self._columns(modalities).numpy()
        usable = frozenset(name for name, kept in zip(self.schema.names, allowed, strict=True) if kept)
        chosen = np.arange(len(samples)) if rows is None else rows

        vectors: dict[Subset, npt.NDArray[np.float64]] = {}
        present = samples.presence[chosen] & allowed

        def outputs(subsets: Sequence[Subset]) -> dict[str, dict[Subset, npt.NDArray[np.float64]]]:
            first = [usable] if self.familiar is not None and not vectors else []
            wanted = list({subset & usable for subset in subsets})
            found, read = self.outputs_and_vectors(samples, chosen, wanted, first, complete=False)
            vectors.update(read)
            return {target: {subset: values[subset & usable] for subset in subsets} for target, values in found.items()}

        broken: dict[int, list[str]] = {}
        for cell in samples.unreadable:
            broken.setdefault(cell.row - 1, []).append(f"{cell.column}: {cell.reason}")
        unreadable = {place: tuple(broken[row]) for place, row in enumerate(chosen.tolist()) if row in broken}
        answers = make_answers(outputs, self.schema, present, temperatures=self.temperatures,
                               balance=self.recipe.training.balance, explain=explain, unreadable=unreadable,
                               conformal=self.conformal)
        return answers if self.familiar is None or not vectors else with_unlike(
            answers, self.familiar.strangeness(vectors[usable], present))

    @property
    def aligned(self) -> bool:
        """Whether embeddings of different modalities are in one space: they were contrasted, or aligned afterwards."""
        return self.alignment is not None or self.contrast is not None

    @property
    def embedding_width(self) -> int:
        """Numbers of an embedding."""
        if self.alignment is not None:
            return self.alignment.width
        return self.recipe.model.width if self.contrast is None else self.contrast.width

    @property
    def similarity_scale(self) -> float | None:
        """What similarities are multiplied by, 1 / temperature, as objective contrast learned it; None without it."""
        if self.contrast is None or self.alignment is not None:
            return None
        return float(self.contrast.scale().detach())

    def embeddings(
        self, samples: Samples, rows: npt.NDArray[np.int64], subsets: Sequence[Subset], *, complete: bool = True,
    ) -> dict[Subset, npt.NDArray[np.float32]]:
        """Where rows are in the shared space, read from several subsets; each row is encoded once.

        Args:
            samples: a decoded table.
            rows: (row,) row numbers.
            subsets: sets of modality names.
            complete: read a subset only in rows that have all of it; else whatever of it a row has.

        Returns:
            subset → (row, width) unit-length vectors; NaN for rows that are not read. Where the modalities are not
            aligned these are the fused vectors.
        """
        def read(view: View) -> Iterator[tuple[Subset, Tensor, Tensor]]:
            for subset in subsets:
                vectors, kept = self._embedded(view, self._subset_of(view.presence, subset, complete))
                if vectors is not None:
                    yield subset, vectors, kept

        found = self.gathered(samples, rows, read, dict.fromkeys(subsets, self.embedding_width))
        return {subset: values.astype(np.float32) for subset, values in found.items()}

    def _embedded(self, view: View, presence: Tensor) -> tuple[Tensor | None, Tensor]:
        """Unit-length vectors of the rows that have any of the presence, and their positions."""
        view = self.view(view.encoded, view.presence, impute=False)
        if self.alignment is not None:
            return self._by_alignment(self.alignment, view, presence)
        fused, kept = view.fuse(presence)
        if fused is None:
            return None, kept
        contrast = self.contrast
        return F.normalize(fused.vector.float(), dim=1) if contrast is None else contrast.embed(fused), kept

    def _by_alignment(self, alignment: LinearAlignment, view: View, presence: Tensor) -> tuple[Tensor | None, Tensor]:
        """The unit-length mean of what the closed form makes of each present modality."""
        kept = presence.any(dim=1).nonzero()[:, 0]
        total = torch.zeros(len(presence), alignment.width, device=presence.device)
        for name, values, rows in self.alone(view, presence):
            total = total.index_add(0, rows, alignment({name: values})[name])
        return (F.normalize(total[kept], dim=1), kept) if len(kept) else (None, kept)

    def alone(self, view: View, presence: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """What each modality says alone: its name, (kept, number) values, and the positions of the rows that have it.

        The values are those that objective correlate makes of it, where the model has it, else the fused vector.
        """
        correlate = self.correlate
        view = self.view(view.encoded, view.presence, impute=False)
        for name in self.schema.names:
            fused, rows = view.alone(name, presence)
            if fused is not None:
                yield name, fused.vector.float() if correlate is None else correlate.read(fused, name), rows

    def embed(
        self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Data | str | Path, *,
        modalities: str | Collection[str] | None = None, root: str | Path = ".",
    ) -> npt.NDArray[np.float32]:
        """(row, width) unit-length embeddings of whatever is there; NaN for rows in which nothing is readable.

        Those of different modalities can be compared where the model is `aligned`: trained with objective contrast or
        correlate, or aligned afterwards by `sensorium.align`.

        Example: model.embed({"note": "a red circle"}) @ model.embed("photos.csv", modalities=["photo"]).T
        """
        if isinstance(rows, Mapping):
            self._refuse_strangers(rows)
        modalities = [modalities] if isinstance(modalities, str) else modalities
        self._columns(modalities)
        if modalities is not None and not modalities:
            raise RecipeError(f"modalities: expected some of {', '.join(self.schema.names)}, or None for all; found "
                              f"none")
        samples = as_samples(rows, self.schema, root=root)
        subset = frozenset(self.schema.names if modalities is None else modalities)
        return self.embeddings(samples, np.arange(len(samples)), [subset], complete=False)[subset]

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


def _told_alone(loss: Loss, presence: Tensor) -> Tensor:
    """(modality, 2) the sum of exp(−loss) over rows that show a modality alone, and their number."""
    if loss.rows is None:
        return torch.zeros(presence.shape[1], 2, device=presence.device)
    counted = presence & (presence.sum(dim=1) == 1)[:, None] & torch.isfinite(loss.rows)[:, None]
    told = torch.where(counted, torch.exp(-loss.rows)[:, None], 0.0)
    return torch.stack([told.sum(dim=0), counted.sum(dim=0).to(told)], dim=1)


def encoder_folder(place: int) -> str:
    """Where a model folder describes the pretrained encoder of the modality at this place."""
    return f"encoder_{place}"


__all__ = ["Answer", "Model", "Subset"]
