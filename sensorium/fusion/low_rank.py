"""Low-rank fusion: all products of modalities, as in tensor fusion, with a weight tensor of low rank."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from sensorium.encoders.base import Tokens
from sensorium.errors import RecipeError
from sensorium.fusion.base import Fused, Fusion
from sensorium.fusion.reading import Readers
from sensorium.fusion.tensor import with_one


class LowRankFusion(Fusion):
    """z = Σ_r w_r · Π_m W_m^r [1; r_m],  the product channel by channel.

    r_m is what learned queries read from modality m's tokens. This is tensor fusion whose weights are a sum of `rank`
    outer products, so that nothing explodes and r_m keeps its full width; with rank = the size of the outer product it
    can be any tensor fusion. An absent modality is the factor [1; 0], exactly the lower-order part. At first each
    factor is ±(1 + something of variance 1/M), so that products of many modalities neither vanish nor explode.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.
        timed: of no meaning here.
        rank: terms of the sum.

    Raises:
        RecipeError: a rank below 1.

    Example:
        >>> fusion = LowRankFusion(("photo", "note"), 32)
        >>> tokens = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> fusion({"photo": tokens}, torch.tensor([[True, False]] * 3)).vector.shape
        torch.Size([3, 32])

    Source: Liu et al. 2018, "Efficient low-rank multimodal fusion with modality-specific factors", equations 5 to 7.
    """

    def __init__(
        self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset(), *, rank: int = 4
    ) -> None:
        super().__init__(names, width, timed)
        if rank < 1:
            raise RecipeError(f"low-rank fusion: a rank of at least 1 is needed, found {rank}")
        self.read = Readers(len(names), width)
        factors = torch.randn(len(names), rank, width, 1 + width) / (len(names) * width) ** 0.5
        factors[..., 0] = torch.sign(torch.rand(len(names), rank, width) - 0.5)
        self.factors = nn.Parameter(factors)
        self.rank_weights = nn.Parameter(torch.full((rank,), rank**-0.5))

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width); a row's absent modalities are not read."""
        read = with_one(self.read(self.at_hand(tokens, presence), presence))
        terms = torch.einsum("bmi,mroi->mbro", read, self.factors)
        product = terms[0]
        for term in terms[1:]:
            product = product * term
        return Fused(torch.einsum("bro,r->bo", product, self.rank_weights))
