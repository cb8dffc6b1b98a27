"""Two-stream fusion is late fusion: a linear head sees the mean of what each stream predicts alone."""

from __future__ import annotations

import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of
from torch import nn

from sensorium.fusion import TwoStreamFusion


def test_logits_are_the_mean_of_each_modality_s_own() -> None:
    torch.manual_seed(0)
    fusion, head, tokens = shaken(TwoStreamFusion(NAMES, WIDTH)), nn.Linear(WIDTH, 4).double(), tokens_of()
    alone = [head(fusion(tokens, torch.eye(3, dtype=torch.bool)[[place] * 7]).vector) for place in range(3)]
    logits = head(fusion(tokens, SUBSETS).vector)
    for row, presence in enumerate(SUBSETS):
        expected = torch.stack([alone[place][row] for place in range(3) if presence[place]]).mean(dim=0)
        torch.testing.assert_close(logits[row], expected, atol=1e-12, rtol=1e-12)


def test_streams_share_no_weight() -> None:
    fusion = shaken(TwoStreamFusion(NAMES, WIDTH))
    fused = fusion(tokens_of(), torch.ones(7, 3, dtype=torch.bool))
    assert fused.voices is not None
    fused.voices[:, 1].sum().backward()
    for name, parameter in fusion.named_parameters():
        own = name.startswith(("streams.1.", "read.readers.1."))
        assert (parameter.grad is not None and bool(parameter.grad.any())) == own, name
