"""The contract of fusions: the tokens of any subset of modalities → one representation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.encoders.base import Tokens
from sensorium.errors import DataError


@dataclass(frozen=True)
class Fused:
    """What every fusion returns.

    Args:
        vector: (batch, width) the representation of each row's subset.
        tokens: fused tokens, where the method makes some.
        weights: (batch, modality) how much each modality was listened to; non-negative, rows sum to 1 over the
            present modalities and are 0 elsewhere. None where the method has no such weights.
        voices: (batch, modality, width) what each modality adds to the vector, 0 where it is absent, where the method
            adds them up: vector = (something of the presence alone) + Σ_m voices_m.
    """

    vector: Float[Tensor, "batch width"]
    tokens: Tokens | None = None
    weights: Float[Tensor, "batch modality"] | None = None
    voices: Float[Tensor, "batch modality width"] | None = None


class Fusion(nn.Module, ABC):
    """Any subset of modalities → one vector. Absent modalities' values are never read.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token.
        timed: modalities whose spans are seconds on the sample's clock, where there are at least two; else none.

    Attributes:
        volume: (modality,) 1 in training; what a modality adds to the vector is multiplied by it. Held-out rows may
            turn down a modality that misleads (training/volume.py).
    """

    volume: Tensor

    def __init__(self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.names = names
        self.width = width
        self.timed = timed
        self.register_buffer("volume", torch.ones(len(names)))

    @abstractmethod
    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """Fuse.

        Args:
            tokens: by modality name; a name may be left out only where its presence is False in every row.
            presence: (batch, modality) in the order of `names`; every row has at least one True.

        Raises:
            DataError: a row has nothing, or a modality without tokens (see `at_hand`).
        """

    def at_hand(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> dict[int, Tokens]:
        """What may be read: place of a modality → its tokens, 0 and masked wherever a row has none, in schema order.

        Raises:
            DataError: naming the first row with nothing, or in which a modality is present that has no tokens.
        """
        nothing = ~presence.any(dim=1)
        exporting = torch.compiler.is_exporting()  # a graph cannot refuse: what runs it leaves such rows out
        if not exporting and bool(nothing.any()):
            raise DataError(f"nothing to fuse in row {int(nothing.nonzero()[0, 0])} of {len(presence)}: each row needs "
                            f"one of {', '.join(self.names)}")
        heard = {}
        for place, name in enumerate(self.names):
            if name in tokens:
                one = tokens[name]
                mask = one.mask & presence[:, place, None]
                span = None if one.span is None else torch.where(mask[:, :, None], one.span, 0.0)
                heard[place] = Tokens(torch.where(mask[:, :, None], one.values, 0.0), mask, span)
            elif not exporting and bool(presence[:, place].any()):
                row = int(presence[:, place].nonzero()[0, 0])
                raise DataError(f"modality {name!r} is present in row {row} and has no tokens")
        return heard


def in_places(
    parts: dict[int, Float[Tensor, "batch width"]], presence: Bool[Tensor, "batch modality"]
) -> Float[Tensor, "batch modality width"]:
    """Each modality's part in its place; exactly 0, and without gradient, where it is absent."""
    example = next(iter(parts.values()))
    found = example.new_zeros((*presence.shape, example.shape[1]))
    for place, part in parts.items():
        found[:, place] = torch.where(presence[:, place, None], part, 0.0)
    return found


def shares(
    voices: Float[Tensor, "batch modality width"], vector: Float[Tensor, "batch width"],
    presence: Bool[Tensor, "batch modality"],
) -> Float[Tensor, "batch modality"]:
    """How much of the vector each voice carries, ⟨v_m, z⟩ over their sum; the rare negative ones count as 0."""
    carried = torch.einsum("bmw,bw->bm", voices.detach(), vector.detach())
    carried = torch.where(presence, carried.clamp(min=1e-6), 0.0)
    return carried / carried.sum(dim=1, keepdim=True)


def pooled(tokens: Tokens, present: Bool[Tensor, "batch"]) -> Float[Tensor, "batch width"]:
    """The mean of a modality's real tokens; exactly 0, and without gradient, for absent rows (`where`d away)."""
    mask = (tokens.mask & present[:, None])[:, :, None]
    values = torch.where(mask, tokens.values, 0.0)
    return values.sum(dim=1) / mask.sum(dim=1).clamp(min=1)
