"""PointNet: clouds of any number of points, in any order, → a token for the whole and some for what queries find."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.points import PointsKind
from sensorium.encoders.base import Encoder, Tokens

LEAST = -1e30


def described(
    points: Float[Tensor, "row point column"], mask: Bool[Tensor, "row point"]
) -> Float[Tensor, "row point feature"]:
    """Each point's place and features, and beside them its place seen from the cloud's mean; 0 where masked."""
    real = mask[:, :, None]
    points = torch.where(real, points, 0.0)
    centre = points[:, :, :3].sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None].clamp(min=1)
    return torch.where(real, torch.cat([points, points[:, :, :3] - centre], dim=-1), 0.0)


def with_nothing(
    values: Float[Tensor, "row token width"], mask: Bool[Tensor, "row token"], nothing: Float[Tensor, "width"]
) -> Tokens:
    """Tokens in which a row without a single real one has `nothing` as its first."""
    empty = ~mask.any(dim=1)
    first = torch.where(empty[:, None], nothing.to(values.dtype), values[:, 0])
    values = torch.cat([first[:, None], values[:, 1:]], dim=1)
    mask = torch.cat([mask[:, :1] | empty[:, None], mask[:, 1:]], dim=1)
    return Tokens(values, mask)


class PointMLP(nn.Module):
    """x ↦ x + W₂ act(W₁ norm(x)): the same for every point.

    Args:
        channels: of x.
        expansion: hidden channels over `channels`.
    """

    def __init__(self, channels: int, *, expansion: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, expansion * channels), nn.GELU(),
                                    nn.Linear(expansion * channels, channels))

    def forward(self, values: Float[Tensor, "*rows channel"]) -> Float[Tensor, "*rows channel"]:
        mapped: Tensor = values + self.layers(values)
        return mapped


class PointNet(Encoder):
    """A shared network for every point, then the maximum over points → a global token and some learned queries' tokens.

    The maximum is told to every point once, which is then seen in its company; each of `num_queries` learned queries
    takes its own weighted mean of the points. An empty cloud is one learned token.

    Args:
        num_features: columns beside x, y, z.
        width: of a token.
        num_queries: tokens beside the global one.
        channels: of a point.

    Example:
        >>> encoder = PointNet(num_features=1, width=48)
        >>> clouds = Inputs(torch.randn(2, 30, 4), torch.ones(2, 30, dtype=torch.bool))
        >>> encoder(clouds).values.shape
        torch.Size([2, 5, 48])

    Source: Qi et al. 2017, "PointNet". Deviations: no learned rotation of the input, layer norm of each point instead
    of batch norm, and the queries.
    """

    def __init__(self, *, num_features: int, width: int, num_queries: int = 4, channels: int = 64) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(6 + num_features, channels), nn.GELU(), nn.Linear(channels, channels))
        self.alone = PointMLP(channels)
        self.company = nn.Linear(channels, channels)
        self.together = PointMLP(channels)
        self.norm = nn.LayerNorm(channels)
        self.peak = nn.Linear(channels, 2 * width)
        self.count = nn.Linear(1, width)
        self.whole = nn.Linear(2 * width, width)
        self.attend = nn.Linear(channels, num_queries)
        self.content = nn.Linear(channels, width)
        self.query = nn.Parameter(0.3 * torch.randn(num_queries, width))
        self.nothing = nn.Parameter(0.5 * torch.randn(width))

    @classmethod
    def build(cls, kind: PointsKind, width: int) -> PointNet:
        """An encoder for a measured kind of cloud."""
        assert kind.features is not None
        return cls(num_features=len(kind.features), width=width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, point, x y z and features) → (row, token, width)."""
        assert inputs.mask is not None
        mask = inputs.mask
        row = mask.nonzero()[:, 0]
        packed = self.alone(self.embed(described(inputs.values, mask)[mask].to(self.query.dtype)))
        packed = self.norm(self.together(packed + self.company(peak(packed, mask))[row]))
        number = torch.log1p(mask.sum(dim=1, keepdim=True).to(self.query.dtype))
        whole = self.whole(F.gelu(peak(self.peak(packed), mask))) + self.count(number / 4.0)
        scores = unpacked(self.attend(packed), mask, LEAST).softmax(dim=1)
        content = unpacked(self.content(packed), mask)
        parts = torch.einsum("rpq,rpw->rqw", scores.to(content.dtype), content) + self.query
        tokens = torch.cat([whole[:, None], parts.to(whole.dtype)], dim=1)
        return with_nothing(tokens, mask.any(dim=1, keepdim=True).expand(tokens.shape[:2]), self.nothing)


def unpacked(
    packed: Float[Tensor, "real channel"], mask: Bool[Tensor, "row point"], fill: float = 0.0
) -> Float[Tensor, "row point channel"]:
    """The real points back in their places, `fill` at the others."""
    places = packed.new_full((*mask.shape, packed.shape[-1]), fill)
    places[mask] = packed
    return places


def peak(packed: Float[Tensor, "real channel"], mask: Bool[Tensor, "row point"]) -> Float[Tensor, "row channel"]:
    """The largest value over each row's real points; 0 where there are none."""
    highest = unpacked(packed, mask, -torch.inf).max(dim=1).values
    return torch.where(mask.any(dim=1, keepdim=True), highest, 0.0)
