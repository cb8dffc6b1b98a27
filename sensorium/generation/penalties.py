"""Penalties on a discriminator's gradient, at real pairs: it shall be flat where the data lie.

Both differentiate the logits once more, so the loss that holds them is differentiated twice. They are meant for every
16th step, at 16 times their weight (Karras et al. 2020, "lazy regularisation").
"""

from __future__ import annotations

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

LAZY_STEPS = 16


def r1_penalties(
    logits: Float[Tensor, "batch"], pictures: Float[Tensor, "batch channel height width_px"],
) -> Float[Tensor, "batch"]:
    """‖∂l/∂x‖² of each row.

    Args:
        logits: of real pictures with their condition.
        pictures: what they were computed from; requires a gradient.

    Example:
        >>> pictures = torch.ones(1, 1, 2, 2, requires_grad=True)
        >>> r1_penalties(pictures.square().sum(dim=(1, 2, 3)), pictures).tolist()
        [16.0]

    Source: Mescheder et al. 2018, "Which training methods for GANs do actually converge?", equation 9, without γ/2.
    """
    [by_pixel] = torch.autograd.grad(logits.sum(), [pictures], create_graph=True)
    return _squares(by_pixel)


def matching_penalties(
    logits: Float[Tensor, "batch"], pictures: Float[Tensor, "batch channel height width_px"],
    condition: Float[Tensor, "batch width"], *, power: float = 6.0,
) -> Float[Tensor, "batch"]:
    """(‖∂l/∂x‖² + ‖∂l/∂c‖²)^(power / 2) of each row: matching-aware, flat at real pictures with their own condition.

    Args:
        logits: of real pictures with their condition.
        pictures: what they were computed from; requires a gradient.
        condition: what they were computed from; requires a gradient.
        power: 6 in the paper, where the weight is 2; 2 makes it R1 on pairs.

    Source: Tao et al. 2022, "DF-GAN", equation 2. Deviation: the length of the whole gradient, as in their code, where
    the equation adds the lengths of its two parts.
    """
    by_pixel, by_condition = torch.autograd.grad(logits.sum(), [pictures, condition], create_graph=True)
    return (_squares(by_pixel) + _squares(by_condition)) ** (power / 2.0)


def _squares(gradient: Tensor) -> Tensor:
    return reduce(gradient.square(), "batch ... -> batch", "sum")
