"""Cross-attention fusion: against loops over rows, pairs, heads and queries."""

from __future__ import annotations

import torch
from fusion_inputs import NAMES, SUBSETS, WIDTH, shaken, tokens_of

from sensorium.fusion import CrossAttentionFusion


def _naive(fusion: CrossAttentionFusion, values: dict[int, torch.Tensor]) -> torch.Tensor:
    """z of one row with (token, width) values by place."""
    total = torch.zeros(WIDTH, dtype=torch.float64)
    for m, x in values.items():
        sources = [k for k in values if k != m] or [m]
        query = fusion.norms[m](x) @ fusion.attend[m].weight[:WIDTH].T
        heard = torch.zeros_like(x)
        for k in sources:
            other = fusion.norms[k](values[k])
            key, value = (other @ fusion.attend[k].weight[part * WIDTH : (part + 1) * WIDTH].T for part in (1, 2))
            for head in range(2):
                own = slice(16 * head, 16 * (head + 1))
                for token in range(len(x)):
                    attention = (key[:, own] @ query[token, own] / 4.0).softmax(dim=0)
                    heard[token, own] += attention @ value[:, own] / len(sources)
        y = x + fusion.attended[m](heard)
        y = (y + fusion.mlps[m](y))[None]
        total = total + fusion.read.readers[m](y, torch.ones(1, len(x), dtype=torch.bool))[0]
    return total


def test_each_modality_reads_each_other_one_and_a_single_one_itself() -> None:
    fusion, tokens = shaken(CrossAttentionFusion(NAMES, WIDTH)), tokens_of()
    found = fusion(tokens, SUBSETS).vector
    for row, presence in enumerate(SUBSETS):
        there = {place: tokens[name].values[row] for place, name in enumerate(NAMES) if presence[place]}
        torch.testing.assert_close(found[row], _naive(fusion, there), atol=1e-10, rtol=1e-10)
