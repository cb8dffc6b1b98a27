"""What only two modalities together say: which fusions can tell it, and learn to."""

from __future__ import annotations

import pytest
import torch
from fusion_inputs import shaken
from torch import nn
from torch.nn import functional as F

from sensorium.encoders.base import Tokens
from sensorium.fusion import FUSIONS

WIDTH = 32
NAMES = ("a", "b")
ADDITIVE = ("concat", "two_stream")
BITS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
STEPS = 70
ALL = torch.ones(4, 2, dtype=torch.bool)


def _shown() -> dict[str, Tokens]:
    """Four rows, in which two modalities show a bit each, in two of their three tokens."""
    generator = torch.Generator().manual_seed(0)
    signs = 2.0 * BITS.double() - 1.0
    found = {}
    for place, name in enumerate(NAMES):
        common, way = torch.randn(2, 3, WIDTH, generator=generator, dtype=torch.float64)
        way[0] = 0.0
        found[name] = Tokens(common + 0.5 * signs[:, place, None, None] * way, torch.ones(4, 3, dtype=torch.bool))
    return found


@pytest.mark.parametrize("name", FUSIONS)
def test_all_but_two_fusions_tell_what_only_two_modalities_together_say(name: str) -> None:
    """z(0,0) − z(0,1) − z(1,0) + z(1,1): where it is 0, so it is for every linear head, and no head tells the XOR."""
    torch.manual_seed(0)
    vector = shaken(FUSIONS[name](NAMES, WIDTH))(_shown(), ALL).vector
    interaction = float((vector[0] - vector[1] - vector[2] + vector[3]).detach().abs().max())
    assert interaction < 1e-12 if name in ADDITIVE else interaction > 1e-3


@pytest.mark.parametrize("name", sorted(set(FUSIONS) - set(ADDITIVE)))
def test_they_learn_the_xor_beside_modalities_alone_that_know_nothing(name: str) -> None:
    """As in training: each step scores both modalities and each one alone, in which the answer cannot be known."""
    torch.manual_seed(0)
    fusion, head = FUSIONS[name](NAMES, WIDTH), nn.Linear(WIDTH, 2)
    shown = {key: Tokens(one.values.float(), one.mask) for key, one in _shown().items()}
    thrice = {key: Tokens(one.values.repeat(3, 1, 1), one.mask.repeat(3, 1)) for key, one in shown.items()}
    presence = torch.cat([ALL, torch.tensor([[True, False]] * 4), torch.tensor([[False, True]] * 4)])
    truth = (BITS.sum(dim=1) % 2).repeat(3)
    optimizer = torch.optim.AdamW([*fusion.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(STEPS):
        loss = F.cross_entropy(head(fusion(thrice, presence).vector), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = head(fusion(shown, ALL).vector).softmax(dim=1)[torch.arange(4), truth[:4]]
    assert right.min() > 0.9, right
