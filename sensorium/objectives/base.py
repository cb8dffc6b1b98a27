"""The contract of objectives: one term of the joint loss, with its head, and the view it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from sensorium.data.batch import Batch
from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused


@dataclass(frozen=True)
class Encoded:
    """A batch after the encoders.

    Args:
        tokens: by modality, aligned with the batch's rows; absent rows are masked and their values unspecified.
        presence: (batch, modality) what each row has.
    """

    tokens: dict[str, Tokens]
    presence: Bool[Tensor, "batch modality"]


@dataclass(frozen=True)
class Loss:
    """A loss to minimise.

    Args:
        total: the loss.
        parts: what it is made of, by name.
        rows: (batch,) detached, what each row adds to it before averaging; NaN where it adds nothing. None where a loss
            is not made of rows.
        alone: (modality, 2) detached, of rows that show one modality alone: the sum of their exp(−loss), which is the
            probability of the true class, and their number. Of a whole model's loss only.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Float[Tensor, ""]]
    rows: Float[Tensor, "batch"] | None = None
    alone: Float[Tensor, "modality 2"] | None = None


Fuse = Callable[[Encoded, Bool[Tensor, "batch modality"]], Fused]
Memo = dict[tuple[int, frozenset[str], frozenset[str], frozenset[str]], tuple[Tensor, Fused | None, Tensor]]


class View:
    """What an objective may see of a batch: the hidden modalities are gone, rows without the needed ones are out.

    Fusing is memoised within the step, also between objectives that see the same modalities.
    """

    def __init__(
        self, encoded: Encoded, presence: Bool[Tensor, "batch modality"], fuse: Fuse, *,
        names: tuple[str, ...] = (), hidden: frozenset[str] = frozenset(), needs: frozenset[str] = frozenset(),
        asks: frozenset[str] = frozenset(), memo: Memo | None = None,
    ) -> None:
        self.encoded = encoded
        self.presence = presence
        self._fuse = fuse
        self._names = names
        self._hidden = hidden
        self._needs = needs
        self._asks = asks
        self._memo = {} if memo is None else memo

    def restricted(self, to: Objective) -> View:
        """The same batch for an objective: without what it must not see, with what it needs."""
        return View(self.encoded, self.presence, self._fuse, names=self._names, hidden=to.hidden, needs=to.needs,
                    asks=to.asks, memo=self._memo)

    def allowed(self, presence: Bool[Tensor, "batch modality"]) -> Bool[Tensor, "batch modality"]:
        """The presence without hidden modalities and with the needed ones; all False where a needed one is absent.

        Of the modalities that ask, those in the presence are kept; where none is, all that the row has are added. What
        shows nothing stays nothing.
        """
        if not self._hidden and not self._needs and not self._asks:
            return presence
        had = self.encoded.presence
        needed, hidden, asking = (torch.tensor([name in own for name in self._names], device=presence.device)
                                  for own in (self._needs, self._hidden, self._asks))
        some = presence.any(dim=1, keepdim=True)
        allowed = (presence | (had & needed & some)) & ~hidden
        complete = (had | ~needed).all(dim=1)
        if self._asks:
            silent = ~(allowed & asking).any(dim=1, keepdim=True)
            allowed = allowed | (had & asking & ~hidden & silent & some)
            complete = complete & (allowed & asking).any(dim=1)
        return allowed & complete[:, None]

    def asked(self, presence: Bool[Tensor, "batch modality"]) -> Bool[Tensor, "batch modality"]:
        """The presence; nothing of rows in which it has no modality that asks, for what is answered without a question
        says nothing."""
        if not self._asks:
            return presence
        asking = torch.tensor([name in self._asks for name in self._names], device=presence.device)
        return presence & (presence & asking).any(dim=1, keepdim=True)

    def filled(self, presence: Bool[Tensor, "batch modality"]) -> Bool[Tensor, "batch modality"]:
        """The presence; in rows where the objective may see nothing of it, all that the row has."""
        empty = ~self.allowed(presence).any(dim=1, keepdim=True)
        return presence | (self.encoded.presence & empty)

    def alone(
        self, name: str, presence: Bool[Tensor, "batch modality"] | None = None,
    ) -> tuple[Fused | None, Tensor]:
        """`fuse` of one modality of the presence; by default of whatever the rows have."""
        of = self.encoded.presence if presence is None else presence
        return self.fuse(of & torch.tensor([name == other for other in self._names], device=of.device))

    def fuse(self, presence: Bool[Tensor, "batch modality"] | None = None) -> tuple[Fused | None, Tensor]:
        """Fuse a subset of what each row has; by default this step's sampled subset.

        Returns:
            The fused rows that have something the objective may see (None where no row has), and their positions in
            the batch (int64).
        """
        chosen = self.presence if presence is None else presence
        key = (id(chosen), self._hidden, self._needs, self._asks)
        if key not in self._memo:
            allowed = self.allowed(chosen)
            rows = allowed.any(dim=1).nonzero()[:, 0]
            fused = None if len(rows) == 0 else self._fuse(rows_of(self.encoded, rows), allowed[rows])
            self._memo[key] = (chosen, fused, rows)
        _, fused, rows = self._memo[key]
        return fused, rows


