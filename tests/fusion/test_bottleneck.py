"""Bottleneck fusion: what one modality knows of another came through the bottleneck."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of

from sensorium.fusion import BottleneckFusion


@pytest.mark.parametrize(("depth", "crosses"), [(1, False), (2, True), (3, True)])
def test_information_crosses_from_the_second_layer_on(depth: int, crosses: bool) -> None:
    fusion, tokens = shaken(BottleneckFusion(NAMES, WIDTH, depth=depth)), tokens_of()
    other = {**tokens, "b": replace(tokens["b"], values=tokens["b"].values.flip(0))}
    everything = torch.ones_like(SUBSETS)
    first, second = (fusion(given, everything).voices for given in (tokens, other))
    assert first is not None and second is not None
    assert not torch.allclose(first[:, 1], second[:, 1])
    assert torch.allclose(first[:, [0, 2]], second[:, [0, 2]], atol=1e-9) != crosses


def test_it_is_its_formula_on_every_subset() -> None:
    fusion, tokens = shaken(BottleneckFusion(NAMES, WIDTH, num_bottlenecks=3)), tokens_of()
    found = fusion(tokens, SUBSETS).vector
    for row, presence in enumerate(SUBSETS):
        there = [place for place in range(3) if presence[place]]
        values = {m: tokens[NAMES[m]].values[row] + fusion.modality[m] for m in there}
        shared = fusion.bottleneck
        for block in fusion.blocks:
            told = []
            for m in there:
                count = len(values[m])
                bias = -torch.log(torch.tensor([3.0] * 3 + [float(count)] * count, dtype=torch.float64))
                mixed = block(torch.cat([shared, values[m]])[None], bias[None, None, None])[0]
                values[m] = mixed[3:]
                told.append(mixed[:3])
            shared = torch.stack(told).mean(dim=0)
        read = [fusion.read.readers[m](values[m][None], torch.ones(1, len(values[m]), dtype=torch.bool))[0]
                for m in there]
        torch.testing.assert_close(found[row], torch.stack(read).mean(dim=0), atol=1e-10, rtol=1e-10)
