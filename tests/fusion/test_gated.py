"""Gated fusion: against its formula, and the gated multimodal unit of two modalities."""

from __future__ import annotations

import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of

from sensorium.fusion import GatedFusion


def test_it_is_its_formula_on_every_subset() -> None:
    fusion, tokens = shaken(GatedFusion(NAMES, WIDTH)), tokens_of()
    fused = fusion(tokens, SUBSETS)
    assert fused.weights is not None
    read = fusion.read(fusion.at_hand(tokens, SUBSETS), SUBSETS)
    for row, presence in enumerate(SUBSETS):
        there = [place for place in range(3) if presence[place]]
        scores = [sum(fusion.gates[m, k] @ read[row, k] for k in there) for m in there]
        gates = torch.stack(scores).softmax(dim=0)
        hidden = torch.stack([torch.tanh(fusion.maps[m](read[row, m])) for m in there])
        torch.testing.assert_close(fused.vector[row], (gates * hidden).sum(dim=0), atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(fused.weights[row, there], gates.mean(dim=1), atol=1e-12, rtol=1e-12)


def test_two_modalities_are_the_gated_multimodal_unit() -> None:
    fusion, tokens = shaken(GatedFusion(NAMES[:2], WIDTH)), tokens_of(NAMES[:2])
    presence = torch.ones(7, 2, dtype=torch.bool)
    read = fusion.read(fusion.at_hand(tokens, presence), presence)
    both = torch.cat([read[:, 0], read[:, 1]], dim=1)
    gate = torch.sigmoid(both @ torch.cat([fusion.gates[0, k] - fusion.gates[1, k] for k in range(2)], dim=1).T)
    first, second = (torch.tanh(fusion.maps[m](read[:, m])) for m in range(2))
    expected = gate * first + (1.0 - gate) * second
    torch.testing.assert_close(fusion(tokens, presence).vector, expected, atol=1e-12, rtol=1e-12)
