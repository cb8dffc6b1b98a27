"""Tensor fusion: every product of numbers of different modalities, of all orders, has a weight of its own."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.encoders.base import Tokens
from sensorium.errors import RecipeError
from sensorium.fusion.base import Fused, Fusion
from sensorium.fusion.reading import Readers

USUAL = 1024
LARGEST = 65536


class TensorFusion(Fusion):
    """z = W · ([1; u_1] ⊗ … ⊗ [1; u_M]),  u_m = R_m r_m.

    r_m is what learned queries read from modality m's tokens, and R_m reduces it to a few numbers, for the outer
    product has Π_m (1 + dims of u_m) of them. The ones keep all lower orders: an absent modality is the factor [1; 0],
    which leaves exactly the products of the others.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.
        timed: of no meaning here.
        reduced: numbers of each u_m; None: as many, up to `width`, as make an outer product of at most 1,024 numbers.

    Attributes:
        reduced: numbers of each u_m.
        size: numbers of the outer product; W has `width` times as many.

    Raises:
        RecipeError: an outer product of more than 65,536 numbers.

    Example:
        >>> TensorFusion(("photo", "note", "table"), 32).size
        1000

    Source: Zadeh et al. 2017, "Tensor fusion network for multimodal sentiment analysis", equations 2 and 3; linear on
    top, where they have a network, since heads follow.
    """

    def __init__(
        self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset(), *, reduced: int | None = None
    ) -> None:
        super().__init__(names, width, timed)
        self.reduced = _usual(len(names), width) if reduced is None else reduced
        self.size = (1 + self.reduced) ** len(names)
        if self.reduced < 1 or self.size > LARGEST:
            raise RecipeError(
                f"tensor fusion of {len(names)} modalities with {self.reduced} numbers each would be an outer product "
                f"of {1 + self.reduced}^{len(names)} = {self.size:,} numbers with {self.size * width:,} weights (at "
                f"least 1 number each, at most {LARGEST:,} products): choose fusion low_rank or fewer modalities")
        self.read = Readers(len(names), width)
        self.reduce = nn.ModuleList(nn.Linear(width, self.reduced, bias=False) for _ in names)
        for weight in self.reduce.parameters():
            nn.init.normal_(weight, std=width**-0.5)
        self.core = nn.Parameter(_first_core(len(names), width, self.reduced))

    def extra_repr(self) -> str:
        """Shown when the model is printed."""
        return f"reduced={self.reduced}, size={self.size}"

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width); a row's absent modalities are not read."""
        read = self.read(self.at_hand(tokens, presence), presence)
        outer = read.new_ones(read.shape[0], 1)
        for place, linear in enumerate(self.reduce):
            factor = with_one(linear(read[:, place]))
            outer = rearrange(outer[:, :, None] * factor[:, None, :], "batch a b -> batch (a b)")
        return Fused(outer @ self.core.flatten(1).T)


def with_one(values: Float[Tensor, "*batch number"]) -> Float[Tensor, "*batch one_more"]:
    """[1; x]."""
    return torch.cat([torch.ones_like(values[..., :1]), values], dim=-1)


def _usual(num_modalities: int, width: int) -> int:
    """The most numbers a modality, up to `width`, whose outer product is usual; at least 1."""
    return max(1, *(number for number in range(width + 1) if (1 + number) ** num_modalities <= USUAL))


def _first_core(num_modalities: int, width: int, reduced: int) -> Tensor:
    """Random weights (width, 1 + reduced, …).

    All products of k modalities together have variance C(M, k) / M^k, so that the linear part leads at first and
    subsets speak about as loudly as the whole; the constant is 0.
    """
    deviation = torch.ones(())
    factor = torch.tensor([1.0] + [(num_modalities * reduced) ** -0.5] * reduced)
    for _ in range(num_modalities):
        deviation = deviation[..., None] * factor
    deviation[(0,) * num_modalities] = 0.0
    return torch.randn(width, *deviation.shape) * deviation
