"""A point transformer: vector attention among neighbouring points → one token for each of some places of the cloud."""

from __future__ import annotations

from dataclasses import replace

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.points import PointsKind
from sensorium.encoders.base import Encoder, Tokens
from sensorium.encoders.points import LEAST, PointMLP, described, with_nothing

GROUP_CHANNELS = 8


def in_order(
    points: Float[Tensor, "row point column"], mask: Bool[Tensor, "row point"]
) -> tuple[Float[Tensor, "row point column"], Bool[Tensor, "row point"]]:
    """Each cloud sorted by x, then y, z and its features, masked points last: the order they came in is forgotten."""
    points = torch.where(mask[:, :, None], points, 0.0)
    order = torch.arange(points.shape[1], device=points.device).expand(mask.shape)
    for key in (*points.unbind(dim=-1)[::-1], ~mask):
        order = order.gather(1, rising(key.gather(1, order)))
    everywhere = repeat(order, "row point -> row point column", column=points.shape[2])
    return points.gather(1, everywhere), mask.gather(1, order)


def rising(keys: Float[Tensor, "row point"] | Bool[Tensor, "row point"]) -> Int[Tensor, "row point"]:
    """Each row's places from the smallest key to the largest, equal ones in the order in which they stand."""
    if torch.compiler.is_exporting():  # graphs have no stable sort, but take the first of equal ones first
        return keys.float().topk(keys.shape[1], dim=1, largest=False).indices
    return keys.argsort(dim=1, stable=True)


@torch.no_grad()
def farthest_points(
    places: Float[Tensor, "row point 3"], mask: Bool[Tensor, "row point"], number: int
) -> Int[Tensor, "row anchor"]:
    """Farthest point sampling: each next point is the one farthest from those taken, the first from their mean.

    Args:
        places: (row, point, 3).
        mask: (row, point) True = real. Where fewer are real than asked for, what follows them means nothing.
        number: points taken.
    """
    centre = torch.where(mask[:, :, None], places, 0.0).sum(dim=1) / mask.sum(dim=1)[:, None].clamp(min=1)
    first = (places - centre[:, None]).square().sum(dim=-1)
    taken = [torch.where(mask, first, -1.0).argmax(dim=1)]
    nearest = torch.where(mask, torch.inf, -1.0).to(places.dtype)
    for _ in range(number - 1):
        last = taken[-1][:, None]
        away = (places - places.gather(1, repeat(last, "row 1 -> row 1 place", place=3))).square().sum(dim=-1)
        nearest = torch.minimum(nearest, away).scatter(1, last, -0.5)
        taken.append(nearest.argmax(dim=1))
    return torch.stack(taken, dim=1)


@torch.no_grad()
def neighbours(
    anchors: Float[Tensor, "row anchor 3"], places: Float[Tensor, "row point 3"], mask: Bool[Tensor, "row point"],
    number: int,
) -> tuple[Int[Tensor, "row anchor neighbour"], Bool[Tensor, "row anchor neighbour"]]:
    """The nearest real points of each anchor; of equally near ones those that come first.

    Where a cloud has fewer, the nearest stands in their place, and the second result is False there.
    """
    if torch.compiler.is_exporting():
        away = (anchors.double()[:, :, None] - places.double()[:, None]).square().sum(dim=-1).sqrt()
    else:
        away = torch.cdist(anchors.double(), places.double(), compute_mode="donot_use_mm_for_euclid_dist")
    away = away + 1e-12 * torch.arange(places.shape[1], device=places.device)
    away = torch.where(mask[:, None], away, torch.inf)
    index = away.topk(min(number, places.shape[1]), dim=-1, largest=False).indices
    real = taken(mask[:, :, None], index)[..., 0]
    return torch.where(real, index, index[:, :, :1]), real


