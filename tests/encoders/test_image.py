"""ImageResNet: sizes, spans, independence of rows, gradients."""

from __future__ import annotations

import pytest
import torch

from sensorium.data.kinds.base import Inputs
from sensorium.data.kinds.image import ImageKind
from sensorium.encoders.image import ImageResNet


def _pictures(num_rows: int, channels: int, height: int, width_px: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num_rows, channels, height, width_px), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("channels", "height", "width_px", "num_tokens"), [(1, 28, 28, 16), (3, 64, 64, 16), (3, 112, 80, 35), (1, 4, 9, 2)]
)
def test_a_token_for_every_cell_of_the_last_map(channels: int, height: int, width_px: int, num_tokens: int) -> None:
    encoder = ImageResNet.build(ImageKind(height=height, width=width_px, channels=channels), 32)
    tokens = encoder(Inputs(_pictures(2, channels, height, width_px)))
    assert tokens.values.shape == (2, num_tokens, 32)
    assert tokens.mask.all() and tokens.mask.shape == (2, num_tokens)
    assert tokens.span is not None and tokens.span.shape == (2, num_tokens, 4)


def test_the_boxes_tile_the_picture() -> None:
    tokens = ImageResNet(height=28, width_px=14, channels=1, width=16)(Inputs(_pictures(1, 1, 28, 14)))
    assert tokens.span is not None
    left, top, right, bottom = tokens.span[0].T
    assert torch.isclose(((right - left) * (bottom - top)).sum(), torch.tensor(1.0))
    assert tokens.span[0, 0, :2].tolist() == [0.0, 0.0] and tokens.span[0, -1, 2:].tolist() == [1.0, 1.0]


def test_a_token_sees_its_own_corner_first() -> None:
    """The gradient of the first token (top left) is strongest in the top left quarter of the picture."""
    torch.manual_seed(0)
    encoder = ImageResNet(height=64, width_px=64, channels=1, width=16)
    pictures = _pictures(1, 1, 64, 64).float().requires_grad_()
    encoder(Inputs(pictures)).values[0, 0].sum().backward()
    assert pictures.grad is not None
    strength = pictures.grad[0, 0].abs()
    assert strength[:32, :32].sum() > 2 * strength[32:, 32:].sum()


def test_a_row_does_not_depend_on_the_others() -> None:
    encoder = ImageResNet(height=28, width_px=28, channels=1, width=32)
    pictures = _pictures(5, 1, 28, 28)
    alone, together = encoder(Inputs(pictures[2:3])).values, encoder(Inputs(pictures)).values[2:3]
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def test_every_parameter_gets_a_gradient_and_there_is_no_batch_norm() -> None:
    encoder = ImageResNet(height=28, width_px=28, channels=1, width=32)
    encoder(Inputs(_pictures(3, 1, 28, 28))).values.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert not any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in encoder.modules())
