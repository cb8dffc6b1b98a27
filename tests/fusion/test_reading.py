"""Reading a modality: against loops, and whatever the scale of its tokens."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sensorium.fusion.reading import Reader


def test_a_reader_is_its_formula() -> None:
    torch.manual_seed(0)
    reader = Reader(32).double()
    torch.nn.init.normal_(reader.bias)
    values, mask = torch.randn(3, 5, 32, dtype=torch.float64), torch.rand(3, 5) < 0.6
    mask[:, 0] = True
    found = reader(torch.where(mask[:, :, None], values, 0.0), mask)
    weight = reader.queries_and_values.weight
    for row in range(3):
        real = F.layer_norm(values[row][mask[row]], (32,))
        parts = []
        for head in range(2):
            attention = (real @ weight[head]).softmax(dim=0)
            mapped = real @ weight[2 + 16 * head : 2 + 16 * (head + 1)].T
            parts.append((attention[:, None] * mapped).sum(dim=0))
        vector = torch.cat(parts) + reader.bias
        torch.testing.assert_close(found[row], vector / vector.square().mean().sqrt(), atol=1e-12, rtol=1e-12)


def test_loud_tokens_are_no_louder() -> None:
    torch.manual_seed(0)
    reader = Reader(32).double()
    values, mask = torch.randn(3, 5, 32, dtype=torch.float64), torch.ones(3, 5, dtype=torch.bool)
    torch.testing.assert_close(reader(1000.0 * values, mask), reader(values, mask), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(reader(values, mask).square().mean(dim=1), torch.ones(3, dtype=torch.float64))


def test_rows_without_a_real_token_stay_finite() -> None:
    reader = Reader(32)
    values = torch.zeros(2, 5, 32, requires_grad=True)
    reader(values, torch.zeros(2, 5, dtype=torch.bool)).sum().backward()
    assert values.grad is not None and values.grad.isfinite().all()