def rows_of(encoded: Encoded, rows: Int[Tensor, "kept"]) -> Encoded:
    """An encoded batch of some of the rows."""
    if len(rows) == len(encoded.presence):
        return encoded
    tokens = {name: Tokens(t.values[rows], t.mask[rows], None if t.span is None else t.span[rows])
              for name, t in encoded.tokens.items()}
    return Encoded(tokens, encoded.presence[rows])


class Objective(nn.Module, ABC):
    """One term of the joint loss.

    Attributes:
        name: how its loss is called in logs.
        weight: its factor in the joint loss.
        hidden: modalities it must never see as input.
        needs: modalities that must be there.
        asks: modalities of which one must be there.
        learns_unlabelled: whether rows without any target teach it something; training then keeps them.
        training_only: whether a trained model is whole without it: it has no weights, and a model folder knows nothing
            of it.
    """

    hidden: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    asks: frozenset[str] = frozenset()
    learns_unlabelled: bool = False
    training_only: bool = False

    def __init__(self, name: str, weight: float) -> None:
        super().__init__()
        self.name = name
        self.weight = weight

    @abstractmethod
    def forward(self, view: View, batch: Batch) -> Loss:
        """The loss of a batch: a sum over labelled rows divided by their global number, exactly 0 where none are."""


@dataclass(frozen=True)
class Judgement:
    """What held-out rows say about an objective that predicts nothing.

    Args:
        loss: lower is better.
        scores: what was scored → score, higher is better.
    """

    loss: float
    scores: dict[str, float]


class Aligner(Objective, ABC):
    """An objective that puts what modalities say into one space. It needs no label, draws subsets of its own, and is
    therefore called once a step, with whatever the rows have.

    Attributes:
        width: numbers that `read` gives.
        score_word: what the scores of `judge` are.
    """

    learns_unlabelled = True
    score_word: str
    width: int

    @abstractmethod
    def read(self, fused: Fused, name: str) -> Float[Tensor, "batch width"]:
        """What it makes of the fused vector of one modality alone: the input of `judge`."""

    @abstractmethod
    def judge(
        self, readings: dict[str, npt.NDArray[np.float64]], keys: npt.NDArray[np.int64],
    ) -> Judgement | None:
        """How well the modalities agree on held-out rows; None where too few of them have two modalities.

        Args:
            readings: modality → (row, width) from `read`; NaN in rows without it.
            keys: (row, key) rows with an equal non-negative key in one column are not different things.
        """


class Predictor(Objective, ABC):
    """An objective that predicts a column: its head is linear on the fused vector."""

    @abstractmethod
    def outputs(self, fused: Fused) -> Float[Tensor, "batch output"]:
        """Raw outputs: logits for classes, a standardised number for numbers."""

    @abstractmethod
    def losses(self, outputs: Float[Tensor, "batch output"], truth: Shaped[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """Each row's loss; whatever stands for a row without a label is not counted."""

    def forward(self, view: View, batch: Batch) -> Loss:
        """The mean loss of this step's sampled subsets over the labelled rows."""
        fused, rows = view.fuse()
        target = batch.targets[self.name]
        if fused is None:  # no row shows anything: a zero that still reaches every process and every weight
            losses = sum((0.0 * parameter.sum() for parameter in self.parameters()), rows.new_zeros(())).expand(1)
            total = mean_over_labelled(losses, torch.zeros_like(losses, dtype=torch.bool))
            return Loss(total, {self.name: total})
        losses = self.losses(self.outputs(fused).float(), target.values[rows])
        total = mean_over_labelled(losses, target.mask[rows])
        by_row = losses.new_full((len(batch),), torch.nan)
        by_row[rows] = torch.where(target.mask[rows], losses.detach(), torch.nan)
        return Loss(total, {self.name: total}, by_row)


def mean_over_labelled(losses: Float[Tensor, "batch"], mask: Bool[Tensor, "batch"]) -> Float[Tensor, ""]:
    """The sum over labelled rows over their number in all processes; exactly 0, but attached, where there are none.

    With several processes the result is scaled by their number, since gradients are averaged over processes.
    """
    count = mask.sum().to(losses.dtype)
    scale = 1.0
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        scale = float(torch.distributed.get_world_size())
    return torch.where(mask, losses, 0.0).sum() * scale / count.clamp(min=1.0)
