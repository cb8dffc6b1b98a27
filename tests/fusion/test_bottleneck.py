"""Bottleneck fusion: what one modality knows of another came through the bottleneck."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of

from sensorium.fusion import BottleneckFusion
from sensorium.fusion.block import Block


@pytest.mark.parametrize("depth", [1, 2])
def test_information_crosses_through_the_bottleneck_alone(depth: int) -> None:
    fusion, tokens = shaken(BottleneckFusion(NAMES, WIDTH, depth=depth)), tokens_of()
    other = {**tokens, "b": replace(tokens["b"], values=tokens["b"].values.flip(0))}
    everything = torch.ones_like(SUBSETS)
    first, second = (fusion(given, everything).voices for given in (tokens, other))
    assert first is not None and second is not None
    assert all(not torch.allclose(first[:, m], second[:, m], atol=1e-6) for m in range(3))
    with torch.no_grad():
        for block in fusion.blocks:
            assert isinstance(block, Block)
            block.attended.weight.zero_()  # attention says nothing: neither does the bottleneck
    first, second = (fusion(given, everything).voices for given in (tokens, other))
    assert first is not None and second is not None
    torch.testing.assert_close(first[:, [0, 2]], second[:, [0, 2]], atol=1e-12, rtol=1e-12)
    assert not torch.allclose(first[:, 1], second[:, 1])


def test_it_is_its_formula_on_every_subset() -> None:
    fusion, tokens = shaken(BottleneckFusion(NAMES, WIDTH, num_bottlenecks=3)), tokens_of()
    found = fusion(tokens, SUBSETS).vector
    for row, presence in enumerate(SUBSETS):
        there = [place for place in range(3) if presence[place]]
        values = {m: tokens[NAMES[m]].values[row] + fusion.modality[m] for m in there}
        shared = fusion.bottleneck
        for block in fusion.blocks:
            counts = {m: torch.tensor([3.0] * 3 + [float(len(x))] * len(x)).double() for m, x in values.items()}
            bias = {m: -torch.log(count)[None, None, None] for m, count in counts.items()}
            told = [block(torch.cat([shared, x])[None], bias[m])[0, :3] for m, x in values.items()]
            shared = torch.stack(told).mean(dim=0)
            values = {m: block(torch.cat([shared, x])[None], bias[m])[0, 3:] for m, x in values.items()}
        read = [fusion.read.readers[m](values[m][None], torch.ones(1, len(values[m]), dtype=torch.bool))[0]
                for m in there]
        torch.testing.assert_close(found[row], torch.stack(read).mean(dim=0), atol=1e-10, rtol=1e-10)
