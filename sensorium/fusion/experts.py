"""Product of experts: each modality believes something with some precision, the beliefs are multiplied."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens
from sensorium.fusion.base import Fused, Fusion, in_places
from sensorium.fusion.reading import Readers

FIRST_PRECISION = 1.0


class ExpertsFusion(Fusion):
    """z = Σ_{m ∈ S} τ_m μ_m / (1 + Σ_{m ∈ S} τ_m): the mean of N(0, I) · Π_{m ∈ S} N(μ_m, diag(1 / τ_m)).

    μ_m = A_m r_m + a_m and τ_m = softplus(B_m r_m + b_m), channel by channel, with r_m what learned queries read from
    modality m's tokens. The prior counts as an expert of precision 1 at 0: what knows little moves the belief little,
    what is sure overrules what is not, and evidence adds up. An absent modality is a factor left out. Nothing is drawn:
    the fused vector is the posterior's mean. The weights are a modality's share of the experts' precision (the prior's
    left out), the mean over channels.

    Args:
        names: the modalities, in the schema's order.
        width: channels of a token, a multiple of 16.
        timed: of no meaning here.

    Example:
        >>> fusion = ExpertsFusion(("photo", "note"), 32)
        >>> tokens = Tokens(torch.randn(3, 5, 32), torch.ones(3, 5, dtype=torch.bool))
        >>> fusion({"photo": tokens}, torch.tensor([[True, False]] * 3)).weights[0].tolist()
        [1.0, 0.0]

    Source: Wu & Goodman 2018, "Multimodal generative models for scalable weakly-supervised learning", section 2.2.
    """

    def __init__(self, names: tuple[str, ...], width: int, timed: frozenset[str] = frozenset()) -> None:
        super().__init__(names, width, timed)
        self.read = Readers(len(names), width)
        self.means = nn.ModuleList(nn.Linear(width, width) for _ in names)
        self.precisions = nn.ModuleList(nn.Linear(width, width) for _ in names)
        for name, parameter in [*self.means.named_parameters(), *self.precisions.named_parameters()]:
            if name.endswith("weight"):
                nn.init.xavier_normal_(parameter)
        for name, parameter in self.precisions.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, math.log(math.expm1(FIRST_PRECISION)))

    def forward(self, tokens: dict[str, Tokens], presence: Bool[Tensor, "batch modality"]) -> Fused:
        """(batch, width), each modality's share of the precision and voice; a row's absent modalities are not read."""
        heard = self.at_hand(tokens, presence)
        read = {place: self.read.one(place, one) for place, one in heard.items()}
        precision = in_places({place: F.softplus(self.precisions[place](r)) for place, r in read.items()}, presence)
        means = in_places({place: self.means[place](r) for place, r in read.items()}, presence)
        voices = self.volume[:, None] * precision * means / (1.0 + precision.sum(dim=1, keepdim=True))
        share = torch.where(presence[:, :, None], precision.detach().clamp(min=1e-6), 0.0)
        share = share / share.sum(dim=1, keepdim=True)
        return Fused(voices.sum(dim=1), weights=share.mean(dim=2), voices=voices)