def taken(
    values: Float[Tensor, "row point channel"] | Bool[Tensor, "row point channel"],
    index: Int[Tensor, "row anchor neighbour"],
) -> Float[Tensor, "row anchor neighbour channel"] | Bool[Tensor, "row anchor neighbour channel"]:
    """What stands at those points of each row."""
    flat = repeat(index, "row anchor neighbour -> row (anchor neighbour) channel", channel=values.shape[-1])
    return rearrange(values.gather(1, flat), "row (anchor neighbour) channel -> row anchor neighbour channel",
                     neighbour=index.shape[2])


class VectorAttention(nn.Module):
    """y_i = Σ_j softmax_j(γ(φ x_i − ψ x_j + δ_ij)) ⊙ (α x_j + δ_ij), δ_ij = θ(p_i − p_j), j over neighbours; x + W y.

    Args:
        channels: of x; each 8 of them share a weight.

    Source: Zhao et al. 2021, "Point transformer", equations 3 and 4, with the grouped weights of Wu et al. 2022.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.norm = nn.LayerNorm(channels)
        self.query, self.key = nn.Linear(channels, hidden), nn.Linear(channels, hidden, bias=False)
        self.value, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.place = nn.Sequential(nn.Linear(3, hidden), nn.GELU())
        self.place_score, self.place_value = nn.Linear(hidden, hidden), nn.Linear(hidden, channels)
        self.score = nn.Sequential(nn.GELU(), nn.Linear(hidden, channels // GROUP_CHANNELS, bias=False))
        self.mlp = PointMLP(channels)

    def forward(
        self, values: Float[Tensor, "row point channel"], places: Float[Tensor, "row point 3"],
        index: Int[Tensor, "row point neighbour"], real: Bool[Tensor, "row point neighbour"],
    ) -> Float[Tensor, "row point channel"]:
        """Every point mixed with its neighbours; those that are not real are never read."""
        normed = self.norm(values)
        offset = self.place(places[:, :, None] - taken(places, index))
        scores = self.score(self.query(normed)[:, :, None] - taken(self.key(normed), index) + self.place_score(offset))
        weights = torch.where(real[..., None], scores, LEAST).softmax(dim=2)
        content = rearrange(taken(self.value(normed), index) + self.place_value(offset),
                            "row point neighbour (group channel) -> row point neighbour group channel",
                            group=weights.shape[-1])
        mixed = reduce(weights[..., None] * content,
                       "row point neighbour group channel -> row point (group channel)", "sum")
        attended: Tensor = self.mlp(values + self.out(mixed.to(values.dtype)))
        return attended


class Gathering(nn.Module):
    """y_i = max_j W₂ act(W₁ norm(x_j) + U (p_j − p_i)): fewer points, each the maximum over its neighbours.

    Args:
        num_in, num_out: channels.
    """

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.content = nn.Sequential(nn.LayerNorm(num_in), nn.Linear(num_in, num_out))
        self.offset = nn.Linear(3, num_out, bias=False)
        self.out = nn.Sequential(nn.GELU(), nn.Linear(num_out, num_out))

    def forward(
        self, values: Float[Tensor, "row point channel"], offsets: Float[Tensor, "row anchor neighbour 3"],
        index: Int[Tensor, "row anchor neighbour"],
    ) -> Float[Tensor, "row anchor channel_out"]:
        """Features of the points → of the anchors."""
        mapped = self.out(taken(self.content(values), index) + self.offset(offsets))
        highest: Tensor = mapped.max(dim=2).values
        return highest


class PointTransformer(Encoder):
    """Points gathered at spread-out anchors twice, vector attention among neighbours at each → local tokens.

    Anchors are found by farthest point sampling of the sorted cloud, so that the order of the points changes nothing.
    An empty cloud is one learned token.

    Args:
        num_features: columns beside x, y, z.
        width: of a token.
        anchors: of the two levels; the second number is the number of tokens.
        neighbours: of an anchor.
        channels: of the two levels.

    Example:
        >>> encoder = PointTransformer(num_features=1, width=48)
        >>> clouds = Inputs(torch.randn(2, 30, 4), torch.ones(2, 30, dtype=torch.bool))
        >>> encoder(clouds).values.shape
        torch.Size([2, 16, 48])

    Source: Zhao et al. 2021, "Point transformer". Deviations: layer norm of each point instead of batch norm, grouped
    weights, a sorted start.
    """

    def __init__(
        self, *, num_features: int, width: int, anchors: tuple[int, int] = (64, 16), neighbours: int = 8,
        channels: tuple[int, int] = (48, 96),
    ) -> None:
        super().__init__()
        self.anchors, self.neighbours = anchors, neighbours
        first, second = channels
        self.embed = nn.Sequential(nn.Linear(6 + num_features, first), nn.GELU(), nn.Linear(first, first))
        self.gather_first, self.gather_second = Gathering(first, first), Gathering(first, second)
        self.attend_first, self.attend_second = VectorAttention(first), VectorAttention(second)
        self.norm = nn.LayerNorm(second)
        self.project = nn.Linear(second, width)
        self.place = nn.Linear(7, width)
        self.nothing = nn.Parameter(0.5 * torch.randn(width))

    @classmethod
    def build(cls, kind: PointsKind, width: int) -> PointTransformer:
        """An encoder for a measured kind of cloud."""
        assert kind.features is not None
        return cls(num_features=len(kind.features), width=width)

    def forward(self, inputs: Inputs) -> Tokens:
        """(row, point, x y z and features) → (row, token, width); spans are the x and y of each token's anchor."""
        assert inputs.mask is not None
        values, mask = inputs.values.to(self.nothing.dtype), inputs.mask
        if torch.compiler.is_exporting():  # a graph takes as many anchors from every cloud
            values, mask = F.pad(values, (0, 0, 0, self.anchors[0])), F.pad(mask, (0, self.anchors[0]))
        points, mask = in_order(values, mask)
        features, places = described(points, mask), points[:, :, :3]
        first, second = (min(number, points.shape[1]) for number in self.anchors)
        anchors = farthest_points(places, mask, first)
        near, near_mask = taken(places, anchors[:, :, None])[:, :, 0], mask.gather(1, anchors)
        near_mask = near_mask & (torch.arange(first, device=mask.device) < mask.sum(dim=1, keepdim=True))
        values = self._level(self.embed(features), places, mask, near, self.gather_first)
        values = self._attended(values, near, near_mask, self.attend_first)
        few, few_mask = near[:, :second], near_mask[:, :second]
        values = self._level(values, near, near_mask, few, self.gather_second)
        values = self._attended(values, few, few_mask, self.attend_second)
        number = torch.log1p(mask.sum(dim=1).to(few.dtype) / 4.0)[:, None, None].expand(-1, second, 1)
        where = taken(torch.cat([features[:, :, :3], features[:, :, -3:]], dim=-1), anchors[:, :second, None])[:, :, 0]
        tokens = self.project(self.norm(values)) + self.place(torch.cat([where, number], dim=-1))
        return replace(with_nothing(tokens, few_mask, self.nothing),
                       span=torch.where(few_mask[:, :, None], few[:, :, :2], 0.0))

    def _level(self, values: Tensor, places: Tensor, mask: Tensor, anchors: Tensor, gathering: nn.Module) -> Tensor:
        """Values at the points → values at the anchors."""
        index, _ = neighbours(anchors, places, mask, self.neighbours)
        gathered: Tensor = gathering(values, taken(places, index) - anchors[:, :, None], index)
        return gathered

    def _attended(self, values: Tensor, places: Tensor, mask: Tensor, attention: nn.Module) -> Tensor:
        """Values mixed among the neighbours of each place."""
        attended: Tensor = attention(values, places, *neighbours(places, places, mask, self.neighbours))
        return attended
