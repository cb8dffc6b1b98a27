"""Point encoders: the order of points changes nothing, empty clouds are one token, sampling equals its definition."""

from __future__ import annotations

import pytest
import torch

from sensorium.data.kinds.base import Inputs
from sensorium.encoders import ENCODERS
from sensorium.encoders.base import Encoder
from sensorium.encoders.point_transformer import (
    PointTransformer,
    VectorAttention,
    farthest_points,
    in_order,
    neighbours,
)

BOTH = sorted(ENCODERS["points"])


def _encoder(name: str) -> Encoder:
    torch.manual_seed(0)
    return ENCODERS["points"][name](num_features=1, width=32)  # type: ignore[call-arg]


def _clouds() -> Inputs:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(90) < torch.tensor([[90], [37], [1], [0]])
    return Inputs(torch.randn(4, 90, 4, generator=generator) * mask[:, :, None], mask)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("on_a_grid", [False, True])
def test_the_order_of_the_points_changes_nothing(name: str, on_a_grid: bool) -> None:
    encoder, clouds = _encoder(name), _clouds()
    assert clouds.mask is not None
    values = clouds.values.round() if on_a_grid else clouds.values  # equal places, equal distances
    first = encoder(Inputs(values, clouds.mask)).values
    for seed in range(3):
        order = torch.randperm(90, generator=torch.Generator().manual_seed(seed))
        shuffled = encoder(Inputs(values[:, order], clouds.mask[:, order])).values
        torch.testing.assert_close(shuffled, first, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("name", BOTH)
def test_an_empty_cloud_is_one_learned_token(name: str) -> None:
    encoder, clouds = _encoder(name), _clouds()
    tokens = encoder(clouds)
    assert tokens.mask.sum(dim=1).tolist() == ([5, 5, 5, 1] if name == "pointnet" else [16, 16, 1, 1])
    assert torch.equal(tokens.values[3, 0], encoder.get_parameter("nothing"))
    tokens.values[3, 0].sum().backward()
    assert encoder.get_parameter("nothing").grad is not None
    alone = encoder(Inputs(torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.bool)))
    assert torch.equal(alone.values[1, 0], encoder.get_parameter("nothing"))


def test_farthest_points_equal_the_loop() -> None:
    torch.manual_seed(0)
    places, mask = torch.randn(2, 20, 3), torch.arange(20) < torch.tensor([[20], [6]])
    found = farthest_points(places, mask, 8)
    for row, count in ((0, 20), (1, 6)):
        real = places[row, :count]
        taken = [int((real - real.mean(dim=0)).norm(dim=1).argmax())]
        while len(taken) < min(8, count):
            away = torch.stack([(real - real[one]).norm(dim=1) for one in taken]).amin(dim=0)
            taken.append(int(away.argmax()))
        assert found[row, :len(taken)].tolist() == taken


def test_points_at_one_place_are_all_taken_once() -> None:
    found = farthest_points(torch.zeros(1, 5, 3), torch.tensor([[True, True, True, False, False]]), 3)
    assert sorted(found[0].tolist()) == [0, 1, 2]


def test_neighbours_are_the_nearest_real_ones() -> None:
    torch.manual_seed(0)
    places, mask = torch.randn(1, 12, 3), torch.arange(12)[None] < 9
    index, real = neighbours(places[:, :2], places, mask, 4)
    nearest = (places[0, :2, None] - places[0, None, :9]).norm(dim=2).topk(4, largest=False).indices
    assert torch.equal(index[0].sort(dim=1).values, nearest.sort(dim=1).values) and real.all()
    index, real = neighbours(places[:, :2], places, torch.arange(12)[None] < 3, 4)
    assert real.sum(dim=2).tolist() == [[3, 3]] and (index < 3).all()


def test_sorted_clouds_put_masked_points_last() -> None:
    points = torch.tensor([[[2.0, 0, 0], [1.0, 5, 0], [9.0, 9, 9], [1.0, 3, 0]]])
    ordered, mask = in_order(points, torch.tensor([[True, True, False, True]]))
    assert ordered[0, :3].tolist() == [[1.0, 3, 0], [1.0, 5, 0], [2.0, 0, 0]]
    assert mask.tolist() == [[True, True, True, False]]


def test_vector_attention_equals_the_equation() -> None:
    torch.manual_seed(0)
    attention = VectorAttention(16).double()
    values, places = torch.randn(1, 4, 16, dtype=torch.float64), torch.randn(1, 4, 3, dtype=torch.float64)
    index, real = torch.tensor([[[0, 1, 3], [1, 2, 0], [2, 3, 1], [3, 2, 0]]]), torch.ones(1, 4, 3, dtype=torch.bool)
    real[0, 2, 2] = False
    normed, expected = attention.norm(values[0]), []
    for i in range(4):
        scores, contents = [], []
        for j in [int(j) for j, there in zip(index[0, i], real[0, i], strict=True) if there]:
            offset = attention.place(places[0, i] - places[0, j])
            scores.append(attention.score(attention.query(normed[i]) - attention.key(normed[j])
                                          + attention.place_score(offset)))
            contents.append(attention.value(normed[j]) + attention.place_value(offset))
        weights = torch.stack(scores).softmax(dim=0).repeat_interleave(8, dim=1)
        expected.append(attention.mlp(values[0, i] + attention.out((weights * torch.stack(contents)).sum(dim=0))))
    torch.testing.assert_close(attention(values, places, index, real)[0], torch.stack(expected), atol=1e-10, rtol=0.0)


def test_the_number_of_tokens_follows_the_anchors() -> None:
    encoder = PointTransformer(num_features=0, width=16, anchors=(10, 3))
    tokens = encoder(Inputs(torch.randn(2, 50, 3), torch.ones(2, 50, dtype=torch.bool)))
    assert tokens.values.shape == (2, 3, 16) and tokens.mask.all()
