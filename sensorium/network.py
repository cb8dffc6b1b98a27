"""The network: encoders + fusion + objectives, defined for every non-empty subset of modalities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sensorium.data.batch import Batch, Packed
from sensorium.data.kinds import TIMED
from sensorium.data.schema import Schema
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.choice import make_encoder
from sensorium.encoders.unread import Unread
from sensorium.errors import RecipeError, unknown_name
from sensorium.fusion import FUSIONS
from sensorium.fusion.base import Fused, Fusion
from sensorium.fusion.imputation import Imputer, fuse_imputed
from sensorium.generation.words import Words
from sensorium.keyed import Draws
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
from sensorium.objectives.generative import Generative
from sensorium.objectives.making import asked_by, made_modalities, make_generative, read_modalities
from sensorium.objectives.paint import Paint
from sensorium.objectives.weighting import UncertaintyWeighting
from sensorium.placing import encoded_cells, placed
from sensorium.recipe import Recipe

Subset = frozenset[str]


class Network(nn.Module):
    """Encoders, fusion and objectives: what is trained, and the steps of every use.

    Args:
        schema: with measured kinds and targets.
        recipe: what it is made of; its seed initialises the weights.
        fusion: a fusion object instead of the recipe's name.
        objectives: objectives besides those that predict the targets.
        saved: a model folder whose weights will be loaded: pretrained encoders are described there, and not looked for
            where they came from.

    Attributes:
        read: the modalities that any objective may read; of the others nothing is encoded, and they count as absent.
        asking: the modalities that ask, of which one must be there for an answer; none without objective answer.
        imputer: what imputes absent modalities in use, where held-out rows said that it helps.
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
        wanted = recipe.objectives
        self.aims = tuple(dict.fromkeys(made_modalities(schema, wanted).values()))
        self.read = read_modalities(schema, wanted, others=bool(schema.targets or wanted.aligners or objectives))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_initial(training.seed, "init"))
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
                for name in recipe.objectives.aligners)
            words = {name: Words.from_json(text) for name, text in schema.words.items()}
            self.makers = nn.ModuleList(make_generative(schema, wanted, options.width, words))
        self.asking = frozenset(asked_by(schema, wanted))
        for predictor in predictors:
            predictor.asks = self.asking
        self.extras = nn.ModuleList(objectives)
        self.weighting: UncertaintyWeighting | None = None
        if training.weighting == "uncertainty":
            self.weighting = UncertaintyWeighting(
                [one.name for one in [*self.objectives(), *self.aligning(), *self.other_objectives(),
                                      *(one for one in self.generative() if not one.adversarial)]])
        self.imputer: Imputer | None = None
        self.fusion_given = fusion is not None

    def _encoder(self, name: str, saved: Path | None) -> Encoder:
        kind = self.schema.modality(name).kind
        options = self.recipe.model.encoders.get(name)
        if name not in self.read:
            return Unread()
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
                loss = objective(view.restricted(objective), batch)
                total = total + self._weighed(objective, loss.total) / len(drawn)
                parts |= {name: parts.get(name, 0.0) + part / len(drawn) for name, part in loss.parts.items()}
                if isinstance(objective, Predictor):
                    alone = alone + _told_alone(loss, view.presence)
        view = self.view(encoded, impute=False)
        for aligner in self.aligning():
            loss = aligner(view.restricted(aligner), batch)
            total = total + self._weighed(aligner, loss.total)
            parts |= loss.parts
        view = self.view(encoded, drawn[0], impute=False)
        for maker in self.generative():
            loss = maker(view.restricted(maker), batch)
            total = total + self._weighed(maker, loss.total)
            parts |= loss.parts
        if watched is not None:
            with torch.no_grad():
                view = self.view(encoded, watched, impute=False)
                for predictor in self.objectives():
                    loss = predictor(view.restricted(predictor), batch)
                    alone = alone + _told_alone(loss, view.presence)
        return Loss(total, parts, alone=alone)

    def _weighed(self, objective: Objective, loss: Tensor) -> Tensor:
        """λ_k L_k."""
        if self.weighting is None or objective.training_only or objective.name not in self.weighting.names:
            return objective.weight * loss
        learned: Tensor = self.weighting(objective.name, loss)
        return objective.weight * learned

    def objectives(self) -> list[Predictor]:
        """The objectives that predict targets, in the schema's order."""
        return [module for module in self.predictors if isinstance(module, Predictor)]

    def aligning(self) -> list[Aligner]:
        """The recipe's objectives that put modalities into one space."""
        return [module for module in self.aligners if isinstance(module, Aligner)]

    def generative(self) -> list[Generative]:
        """The recipe's objectives that make a modality from the others."""
        return [module for module in self.makers if isinstance(module, Generative)]

    @property
    def adversarial(self) -> bool:
        """Whether an objective is trained against an opponent."""
        return any(one.adversarial for one in self.generative())

    @property
    def unread(self) -> frozenset[str]:
        """The modalities that are only made."""
        return frozenset(self.schema.names) - self.read

    def begin(self) -> None:
        """Before training: what only training needs (moving averages, opponents)."""
        if (painting := self.painting()) is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(_initial(self.recipe.training.seed, "opponent"))
                painting.begin()

    def finish(self) -> None:
        """After training: what only training needs is gone; a second time it changes nothing."""
        if (painting := self.painting()) is not None:
            painting.finish()

    def painting(self) -> Paint | None:
        """The objective that makes pictures, where the recipe has it."""
        return next((one for one in self.generative() if isinstance(one, Paint)), None)

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
        return any(objective.learns_unlabelled
                   for objective in [*self.aligning(), *self.generative(), *self.other_objectives()])

    def encode(self, batch: Batch) -> Encoded:
        """Run each encoder on the distinct cells of its present rows, and place the tokens in the batch's rows.

        Modalities that nothing reads are absent afterwards.
        """
        tokens = {}
        for name, encoder in zip(self.schema.names, self.encoders, strict=True):
            packed = batch.inputs.get(name)
            tokens[name] = (self._nothing(encoder, len(batch), batch.presence.device)
                            if packed is None or name not in self.read
                            else placed(encoded_cells(encoder, packed), packed, len(batch)))
        if len(self.read) < len(self.schema.names):
            return Encoded(tokens, batch.presence & self.columns_of(self.read).to(batch.presence.device))
        return Encoded(tokens, batch.presence)

    def encode_instead(self, encoded: Encoded, name: str, packed: Packed) -> Encoded:
        """An encoded batch with one modality read from other inputs: only its encoder runs, other tokens are kept."""
        encoder = self.encoders[self.schema.names.index(name)]
        tokens = placed(encoded_cells(encoder, packed), packed, len(encoded.presence))
        return Encoded({**encoded.tokens, name: tokens}, encoded.presence)

    def learning_rates(self) -> dict[str, float]:
        """Parameter-name prefix → factor of the learning rate, of all encoders and painters."""
        rates = {f"encoders.{place}.{prefix}": factor for place, encoder in enumerate(self.encoders)
                 if isinstance(encoder, Encoder) for prefix, factor in encoder.learning_rates().items()}
        return rates | {f"makers.{place}.painter": maker.rate for place, maker in enumerate(self.makers)
                        if isinstance(maker, Paint)}

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
        presence = encoded.presence & self.columns_of(modalities).to(encoded.presence.device)
        return self.view(encoded).fuse(presence)

    def shown(self, presence: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """(row, modality) what predictors may read: what is there; nothing of rows that do not ask, where one must."""
        if not self.asking:
            return presence
        asking = np.array([name in self.asking for name in self.schema.names])
        return np.asarray(presence & (presence & asking).any(axis=1, keepdims=True))

    def columns_of(self, modalities: Collection[str] | None) -> Tensor:
        """(modality,) which are named (all where None). Raises RecipeError for an unknown one."""
        if modalities is None:
            return torch.ones(len(self.schema.names), dtype=torch.bool)
        if isinstance(modalities, str):
            raise RecipeError(f"modalities: expected a list of names, found the text {modalities!r}")
        for name in modalities:
            if name not in self.schema.names:
                raise RecipeError(str(unknown_name("modality", name, list(self.schema.names))))
        return torch.tensor([name in modalities for name in self.schema.names])

    def subset_of(self, presence: Tensor, subset: Subset, complete: bool) -> Tensor:
        """(batch, modality) what of a subset each row shows; where it must be complete, nothing of the other rows."""
        columns = self.columns_of(subset).to(presence.device)
        if not complete:
            return presence & columns
        return columns & (presence | ~columns).all(dim=1, keepdim=True)


def _initial(seed: int, purpose: str) -> int:
    """The seed of weights."""
    return int(Draws(seed, 0, np.zeros(1, dtype=np.int64)).integers(purpose, high=2**31)[0])


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
